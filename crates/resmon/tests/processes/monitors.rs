//! Monitors that resources have of their own, and monitors that do not answer (A-092, B2).

use std::fs;

use rustix::process::Signal;
use stead_model::Span;
use stead_model::order::{Action, GuardReport, MonitorName, Outcome};
use stead_model::wire::guard::NodeToGuard;

use crate::Story;
use crate::world::{World, eventually, send_signal, spec};

macro_rules! stories {
    ($($name:ident),* $(,)?) => { &[$((stringify!($name), $name)),*] };
}

pub(crate) const ALL: &[Story] = stories![
    a_resource_has_a_monitor_of_its_own,
    an_own_monitor_dies_alone,
    a_silent_monitor_is_looked_at_and_replaced,
    a_silent_own_monitor_is_replaced_alone,
    a_hard_stop_kills_own_monitors_first,
];

/// Opens the witness and stays for ever.
fn stay(name: &str) -> String {
    format!("exec 9>$ROOT/{name}; echo >&9; while :; do sleep 1; done")
}

fn lives(pid: i32) -> bool {
    // Nobody waits for it but the guard, at once.
    fs::exists(format!("/proc/{pid}")).unwrap()
}

/// Stops a process and waits until all its threads have taken the signal: on a busy machine one may
/// still run for a while.
fn stop(pid: i32) {
    send_signal(pid, Signal::STOP);
    let stopped = |task: std::io::Result<fs::DirEntry>| {
        let stat = fs::read_to_string(task.unwrap().path().join("stat")).unwrap();
        stat.rsplit_once(')').is_some_and(|(_, rest)| rest.starts_with(" T"))
    };
    eventually("all its threads are stopped", || {
        fs::read_dir(format!("/proc/{pid}/task")).unwrap().all(stopped)
    });
}

fn a_resource_has_a_monitor_of_its_own() {
    let mut world = World::start();
    let shared = world.monitor_pid();
    let mut life = world.witness("db");
    assert_eq!(world.ask("web", Action::Online(spec("dummy", &[]))), Outcome::Online);
    assert_eq!(world.own_monitor("db"), 1);
    let own = world.monitor_pid();
    assert_ne!(own, shared);
    let words = fs::read_to_string(format!("/proc/{own}/cmdline")).unwrap();
    assert!(words.ends_with("--own\u{0}1\u{0}db\u{0}"), "seen in a list of processes: {words}");
    let script = world.script(&stay("db"), &[]);
    assert_eq!(world.ask("db", Action::Online(script.clone())), Outcome::Online);
    life.wait_for_life();
    // The other one knows nothing of it, and does its own work.
    world.turn_to(0);
    let Outcome::Failed(why) = world.ask("db", Action::Adopt(script)) else { panic!("known") };
    assert_eq!(why, "nothing of it runs any more");
    assert_eq!(world.ask("web", Action::Offline), Outcome::Offline);
    assert!(life.lives());
    // It is ended when it is not needed any more, and its socket is free for another one.
    world.turn_to(1);
    assert_eq!(world.ask("db", Action::Offline), Outcome::Offline);
    world.tell_guard(&NodeToGuard::EndOwnMonitor("db".into()));
    eventually("the own monitor is gone", || !lives(own));
    assert!(lives(shared) && world.status().own_monitors.is_empty());
    world.turn_to(0);
    assert_eq!(world.own_monitor("mail"), 1);
    assert_eq!(world.ask("mail", Action::Online(spec("dummy", &[]))), Outcome::Online);
}

fn an_own_monitor_dies_alone() {
    let mut world = World::start();
    let shared = world.monitor_pid();
    let (mut db, mut web) = (world.witness("db"), world.witness("web"));
    let of = |world: &World, name: &str| world.script(&stay(name), &[]);
    let script = of(&world, "web");
    assert_eq!(world.ask("web", Action::Online(script.clone())), Outcome::Online);
    world.own_monitor("db");
    let db_script = of(&world, "db");
    assert_eq!(world.ask("db", Action::Online(db_script.clone())), Outcome::Online);
    db.wait_for_life();
    web.wait_for_life();
    for _ in 0..3 {
        let own = world.monitor_pid();
        send_signal(own, Signal::ABORT);
        world.guard_report(|report| match report {
            GuardReport::OwnMonitorDied { resource, .. } => resource.as_str() == "db",
            _ => false,
        });
        world.own_monitor("db");
        assert_ne!(world.monitor_pid(), own);
        assert_eq!(world.ask("db", Action::Adopt(db_script.clone())), Outcome::Online);
    }
    let own = world.monitor_pid();
    world.turn_to(0);
    assert_eq!(world.monitor_pid(), shared, "it was never in danger");
    // The other way round.
    send_signal(shared, Signal::KILL);
    world.guard_report(|r| matches!(r, GuardReport::MonitorDied { .. }));
    world.next_monitor();
    world.hello(1);
    assert_eq!(world.ask("web", Action::Adopt(script)), Outcome::Online);
    assert!(lives(own) && db.lives() && web.lives());
    assert_eq!(world.status().admitted.len(), 2);
}

/// It is looked at before it is killed; what it hosts is adopted by the next one.
fn a_silent_monitor_is_looked_at_and_replaced() {
    let mut world = World::start();
    let mut life = world.witness("web");
    let script = world.script(&stay("web"), &[]);
    assert_eq!(world.ask("web", Action::Online(script.clone())), Outcome::Online);
    life.wait_for_life();
    let old = world.monitor_pid();
    stop(old);
    let silent = Span::from_secs(15);
    world.tell_guard(&NodeToGuard::Replace { monitor: MonitorName::Shared, silent });
    let (code, text) = replaced(&mut world);
    assert_eq!(code, "monitor-replaced");
    assert!(text.starts_with("the resource monitor did not answer for 15"), "{text}");
    assert!(text.contains(&format!("process {old} ")) && text.contains("is stopped"), "{text}");
    assert!(text.contains("; thread "), "its threads are told, too: {text}");
    world.guard_report(
        |r| matches!(r, GuardReport::MonitorDied { why } if why.starts_with("did not answer")),
    );
    world.next_monitor();
    world.hello(1);
    assert_eq!(world.ask("web", Action::Adopt(script)), Outcome::Online);
    assert!(life.lives() && !lives(old));
    assert_eq!(world.status().admitted.len(), 1);
}

fn replaced(world: &mut World) -> (String, String) {
    loop {
        let (code, text) = world.guard_notice();
        if code == "monitor-replaced" {
            return (code, text);
        }
    }
}

fn a_silent_own_monitor_is_replaced_alone() {
    let mut world = World::start();
    let shared = world.monitor_pid();
    world.own_monitor("db");
    assert_eq!(world.ask("db", Action::Online(spec("dummy", &[]))), Outcome::Online);
    let old = world.monitor_pid();
    stop(old);
    let (monitor, silent) = (MonitorName::Own("db".into()), Span::from_secs(30));
    world.tell_guard(&NodeToGuard::Replace { monitor: monitor.clone(), silent });
    // Told twice it is looked at once.
    world.tell_guard(&NodeToGuard::Replace { monitor, silent });
    let (_, text) = replaced(&mut world);
    assert!(text.starts_with("the monitor of resource `db` did not answer for 30"), "{text}");
    assert!(text.contains("is stopped"), "{text}");
    world.guard_report(|r| matches!(r, GuardReport::OwnMonitorDied { .. }));
    world.own_monitor("db");
    assert!(!lives(old) && lives(shared));
    assert_eq!(world.ask("db", Action::Adopt(spec("dummy", &[]))), Outcome::Online);
    // One that nobody has is no news.
    let (monitor, silent) = (MonitorName::Own("tea".into()), Span::from_secs(30));
    world.tell_guard(&NodeToGuard::Replace { monitor, silent });
    assert_eq!(world.status().own_monitors.len(), 1);
}

/// R8: a stalled one may hold an order of the old lease.
fn a_hard_stop_kills_own_monitors_first() {
    let mut world = World::start();
    let mut life = world.witness("db");
    world.own_monitor("db");
    let own = world.monitor_pid();
    let script = world.script(&stay("db"), &[]);
    assert_eq!(world.ask("db", Action::Online(script)), Outcome::Online);
    life.wait_for_life();
    stop(own);
    world.hard_stop();
    assert!(!lives(own) && !life.lives());
    let status = world.status();
    assert!(status.own_monitors.is_empty() && status.admitted.is_empty());
}
