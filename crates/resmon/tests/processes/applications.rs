//! Applications and dummies under guard and monitor.

use rustix::process::{Signal, geteuid};
use stead_model::order::{Action, GuardReport, Outcome};
use stead_model::resource::Health;
use stead_model::wire::monitor::NodeToMonitor;
use stead_model::{LeaseNumber, Span};

use crate::Story;
use crate::world::{GRACE, World, eventually, now, send_signal, spec};

macro_rules! stories {
    ($($name:ident),* $(,)?) => { &[$((stringify!($name), $name)),*] };
}

pub(crate) const ALL: &[Story] = stories![
    a_killed_application_is_reported,
    a_stop_goes_down_the_ladder,
    a_check_is_awaited_and_asked_again,
    a_probe_that_fails_is_told_and_taken_away,
    what_cannot_run_says_why,
    a_user_is_taken_or_refused,
    a_monitor_that_dies_is_followed_by_one_that_adopts,
    a_stalled_monitor_starts_nothing_after_its_lease,
    a_hard_stop_ends_all_within_the_grace,
    a_hang_hurts_only_its_own_resource,
    a_time_limit_tells_what_was_being_done,
    a_repeated_order_is_answered_again,
    a_new_node_service_adopts,
    the_processes_stay_small,
];

/// Tells the witness that it lives, then stays until TERM.
const STAY: &str = "exec 9>$ROOT/life; echo >&9; while :; do sleep 0.05; done";

fn a_killed_application_is_reported() {
    let mut world = World::start();
    let mut life = world.witness("life");
    let script = world.script(&format!("echo $$ >$ROOT/pid; {STAY}"), &[]);
    let order = world.order("httpd", Action::Online(script));
    assert_eq!(world.answer(order), Outcome::Online);
    life.wait_for_life();
    // The number is that of the application's own namespace: 1 is its init.
    let inside: i32 = std::fs::read_to_string(world.path("pid")).unwrap().trim().parse().unwrap();
    let guard = world.guard.id().cast_signed();
    let pid = descendant(guard, inside);
    send_signal(pid, Signal::KILL);
    let failed = Outcome::Failed("the program was ended by signal 9".into());
    assert_eq!(world.answer(order), failed);
    assert!(!life.lives());
    assert!(world.status().admitted.is_empty());
}

/// The process below the guard that has this number in its own namespace.
fn descendant(guard: i32, inside: i32) -> i32 {
    let mut left = vec![guard];
    while let Some(pid) = left.pop() {
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
        let own = status.lines().find_map(|l| l.strip_prefix("NSpid:")).unwrap_or_default();
        if own.split_whitespace().last() == Some(inside.to_string().as_str()) && pid != guard {
            return pid;
        }
        let children = format!("/proc/{pid}/task/{pid}/children");
        let children = std::fs::read_to_string(children).unwrap_or_default();
        left.extend(children.split_whitespace().map(|pid| pid.parse::<i32>().unwrap()));
    }
    panic!("no process {inside} below the guard");
}

fn a_stop_goes_down_the_ladder() {
    let mut world = World::start();
    let mut life = world.witness("life");
    let polite =
        world.script(&format!("trap 'echo bye; exit 0' USR1; {STAY}"), &[("stop-signal", "USR1")]);
    assert_eq!(world.ask("polite", Action::Online(polite)), Outcome::Online);
    life.wait_for_life();
    assert_eq!(world.ask("polite", Action::Offline), Outcome::Offline);
    assert_eq!(world.logs("polite"), "bye\n");
    assert!(!life.lives());

    let deaf = world.script(&format!("trap '' TERM; {STAY}"), &[("stop-timeout", "300ms")]);
    assert_eq!(world.ask("deaf", Action::Online(deaf)), Outcome::Online);
    life.wait_for_life();
    let asked = now();
    assert_eq!(world.ask("deaf", Action::Offline), Outcome::Offline);
    assert!(now().since(asked) >= Span::from_millis(300), "killed before its time was over");
    assert!(!life.lives(), "reported as offline and something of it lives");
}

fn a_check_is_awaited_and_asked_again() {
    let mut world = World::start();
    let tries = world.path("tries");
    let check =
        "/bin/sh -c 'echo x >>$ROOT/tries; test -e $ROOT/ready || { echo not yet; exit 1; }'";
    let mut slow = world.script(STAY, &[("check", check)]);
    slow.is_alive_ms = 200;
    let mut life = world.witness("life");
    let order = world.order("slow", Action::Online(slow.clone()));
    life.wait_for_life();
    let tried = || std::fs::read_to_string(&tries).unwrap_or_default().lines().count();
    eventually("it was checked some times", || tried() >= 3);
    std::fs::write(world.path("ready"), "").unwrap();
    // It is the first answer: until now there was none.
    assert_eq!(world.answer(order), Outcome::Online);
    let online = tried();
    eventually("it is checked thoroughly again and again", || tried() > online + 2);
    std::fs::remove_file(world.path("ready")).unwrap();
    let why = loop {
        // A check may be late first: that is unknown.
        if let Outcome::Health(Health::Bad, why) = world.report().outcome {
            break why;
        }
    };
    assert_eq!(why, "check `/bin/sh` ended with exit status: 1: not yet");
    assert!(life.lives(), "what follows is for the node service to say");

    // A program that ends while it is waited for is told at once, with its own end.
    let gone = world.script("sleep 0.2; exit 7", &[("check", "/bin/sh -c 'sleep 600'")]);
    let asked = now();
    let Outcome::Failed(why) = world.ask("gone", Action::Online(gone)) else { panic!("online?") };
    assert!(why.contains('7') && now().since(asked) < Span::from_secs(8), "{why}");
}

/// The probe sees what the application does not know of itself.
fn a_probe_that_fails_is_told_and_taken_away() {
    let mut world = World::start();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let probe = format!("tcp:{address}");
    let given = [("probe", probe.as_str()), ("probe-interval", "100ms"), ("probe-failures", "2")];
    let script = world.script("exec sleep 1000", &given);
    let order = world.order("httpd", Action::Online(script.clone()));
    assert_eq!(world.answer(order), Outcome::Online);
    assert_eq!(world.report().outcome, Outcome::Health(Health::Good, String::new()));
    drop(listener);
    let why = format!("probe tcp:{address}: connection refused, 2 times in a row");
    assert_eq!(world.report().outcome, Outcome::Health(Health::Bad, why));
    let mut without = script;
    without.properties.retain(|name, _| !name.starts_with("probe"));
    without.looks_alive_ms = 50;
    let order = world.order("httpd", Action::Adopt(without));
    assert_eq!(world.answer(order), Outcome::Online);
    assert_eq!(world.report().outcome, Outcome::Health(Health::Good, String::new()));
}

fn what_cannot_run_says_why() {
    let mut world = World::start();
    let missing = spec("generic-application", &[("command", "/nowhere/httpd -p 80")]);
    let Outcome::Failed(why) = world.ask("httpd", Action::Online(missing)) else {
        panic!("it started")
    };
    assert!(why.contains("/nowhere/httpd") && why.contains("No such file"), "{why}");
    let odd = spec("generic-application", &[("command", "sleep 'open quote")]);
    assert!(matches!(world.ask("odd", Action::Online(odd)), Outcome::Failed(_)));
    let unknown = spec("teapot", &[]);
    let Outcome::Failed(why) = world.ask("tea", Action::Online(unknown)) else {
        panic!("it started")
    };
    assert!(why.contains("teapot"), "{why}");
}

fn a_user_is_taken_or_refused() {
    let mut world = World::start();
    let mut life = world.witness("life");
    let as_user = |world: &World, user| {
        let script = format!("echo >$ROOT/life; id -u; {STAY}");
        let opened = world.path("");
        let open = std::os::unix::fs::PermissionsExt::from_mode(0o777);
        std::fs::set_permissions(opened, open).unwrap();
        let open = std::os::unix::fs::PermissionsExt::from_mode(0o777);
        std::fs::set_permissions(world.path("life"), open).unwrap();
        world.script(&script, &[("user", user)])
    };
    let stranger = as_user(&world, "no-such-user");
    let Outcome::Failed(why) = world.ask("stranger", Action::Online(stranger)) else {
        panic!("it started")
    };
    assert_eq!(why, "there is no user `no-such-user` on this node");
    let nobody = as_user(&world, "nobody");
    let outcome = world.ask("nobody", Action::Online(nobody));
    let users = std::fs::read_to_string("/proc/self/uid_map").unwrap();
    if geteuid().is_root() && users.contains("4294967295") {
        assert_eq!(outcome, Outcome::Online);
        life.wait_for_life();
        eventually("the user is told", || world.logs("nobody").starts_with("65534\n"));
    } else {
        let Outcome::Failed(why) = outcome else { panic!("it started") };
        assert!(why.contains("needs root"), "{why}");
    }
}

fn a_monitor_that_dies_is_followed_by_one_that_adopts() {
    let mut world = World::start();
    let mut life = world.witness("life");
    let script = world.script(STAY, &[]);
    assert_eq!(world.ask("httpd", Action::Online(script.clone())), Outcome::Online);
    life.wait_for_life();
    send_signal(world.monitor_pid(), Signal::KILL);
    world.guard_report(|r| matches!(r, GuardReport::MonitorDied { .. }));
    world.next_monitor();
    world.hello(1);
    assert!(life.lives());
    assert_eq!(world.ask("httpd", Action::Adopt(script)), Outcome::Online);
    assert_eq!(world.status().admitted.len(), 1);
    assert!(life.lives(), "it was restarted");
    assert_eq!(world.ask("httpd", Action::Offline), Outcome::Offline);
    assert!(!life.lives());
}

/// The scenario of R8: stopped with an unread order past the end of the lease, then continued.
fn a_stalled_monitor_starts_nothing_after_its_lease() {
    let mut world = World::start();
    let life = &mut world.witness("life");
    let script = world.script(STAY, &[]);
    let monitor = world.monitor_pid();
    send_signal(monitor, Signal::STOP);
    world.order("httpd", Action::Online(script.clone()));
    let old = world.written("httpd", Action::Online(script.clone()));
    world.renew(Span::from_millis(50));
    let stopped = LeaseNumber(world.lease);
    world.guard_report(|r| *r == GuardReport::HardStopDone { lease: stopped });
    // The hard stop killed it; if it were only stopped it would go on here.
    rustix::process::kill_process(rustix::process::Pid::from_raw(monitor).unwrap(), Signal::CONT)
        .ok();
    world.next_monitor();
    world.hello(1);
    world.renew(Span::from_secs(600));
    // The same order again, by the right of the old lease.
    world.send(&NodeToMonitor::Order(old.clone()));
    let Outcome::Refused(why) = world.answer(old.order) else { panic!("not refused") };
    assert!(why.contains("hard stop"), "{why}");
    assert!(world.status().admitted.is_empty());
    // By the new one it starts: that it did not before was not for another reason.
    assert_eq!(world.ask("httpd", Action::Online(script)), Outcome::Online);
    life.wait_for_life();
}

fn a_hard_stop_ends_all_within_the_grace() {
    let mut world = World::start();
    let mut life = world.witness("life");
    let deaf = world.script(&format!("trap '' TERM; {STAY}"), &[]);
    assert_eq!(world.ask("httpd", Action::Online(deaf)), Outcome::Online);
    assert_eq!(world.ask("dummy", Action::Online(spec("dummy", &[]))), Outcome::Online);
    life.wait_for_life();
    assert_eq!(world.status().admitted.len(), 2);
    let until = world.renew(Span::from_millis(100));
    let stopped = LeaseNumber(world.lease);
    world.guard_report(|r| *r == GuardReport::HardStopDone { lease: stopped });
    assert!(now() >= until && now() <= until + GRACE);
    assert!(!life.lives());
    assert!(world.status().admitted.is_empty());
}

fn a_hang_hurts_only_its_own_resource() {
    let mut world = World::start();
    let hung = world.order("hung", Action::Online(spec("dummy", &[("hang", "true")])));
    let mut late = spec("dummy", &[("hang", "true")]);
    late.pending_timeout_ms = 100;
    let Outcome::Failed(why) = world.ask("late", Action::Online(late)) else { panic!("online") };
    assert_eq!(why, "it did not come online within 100 ms");
    assert_eq!(world.ask("fine", Action::Online(spec("dummy", &[]))), Outcome::Online);
    assert_eq!(world.ask("fine", Action::Offline), Outcome::Offline);
    assert_eq!(world.ask("hung", Action::Terminate), Outcome::Offline);
    let fails = spec("dummy", &[("fail-after", "50ms")]);
    let order = world.order("fails", Action::Online(fails));
    assert_eq!(world.answer(order), Outcome::Online);
    assert!(matches!(world.answer(order), Outcome::Failed(why) if why.contains("fail-after")));
    let stays = spec("dummy", &[("fail-offline", "true")]);
    assert_eq!(world.ask("stays", Action::Online(stays)), Outcome::Online);
    // What does not stop gracefully is ended by the guard.
    assert_eq!(world.ask("stays", Action::Offline), Outcome::Offline);
    assert!(world.status().admitted.is_empty());
    let _ = hung;
}

/// D23: a time limit that passes is told together with what the processes did at that moment.
fn a_time_limit_tells_what_was_being_done() {
    let mut world = World::start();
    let mut life = world.witness("life");
    let mut late = world.script(STAY, &[("check", "/bin/sleep 601")]);
    late.pending_timeout_ms = 500;
    let order = world.order("late", Action::Online(late));
    life.wait_for_life();
    let text = world.notice(order);
    assert!(text.starts_with("what it did when its time was over: the monitor's call "), "{text}");
    assert!(text.contains("`sleep` sleeps"), "the check is told: {text}");
    assert!(text.contains("`sh` "), "the program is told: {text}");
    assert!(matches!(world.answer(order), Outcome::Failed(_)));
    assert!(!life.lives());

    let mut deaf = world.script(&format!("trap '' TERM; {STAY}"), &[("stop-timeout", "600s")]);
    deaf.pending_timeout_ms = 500;
    assert_eq!(world.ask("deaf", Action::Online(deaf)), Outcome::Online);
    life.wait_for_life();
    let order = world.order("deaf", Action::Offline);
    let text = world.notice(order);
    assert!(text.contains("`sh` "), "{text}");
    assert_eq!(world.answer(order), Outcome::Offline);
    assert!(!life.lives());
}

fn a_repeated_order_is_answered_again() {
    let mut world = World::start();
    let script = world.script("echo started; exec sleep 1000", &[]);
    let order = world.order("httpd", Action::Online(script.clone()));
    assert_eq!(world.answer(order), Outcome::Online);
    let again = world.written("httpd", Action::Online(script));
    world.send(&NodeToMonitor::Order(again));
    assert_eq!(world.answer(order), Outcome::Online);
    eventually("its output is kept", || !world.logs("httpd").is_empty());
    assert_eq!(world.logs("httpd"), "started\n");
}

fn a_new_node_service_adopts() {
    let mut world = World::start();
    let mut life = world.witness("life");
    let script = world.script(STAY, &[]);
    assert_eq!(world.ask("httpd", Action::Online(script.clone())), Outcome::Online);
    life.wait_for_life();
    world.hello(2);
    assert_eq!(world.ask("httpd", Action::Adopt(script)), Outcome::Online);
    assert!(life.lives(), "it was restarted");
}

/// What guard, monitor and one init keep for themselves. Their code comes on top, with the tables
/// of it that are relocated when it starts; `bench idle` measures it on the optimised program.
fn the_processes_stay_small() {
    const KIB_MAX: u64 = 600;
    let mut world = World::start();
    let mut life = world.witness("life");
    let script = world.script(STAY, &[]);
    assert_eq!(world.ask("httpd", Action::Online(script)), Outcome::Online);
    life.wait_for_life();
    let guard = world.guard.id().cast_signed();
    let init = children(guard).into_iter().find(|pid| name(*pid).contains("as-init")).unwrap();
    let parts = [guard, world.monitor_pid(), init].map(written_kib);
    let total: u64 = parts.iter().sum();
    println!("guard, monitor, init: {parts:?} KiB of their own");
    assert!(total <= KIB_MAX, "{total} KiB");
}

fn children(pid: i32) -> Vec<i32> {
    let list = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap();
    list.split_whitespace().map(|pid| pid.parse().unwrap()).collect()
}

fn name(pid: i32) -> String {
    std::fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default()
}

/// What is written to, of the memory that it may write: heap, stacks and statics.
fn written_kib(pid: i32) -> u64 {
    let maps = std::fs::read_to_string(format!("/proc/{pid}/smaps")).unwrap();
    let (mut writable, mut kib) = (false, 0);
    for line in maps.lines() {
        let mut words = line.split_ascii_whitespace();
        match (words.next().unwrap(), words.next().unwrap()) {
            ("Anonymous:", size) if writable => kib += size.parse::<u64>().unwrap(),
            (name, rights) if !name.ends_with(':') => writable = rights.contains('w'),
            _ => {}
        }
    }
    kib
}
