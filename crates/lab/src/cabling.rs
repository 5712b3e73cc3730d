//! The cabling of every lab: who is plugged into which network, under which address, MAC and port.
//!
//! ```text
//!      node1 eth0 ─┐                      ┌─ eth0 node2        private 10.77.1.0/24
//!                  └── bridge `private` ──┘
//!      node1 eth1 ─┐                      ┌─ eth1 node2        public  10.77.2.0/24
//!                  └── bridge `public` ───┘
//!                          └─ eth1 client (10.77.2.250)
//! ```
//!
//! The numbers are the same in every lab: the bridges are in a namespace of the lab's own. A
//! station keeps its MAC over power cuts, so that an answer tells who gave it.

use std::fmt;
use std::net::Ipv4Addr;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use stead_model::{NetworkId, NodeId};
use stead_netlink::Mac;

/// A network of the lab.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Network {
    /// Cluster traffic only.
    Private,
    /// Clients and cluster traffic.
    Public,
}

/// Who is plugged into the networks.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub enum Station {
    /// A node of the cluster.
    Node(NodeId),
    /// The client.
    Client,
}

/// The most nodes a lab may have.
pub const NODES_MAX: u16 = 16;

/// Bits of the network part of all addresses.
pub(crate) const PREFIX_LEN: u8 = 24;

/// Host number of the client.
const CLIENT_HOST: u8 = 250;

impl Network {
    /// Both networks.
    pub const ALL: [Self; 2] = [Self::Private, Self::Public];

    /// Its name, also that of its bridge.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Private => "private",
            Self::Public => "public",
        }
    }

    /// Its number in the cluster.
    #[must_use]
    pub const fn id(self) -> NetworkId {
        NetworkId(match self {
            Self::Private => 1,
            Self::Public => 2,
        })
    }

    /// The interface of every station on it.
    #[must_use]
    pub const fn interface(self) -> &'static str {
        match self {
            Self::Private => "eth0",
            Self::Public => "eth1",
        }
    }

    /// The address of a host number on it.
    #[must_use]
    pub const fn address(self, host: u8) -> Ipv4Addr {
        Ipv4Addr::new(10, 77, self.id().0, host)
    }
}

impl Station {
    /// Its host name.
    #[must_use]
    pub fn name(self) -> String {
        match self {
            Self::Node(node) => format!("node{}", node.0),
            Self::Client => "client".into(),
        }
    }

    /// The networks it is plugged into.
    #[must_use]
    pub const fn networks(self) -> &'static [Network] {
        match self {
            Self::Node(_) => &Network::ALL,
            Self::Client => &[Network::Public],
        }
    }

    /// Its address on a network.
    #[must_use]
    pub const fn address(self, network: Network) -> Ipv4Addr {
        network.address(self.host())
    }

    /// Its MAC on a network: locally administered, the same in every life.
    #[must_use]
    pub const fn mac(self, network: Network) -> Mac {
        Mac([0x02, b's', b't', 0, network.id().0, self.host()])
    }

    /// The name of its port at the bridge of a network.
    #[must_use]
    pub fn port(self, network: Network) -> String {
        format!("{}-{}", self.name(), network.name())
    }

    /// The name of what is plugged in while its machine hangs.
    #[must_use]
    pub(crate) fn stand_in(self, network: Network) -> String {
        format!("hold{}-{}", self.host(), network.name())
    }

    /// The other end of that, where its frames are kept.
    #[must_use]
    pub(crate) fn far_end(self, network: Network) -> String {
        format!("held{}-{}", self.host(), network.name())
    }

    /// The station with this MAC.
    #[must_use]
    pub fn with_mac(mac: Mac) -> Option<Self> {
        let host = *mac.0.last()?;
        let known = Network::ALL.into_iter().any(|n| mac == Self::at(host).mac(n));
        known.then(|| Self::at(host))
    }

    const fn at(host: u8) -> Self {
        if host == CLIENT_HOST { Self::Client } else { Self::Node(NodeId(host as u16)) }
    }

    const fn host(self) -> u8 {
        match self {
            Self::Node(node) => node.0 as u8,
            Self::Client => CLIENT_HOST,
        }
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl fmt::Display for Station {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name())
    }
}

/// The text names no network or station.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is no {kind} of a lab; use {expected}")]
pub struct NameError {
    text: String,
    kind: &'static str,
    expected: &'static str,
}

impl FromStr for Network {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let found = Self::ALL.into_iter().find(|network| network.name() == text);
        let (kind, expected) = ("network", "`private` or `public`");
        found.ok_or_else(|| NameError { text: text.into(), kind, expected })
    }
}

impl FromStr for Station {
    type Err = NameError;

    /// Takes `node1`, `n1`, `1` and `client`.
    fn from_str(text: &str) -> Result<Self, NameError> {
        if text == "client" {
            return Ok(Self::Client);
        }
        let digits = ["node", "n"].iter().find_map(|p| text.strip_prefix(p)).unwrap_or(text);
        let number = digits.parse::<u16>().ok().filter(|n| (1..=NODES_MAX).contains(n));
        let (kind, expected) = ("node", "`node1` to `node16` or `client`");
        let refused = || NameError { text: text.into(), kind, expected };
        number.map(|n| Self::Node(NodeId(n))).ok_or_else(refused)
    }
}

impl From<Station> for String {
    fn from(station: Station) -> Self {
        station.name()
    }
}

impl TryFrom<String> for Station {
    type Error = NameError;

    fn try_from(text: String) -> Result<Self, NameError> {
        text.parse()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stations_are_told_apart_by_their_mac_in_every_network() {
        let nodes = (1..=NODES_MAX).map(|n| Station::Node(NodeId(n)));
        for station in nodes.chain([Station::Client]) {
            for network in station.networks() {
                assert_eq!(Station::with_mac(station.mac(*network)), Some(station));
                let names = [Station::port, Station::stand_in, Station::far_end];
                for name in names.map(|name| name(station, *network)) {
                    assert!(name.len() <= 15, "{name}");
                }
            }
        }
        assert_eq!(Station::with_mac(Mac::BROADCAST), None);
    }

    #[test]
    fn stations_have_the_names_people_type() {
        let node2 = Station::Node(NodeId(2));
        for text in ["node2", "n2", "2"] {
            assert_eq!(text.parse(), Ok(node2));
        }
        assert_eq!("client".parse(), Ok(Station::Client));
        for bad in ["node0", "node17", "", "nodes", "node", "-1", "client1"] {
            assert!(bad.parse::<Station>().is_err(), "{bad}");
        }
    }
}
