//! A database that is fed with changes.

use std::collections::BTreeMap;

use stead_core::db::{Applied, Db};
use stead_core::groups::{Decision, NodeLive, PlanInput, decide};
use stead_core::planted::Planted;
use stead_model::change::{Change, Entry};
use stead_model::config::{NetworkEntry, NetworkRole, NodeAddress, NodeEntry};
use stead_model::group::{Desired, GroupPolicy};
use stead_model::reason::Reason;
use stead_model::request::Request;
use stead_model::resource::{ResourceConfig, ResourcePolicy};
use stead_model::usage::Usage;
use stead_model::wire::peer::Report;
use stead_model::{
    Epoch, GroupId, Incarnation, LogIndex, NetworkId, NodeId, ResourceId, UtcMillis,
};

pub(crate) fn entry(changes: Vec<Change>) -> Entry {
    Entry { at: UtcMillis(0), request: None, why: "test".into(), changes }
}

pub(crate) fn apply(db: &mut Db, changes: Vec<Change>) -> Vec<Applied> {
    db.apply(db.applied().next(), &entry(changes))
}

/// Applies changes that must fit.
pub(crate) fn must(db: &mut Db, changes: Vec<Change>) -> LogIndex {
    let outcomes = apply(db, changes);
    assert!(outcomes.iter().all(|o| *o == Applied::Done), "{outcomes:?}");
    db.applied()
}

pub(crate) fn skipped(db: &mut Db, change: Change) -> String {
    let before = db.clone();
    let outcomes = apply(db, vec![change]);
    assert_eq!((before.groups(), before.keys()), (db.groups(), db.keys()), "skipped whole");
    outcomes[0].skipped().expect("it was to be skipped").to_string()
}

pub(crate) fn n(number: u16) -> NodeId {
    NodeId(number)
}

pub(crate) fn create(group: &str) -> Change {
    Change::CreateGroup { group: group.into(), policy: GroupPolicy::default() }
}

pub(crate) fn resource(id: &str) -> ResourceConfig {
    ResourceConfig {
        id: id.into(),
        kind: "dummy".to_owned(),
        properties: BTreeMap::new(),
        depends_on: [].into(),
        possible_owners: None,
        desired: Desired::Online,
        policy: ResourcePolicy::default(),
        new_in: Epoch(0),
    }
}

pub(crate) fn add(group: &str, id: &str) -> Change {
    Change::CreateResource { group: group.into(), resource: resource(id) }
}

pub(crate) fn depend(id: &str, on: &[&str]) -> Change {
    let depends_on = on.iter().map(|d| ResourceId::from(*d)).collect();
    Change::SetDependencies { resource: id.into(), depends_on }
}

pub(crate) fn grant(group: &str, node: u16, epoch: u64) -> Change {
    let (group, node, epoch) = (GroupId::from(group), NodeId(node), Epoch(epoch));
    Change::Grant { group, node, epoch, why: "test".into() }
}

pub(crate) fn release(group: &str, epoch: u64) -> Change {
    let (group, epoch) = (GroupId::from(group), Epoch(epoch));
    Change::Release { group, epoch, to: None, why: "test".into() }
}

pub(crate) fn disown(group: &str, epoch: u64) -> Change {
    Change::Disown { group: group.into(), epoch: Epoch(epoch), why: "test".into() }
}

/// Two groups: `web` with `ip` and `httpd` on it, and `mail` with `spool`.
pub(crate) fn two_groups() -> Db {
    let mut db = Db::default();
    must(&mut db, vec![create("web"), add("web", "ip"), add("web", "httpd")]);
    must(&mut db, vec![depend("httpd", &["ip"]), create("mail"), add("mail", "spool")]);
    db
}

/// A report of a node that runs nothing.
pub(crate) fn empty_report(node: NodeId) -> Report {
    let (guard, machine) = (Incarnation(1), Usage::default());
    Report {
        node,
        guard,
        number: 1,
        groups: Vec::new(),
        machine,
        interfaces: Vec::new(),
        seals: Default::default(),
        program: Default::default(),
    }
}

/// A network of each role.
pub(crate) fn networks() -> [NetworkEntry; 3] {
    let roles = [NetworkRole::Private, NetworkRole::Public, NetworkRole::Mixed];
    let mut numbers = 1..;
    roles.map(|role| {
        let id = NetworkId(numbers.next().unwrap());
        NetworkEntry::new(id, role.word(), role)
    })
}

/// Two nodes with an address on the networks `public` and `mixed` each.
fn entries() -> [NodeEntry; 2] {
    [(1, "alpha"), (2, "beta.example.org")].map(|(number, name)| {
        let address = |network: u8| NodeAddress {
            network: NetworkId(network),
            address: [10, network, 0, number as u8].into(),
        };
        let addresses = vec![address(2), address(3)];
        NodeEntry { id: n(number), name: name.to_owned(), addresses }
    })
}

/// Asks with nodes 1 to 3 up, the reports given.
pub(crate) fn ask_with(
    db: &Db,
    reports: &BTreeMap<NodeId, Report>,
    request: &Request,
) -> Result<Decision, Reason> {
    let live = |id| NodeLive { eligible: true, stopped: false, report: reports.get(&id) };
    let nodes = (1..=3).map(|i| (n(i), live(n(i)))).collect();
    let host_names = &["alpha".to_owned(), "beta.example.org".to_owned(), "lab".to_owned()];
    let (networks, planted) = (&networks()[..], Planted::NONE);
    let (cluster, entries, at) = ("lab", &entries()[..], UtcMillis(0));
    let input = PlanInput { db, at, nodes, cluster, entries, host_names, networks, planted };
    decide(request, &input, 10_000)
}

pub(crate) fn ask(db: &Db, request: &Request) -> Result<Decision, Reason> {
    ask_with(db, &BTreeMap::new(), request)
}
