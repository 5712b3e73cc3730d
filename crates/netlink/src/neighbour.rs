//! Neighbours: which MAC the kernel believes to be behind an address on a wire.

use std::fmt;
use std::net::IpAddr;

use netlink_packet_core::{NLM_F_CREATE, NLM_F_REPLACE};
use netlink_packet_route::neighbour::{
    NeighbourAddress, NeighbourAttribute, NeighbourMessage, NeighbourState as WireState,
};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};

use crate::attribute;
use crate::channel::{ExchangeError, Message};
use crate::mac::Mac;
use crate::route::{IfIndex, Route, RouteError};

/// An entry of the ARP or neighbour discovery cache.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NeighbourEntry {
    pub ifindex: IfIndex,
    pub address: IpAddr,
    /// `None` while unresolved.
    pub mac: Option<Mac>,
    pub state: NeighbourState,
}

/// How sure the kernel is of an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NeighbourState {
    /// Asked for, not answered yet.
    Incomplete,
    /// Confirmed a short while ago.
    Reachable,
    /// Used as it is; checked at the next use.
    Stale,
    /// In use and soon to be checked.
    Delay,
    /// Being checked.
    Probe,
    /// Nobody answered.
    Failed,
    /// Needs no resolution (loopback, multicast).
    NoArp,
    /// Set by an administrator; never checked.
    Permanent,
    /// None of the above.
    Unknown,
}

impl Route {
    /// All IPv4 and IPv6 neighbours of the net namespace.
    pub fn neighbours(&self) -> Result<Vec<NeighbourEntry>, RouteError> {
        let messages = self
            .list(RouteNetlinkMessage::GetNeighbour(NeighbourMessage::default()))
            .map_err(|cause| RouteError::new("list", "the neighbours", cause))?;
        Ok(messages.iter().filter_map(NeighbourEntry::read).collect())
    }

    /// Enters a neighbour, replacing what was there.
    pub fn set_neighbour(&self, entry: &NeighbourEntry) -> Result<(), RouteError> {
        let mut message = naming(entry);
        message.header.state = wire_state(entry.state);
        let mac = entry.mac.map(|mac| NeighbourAttribute::LinkLocalAddress(mac.0.to_vec()));
        message.attributes.extend(mac);
        self.change(RouteNetlinkMessage::NewNeighbour(message), NLM_F_CREATE | NLM_F_REPLACE)
            .map_err(|cause| RouteError::new("set", entry, cause))
    }

    /// Forgets what was learned on an interface; entries set by an administrator stay.
    pub fn flush_neighbours(&self, ifindex: IfIndex) -> Result<(), RouteError> {
        let learned = self.neighbours()?.into_iter().filter(|entry| {
            entry.ifindex == ifindex
                && !matches!(entry.state, NeighbourState::NoArp | NeighbourState::Permanent)
        });
        for entry in learned {
            match self.forget(&entry) {
                Err(error) if !error.not_found() => return Err(error),
                Ok(()) | Err(_) => {}
            }
        }
        Ok(())
    }

    fn forget(&self, entry: &NeighbourEntry) -> Result<(), RouteError> {
        self.change(RouteNetlinkMessage::DelNeighbour(naming(entry)), 0)
            .map_err(|cause: ExchangeError| RouteError::new("delete", entry, cause))
    }
}

impl NeighbourEntry {
    /// Reads an `RTM_NEWNEIGH` or `RTM_DELNEIGH`; `None` for other families (a bridge reports the
    /// MACs behind its ports in messages of the same kind).
    pub(crate) fn read(message: &Message) -> Option<Self> {
        let (header, rest) = message.payload.split_first_chunk::<INFO_BYTES>()?;
        let [family, _, _, _, i0, i1, i2, i3, s0, s1, ..] = *header;
        if ![libc::AF_INET, libc::AF_INET6].contains(&i32::from(family)) {
            return None;
        }
        Some(Self {
            ifindex: IfIndex(u32::from_ne_bytes([i0, i1, i2, i3])),
            address: attribute::find(rest, libc::NDA_DST).and_then(attribute::address)?,
            mac: attribute::find(rest, libc::NDA_LLADDR).and_then(Mac::from_bytes),
            state: state(u16::from_ne_bytes([s0, s1]).into()),
        })
    }
}

impl fmt::Display for NeighbourEntry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "neighbour {} on interface {}", self.address, self.ifindex)
    }
}

/// Bytes of `struct ndmsg`.
const INFO_BYTES: usize = 12;

fn naming(entry: &NeighbourEntry) -> NeighbourMessage {
    let mut message = NeighbourMessage::default();
    let (family, address) = match entry.address {
        IpAddr::V4(ip) => (AddressFamily::Inet, NeighbourAddress::Inet(ip)),
        IpAddr::V6(ip) => (AddressFamily::Inet6, NeighbourAddress::Inet6(ip)),
    };
    message.header.family = family;
    message.header.ifindex = entry.ifindex.0;
    message.attributes.push(NeighbourAttribute::Destination(address));
    message
}

fn state(wire: WireState) -> NeighbourState {
    match wire {
        WireState::Incomplete => NeighbourState::Incomplete,
        WireState::Reachable => NeighbourState::Reachable,
        WireState::Stale => NeighbourState::Stale,
        WireState::Delay => NeighbourState::Delay,
        WireState::Probe => NeighbourState::Probe,
        WireState::Failed => NeighbourState::Failed,
        WireState::Noarp => NeighbourState::NoArp,
        WireState::Permanent => NeighbourState::Permanent,
        _ => NeighbourState::Unknown,
    }
}

fn wire_state(state: NeighbourState) -> WireState {
    match state {
        NeighbourState::Incomplete => WireState::Incomplete,
        NeighbourState::Reachable => WireState::Reachable,
        NeighbourState::Stale => WireState::Stale,
        NeighbourState::Delay => WireState::Delay,
        NeighbourState::Probe => WireState::Probe,
        NeighbourState::Failed => WireState::Failed,
        NeighbourState::NoArp => WireState::Noarp,
        NeighbourState::Permanent => WireState::Permanent,
        NeighbourState::Unknown => WireState::None,
    }
}
