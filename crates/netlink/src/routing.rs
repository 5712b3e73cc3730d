//! Routes: adding and listing them, and asking the kernel which way and which source it would take.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use netlink_packet_core::{NLM_F_CREATE, NLM_F_EXCL};
use netlink_packet_route::route::{
    RouteAddress, RouteAttribute, RouteHeader, RouteMessage, RouteProtocol, RouteScope, RouteType,
};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};

use crate::attribute;
use crate::channel::{ExchangeError, Message};
use crate::route::{IfIndex, Route, RouteError};

/// A route of the main table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RouteSpec {
    /// The network it leads to; the unspecified address with prefix length 0 is the default route.
    pub destination: IpAddr,
    pub prefix_len: u8,
    pub gateway: Option<IpAddr>,
    pub oif: Option<IfIndex>,
    /// Source address for connections that did not choose one.
    pub prefsrc: Option<IpAddr>,
    /// Of several routes to one network the smallest wins; `None` is the kernel's default.
    pub metric: Option<u32>,
}

impl RouteSpec {
    /// The default route through `gateway`.
    pub fn default_via(gateway: IpAddr) -> Self {
        let destination = match gateway {
            IpAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
            IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
        };
        let gateway = Some(gateway);
        Self { destination, prefix_len: 0, gateway, oif: None, prefsrc: None, metric: None }
    }

    /// A network that is directly on the wire of an interface.
    pub fn on_link(destination: IpAddr, prefix_len: u8, oif: IfIndex) -> Self {
        let oif = Some(oif);
        Self { destination, prefix_len, gateway: None, oif, prefsrc: None, metric: None }
    }

    fn message(&self) -> RouteMessage {
        let mut message = RouteMessage::default();
        message.header.address_family = family(self.destination);
        message.header.destination_prefix_length = self.prefix_len;
        message.header.table = RouteHeader::RT_TABLE_MAIN;
        message.header.protocol = RouteProtocol::Static;
        message.header.kind = RouteType::Unicast;
        message.header.scope = match self.gateway {
            None if self.destination.is_ipv4() => RouteScope::Link,
            None | Some(_) => RouteScope::Universe,
        };
        let attributes = &mut message.attributes;
        if self.prefix_len > 0 {
            attributes.push(RouteAttribute::Destination(self.destination.into()));
        }
        let gateway = self.gateway.map(RouteAddress::from);
        attributes.extend(gateway.map(RouteAttribute::Gateway));
        attributes.extend(self.oif.map(|index| RouteAttribute::Oif(index.0)));
        attributes.extend(self.prefsrc.map(|ip| RouteAttribute::PrefSource(ip.into())));
        attributes.extend(self.metric.map(RouteAttribute::Priority));
        message
    }
}

impl fmt::Display for RouteSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "route to {}/{}", self.destination, self.prefix_len)?;
        self.gateway.map_or(Ok(()), |gateway| write!(f, " via {gateway}"))?;
        self.oif.map_or(Ok(()), |index| write!(f, " on interface {index}"))
    }
}

/// A route the kernel has, of any table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RouteEntry {
    /// `None` for a default route.
    pub destination: Option<IpAddr>,
    pub prefix_len: u8,
    pub gateway: Option<IpAddr>,
    pub oif: Option<IfIndex>,
    pub prefsrc: Option<IpAddr>,
    pub metric: Option<u32>,
    /// 254 is the main table, 255 the one of the node's own addresses.
    pub table: u32,
    /// IPv4 or IPv6; a default route names no address to tell by.
    pub ipv6: bool,
}

/// Table of ordinary routes.
pub const TABLE_MAIN: u32 = 254;

/// What the kernel would do with a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RouteChoice {
    /// The interface it would leave by.
    pub oif: Option<IfIndex>,
    /// The source it would get if the sender chose none.
    pub prefsrc: Option<IpAddr>,
    pub gateway: Option<IpAddr>,
}

impl Route {
    /// Adds a route; [`RouteError::already_exists`] when there is one like it.
    pub fn add_route(&self, spec: &RouteSpec) -> Result<(), RouteError> {
        let message = RouteNetlinkMessage::NewRoute(spec.message());
        self.change(message, NLM_F_CREATE | NLM_F_EXCL)
            .map_err(|cause| RouteError::new("add", spec, cause))
    }

    /// Deletes a route; [`RouteError::not_found`] when there is none like it.
    pub fn delete_route(&self, spec: &RouteSpec) -> Result<(), RouteError> {
        self.change(RouteNetlinkMessage::DelRoute(spec.message()), 0)
            .map_err(|cause| RouteError::new("delete", spec, cause))
    }

    /// All IPv4 and IPv6 routes of the net namespace, of all tables.
    pub fn routes(&self) -> Result<Vec<RouteEntry>, RouteError> {
        let mut found = Vec::new();
        for family in [AddressFamily::Inet, AddressFamily::Inet6] {
            let mut message = RouteMessage::default();
            message.header.address_family = family;
            let messages = self
                .list(RouteNetlinkMessage::GetRoute(message))
                .map_err(|cause| RouteError::new("list", "the routes", cause))?;
            found.extend(messages.iter().filter_map(RouteEntry::read));
        }
        Ok(found)
    }

    /// Asks how a packet to `destination` would leave and with which source.
    pub fn route_get(&self, destination: IpAddr) -> Result<RouteChoice, RouteError> {
        let failed =
            |cause| RouteError::new("find", format_args!("a route to {destination}"), cause);
        let mut message = RouteMessage::default();
        message.header.address_family = family(destination);
        message.header.destination_prefix_length = if destination.is_ipv4() { 32 } else { 128 };
        message.attributes.push(RouteAttribute::Destination(destination.into()));
        let answer = self.query(RouteNetlinkMessage::GetRoute(message)).map_err(failed)?;
        let entry = RouteEntry::read(&answer)
            .ok_or_else(|| failed(ExchangeError::Malformed { what: "a route" }))?;
        Ok(RouteChoice { oif: entry.oif, prefsrc: entry.prefsrc, gateway: entry.gateway })
    }
}

impl RouteEntry {
    fn read(message: &Message) -> Option<Self> {
        let (header, rest) = message.payload.split_first_chunk::<INFO_BYTES>()?;
        let [family, prefix_len, _, _, short_table, ..] = *header;
        let address = |kind| attribute::find(rest, kind).and_then(attribute::address);
        let number = |kind| attribute::find(rest, kind).and_then(attribute::number_u32);
        Some(Self {
            destination: address(libc::RTA_DST),
            prefix_len,
            gateway: address(libc::RTA_GATEWAY),
            oif: number(libc::RTA_OIF).map(IfIndex),
            prefsrc: address(libc::RTA_PREFSRC),
            metric: number(libc::RTA_PRIORITY),
            table: number(libc::RTA_TABLE).unwrap_or_else(|| short_table.into()),
            ipv6: i32::from(family) == libc::AF_INET6,
        })
    }
}

/// Bytes of `struct rtmsg`.
const INFO_BYTES: usize = 12;

fn family(address: IpAddr) -> AddressFamily {
    match address {
        IpAddr::V4(_) => AddressFamily::Inet,
        IpAddr::V6(_) => AddressFamily::Inet6,
    }
}
