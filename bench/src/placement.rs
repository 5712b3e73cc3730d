//! Placement at size: ten thousand groups with demands and anti-affinity, one node lost, until the
//! leader has what it proposes.
//!
//! No lab: the planner is pure, so it is asked as the leader asks it. Every node has reported its
//! groups; then one is known stopped. Measured is from there on: the layout, the decisions about
//! all groups, and the entry as bytes. What comes out is looked at, too: every group of the dead
//! node has a node, none is overfilled, and no two groups are together that must not be.

use std::collections::BTreeMap;
use std::time::Instant;

use stead_core::db::Db;
use stead_core::groups::{NodeLive, PlanInput, needed, plan};
use stead_core::planted::Planted;
use stead_model::amounts::Amounts;
use stead_model::change::{Change, Entry};
use stead_model::group::{Desired, GroupPolicy};
use stead_model::profile::Profile;
use stead_model::room::Room;
use stead_model::usage::Usage;
use stead_model::wire::peer::{GroupReport, Report, Standing};
use stead_model::{Epoch, GroupId, Incarnation, LogIndex, NodeId, UtcMillis};

use crate::bench::{Bench, Outcome};
use crate::figure::{Case, Figure, Kind};

/// Groups in the cluster.
const GROUPS: u16 = 10_000;
/// Cluster sizes for which others were measured.
const NODES: [u16; 2] = [16, 32];

/// Why nothing was measured.
#[derive(Debug, thiserror::Error)]
enum PlacementError {
    #[error("{0} groups of the lost node have no other")]
    Waiting(usize),
    #[error("group `{0}` is placed against its rules")]
    Against(GroupId),
    #[error("{0} is filled with more than it has")]
    Overfilled(NodeId),
    #[error("the entry does not encode")]
    Encode(#[source] postcard::Error),
}

pub(crate) fn run(bench: &Bench) -> Outcome {
    let cases = bench.cases(&[Profile::Standard], &NODES);
    let mut outcome = Outcome::over(&cases, |case, outcome| measure(bench, case, outcome));
    outcome.note(format!(
        "{GROUPS} groups, each with demands of two units and an anti-affinity, half of both \
         required; after the loss of one node; no lab, and the profile makes no difference"
    ));
    outcome
}

fn measure(bench: &Bench, case: Case, outcome: &mut Outcome) -> Result<(), PlacementError> {
    let db = cluster(case.nodes);
    let reports = reports(&db);
    let mut values = Vec::new();
    for _ in 0..bench.runs(30) {
        let begun = Instant::now();
        let live = |number: u16| {
            let node = NodeId(number);
            let lost = number == 1;
            (node, NodeLive { eligible: !lost, stopped: lost, report: reports.get(&node) })
        };
        let nodes = (1..=case.nodes).map(live).collect();
        let at = UtcMillis(0);
        let (entries, host_names, networks, planted) = (&[], &[], &[], Planted::NONE);
        let (db, cluster) = (&db, "bench");
        let input = PlanInput { db, at, nodes, cluster, entries, host_names, networks, planted };
        let planned = plan(&input);
        let entry = Entry { at, request: None, why: planned.why, changes: planned.changes };
        let bytes = postcard::to_stdvec(&entry).map_err(PlacementError::Encode)?;
        values.push(begun.elapsed().as_secs_f64() * 1e3);
        check(db, std::hint::black_box(entry))?;
        drop(std::hint::black_box(bytes));
    }
    outcome.figures.push(Figure::new(Kind::Place, case, &values));
    Ok(())
}

fn name(number: u16) -> GroupId {
    format!("group-{number:05}").as_str().into()
}

/// All groups spread over the nodes in turn; a group must not, or rather not, run beside one that
/// is on another node from the beginning.
fn cluster(nodes: u16) -> Db {
    let mut changes = Vec::new();
    let each = u32::from(GROUPS / (nodes - 1)) + 1;
    for node in (1..=nodes).map(NodeId) {
        let mut capacity = Amounts::default();
        capacity.add("cpu", u64::from(each) * 3_000);
        capacity.add("memory", u64::from(each) * (3 << 30));
        changes.push(Change::SetRoom { node, room: Room { capacity, ..Room::default() } });
    }
    for number in 0..GROUPS {
        let mut policy = GroupPolicy::default();
        let other = name((number + nodes / 2) % GROUPS);
        let (rules, round) = (&mut policy.rules, u64::from(number / nodes));
        let demand =
            if round.is_multiple_of(2) { &mut rules.demand } else { &mut rules.demand_required };
        demand.add("cpu", 500 + round % 4 * 1_000);
        demand.add("memory", (1 + round % 4) << 30);
        match round.is_multiple_of(2) {
            true => rules.anti_affinity.preferred.insert(other),
            false => rules.anti_affinity.required.insert(other),
        };
        let (group, desired) = (name(number), Desired::Online);
        let (node, epoch) = (NodeId(number % nodes + 1), Epoch(1));
        changes.push(Change::CreateGroup { group: group.clone(), policy });
        changes.push(Change::SetGroupDesired { group: group.clone(), desired });
        changes.push(Change::Grant { group, node, epoch, why: "the beginning".to_owned() });
    }
    let mut db = Db::default();
    let why = "the beginning".to_owned();
    db.apply(LogIndex(1), &Entry { at: UtcMillis(0), request: None, why, changes });
    db
}

/// What the owners say: all is online.
fn reports(db: &Db) -> BTreeMap<NodeId, Report> {
    let mut reports: BTreeMap<NodeId, Report> = BTreeMap::new();
    for group in db.groups().values() {
        let Some(owned) = &group.ownership else { continue };
        let (node, guard) = (owned.node, Incarnation(1));
        let report = reports.entry(node).or_insert_with(|| Report {
            node,
            guard,
            number: 1,
            groups: Vec::new(),
            machine: Usage::default(),
            interfaces: Vec::new(),
            seals: Box::default(),
            program: Default::default(),
        });
        // A report that came over the network shares no text with the database.
        let (group, epoch) = (group.id.as_str().into(), owned.epoch);
        let standing = Standing::Held;
        report.groups.push(GroupReport { group, epoch, standing, resources: Vec::new() });
    }
    reports
}

/// Whether what comes out is what was to be measured.
fn check(db: &Db, entry: Entry) -> Result<(), PlacementError> {
    let mut after = db.clone();
    after.apply(LogIndex(2), &entry);
    let at = |id: &GroupId| after.group(id).and_then(|g| Some(g.ownership.as_ref()?.node));
    let lost = after.groups().keys().filter(|id| at(id) == Some(NodeId(1))).count();
    if lost > 0 {
        return Err(PlacementError::Waiting(lost));
    }
    for (node, used) in needed(&after) {
        let room = after.rooms().get(&node);
        let has = |unit: &str| room.and_then(|room| room.capacity.get(unit)).unwrap_or(0);
        if used.iter().any(|(unit, used)| used > has(unit)) {
            return Err(PlacementError::Overfilled(node));
        }
    }
    let beside = after.groups().values().find(|group| {
        let away = &group.policy.rules.anti_affinity.required;
        away.iter().any(|other| at(other) == at(&group.id))
    });
    match beside {
        None => Ok(()),
        Some(group) => Err(PlacementError::Against(group.id.clone())),
    }
}
