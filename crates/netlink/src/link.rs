//! Links: Ethernet pairs, bridges and what else the kernel calls an interface.

use std::fmt;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::time::Duration;

use netlink_packet_core::{NLM_F_CREATE, NLM_F_EXCL};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::link::{
    InfoBridge, InfoData, InfoKind, InfoVeth, LinkAttribute, LinkFlags, LinkInfo, LinkMessage,
};

use crate::attribute;
use crate::channel::{ExchangeError, Message};
use crate::mac::Mac;
use crate::route::{IfIndex, Route, RouteError};

/// An interface of the net namespace, as the kernel described it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    pub index: IfIndex,
    pub name: String,
    /// `None` for interfaces without an Ethernet address (tunnels).
    pub mac: Option<Mac>,
    /// An administrator switched it on.
    pub up: bool,
    /// The other end of the cable is there; only meaningful while `up`.
    pub carrier: bool,
    /// The kernel has taken note of that, and a bridge forwards to it as a port; only meaningful
    /// while `up`.
    pub running: bool,
    pub loopback: bool,
    /// The bridge or bond it is a port of.
    pub master: Option<IfIndex>,
    /// What made it: `veth`, `bridge`; `None` for hardware and loopback.
    pub kind: Option<String>,
    /// Largest packet in bytes.
    pub mtu_bytes: u32,
}

/// Names an interface in a call, by name or by number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LinkRef<'a> {
    Name(&'a str),
    Index(IfIndex),
}

impl<'a> From<&'a str> for LinkRef<'a> {
    fn from(name: &'a str) -> Self {
        Self::Name(name)
    }
}

impl<'a> From<&'a String> for LinkRef<'a> {
    fn from(name: &'a String) -> Self {
        Self::Name(name)
    }
}

impl From<IfIndex> for LinkRef<'_> {
    fn from(index: IfIndex) -> Self {
        Self::Index(index)
    }
}

impl From<&Link> for LinkRef<'_> {
    fn from(link: &Link) -> Self {
        Self::Index(link.index)
    }
}

impl fmt::Display for LinkRef<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => write!(f, "interface `{name}`"),
            Self::Index(index) => write!(f, "interface {index}"),
        }
    }
}

impl Route {
    /// All interfaces of the net namespace.
    pub fn links(&self) -> Result<Vec<Link>, RouteError> {
        let messages = self
            .list(RouteNetlinkMessage::GetLink(LinkMessage::default()))
            .map_err(|cause| RouteError::new("list", "the interfaces", cause))?;
        Ok(messages.iter().filter_map(Link::read).collect())
    }

    /// One interface; [`RouteError::not_found`] when there is none of that name or number.
    pub fn link<'a>(&self, link: impl Into<LinkRef<'a>>) -> Result<Link, RouteError> {
        let link = link.into();
        let failed = |cause| RouteError::new("read", link, cause);
        let answer = self.query(RouteNetlinkMessage::GetLink(naming(link))).map_err(failed)?;
        Link::read(&answer).ok_or_else(|| failed(ExchangeError::Malformed { what: "a link" }))
    }

    /// Makes a pair of Ethernet interfaces joined by a cable, both down; the peer is born in
    /// `peer_netns` if given.
    pub fn add_veth(
        &self,
        name: &str,
        peer_name: &str,
        peer_netns: Option<BorrowedFd<'_>>,
    ) -> Result<(), RouteError> {
        let mut peer = naming(LinkRef::Name(peer_name));
        if let Some(netns) = peer_netns {
            peer.attributes.push(LinkAttribute::NetNsFd(netns.as_raw_fd()));
        }
        let data = InfoData::Veth(InfoVeth::Peer(peer));
        self.add_link(name, InfoKind::Veth, data).map_err(|cause| {
            RouteError::new("add", format_args!("veth pair `{name}`, `{peer_name}`"), cause)
        })
    }

    /// Makes a bridge that forwards from the first moment: no spanning tree, no forward delay, and
    /// multicast flooded to all ports (neighbour discovery must not wait for a querier).
    pub fn add_bridge(&self, name: &str) -> Result<(), RouteError> {
        let data = InfoData::Bridge(vec![
            InfoBridge::StpState(0),
            InfoBridge::ForwardDelay(0),
            InfoBridge::MulticastSnooping(0),
        ]);
        self.add_link(name, InfoKind::Bridge, data)
            .map_err(|cause| RouteError::new("add", format_args!("bridge `{name}`"), cause))
    }

    /// How long a bridge remembers behind which port a silent MAC was (kernel default 300 s).
    pub fn set_bridge_ageing(&self, bridge: &str, ageing: Duration) -> Result<(), RouteError> {
        let centiseconds = u32::try_from(ageing.as_millis() / 10).unwrap_or(u32::MAX);
        let mut message = naming(LinkRef::Name(bridge));
        message.attributes.push(LinkAttribute::LinkInfo(vec![
            LinkInfo::Kind(InfoKind::Bridge),
            LinkInfo::Data(InfoData::Bridge(vec![InfoBridge::AgeingTime(centiseconds)])),
        ]));
        self.change(RouteNetlinkMessage::NewLink(message), 0).map_err(|cause| {
            RouteError::new("set the ageing time of", LinkRef::Name(bridge), cause)
        })
    }

    /// Switches the interface on.
    pub fn set_up<'a>(&self, link: impl Into<LinkRef<'a>>) -> Result<(), RouteError> {
        let link = link.into();
        let mut message = naming(link);
        message.header.flags = LinkFlags::Up;
        message.header.change_mask = LinkFlags::Up;
        self.set_link(message).map_err(|cause| RouteError::new("switch on", link, cause))
    }

    /// Switches the interface off; the kernel forgets its routes and IPv6 addresses.
    pub fn set_down<'a>(&self, link: impl Into<LinkRef<'a>>) -> Result<(), RouteError> {
        let link = link.into();
        let mut message = naming(link);
        message.header.change_mask = LinkFlags::Up;
        self.set_link(message).map_err(|cause| RouteError::new("switch off", link, cause))
    }

    /// Makes the interface a port of a bridge, or of nothing.
    pub fn set_master<'a>(
        &self,
        link: impl Into<LinkRef<'a>>,
        master: Option<IfIndex>,
    ) -> Result<(), RouteError> {
        let link = link.into();
        let mut message = naming(link);
        message.attributes.push(LinkAttribute::Controller(master.map_or(0, |index| index.0)));
        self.set_link(message).map_err(|cause| RouteError::new("set the bridge of", link, cause))
    }

    /// Gives the interface another Ethernet address.
    pub fn set_mac<'a>(&self, link: impl Into<LinkRef<'a>>, mac: Mac) -> Result<(), RouteError> {
        let link = link.into();
        let mut message = naming(link);
        message.attributes.push(LinkAttribute::Address(mac.0.to_vec()));
        self.set_link(message).map_err(|cause| {
            RouteError::new("set the MAC address of", format_args!("{link} to {mac}"), cause)
        })
    }

    /// Moves the interface to another net namespace; it arrives down and without addresses.
    pub fn move_to_netns<'a>(
        &self,
        link: impl Into<LinkRef<'a>>,
        netns: BorrowedFd<'_>,
    ) -> Result<(), RouteError> {
        let link = link.into();
        let mut message = naming(link);
        message.attributes.push(LinkAttribute::NetNsFd(netns.as_raw_fd()));
        self.set_link(message)
            .map_err(|cause| RouteError::new("move to another net namespace", link, cause))
    }

    /// Gives the interface another name; older kernels want it down for that.
    pub fn rename<'a>(&self, link: impl Into<LinkRef<'a>>, name: &str) -> Result<(), RouteError> {
        let link = link.into();
        let index = match link {
            LinkRef::Index(index) => index,
            LinkRef::Name(_) => self.link(link)?.index,
        };
        let mut message = naming(LinkRef::Index(index));
        message.attributes.push(LinkAttribute::IfName(name.to_owned()));
        self.set_link(message)
            .map_err(|cause| RouteError::new("rename", format_args!("{link} to `{name}`"), cause))
    }

    /// Removes the interface (of a veth pair: both ends).
    pub fn delete_link<'a>(&self, link: impl Into<LinkRef<'a>>) -> Result<(), RouteError> {
        let link = link.into();
        self.change(RouteNetlinkMessage::DelLink(naming(link)), 0)
            .map_err(|cause| RouteError::new("delete", link, cause))
    }

    fn add_link(&self, name: &str, kind: InfoKind, data: InfoData) -> Result<(), ExchangeError> {
        let mut message = naming(LinkRef::Name(name));
        let info = vec![LinkInfo::Kind(kind), LinkInfo::Data(data)];
        message.attributes.push(LinkAttribute::LinkInfo(info));
        self.change(RouteNetlinkMessage::NewLink(message), NLM_F_CREATE | NLM_F_EXCL)
    }

    fn set_link(&self, message: LinkMessage) -> Result<(), ExchangeError> {
        self.change(RouteNetlinkMessage::SetLink(message), 0)
    }
}

impl Link {
    /// Reads an `RTM_NEWLINK` or `RTM_DELLINK`. `None` for what is not about the interface itself:
    /// a bridge reports its ports in messages of the same kind, and a port leaving the bridge
    /// looks like a deleted link there.
    pub(crate) fn read(message: &Message) -> Option<Self> {
        let (header, rest) = message.payload.split_first_chunk::<INFO_BYTES>()?;
        let [family, _, _, _, i0, i1, i2, i3, f0, f1, f2, f3, ..] = *header;
        if i32::from(family) != libc::AF_UNSPEC {
            return None;
        }
        let flags = LinkFlags::from_bits_retain(u32::from_ne_bytes([f0, f1, f2, f3]));
        let info = attribute::find(rest, libc::IFLA_LINKINFO).unwrap_or_default();
        let number = |kind| attribute::find(rest, kind).and_then(attribute::number_u32);
        Some(Self {
            index: IfIndex(u32::from_ne_bytes([i0, i1, i2, i3])),
            name: attribute::find(rest, libc::IFLA_IFNAME).map(attribute::text)?,
            mac: attribute::find(rest, libc::IFLA_ADDRESS).and_then(Mac::from_bytes),
            up: flags.contains(LinkFlags::Up),
            carrier: flags.contains(LinkFlags::LowerUp),
            running: flags.contains(LinkFlags::Running),
            loopback: flags.contains(LinkFlags::Loopback),
            master: number(libc::IFLA_MASTER).filter(|index| *index != 0).map(IfIndex),
            kind: attribute::find(info, libc::IFLA_INFO_KIND).map(attribute::text),
            mtu_bytes: number(libc::IFLA_MTU).unwrap_or_default(),
        })
    }
}

/// Bytes of `struct ifinfomsg`.
const INFO_BYTES: usize = 16;

fn naming(link: LinkRef<'_>) -> LinkMessage {
    let mut message = LinkMessage::default();
    match link {
        LinkRef::Index(index) => message.header.index = index.0,
        LinkRef::Name(name) => message.attributes.push(LinkAttribute::IfName(name.to_owned())),
    }
    message
}
