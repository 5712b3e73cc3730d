//! Parts of stead are killed or restarted in order under a running group: no client notices.

use e2e::processes::{self, Role};
use e2e::{other, rounds, tell, until, witness};
use rustix::process::Signal;
use stead_lab::boot_ns;

use crate::stage::{Place, Stage, failed};

const APPLICATIONS: [Role<'static>; 2] =
    [Role::Application("demo-web"), Role::Application("lab-stamp")];

/// One restart: which signal ends the part, where the group is, and on which node it happens.
#[derive(Clone, Copy, Debug)]
struct Case {
    signal: Signal,
    group: Place,
    victim: Place,
}

/// All of them; those that come first differ most.
const CASES: [Case; 8] = {
    use Place::{Follower, Leader};
    const fn case(signal: Signal, group: Place, victim: Place) -> Case {
        Case { signal, group, victim }
    }
    [
        case(Signal::TERM, Leader, Leader),
        case(Signal::KILL, Follower, Follower),
        case(Signal::TERM, Follower, Leader),
        case(Signal::KILL, Leader, Leader),
        case(Signal::TERM, Follower, Follower),
        case(Signal::KILL, Follower, Leader),
        case(Signal::TERM, Leader, Follower),
        case(Signal::KILL, Leader, Follower),
    ]
};

#[test]
fn restarted_node_service_is_not_noticed() {
    let stage = Stage::set("restart-service");
    for case in CASES.iter().cycle().take(rounds().max(CASES.len() / 2)) {
        restart(&stage, Role::Service, *case);
    }
    witness::one_at_a_time(&stage.world, &stage.site, 0);
}

#[test]
fn restarted_monitor_is_not_noticed() {
    let stage = Stage::set("restart-monitor");
    for case in CASES.iter().cycle().take(rounds().max(CASES.len() / 2)) {
        restart(&stage, Role::Monitor, *case);
    }
    witness::one_at_a_time(&stage.world, &stage.site, 0);
}

fn restart(stage: &Stage, role: Role<'_>, case: Case) {
    let roles = stage.arrange(case.group);
    let (owner, victim) = (case.group.of(roles), case.victim.of(roles));
    let epoch = stage.epoch(other(victim));
    let before = APPLICATIONS.map(|role| processes::find(&stage.world, owner, role));
    let former = processes::find(&stage.world, victim, role);
    let from_ns = boot_ns();
    processes::signal(former, case.signal);
    until("another one", || {
        let found = processes::all(&stage.world, victim, role);
        found.first().is_some_and(|pid| *pid != former)
    });
    let back_ms = (boot_ns() - from_ns) / 1_000_000;
    stage.writer.wait_more(10);
    stage.adopted(owner);
    let after = APPLICATIONS.map(|role| processes::find(&stage.world, owner, role));
    assert_eq!(before, after, "{case:?}: applications were restarted");
    assert_eq!(stage.epoch(owner), epoch, "{case:?}: the group moved");
    let missed = failed(&stage.prober.attempts(), from_ns);
    assert!(missed.is_empty(), "{case:?}: {} answers missed: {:?}", missed.len(), missed.first());
    tell(&format!("{role:?} of {victim}, {:?}: another one after {back_ms} ms", case.signal));
}
