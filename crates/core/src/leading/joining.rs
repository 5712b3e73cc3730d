//! Nodes that join a running cluster: what is refused, and the entry that makes one a member.
//!
//! The entry makes it a learner and tells everybody where it is; its log begins as those of the
//! founders did, so that it takes the leader's word for nothing. It is given a vote like a node
//! that comes back (`leaving`): once it has the whole log, one at a time (R10).

use std::collections::BTreeSet;
use std::net::IpAddr;

use raft::eraftpb::{ConfChangeType, ConfChangeV2};
use stead_model::change::{Change, JoinedVote};
use stead_model::config::{NodeAddress, NodeConfig, NodeEntry, NodeWish, QuorumMode, address_on};
use stead_model::reason::{Code, Reason};
use stead_model::{NodeId, VoterId};

use super::Around;
use super::leaving::membership;
use crate::consensus::replica::Replica;
use crate::db::{Db, servers};

/// Highest number of a node, whatever the quorum disk has room for.
const NODES_MAX: u16 = 64;

/// The number of a node, and the changes that make it a member: of the database, and of the voters
/// and learners.
pub(super) fn join(
    (number, name, addresses): (Option<NodeId>, String, Vec<NodeAddress>),
    db: &Db,
    around: &Around<'_>,
) -> Result<(NodeId, Change, ConfChangeV2), Reason> {
    let config = around.config;
    let id = number.unwrap_or_else(|| next_number(db, around));
    let entry = NodeEntry { id, name, addresses };
    let refused = |code| Reason::new(code, format!("cannot add node `{}`", entry.name));
    check_number(id, config, around.disk_nodes_max)
        .map_err(|(code, because, hint)| refused(code).because(because).hint(hint))?;
    check_free(&entry.name, (db, config), refused).map_err(of_former)?;
    check_addresses(&entry.addresses, config)
        .map_err(|(code, because)| of_former(refused(code).because(because)))?;
    let vote = match config.quorum.mode {
        QuorumMode::DiskOnly => JoinedVote::Never,
        QuorumMode::NodeMajority | QuorumMode::NodeAndDiskMajority => JoinedVote::WhenComplete,
    };
    let voters = membership(VoterId::from(id), ConfChangeType::AddLearnerNode);
    Ok((id, Change::NodeJoined { entry, vote }, voters))
}

/// What a node has may be that of the very host that joins, before it was installed anew.
fn of_former(reason: Reason) -> Reason {
    if reason.code != Code::Exists || reason.hint.is_some() {
        return reason;
    }
    reason.hint("if that node is this host before it was installed anew: `stead node evict` it")
}

/// The change that gives a node another name or other addresses.
pub(super) fn readdress(
    node: NodeId,
    NodeWish { name, addresses }: NodeWish,
    replica: &Replica,
    around: &Around<'_>,
) -> Result<Change, Reason> {
    let refused = |code| Reason::new(code, format!("cannot change {node}"));
    let Some(now) = around.config.node_entry(node) else {
        return Err(refused(Code::NotFound).because("there is no such node"));
    };
    let mut wanted = now.clone();
    if let Some(name) = name.filter(|name| *name != now.name) {
        check_free(&name, (&replica.db, around.config), refused)?;
        wanted.name = name;
    }
    for given in addresses.into_iter().filter(|given| !now.addresses.contains(given)) {
        check_address(given.address, around.config)
            .map_err(|(code, because)| refused(code).because(because))?;
        let own = wanted.addresses.iter_mut().find(|own| own.network == given.network);
        let Some(own) = own else {
            let text = format!("it has no address on network {}", given.network);
            return Err(refused(Code::NotFound).because(text));
        };
        own.address = given.address;
    }
    if wanted == *now {
        return Err(refused(Code::Conflict).because("it is so already"));
    }
    check_ways(now, &wanted, replica, around)
        .map_err(|(because, hint)| refused(Code::Conflict).because(because).hint(hint))?;
    Ok(Change::SetNode { node: wanted })
}

/// Whether the node finds the others and they find it while it moves, and afterwards: it is heard
/// over a network on which it stays, and nobody is off who would look for it where it was, or was
/// not heard to know who was where before: who is about to be missed knows all but this change.
fn check_ways(
    now: &NodeEntry,
    wanted: &NodeEntry,
    replica: &Replica,
    around: &Around<'_>,
) -> Result<(), (String, String)> {
    if wanted.addresses == now.addresses {
        return Ok(());
    }
    let (node, host) = (now.id, around.host);
    let unheard = around.nodes.iter().filter(|other| !around.heard.contains(other));
    let unheard: Vec<String> = unheard.map(ToString::to_string).collect();
    if !unheard.is_empty() {
        let because = format!("{} is not heard, and would look for it there", unheard.join(", "));
        return Err((because, "start or evict that node, then repeat it".into()));
    }
    let knows = |other: &&NodeId| replica.has_members(VoterId::from(**other));
    if let Some(behind) = around.nodes.iter().find(|other| !knows(other)) {
        let because = format!("{behind} may not know yet where all nodes were before");
        return Err((because, "repeat the command in a moment".into()));
    }
    let stays =
        |network| address_on(&now.addresses, network) == address_on(&wanted.addresses, network);
    let others = around.nodes.iter().copied().filter(|other| *other != host);
    // The leader is heard by those that it hears.
    let mut far = others.filter(|other| node == host || *other == node);
    match far.find(|other| !around.links.heard_on(*other).any(stays)) {
        None => Ok(()),
        Some(far) => Err((
            format!("{far} and {host} hear each other on no other network meanwhile"),
            "change one address after the other; with one network only, `cluster leave` on that \
             host, and join again"
                .into(),
        )),
    }
}

/// The number above all that there ever were; when there is none, one of a node that was evicted.
fn next_number(db: &Db, around: &Around<'_>) -> NodeId {
    let numbers = around.config.nodes.iter().map(|node| node.id);
    let last = numbers.chain(db.evicted().iter().copied()).max().unwrap_or_default();
    let next = NodeId(last.0 + 1);
    let used = db.evicted().first().copied();
    match check_number(next, around.config, around.disk_nodes_max) {
        Err((Code::Invalid, ..)) => used.unwrap_or(next),
        Ok(()) | Err(_) => next,
    }
}

fn check_number(
    id: NodeId,
    config: &NodeConfig,
    disk_nodes_max: Option<u16>,
) -> Result<(), (Code, String, String)> {
    if config.node_entry(id).is_some() {
        let hint = "leave the number out: the next free one is taken".to_owned();
        return Err((Code::Exists, format!("there is a node {id} already"), hint));
    }
    let max = if config.quorum.disk.is_some() { disk_nodes_max } else { Some(NODES_MAX) };
    let Some(max) = max.map(|max| max.min(NODES_MAX)) else {
        let hint = "ask again when `quorum show` says that the quorum disk is read".to_owned();
        return Err((Code::Conflict, "the quorum disk has not been read yet".into(), hint));
    };
    if (1..=max).contains(&id.0) {
        return Ok(());
    }
    let hint = if config.quorum.disk.is_some() {
        "the quorum disk was formatted for so many; a larger cluster needs a new one".to_owned()
    } else {
        "choose a free number in this range".to_owned()
    };
    Err((Code::Invalid, format!("{id} is not among the numbers 1 to {max}"), hint))
}

/// Whether a node may be called so: no other one is, and no virtual server.
fn check_free(
    name: &str,
    (db, config): (&Db, &NodeConfig),
    refused: impl Fn(Code) -> Reason,
) -> Result<(), Reason> {
    check_name(name, config).map_err(|(code, because)| refused(code).because(because))?;
    match servers::named(db, name) {
        None => Ok(()),
        Some(server) => Err(refused(Code::Exists)
            .because(format!("resource `{}` publishes that name", server.id))
            .hint("a virtual server and a node cannot have the same name")),
    }
}

fn check_name(name: &str, config: &NodeConfig) -> Result<(), (Code, String)> {
    let allowed = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'.';
    let is_name = (1..=253).contains(&name.len()) && name.bytes().all(allowed);
    if !is_name || name.starts_with(['-', '.']) {
        return Err((Code::Invalid, format!("`{name}` is no host name")));
    }
    match config.nodes.iter().find(|n| n.name.eq_ignore_ascii_case(name)) {
        Some(other) => Err((Code::Exists, format!("{} has that name", other.id))),
        None => Ok(()),
    }
}

fn check_addresses(addresses: &[NodeAddress], config: &NodeConfig) -> Result<(), (Code, String)> {
    let mut seen = BTreeSet::new();
    for given in addresses {
        let Some(network) = config.networks.iter().find(|n| n.id == given.network) else {
            return Err((Code::NotFound, format!("there is no network {}", given.network)));
        };
        if !seen.insert(given.network) {
            let text = format!("two addresses are given on network `{}`", network.name);
            return Err((Code::Invalid, text));
        }
        check_address(given.address, config)?;
    }
    let carries = |n: &&stead_model::config::NetworkEntry| n.role.carries_cluster();
    if config.networks.iter().filter(carries).any(|n| seen.contains(&n.id)) {
        return Ok(());
    }
    let text = "it is given no address on a network that carries cluster traffic";
    Err((Code::Invalid, text.to_owned()))
}

fn check_address(address: IpAddr, config: &NodeConfig) -> Result<(), (Code, String)> {
    if address.is_unspecified() || address.is_multicast() {
        return Err((Code::Invalid, format!("{address} is no address of a node")));
    }
    let has = |n: &&NodeEntry| n.addresses.iter().any(|a| a.address == address);
    match config.nodes.iter().find(has) {
        Some(other) => Err((Code::Exists, format!("{} has the address {address}", other.id))),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use stead_model::NetworkId;
    use stead_model::config::{NetworkEntry, NetworkRole, QuorumConfig};
    use stead_model::profile::Profile;

    fn at(network: u8, last: u8) -> NodeAddress {
        NodeAddress { network: NetworkId(network), address: IpAddr::from([10, 0, network, last]) }
    }

    fn config() -> NodeConfig {
        let network = |id, role| NetworkEntry::new(NetworkId(id), format!("net{id}"), role);
        let node = |id: u8| NodeEntry {
            id: NodeId(id.into()),
            name: format!("node{id}"),
            addresses: vec![at(1, id)],
        };
        NodeConfig {
            cluster: "test".into(),
            cluster_id: 1,
            node: NodeId(1),
            port: 1,
            nodes: vec![node(1), node(3)],
            founders: None,
            networks: vec![network(1, NetworkRole::Private), network(2, NetworkRole::Public)],
            quorum: QuorumConfig { mode: QuorumMode::NodeMajority, disk: None },
            profile: Profile::Standard,
            watchdog: None,
        }
    }

    #[test]
    fn numbers_that_are_taken_or_have_no_slot_on_the_disk_are_refused() {
        let config = config();
        assert_eq!(check_number(NodeId(2), &config, None), Ok(()));
        assert_eq!(check_number(NodeId(64), &config, None), Ok(()));
        let code = |id, config: &NodeConfig, slots| {
            check_number(NodeId(id), config, slots).map_err(|(code, ..)| code)
        };
        assert_eq!(code(3, &config, None), Err(Code::Exists));
        assert_eq!(code(65, &config, None), Err(Code::Invalid));
        assert_eq!(code(0, &config, None), Err(Code::Invalid));
        let mut with_disk = config;
        with_disk.quorum.disk = Some(stead_model::config::QuorumDisk {
            voter: VoterId(VoterId::DISK_FIRST),
            path: "/dev/q".into(),
            disk_id: [1; 16],
        });
        assert_eq!(code(4, &with_disk, Some(4)), Ok(()));
        assert_eq!(code(5, &with_disk, Some(4)), Err(Code::Invalid));
        assert_eq!(code(4, &with_disk, None), Err(Code::Conflict));
    }

    #[test]
    fn names_and_addresses_of_other_nodes_are_refused() {
        let config = config();
        assert_eq!(check_name("node2", &config), Ok(()));
        assert_eq!(check_name("NODE3", &config).unwrap_err().0, Code::Exists);
        for bad in ["", "-a", "a b", "ä", "a/b"] {
            assert_eq!(check_name(bad, &config).unwrap_err().0, Code::Invalid, "{bad}");
        }
        let code = |given: &[NodeAddress]| check_addresses(given, &config).map_err(|(c, _)| c);
        assert_eq!(code(&[at(1, 2), at(2, 2)]), Ok(()));
        assert_eq!(code(&[at(1, 3)]), Err(Code::Exists));
        assert_eq!(code(&[at(2, 2)]), Err(Code::Invalid), "no cluster traffic reaches it");
        assert_eq!(code(&[at(1, 2), at(1, 4)]), Err(Code::Invalid));
        assert_eq!(code(&[at(9, 2)]), Err(Code::NotFound));
    }
}
