//! The interfaces of this host: what a cluster can be made on, and what stands for its networks.

use std::fmt;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};
use stead_model::config::NodeAddress;
use stead_model::network::{Interface, InterfaceState, Port, Subnet};
use stead_netlink::{AddressEntry, Link, Route, RouteError};

/// MAC addresses told at most; a node has a few interfaces that matter.
pub(super) const MACS_MAX: usize = 64;

/// An address of an interface that is up.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) struct Held {
    /// Name of the interface.
    pub(crate) interface: String,
    /// The address.
    pub(crate) address: IpAddr,
    /// How many of its first bits are those of its network.
    pub(crate) prefix: u8,
    /// It goes by itself unless it is renewed.
    pub(crate) leased: bool,
    /// What its interface is made of, where that is made of others.
    pub(crate) bundle: Option<Bundle>,
}

/// An interface that is made of others.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) struct Bundle {
    /// What it is.
    pub(crate) kind: BundleKind,
    /// Of how many.
    pub(crate) ports: usize,
    /// How many of them are up, with another end of the cable.
    pub(crate) working: usize,
}

/// What an interface is that is made of others.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) enum BundleKind {
    /// One for all, so that one may fail.
    Bond,
    /// The same, by another driver.
    Team,
    /// A switch in the host.
    Bridge,
}

impl BundleKind {
    /// What the kernel calls by this name.
    fn named(name: &str) -> Option<Self> {
        [Self::Bond, Self::Team, Self::Bridge].into_iter().find(|kind| kind.word() == name)
    }

    /// As the kernel and people call it.
    pub(crate) const fn word(self) -> &'static str {
        match self {
            Self::Bond => "bond",
            Self::Team => "team",
            Self::Bridge => "bridge",
        }
    }
}

impl fmt::Display for Held {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{} on {}", self.address, self.prefix, self.interface)
    }
}

impl Held {
    /// One that stays, of an interface by itself.
    #[cfg(test)]
    pub(crate) fn fixed(interface: &str, address: &str, prefix: u8) -> Self {
        let address = address.parse().expect("tests name addresses");
        Self { interface: interface.into(), address, prefix, leased: false, bundle: None }
    }

    /// Whether another address belongs to the same network.
    pub(crate) fn is_beside(&self, other: IpAddr) -> bool {
        Subnet::of(self.address, self.prefix).contains(other)
    }

    /// Whether other hosts can reach it at all.
    pub(crate) fn is_reachable(&self) -> bool {
        match self.address {
            IpAddr::V4(v4) => !v4.is_loopback() && !v4.is_link_local(),
            IpAddr::V6(v6) => !v6.is_loopback() && !v6.is_unicast_link_local(),
        }
    }
}

/// All interfaces with their addresses, as the kernel has them.
#[derive(Debug)]
struct Kernel {
    links: Vec<Link>,
    addresses: Vec<AddressEntry>,
}

impl Kernel {
    fn ask() -> Result<Self, RouteError> {
        let route = Route::open()?;
        Ok(Self { links: route.links()?, addresses: route.addresses()? })
    }

    fn link(&self, address: &AddressEntry) -> Option<&Link> {
        self.links.iter().find(|link| link.index == address.ifindex)
    }

    fn bundle(&self, link: &Link) -> Option<Bundle> {
        let kind = link.kind.as_deref().and_then(BundleKind::named)?;
        let is_port = |port: &&Link| port.master == Some(link.index);
        let ports: Vec<&Link> = self.links.iter().filter(is_port).collect();
        let working = ports.iter().filter(|port| state(port) == InterfaceState::Up).count();
        Some(Bundle { kind, ports: ports.len(), working })
    }

    /// The addresses of the interfaces that are up.
    fn held(&self) -> Vec<Held> {
        let of = |entry: &AddressEntry| {
            let link = self.link(entry).filter(|link| link.up)?;
            Some(Held {
                interface: link.name.clone(),
                address: entry.address,
                prefix: entry.prefix_len,
                leased: entry.leased,
                bundle: self.bundle(link),
            })
        };
        self.addresses.iter().filter_map(of).collect()
    }
}

/// All addresses of all interfaces that are up, in the system's order; none where it does not say.
pub(crate) fn held() -> Vec<Held> {
    Kernel::ask().map(|kernel| kernel.held()).unwrap_or_default()
}

/// The MAC addresses of all interfaces, for the other nodes: a station that answers for a cluster
/// address is judged by them. None where the system does not say.
pub(crate) fn macs() -> Vec<[u8; 6]> {
    let links = Route::open().and_then(|route| route.links()).unwrap_or_default();
    let macs = links.into_iter().filter_map(|link| link.mac).map(|mac| mac.0);
    let mut macs: Vec<_> = macs.filter(|mac| *mac != [0; 6]).collect();
    macs.sort_unstable();
    macs.dedup();
    macs.truncate(MACS_MAX);
    macs
}

/// This node's interfaces on the networks of its cluster. What is gone keeps the name and the
/// subnet that it had `before`.
pub(super) fn on_networks(
    own: Vec<NodeAddress>,
    before: &[Interface],
) -> Result<Vec<Interface>, RouteError> {
    let kernel = Kernel::ask()?;
    let interface = |own: NodeAddress| {
        let former = before.iter().find(|known| known.network == own.network);
        let former = former.and_then(|known| known.port.clone());
        let (port, state) = match kernel.of_address(own.address) {
            Some((port, state)) => (Some(port), state),
            None => kernel.without_address(former),
        };
        Interface { network: own.network, port, state }
    };
    Ok(own.into_iter().map(interface).collect())
}

impl Kernel {
    /// The interface that has an address; the loopback one has all addresses of its subnets.
    fn of_address(&self, address: IpAddr) -> Option<(Port, InterfaceState)> {
        let subnet = |entry: &AddressEntry| Subnet::of(entry.address, entry.prefix_len);
        let has = |entry: &&AddressEntry| {
            entry.address == address || (address.is_loopback() && subnet(entry).contains(address))
        };
        let entry = self.addresses.iter().find(has)?;
        let link = self.link(entry)?;
        Some((Port { name: link.name.clone(), subnet: subnet(entry) }, state(link)))
    }

    /// What was there: the kernel takes IPv6 addresses away from an interface that is switched
    /// off.
    fn without_address(&self, former: Option<Port>) -> (Option<Port>, InterfaceState) {
        let named = |port: &Port| self.links.iter().find(|link| link.name == port.name);
        let is_off = former.as_ref().and_then(named).is_some_and(|link| !link.up);
        (former, if is_off { InterfaceState::Down } else { InterfaceState::Absent })
    }
}

const fn state(link: &Link) -> InterfaceState {
    match (link.up, link.carrier) {
        (true, true) => InterfaceState::Up,
        (true, false) => InterfaceState::NoCarrier,
        (false, _) => InterfaceState::Down,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::peers_config;
    use std::net::Ipv4Addr;
    use stead_netlink::IfIndex;

    fn at(address: &str, prefix: u8) -> Held {
        Held::fixed("eth0", address, prefix)
    }

    fn link(index: u32, name: &str, kind: Option<&str>, master: Option<u32>) -> Link {
        Link {
            index: IfIndex(index),
            name: name.into(),
            mac: None,
            up: true,
            carrier: true,
            running: true,
            loopback: false,
            master: master.map(IfIndex),
            kind: kind.map(str::to_owned),
            mtu_bytes: 1500,
        }
    }

    fn entry(ifindex: u32, address: &str) -> AddressEntry {
        AddressEntry {
            ifindex: IfIndex(ifindex),
            address: address.parse().unwrap(),
            prefix_len: 24,
            label: None,
            deprecated: false,
            tentative: false,
            duplicate: false,
            secondary: false,
            without_prefix_route: false,
            host_scope: false,
            leased: false,
        }
    }

    #[test]
    fn what_an_interface_is_made_of_is_known_with_its_address() {
        let mut links = vec![
            link(2, "eth0", None, Some(4)),
            link(3, "eth1", None, Some(4)),
            link(4, "bond0", Some("bond"), None),
            link(5, "eth2", None, Some(6)),
            link(6, "br0", Some("bridge"), None),
            link(7, "eth3", Some("veth"), None),
        ];
        links[1].carrier = false;
        let lent = AddressEntry { leased: true, ..entry(7, "10.3.0.1") };
        let addresses = vec![entry(4, "10.1.0.1"), entry(6, "10.2.0.1"), lent];
        let held = Kernel { links, addresses }.held();
        let bond = Bundle { kind: BundleKind::Bond, ports: 2, working: 1 };
        let bridge = Bundle { kind: BundleKind::Bridge, ports: 1, working: 1 };
        let bundles: Vec<_> = held.iter().map(|held| held.bundle).collect();
        assert_eq!(bundles, [Some(bond), Some(bridge), None]);
        let leased: Vec<_> = held.iter().map(|held| held.leased).collect();
        assert_eq!(leased, [false, false, true]);
    }

    #[test]
    fn the_loopback_is_there_and_reaches_nobody() {
        let all = held();
        let own = all.iter().find(|h| h.address == IpAddr::V4(Ipv4Addr::LOCALHOST));
        let own = own.unwrap_or_else(|| panic!("{all:?}"));
        assert_eq!((own.interface.as_str(), own.prefix), ("lo", 8));
        assert!(!own.is_reachable() && at("10.0.0.1", 8).is_reachable());
        assert!(!at("fe80::1", 64).is_reachable() && !at("169.254.3.1", 16).is_reachable());
    }

    #[test]
    fn the_macs_are_those_of_the_interfaces_and_the_loopback_has_none() {
        let mut there: Vec<[u8; 6]> = Vec::new();
        for entry in std::fs::read_dir("/sys/class/net").unwrap() {
            let text = std::fs::read_to_string(entry.unwrap().path().join("address"));
            let bytes = text.unwrap_or_default();
            let bytes = bytes.trim().split(':').map(|b| u8::from_str_radix(b, 16));
            let bytes: Result<Vec<u8>, _> = bytes.collect();
            there.extend(bytes.ok().and_then(|b| <[u8; 6]>::try_from(b).ok()));
        }
        there.retain(|mac| *mac != [0; 6]);
        there.sort_unstable();
        there.dedup();
        assert_eq!(macs(), there);
    }

    #[test]
    fn what_is_gone_keeps_the_name_and_the_subnet_that_it_had() {
        let config = peers_config(1, 1);
        let mut own = config.nodes[0].addresses.clone();
        let all = on_networks(own.clone(), &[]).unwrap();
        assert!(all.iter().all(|i| i.to_string() == "interface `lo` is up"), "{all:?}");
        assert_eq!(all.len(), config.networks.len());
        let gone: IpAddr = "192.0.2.77".parse().unwrap();
        own[1].address = gone;
        let none = on_networks(own.clone(), &[]).unwrap();
        assert_eq!((&none[1].port, none[1].state), (&None, InterfaceState::Absent));
        let kept = on_networks(own, &all).unwrap();
        assert_eq!((&kept[1].port, kept[1].state), (&all[1].port, InterfaceState::Absent));
        assert_eq!((&kept[0], &kept[2]), (&all[0], &all[2]));
    }
}
