//! What is kept of a group and mended with each event is what a look at everything would give.
//! The core holds both against each other wherever debug assertions are on (`resources/outlook`);
//! here is the group that is hard to keep: trees that are turned over while they run, resources
//! that come, go, fail, hang and are left alone, monitors and leases that end, in any order.

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use proptest::sample::Index;
use proptest::test_runner::{Config, TestRng, TestRunner};
use stead_model::change::{Change, Entry};
use stead_model::group::Desired;
use stead_model::order::{Outcome, ResourceOrder};
use stead_model::resource::{Health, ResourcePolicy};
use stead_model::upkeep::Upkeep;
use stead_model::{Epoch, GroupId, LeaseNumber, NodeId, ResourceId, Span, UtcMillis};

use crate::bench::{Bench, GROUP, ME, broke, config, done};

const RESOURCES: usize = 6;

/// One thing that happens.
#[derive(Clone, Debug)]
enum Deed {
    Answer(Index, Said),
    /// Of a resource that was ordered something before.
    Say(usize, Said),
    MonitorDies,
    OwnMonitorDies(usize),
    HardStop,
    LeaseEnds,
    Lease,
    Pass(u32),
    Depend(usize, u8),
    Want(usize, bool),
    WantGroup(bool),
    Change(usize, u8),
    Make(usize),
    Delete(usize),
    Release,
    Grant(u16),
    LeaveAlone(Option<usize>, bool),
    Rehearse(usize),
}

#[derive(Clone, Copy, Debug)]
enum Said {
    Done,
    Failed,
    StopFailed,
    Refused,
    Unwell,
    Well,
}

fn deed() -> impl Strategy<Value = Deed> {
    let some = || 0..RESOURCES;
    let said = prop_oneof![
        12 => Just(Said::Done), 3 => Just(Said::Failed), 2 => Just(Said::StopFailed),
        1 => Just(Said::Refused),
    ];
    let word = prop_oneof![Just(Said::Failed), Just(Said::Unwell), Just(Said::Well)];
    prop_oneof![
        60 => (any::<Index>(), said).prop_map(|(which, said)| Deed::Answer(which, said)),
        8 => (some(), word).prop_map(|(which, said)| Deed::Say(which, said)),
        2 => Just(Deed::MonitorDies),
        3 => some().prop_map(Deed::OwnMonitorDies),
        1 => Just(Deed::HardStop),
        1 => Just(Deed::LeaseEnds),
        5 => Just(Deed::Lease),
        8 => (0_u32..20).prop_map(|bits| Deed::Pass(1 << bits)),
        8 => (some(), any::<u8>()).prop_map(|(which, bits)| Deed::Depend(which, bits)),
        5 => (some(), prop::bool::weighted(0.7)).prop_map(|(which, on)| Deed::Want(which, on)),
        1 => prop::bool::weighted(0.7).prop_map(Deed::WantGroup),
        3 => (some(), any::<u8>()).prop_map(|(which, bits)| Deed::Change(which, bits)),
        3 => some().prop_map(Deed::Make),
        1 => some().prop_map(Deed::Delete),
        1 => Just(Deed::Release),
        3 => (1_u16..3).prop_map(Deed::Grant),
        2 => (prop::option::of(some()), any::<bool>()).prop_map(|(w, on)| Deed::LeaveAlone(w, on)),
        3 => some().prop_map(Deed::Rehearse),
    ]
}

fn name(which: usize) -> String {
    format!("r{which}")
}

/// The bench with what the deeds need to know.
struct Told {
    bench: Bench,
    lease: u64,
    epoch: u64,
    last: BTreeMap<ResourceId, ResourceOrder>,
}

impl Told {
    fn outcome(said: Said, order: &ResourceOrder) -> Outcome {
        match said {
            Said::Done => done(&order.action),
            Said::Failed => broke(),
            Said::StopFailed => Outcome::StopFailed("it hangs".into()),
            Said::Refused => Outcome::Refused("too late".into()),
            Said::Unwell => Outcome::Health(Health::Bad, "it does not answer".into()),
            Said::Well => Outcome::Health(Health::Good, String::new()),
        }
    }

    /// Changes that the database skips are fine.
    fn apply(&mut self, change: Change) {
        let db = &mut self.bench.db;
        let entry =
            Entry { at: UtcMillis(0), request: None, why: String::new(), changes: vec![change] };
        db.apply(db.applied().next(), &entry);
        self.bench.sync();
    }

    fn does(&mut self, deed: &Deed) {
        for order in &self.bench.orders {
            self.last.insert(order.resource.clone(), order.clone());
        }
        let bench = &mut self.bench;
        match deed {
            Deed::Answer(which, said) if !bench.orders.is_empty() => {
                let order = bench.orders.remove(which.index(bench.orders.len()));
                bench.answer(&order, Self::outcome(*said, &order));
            }
            Deed::Answer(..) => {}
            Deed::Say(which, said) => {
                if let Some(order) = self.last.get(&name(*which).as_str().into()) {
                    bench.answer(order, Self::outcome(*said, order));
                }
            }
            Deed::MonitorDies => {
                bench.monitor_died();
                bench.monitor_ready();
            }
            Deed::OwnMonitorDies(which) => bench.own_monitor_died(&name(*which)),
            Deed::HardStop => bench.hard_stop(),
            Deed::LeaseEnds => {
                bench.lease = None;
                bench.sync();
            }
            Deed::Lease => {
                self.lease += 1;
                bench.lease = Some(LeaseNumber(self.lease));
                bench.sync();
            }
            Deed::Pass(ms) => bench.pass(Span::from_millis(u64::from(*ms))),
            Deed::Rehearse(which) => bench.fail(&name(*which), self.epoch),
            Deed::Grant(node) => {
                self.epoch += 1;
                let (group, epoch) = (GroupId::from(GROUP), Epoch(self.epoch));
                self.apply(Change::Disown {
                    group: group.clone(),
                    epoch: Epoch(epoch.0 - 1),
                    why: String::new(),
                });
                self.apply(Change::Grant { group, node: NodeId(*node), epoch, why: String::new() });
            }
            Deed::Depend(..)
            | Deed::Want(..)
            | Deed::WantGroup(_)
            | Deed::Change(..)
            | Deed::Make(_)
            | Deed::Delete(_)
            | Deed::Release
            | Deed::LeaveAlone(..) => {
                let change = self.change(deed);
                self.apply(change);
            }
        }
    }

    fn change(&self, deed: &Deed) -> Change {
        let group = GroupId::from(GROUP);
        let id = |which: &usize| ResourceId::from(name(*which).as_str());
        let desired = |on: &bool| if *on { Desired::Online } else { Desired::Offline };
        match deed {
            Deed::Depend(which, bits) => {
                let some =
                    (0..RESOURCES).filter(|other| bits & bits.rotate_left(3) >> other & 1 == 1);
                let depends_on: BTreeSet<ResourceId> = some.map(|other| id(&other)).collect();
                Change::SetDependencies { resource: id(which), depends_on }
            }
            Deed::Want(which, on) => {
                Change::SetResourceDesired { resource: id(which), desired: desired(on) }
            }
            Deed::WantGroup(on) => Change::SetGroupDesired { group, desired: desired(on) },
            Deed::Change(which, bits) => {
                let policy = ResourcePolicy {
                    restart_threshold: u32::from(bits & 1),
                    affects_group: bits & 2 == 0,
                    retry_after_s: u64::from(bits >> 2 & 1) * 10,
                    pending_timeout_ms: 100 << (bits >> 3 & 7),
                    ..ResourcePolicy::default()
                };
                let properties = [("size".to_owned(), (bits >> 6).to_string())].into();
                let resource = id(which);
                Change::SetResource { resource, properties, policy, possible_owners: None }
            }
            Deed::Make(which) => {
                Change::CreateResource { group, resource: config(&name(*which), &[]) }
            }
            Deed::Delete(which) => Change::DeleteResource { resource: id(which) },
            Deed::Release => {
                Change::Release { group, epoch: Epoch(self.epoch), to: None, why: String::new() }
            }
            Deed::LeaveAlone(which, true) => {
                let (resource, until) = (which.as_ref().map(id), UtcMillis(u64::MAX));
                Change::Upkeep { upkeep: Upkeep::Maintain { group, resource, until } }
            }
            Deed::LeaveAlone(which, false) => {
                let resource = which.as_ref().map(id);
                Change::Upkeep { upkeep: Upkeep::EndMaintenance { group, resource } }
            }
            other => panic!("{other:?} changes nothing"),
        }
    }
}

/// Each step is held against a look at everything; a step that never ends would be seen, too.
#[test]
fn mended_step_by_step_it_is_as_if_looked_at_anew() {
    let (moved, failed) = (Cell::new(0), Cell::new(0));
    let cases = Config { cases: 80, failure_persistence: None, ..Config::default() };
    let rng = TestRng::deterministic_rng(cases.rng_algorithm);
    let stories = prop::collection::vec(deed(), 100..300);
    let run = |deeds: Vec<Deed>| {
        let bench = Bench::new((0..RESOURCES).map(|which| config(&name(which), &[])).collect());
        let mut told = Told { bench, lease: 1, epoch: 1, last: BTreeMap::new() };
        deeds.iter().for_each(|deed| told.does(deed));
        let owned = told.bench.db.group(&GROUP.into()).and_then(|g| g.ownership.as_ref());
        moved.set(moved.get() + usize::from(owned.is_some_and(|owned| owned.node != ME)));
        let codes = told.bench.codes();
        failed.set(failed.get() + codes.iter().filter(|code| **code == "resource-failed").count());
        Ok(())
    };
    TestRunner::new_with_rng(cases, rng).run(&stories, run).unwrap();
    let (moved, failed) = (moved.get(), failed.get());
    assert!(moved > 20 && failed > 200, "the stories must lead there: {moved}, {failed}");
}

/// What stood on something that now stands on it is no circle to run in.
#[test]
fn a_tree_may_be_turned_over_while_it_runs() {
    let mut bench = Bench::new(vec![config("a", &[]), config("b", &["a"])]);
    bench.run();
    let depend = |resource: &str, on: &[&str]| Change::SetDependencies {
        resource: resource.into(),
        depends_on: on.iter().map(|on| ResourceId::from(*on)).collect(),
    };
    bench.apply(vec![depend("b", &[]), depend("a", &["b"])]);
    bench.fail("b", 1);
    bench.run();
    assert_eq!(bench.online().len(), 2);
}
