//! What is said of the networks of a host: which of those of the cluster it is on, and what could
//! take one of them away.

use stead_model::config::{NetworkEntry, NodeAddress, NodeConfig, address_on};

use super::super::Host;
use super::Finding;
use crate::net::interfaces::{Bundle, BundleKind, Held};

/// The networks that a new cluster would have.
pub(in crate::life) fn of_new_cluster(chosen: &[Held]) -> Vec<Finding> {
    let mut findings: Vec<Finding> =
        chosen.iter().map(|held| Finding::good("networks", held.to_string())).collect();
    findings.push(match chosen {
        [only] => Finding::doubtful(
            "networks",
            format!("{} alone would carry the cluster: a single point of failure", only.interface),
            "set up a second network between the nodes first, over another switch: a cluster \
             keeps the networks that it was made with",
        ),
        [] | [_, _, ..] => Finding::good(
            "networks",
            "nodes and clients would use all of them; `stead network set NETWORK --role private` \
             keeps clients off one",
        ),
    });
    findings.extend(chosen.iter().flat_map(weak));
    findings
}

/// Those of a cluster that this host would join by these addresses.
pub(super) fn of_cluster(
    host: &Host,
    addresses: &[NodeAddress],
    config: &NodeConfig,
) -> Vec<Finding> {
    let (carrying, others): (Vec<&NetworkEntry>, Vec<&NetworkEntry>) =
        config.networks.iter().partition(|network| network.role.carries_cluster());
    let one = |network: &&NetworkEntry| match address_on(addresses, network.id) {
        Some(own) => Finding::good("networks", format!("{own} on `{}`", network.name)),
        None => Finding::doubtful(
            "networks",
            format!("this host has no address on `{}`", network.name),
            "set its interface there up: with one network less a cable can take the node away",
        ),
    };
    let mut findings: Vec<Finding> = carrying.iter().map(one).collect();
    if let [only] = carrying.as_slice() {
        findings.push(single(only, &others));
    }
    let is_own = |held: &&Held| addresses.iter().any(|own| own.address == held.address);
    findings.extend(host.held.iter().filter(is_own).flat_map(weak));
    findings
}

/// The nodes use one network alone.
fn single(only: &NetworkEntry, others: &[&NetworkEntry]) -> Finding {
    let text = format!("`{}` alone carries the cluster: a single point of failure", only.name);
    let fix = match others.first() {
        Some(other) => format!(
            "have the nodes use a second one: `stead network set {} --role mixed`",
            other.name
        ),
        None => "set up a second network between the nodes; a cluster keeps those that it was \
                 made with, so that it has to be made anew with both"
            .into(),
    };
    Finding::doubtful("networks", text, fix)
}

/// What is to be known of an address and of its interface.
fn weak(held: &Held) -> impl Iterator<Item = Finding> + use<> {
    let lease = held.leased.then(|| {
        Finding::doubtful(
            "networks",
            format!(
                "{} on {} is leased (by DHCP, or from an IPv6 router) and may change",
                held.address, held.interface
            ),
            "give this host a static address there, or reserve this one for it in the DHCP server",
        )
    });
    lease.into_iter().chain(held.bundle.map(|bundle| made_of(&held.interface, bundle)))
}

/// What is to be known of an interface that is made of others.
fn made_of(name: &str, Bundle { kind, ports, working }: Bundle) -> Finding {
    let plural = if ports == 1 { "" } else { "s" };
    let what = format!("{name} is a {} of {ports} interface{plural}", kind.word());
    match kind {
        BundleKind::Bond | BundleKind::Team if working < 2 => Finding::doubtful(
            "networks",
            format!("{what}, of which {working} can be used"),
            format!(
                "plug the others in: `ip link show master {name}` lists them; until then a cable \
                 can take this network away"
            ),
        ),
        BundleKind::Bond | BundleKind::Team | BundleKind::Bridge => {
            Finding::good("networks", format!("{what}, which is supported"))
        }
    }
}

#[cfg(test)]
mod tests {
    use stead_model::config::NetworkRole;

    use super::super::Verdict;
    use super::*;
    use crate::net::peers_config;

    fn doubts(findings: &[Finding]) -> Vec<&str> {
        let doubtful = |f: &&Finding| matches!(f.verdict, Verdict::Doubtful(_));
        findings.iter().filter(doubtful).map(|finding| finding.text.as_str()).collect()
    }

    #[test]
    fn one_network_alone_is_told_and_two_are_good() {
        let held = [Held::fixed("eth0", "10.1.0.1", 24), Held::fixed("eth1", "10.2.0.1", 24)];
        let both = of_new_cluster(&held);
        assert_eq!(doubts(&both), Vec::<&str>::new());
        assert!(both[2].text.contains("`stead network set NETWORK --role private`"), "{both:?}");
        let one = of_new_cluster(&held[..1]);
        let told = "eth0 alone would carry the cluster: a single point of failure";
        assert_eq!(doubts(&one), [told]);
        assert!(one[1].to_string().contains("fix: set up a second network"), "{one:?}");
    }

    #[test]
    fn a_network_without_an_address_here_is_told_and_one_that_is_the_only_one() {
        let (mut config, host) = (peers_config(1, 17_410), Host::this());
        let found = of_cluster(&host, &[], &config);
        let told = ["this host has no address on `net1`", "this host has no address on `net2`"];
        assert_eq!(doubts(&found), told, "`net3` is for clients");
        let own = config.nodes[1].addresses.clone();
        assert_eq!(doubts(&of_cluster(&host, &own, &config)), Vec::<&str>::new());
        config.networks[1].role = NetworkRole::Public;
        let found = of_cluster(&host, &own, &config);
        let told = "`net1` alone carries the cluster: a single point of failure";
        assert_eq!(doubts(&found), [told]);
        let fix = "`stead network set net2 --role mixed`";
        assert!(found[1].to_string().contains(fix), "{found:?}");
        config.networks.truncate(1);
        let found = of_cluster(&host, &own, &config);
        assert!(found[1].to_string().contains("made anew with both"), "{found:?}");
    }

    #[test]
    fn an_address_that_may_change_is_told_where_the_cluster_would_use_it() {
        let (config, mut host) = (peers_config(1, 17_410), Host::this());
        let own = config.nodes[1].addresses.clone();
        let lent = Held { leased: true, ..Held::fixed("eth0", "127.77.1.2", 24) };
        let other = Held { leased: true, ..Held::fixed("eth0", "10.9.0.1", 24) };
        host.held = vec![lent.clone(), other];
        let found = of_cluster(&host, &own, &config);
        let told = "127.77.1.2 on eth0 is leased (by DHCP, or from an IPv6 router) and may change";
        assert_eq!(doubts(&found), [told]);
        assert!(doubts(&of_new_cluster(&[lent])).contains(&told));
    }

    #[test]
    fn what_is_made_of_several_interfaces_is_told_with_how_many_work() {
        let on = |kind, working| {
            let bundle = Some(Bundle { kind, ports: 2, working });
            weak(&Held { bundle, ..Held::fixed("up0", "10.1.0.1", 24) }).collect::<Vec<_>>()
        };
        let good = |text: &str| vec![Finding::good("networks", text)];
        let bond = "up0 is a bond of 2 interfaces, which is supported";
        assert_eq!(on(BundleKind::Bond, 2), good(bond));
        assert_eq!(
            on(BundleKind::Bridge, 1),
            good("up0 is a bridge of 2 interfaces, which is supported")
        );
        for kind in [BundleKind::Bond, BundleKind::Team] {
            let told = on(kind, 1);
            let text = format!("up0 is a {} of 2 interfaces, of which 1 can be used", kind.word());
            assert_eq!(doubts(&told), [text.as_str()]);
            assert!(told[0].to_string().contains("`ip link show master up0`"), "{told:?}");
        }
        assert_eq!(weak(&Held::fixed("eth0", "10.1.0.1", 24)).count(), 0);
    }
}
