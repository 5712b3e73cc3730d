//! The networks of a new cluster, from the addresses of its first host; and the addresses of a host
//! on the networks of a cluster that there is.

use std::net::IpAddr;

use stead_model::NetworkId;
use stead_model::config::{NetworkEntry, NetworkRole, NodeAddress, NodeConfig};
use stead_model::reason::{Code, Reason};

use crate::net::interfaces::Held;

/// Networks of a new cluster at most; more are named by hand.
const NETWORKS_MAX: usize = 4;

/// Which addresses a cluster is made on: those that were named, else one of each interface that
/// is up and that others can reach.
pub(super) fn choose(held: &[Held], named: &[IpAddr]) -> Result<Vec<Held>, Reason> {
    let chosen = if named.is_empty() { by_default(held) } else { by_name(held, named)? };
    for (at, one) in chosen.iter().enumerate() {
        if let Some(other) = chosen[..at].iter().find(|other| other.is_beside(one.address)) {
            let what = format!("{} and {} are in one network", other.address, one.address);
            return Err(refused(Code::Invalid)
                .because(what)
                .hint("name one address of each network with `--address`"));
        }
    }
    if chosen.is_empty() {
        return Err(refused(Code::Invalid)
            .because("no interface that is up has an address that other hosts can reach")
            .hint("set an interface up, or name an address of this host with `--address`"));
    }
    if chosen.len() > NETWORKS_MAX {
        let all: Vec<String> = chosen.iter().map(ToString::to_string).collect();
        return Err(refused(Code::TooMuch)
            .because(format!("these are more than {NETWORKS_MAX} networks: {}", all.join(", ")))
            .hint("name those that the nodes share with `--address`"));
    }
    Ok(chosen)
}

fn by_default(held: &[Held]) -> Vec<Held> {
    let mut chosen: Vec<Held> = Vec::new();
    let v4_first = held.iter().filter(|h| h.address.is_ipv4());
    for one in v4_first.chain(held.iter().filter(|h| h.address.is_ipv6())) {
        let covered =
            |other: &Held| other.interface == one.interface || other.is_beside(one.address);
        if one.is_reachable() && !chosen.iter().any(covered) {
            chosen.push(one.clone());
        }
    }
    chosen
}

fn by_name(held: &[Held], named: &[IpAddr]) -> Result<Vec<Held>, Reason> {
    let find = |address: &IpAddr| {
        held.iter().find(|h| h.address == *address).cloned().ok_or_else(|| {
            let all: Vec<String> = held.iter().map(|h| h.address.to_string()).collect();
            refused(Code::NotFound)
                .because(format!("no interface of this host that is up has the address {address}"))
                .hint(format!("its addresses are {}", all.join(", ")))
        })
    };
    named.iter().map(find).collect()
}

/// Each of the addresses is one network, in this order.
pub(super) fn of(chosen: &[Held]) -> (Vec<NetworkEntry>, Vec<NodeAddress>) {
    let numbered = || (1_u8..).zip(chosen);
    let networks = numbered()
        .map(|(id, _)| NetworkEntry::new(NetworkId(id), format!("net{id}"), NetworkRole::Mixed));
    let addresses =
        numbered().map(|(id, held)| NodeAddress { network: NetworkId(id), address: held.address });
    (networks.collect(), addresses.collect())
}

/// This host's address on each network of a cluster: the named one, else the first that is in one
/// network with a member's.
pub(super) fn beside(
    held: &[Held],
    named: &[IpAddr],
    config: &NodeConfig,
) -> Result<Vec<NodeAddress>, Reason> {
    let candidates = if named.is_empty() { held.to_vec() } else { by_name(held, named)? };
    let of_members = |network: NetworkId| {
        let all = config.nodes.iter().flat_map(|node| &node.addresses);
        all.filter(move |member| member.network == network).map(|member| member.address)
    };
    let find = |network: &NetworkEntry| {
        let fits = |own: &&Held| of_members(network.id).any(|member| own.is_beside(member));
        let own = candidates.iter().find(fits)?;
        Some(NodeAddress { network: network.id, address: own.address })
    };
    let chosen: Vec<NodeAddress> = config.networks.iter().filter_map(find).collect();
    let is_chosen = |address: &&IpAddr| chosen.iter().any(|own| own.address == **address);
    if let Some(other) = named.iter().find(|address| !is_chosen(address)) {
        return Err(refused(Code::Invalid)
            .because(format!("{other} is in no network of the cluster of its own"))
            .hint(format!("its members have {}", members(config))));
    }
    let carries = |own: &NodeAddress| {
        config.networks.iter().any(|n| n.id == own.network && n.role.carries_cluster())
    };
    if chosen.iter().any(carries) {
        return Ok(chosen);
    }
    Err(refused(Code::Invalid)
        .because("no interface of this host that is up is in a network that the nodes use")
        .hint(format!("set one up; the members have {}", members(config))))
}

fn members(config: &NodeConfig) -> String {
    let all: Vec<String> =
        config.nodes.iter().map(|node| super::named(&node.addresses, config)).collect();
    all.join(", ")
}

fn refused(code: Code) -> Reason {
    Reason::new(code, "cannot choose the networks of the cluster")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host() -> Vec<Held> {
        vec![
            Held::fixed("lo", "127.0.0.1", 8),
            Held::fixed("eth0", "fd00::1", 64),
            Held::fixed("eth0", "10.1.0.1", 24),
            Held::fixed("eth0", "10.1.0.7", 24),
            Held::fixed("eth1", "10.2.0.1", 24),
            Held::fixed("eth2", "10.2.0.9", 24),
            Held::fixed("eth3", "fe80::1", 64),
            Held::fixed("eth3", "fd03::1", 64),
        ]
    }

    fn texts(chosen: &[Held]) -> Vec<String> {
        chosen.iter().map(|h| h.address.to_string()).collect()
    }

    #[test]
    fn each_network_of_an_interface_that_others_reach_is_one_of_the_cluster() {
        let chosen = choose(&host(), &[]).unwrap();
        assert_eq!(texts(&chosen), ["10.1.0.1", "10.2.0.1", "fd03::1"]);
        let (networks, addresses) = of(&chosen);
        assert_eq!(networks[1].name, "net2");
        assert_eq!(addresses[2].network, NetworkId(3));
        assert_eq!(choose(&host()[..1], &[]).unwrap_err().code, Code::Invalid);
    }

    #[test]
    fn named_addresses_are_of_this_host_and_of_different_networks() {
        let named = |all: &[&str]| {
            let all: Vec<IpAddr> = all.iter().map(|a| a.parse().unwrap()).collect();
            choose(&host(), &all)
        };
        assert_eq!(texts(&named(&["10.2.0.9", "127.0.0.1"]).unwrap()), ["10.2.0.9", "127.0.0.1"]);
        let strange = named(&["10.9.0.1"]).unwrap_err();
        assert_eq!(strange.code, Code::NotFound);
        assert!(strange.hint.unwrap().contains("10.1.0.7"));
        let twice = named(&["10.2.0.1", "10.2.0.9"]).unwrap_err();
        assert!(twice.to_string().contains("10.2.0.1 and 10.2.0.9 are in one network"), "{twice}");
        let all = ["10.1.0.1", "10.2.0.1", "fd00::1", "fd03::1", "127.0.0.1"];
        assert_eq!(named(&all).unwrap_err().code, Code::TooMuch);
    }
}
