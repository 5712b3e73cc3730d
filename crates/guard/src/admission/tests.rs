//! Every state and input of the guard's decisions, and the rules one by one.

use stead_model::order::{GuardOrder, GuardReport, OwnMonitor};
use stead_model::wire::guard::{Claim, InstanceId, MonitorId, OWN_MONITORS_MAX, ThingKind};
use stead_model::{Epoch, Incarnation, LeaseNumber, ResourceId, Span, Time};

use super::{Guard, Input, Output};

const GRACE: Span = Span(200);
const MONITOR: MonitorId = MonitorId(1);

/// One line per output, short enough for a table.
fn words(out: &[Output]) -> String {
    let word = |output: &Output| match output {
        Output::Report(GuardReport::LeaseSet { number, until }) => {
            format!("{number} until {}", until.0)
        }
        Output::Report(GuardReport::HardStopBegan { lease, .. }) => format!("began {lease}"),
        Output::Report(GuardReport::HardStopDone { lease }) => format!("done {lease}"),
        Output::Report(GuardReport::MonitorDied { .. }) => "monitor died".into(),
        Output::Report(GuardReport::MonitorReady) => "monitor ready".into(),
        Output::Report(GuardReport::OwnMonitorDied { resource, .. }) => format!("{resource} died"),
        Output::Report(GuardReport::OwnMonitorReady(own)) => {
            format!("{} ready in {}", own.resource, own.slot)
        }
        Output::Report(GuardReport::OwnMonitorRefused { resource, .. }) => {
            format!("{resource} refused")
        }
        Output::Pass { until } => format!("pass until {}", until.0),
        Output::Dark => "dark".into(),
        Output::Report(GuardReport::Leave) => "leave".into(),
        Output::Admitted(instance) => format!("admitted {instance}"),
        Output::Refused(refusal) => format!("refused: {refusal}"),
        Output::KillMonitor(monitor) => format!("kill {monitor}"),
        Output::Kill(instance) => format!("kill {instance}"),
        Output::ShutDown(instance) => format!("shut down {instance}"),
        Output::Undo(instance) => format!("undo {instance}"),
        Output::StartMonitor => "start monitor".into(),
        Output::StartOwnMonitor(own) => format!("start {} in {}", own.resource, own.slot),
        Output::ForgetOwnMonitors(all) => {
            let all: Vec<_> = all.iter().map(ResourceId::as_str).collect();
            format!("forget [{}]", all.join(", "))
        }
        Output::Overdue { monitors, things } => format!("overdue {monitors:?} {things:?}"),
        Output::Finished => "finished".into(),
    };
    out.iter().map(word).collect::<Vec<_>>().join("; ")
}

fn lease(number: u64, until: u64) -> Input {
    let number = LeaseNumber(number);
    Input::Order(GuardOrder::Lease { number, until: Time(until) })
}

fn hard_stop() -> Input {
    Input::Order(GuardOrder::HardStop { why: "test".into() })
}

fn admit(resource: &str, lease: u64, kind: ThingKind) -> Input {
    admit_for(resource, 1, lease, kind)
}

fn admit_for(resource: &str, epoch: u64, lease: u64, kind: ThingKind) -> Input {
    let claim = Claim {
        group: "web".into(),
        resource: resource.into(),
        epoch: Epoch(epoch),
        lease: LeaseNumber(lease),
    };
    Input::Admit { monitor: MONITOR, claim, kind }
}

fn exited(monitor: u32) -> Input {
    Input::MonitorExited { monitor: MonitorId(monitor), why: "killed".into() }
}

fn gone(instance: u64) -> Input {
    Input::Gone(InstanceId(instance))
}

/// A guard that got these inputs at time 0.
fn guard(inputs: Vec<Input>) -> Guard {
    let mut guard = Guard::new(Incarnation(7), GRACE);
    for input in inputs {
        guard.handle(Time(0), input);
    }
    guard
}

/// Lease 5 until 1000; program thing1, address thing2, mark thing3; one monitor.
fn serving() -> Guard {
    guard(vec![
        Input::MonitorStarted(MONITOR),
        lease(5, 1000),
        admit("httpd", 5, ThingKind::Program),
        admit("address", 5, ThingKind::Address),
        admit("dummy", 5, ThingKind::Mark),
    ])
}

fn states() -> Vec<(&'static str, Guard)> {
    let after = |mut guard: Guard, inputs: Vec<Input>| {
        for input in inputs {
            guard.handle(Time(100), input);
        }
        guard
    };
    vec![
        ("idle", guard(vec![Input::MonitorStarted(MONITOR)])),
        ("leased", serving()),
        ("stopping", after(serving(), vec![hard_stop()])),
        ("stopping, newer lease", after(serving(), vec![hard_stop(), lease(6, 2000)])),
        ("stopping, monitor gone", after(serving(), vec![hard_stop(), exited(1)])),
        ("ending", after(serving(), vec![Input::Shutdown])),
        ("ended", after(serving(), vec![Input::Shutdown, exited(1), gone(1), gone(2)])),
    ]
}

fn inputs() -> Vec<(&'static str, Input)> {
    vec![
        ("lease 5 longer", lease(5, 1500)),
        ("lease 5 shorter", lease(5, 500)),
        ("lease 7", lease(7, 3000)),
        ("lease 7 over", lease(7, 90)),
        ("hard stop", hard_stop()),
        ("monitor 2 started", Input::MonitorStarted(MonitorId(2))),
        ("monitor ready", Input::MonitorReady(MONITOR)),
        ("monitor exited", exited(1)),
        ("admit new under 5", admit("new", 5, ThingKind::Program)),
        ("admit new under 7", admit("new", 7, ThingKind::Program)),
        ("admit same again", admit("httpd", 7, ThingKind::Program)),
        ("program gone", gone(1)),
        ("deadline", Input::Deadline),
        ("shutdown", Input::Shutdown),
    ]
}

/// Every (state, input) at time 100: what comes out is pinned.
#[test]
fn every_state_answers_every_input() {
    let mut story = String::new();
    for (state, guard) in states() {
        story += &format!("{state}\n");
        for (name, input) in inputs() {
            let out = guard.clone().handle(Time(100), input);
            story += &format!("  {name}: {}\n", words(&out)).replace(": \n", ":\n");
        }
    }
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write("src/admission/answers.txt", &story).unwrap();
        return;
    }
    assert_eq!(story, include_str!("answers.txt"), "UPDATE=1 rewrites answers.txt");
}

#[test]
fn a_lease_ends_at_its_deadline_and_everything_is_stopped_in_order() {
    let mut guard = serving();
    assert_eq!(guard.next_deadline(), Some(Time(1000)));
    assert_eq!(words(&guard.handle(Time(999), Input::Deadline)), "");
    let out = guard.handle(Time(1000), Input::Deadline);
    assert_eq!(words(&out), "dark; kill monitor1; kill thing1; began l5");
    assert_eq!(guard.next_deadline(), Some(Time(1200)));
    assert_eq!(words(&guard.handle(Time(1010), gone(1))), "");
    assert_eq!(words(&guard.handle(Time(1020), exited(1))), "undo thing2");
    assert_eq!(words(&guard.handle(Time(1030), gone(2))), "done l5; start monitor");
    assert_eq!(guard.next_deadline(), None);
    assert!(guard.status().admitted.is_empty());
}

/// I-QUORUM: the input that comes first after the deadline, whatever it is, finds no lease.
#[test]
fn a_late_admission_or_renewal_finds_the_lease_over() {
    let mut guard = serving();
    let out = words(&guard.handle(Time(1000), admit("new", 5, ThingKind::Program)));
    assert!(out.contains("began l5; refused"), "{out}");
    let mut guard = serving();
    let out = words(&guard.handle(Time(1001), lease(6, 2000)));
    assert_eq!(out, "dark; kill monitor1; kill thing1; began l5");
    assert_eq!(guard.status().lease, None);
}

/// R8: the newer lease is used when the hard stop is finished, not before.
#[test]
fn a_newer_lease_waits_for_the_end_of_the_hard_stop() {
    let mut guard = serving();
    guard.handle(Time(100), hard_stop());
    guard.handle(Time(110), lease(6, 900));
    guard.handle(Time(110), exited(1));
    guard.handle(Time(120), gone(1));
    let mut late = guard.clone();
    let out = guard.handle(Time(130), gone(2));
    assert_eq!(words(&out), "done l5; start monitor; pass until 900; l6 until 900");
    let out = late.handle(Time(900), gone(2));
    assert_eq!(words(&out), "done l5; start monitor");
    assert_eq!(late.status().lease, None);
}

/// A monitor that slept through hard stop and recovery holds an order of the old lease (R8).
#[test]
fn an_order_from_before_the_hard_stop_is_refused_after_it() {
    let mut guard = serving();
    for input in [hard_stop(), exited(1), gone(1), gone(2), lease(6, 900)] {
        guard.handle(Time(100), input);
    }
    guard.handle(Time(100), Input::MonitorStarted(MONITOR));
    let old = guard.handle(Time(101), admit("httpd", 5, ThingKind::Program));
    assert!(words(&old).starts_with("refused: a hard stop began after lease l5"));
    let new = guard.handle(Time(101), admit("httpd", 6, ThingKind::Program));
    assert_eq!(words(&new), "admitted thing4");
}

/// R9: what an earlier node service ordered is refused, though its lease still runs.
#[test]
fn an_order_of_an_earlier_node_service_is_refused() {
    let mut guard = serving();
    let found = guard.begin_service();
    assert_eq!((found.admitted.len(), found.lease_last), (3, LeaseNumber(5)));
    let old = guard.handle(Time(1), admit("new", 5, ThingKind::Program));
    assert!(words(&old).starts_with("refused: "), "{}", words(&old));
    guard.handle(Time(2), lease(6, 2000));
    let new = guard.handle(Time(3), admit("new", 6, ThingKind::Program));
    assert_eq!(words(&new), "admitted thing4");
}

#[test]
fn a_resource_runs_for_one_epoch_only() {
    let mut guard = serving();
    let other = guard.handle(Time(1), admit_for("httpd", 2, 5, ThingKind::Program));
    assert_eq!(words(&other), "refused: it still runs for e1");
    guard.handle(Time(2), gone(1));
    let other = guard.handle(Time(3), admit_for("httpd", 2, 5, ThingKind::Program));
    assert_eq!(words(&other), "admitted thing4");
}

#[test]
fn addresses_go_at_the_end_of_the_grace_even_if_a_monitor_stays() {
    let mut guard = serving();
    guard.handle(Time(1000), Input::Deadline);
    let out = words(&guard.handle(Time(1200), Input::Deadline));
    assert_eq!(out, "undo thing2; overdue [MonitorId(1)] [InstanceId(1), InstanceId(2)]");
    assert_eq!(guard.next_deadline(), None);
    guard.handle(Time(1300), gone(1));
    guard.handle(Time(1300), gone(2));
    assert_eq!(words(&guard.handle(Time(1400), exited(1))), "done l5; start monitor");
}

#[test]
fn what_runs_survives_a_monitor() {
    let mut guard = serving();
    assert_eq!(words(&guard.handle(Time(1), exited(1))), "monitor died; start monitor");
    assert_eq!(guard.status().admitted.len(), 3);
    let orphan = guard.handle(Time(2), admit("new", 5, ThingKind::Program));
    assert_eq!(words(&orphan), "refused: the monitor that asks is not in service");
}

fn own(resource: &str, slot: u8) -> OwnMonitor {
    OwnMonitor { resource: resource.into(), slot }
}

fn wanted(resource: &str) -> Input {
    Input::OwnMonitorWanted(resource.into())
}

/// A-092, B2 SeparateMonitor: its end is told for its resource only, and it comes back on demand.
#[test]
fn a_resource_gets_a_monitor_of_its_own() {
    let mut guard = serving();
    let mut said = |input| words(&guard.handle(Time(1), input));
    assert_eq!(said(wanted("db")), "start db in 1");
    assert_eq!(said(Input::OwnMonitorStarted(MonitorId(2), own("db", 1))), "");
    assert_eq!(said(wanted("db")), "", "it is on its way");
    assert_eq!(said(Input::MonitorReady(MonitorId(2))), "db ready in 1");
    assert_eq!(said(wanted("db")), "db ready in 1", "told again");
    assert_eq!(said(Input::MonitorReady(MONITOR)), "monitor ready");
    assert_eq!(said(wanted("web")), "start web in 2");
    assert_eq!(said(exited(2)), "db died", "the others are untouched");
    assert_eq!(said(wanted("db")), "start db in 1", "it has kept its seat");
    said(Input::OwnMonitorStarted(MonitorId(3), own("db", 1)));
    assert_eq!(said(Input::OwnMonitorEnded("db".into())), "kill monitor3; forget [db]");
    assert_eq!(said(wanted("mail")), "start mail in 1", "its seat is free");
    assert_eq!(said(exited(3)), "", "nobody waits for its end");
    assert_eq!(guard.status().own_monitors, [own("mail", 1), own("web", 2)]);
}

/// A monitor that lost its seat has no say any more, whatever it still does.
#[test]
fn a_monitor_without_its_seat_is_refused() {
    let mut guard = serving();
    guard.handle(Time(1), wanted("db"));
    guard.handle(Time(1), Input::OwnMonitorStarted(MonitorId(2), own("db", 1)));
    let Input::Admit { claim, kind, .. } = admit("db", 5, ThingKind::Program) else { panic!() };
    let ask = || Input::Admit { monitor: MonitorId(2), claim: claim.clone(), kind };
    assert_eq!(words(&guard.handle(Time(2), ask())), "admitted thing4");
    guard.handle(Time(3), gone(4));
    guard.handle(Time(3), Input::OwnMonitorEnded("db".into()));
    let late = words(&guard.handle(Time(4), ask()));
    assert_eq!(late, "refused: the monitor that asks is not in service");
}

#[test]
fn own_monitors_are_bounded() {
    let mut guard = serving();
    for number in 1..=OWN_MONITORS_MAX {
        let out = words(&guard.handle(Time(1), wanted(&format!("r{number}"))));
        assert_eq!(out, format!("start r{number} in {number}"));
    }
    assert_eq!(words(&guard.handle(Time(1), wanted("more"))), "more refused");
    guard.handle(Time(2), Input::OwnMonitorEnded("r7".into()));
    assert_eq!(words(&guard.handle(Time(3), wanted("more"))), "start more in 7");
}

/// R8: all monitors are killed first, and none comes back before its resource is ordered again.
#[test]
fn a_hard_stop_kills_own_monitors_like_the_shared_one() {
    let mut guard = serving();
    guard.handle(Time(1), wanted("db"));
    guard.handle(Time(1), Input::OwnMonitorStarted(MonitorId(2), own("db", 1)));
    let began = words(&guard.handle(Time(2), hard_stop()));
    assert_eq!(began, "dark; kill monitor1; kill monitor2; kill thing1; began l5");
    assert_eq!(words(&guard.handle(Time(3), wanted("db"))), "");
    assert_eq!(words(&guard.handle(Time(3), exited(1))), "", "one still lives");
    assert_eq!(words(&guard.handle(Time(3), exited(2))), "undo thing2");
    guard.handle(Time(4), gone(1));
    assert_eq!(words(&guard.handle(Time(4), gone(2))), "done l5; forget [db]; start monitor");
    assert_eq!(guard.status().own_monitors, []);
    // One that was on its way finds its seat gone.
    guard.handle(Time(5), Input::OwnMonitorStarted(MonitorId(3), own("db", 1)));
    assert_eq!(words(&guard.handle(Time(5), Input::MonitorReady(MonitorId(3)))), "");
}

#[cfg(feature = "planted")]
#[test]
fn the_planted_fault_admits_after_the_hard_stop() {
    let planted = super::Planted { admit_without_check: true };
    let mut guard = serving().with_planted(planted);
    guard.handle(Time(1000), Input::Deadline);
    let out = guard.handle(Time(1001), admit("new", 5, ThingKind::Program));
    assert_eq!(words(&out), "admitted thing4");
}

#[test]
fn a_file_system_is_shut_down_at_once_and_detached_behind_the_monitors() {
    let mut guard = serving();
    guard.handle(Time(0), admit("data", 5, ThingKind::Mount));
    let began = words(&guard.handle(Time(100), hard_stop()));
    assert_eq!(began, "dark; kill monitor1; kill thing1; shut down thing4; began l5");
    let undone = words(&guard.handle(Time(110), exited(1)));
    assert_eq!(undone, "undo thing2; undo thing4");
    guard.handle(Time(120), gone(1));
    guard.handle(Time(120), gone(2));
    assert_eq!(words(&guard.handle(Time(300), Input::Deadline)), "overdue [] [InstanceId(4)]");
    assert!(guard.is_stopping(), "a dirty node");
    assert_eq!(words(&guard.handle(Time(301), lease(6, 2000))), "");
    assert_eq!(
        words(&guard.handle(Time(400), gone(4))),
        "done l5; start monitor; pass until 2000; l6 until 2000"
    );
}

#[test]
fn what_a_predecessor_left_is_taken_away_before_anything_else() {
    let left = |resource: &str| Claim {
        group: "web".into(),
        resource: resource.into(),
        epoch: Epoch(1),
        lease: LeaseNumber(9),
    };
    let mut guard =
        Guard::new(Incarnation(7), GRACE).with_left(Time(0), [(left("data"), ThingKind::Mount)]);
    assert!(guard.status().stopping && guard.status().admitted.len() == 1);
    assert_eq!(words(&guard.handle(Time(0), Input::Deadline)), "undo thing1");
    assert_eq!(words(&guard.handle(Time(1), gone(1))), "done l0; start monitor");
    let none = Guard::new(Incarnation(7), GRACE).with_left(Time(0), []);
    assert!(!none.is_stopping());
}
