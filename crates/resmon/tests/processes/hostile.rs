//! Resources that hang, crash, flood, and take all there is: they hurt nobody else.
//!
//! Each story has a neighbour, which goes on being checked and does what it is told, and looks at
//! what the monitor itself takes.

use std::fs::{self, File};
use std::path::PathBuf;
use std::process::{Command, ExitCode, Stdio};
use std::thread;
use std::time::Duration;

use stead_model::order::{Action, OnlineSpec, Outcome};
use stead_model::resource::Health;

use crate::Story;
use crate::world::{Witness, World, eventually, spec};

macro_rules! stories {
    ($($name:ident),* $(,)?) => { &[$((stringify!($name), $name)),*] };
}

pub(crate) const ALL: &[Story] = stories![
    a_check_that_is_stopped_makes_health_unknown,
    floods_of_output_drown_nobody,
    a_crash_loop_leaves_nothing_behind,
    a_memory_eater_is_killed_and_the_cause_is_named,
    what_a_place_runs_is_held_by_its_limit_too,
    a_fork_bomb_stays_in_its_limit,
    one_that_opens_everything_hurts_itself,
];

/// More than the monitor needs for any of this; a flood is gigabytes.
const GROWTH_KIB_MAX: u64 = 4 << 10;
/// Stays for ever, and is seen for as long as it lives.
const STAY: &str = "exec 9>$ROOT/life; echo >&9; while :; do sleep 1; done";

/// Another resource under the same monitor, with a check that counts.
struct Neighbour {
    life: Witness,
    /// What the monitor takes with it alone.
    kib: u64,
}

impl Neighbour {
    fn start(world: &mut World) -> Self {
        let mut life = world.witness("neighbour");
        let check = format!("/bin/sh -c 'echo x >>{}'", world.path("checks").display());
        let stays = STAY.replace("life", "neighbour");
        let mut script = world.script(&stays, &[("check", &check)]);
        script.is_alive_ms = 150;
        assert_eq!(world.ask("neighbour", Action::Online(script)), Outcome::Online);
        life.wait_for_life();
        Self { life, kib: anonymous_kib(world.monitor_pid()) }
    }

    /// It is checked now, and what is planned for others is done.
    fn is_fine(&mut self, world: &mut World) {
        let checks = || fs::read(world.path("checks")).unwrap_or_default().len();
        let before = checks();
        eventually("the neighbour is checked three times", || checks() >= before + 6);
        assert_eq!(world.ask("planned", Action::Online(spec("dummy", &[]))), Outcome::Online);
        assert_eq!(world.ask("planned", Action::Offline), Outcome::Offline);
        assert!(self.life.lives(), "it was restarted or ended");
        let kib = anonymous_kib(world.monitor_pid());
        assert!(kib <= self.kib + GROWTH_KIB_MAX, "the monitor grew from {} to {kib}", self.kib);
    }
}

fn anonymous_kib(pid: i32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|l| l.strip_prefix("RssAnon:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

/// An application that takes all there is of something, see [`be_hog`].
fn hog(world: &World, what: &str, more: &[(&str, &str)]) -> OnlineSpec {
    let program = std::env::current_exe().unwrap();
    let command = format!("{} as-hog {what}", program.display());
    let env = format!("ROOT={}", world.path("").display());
    let own = [("command", command.as_str()), ("env", env.as_str())];
    spec("generic-application", &[&own, more].concat())
}

/// The program of a story that takes all there is of something, and stays. Each ends by itself
/// where nothing holds it.
pub(crate) fn be_hog(what: &str) -> ExitCode {
    match what {
        "memory" => {
            let mut all: Vec<Vec<u8>> = Vec::new();
            while all.len() < 512 {
                all.push(vec![1; 1 << 20]);
            }
            panic!("half a gibibyte was given");
        }
        "processes" => {
            let own = std::env::current_exe().unwrap();
            let mut child = Command::new(own);
            child.args(["as-hog", "nothing"]).stdin(Stdio::null());
            took_all((0..300).map_while(|_| child.spawn().ok()).count());
        }
        "descriptors" => {
            let open = || File::open("/dev/null").ok();
            let mut all: Vec<File> = (0..20_000).map_while(|_| open()).collect();
            let count = all.len();
            // The last ones are given back, to tell it.
            all.truncate(count - 4);
            took_all(count);
            std::mem::forget(all);
        }
        _ => {}
    }
    loop {
        thread::sleep(Duration::from_secs(60));
    }
}

fn took_all(count: usize) {
    let root = PathBuf::from(std::env::var_os("ROOT").unwrap());
    fs::write(root.join("took.new"), count.to_string()).unwrap();
    fs::rename(root.join("took.new"), root.join("took")).unwrap();
}

fn took(world: &World) -> u64 {
    let mut found = None;
    eventually("it took what it got", || {
        found = fs::read_to_string(world.path("took")).ok().and_then(|text| text.parse().ok());
        found.is_some()
    });
    found.unwrap()
}

/// Unknown is not failed.
fn a_check_that_is_stopped_makes_health_unknown() {
    let mut world = World::start();
    let mut neighbour = Neighbour::start(&mut world);
    let mut life = world.witness("life");
    let flag = world.path("stop");
    let check = format!("/bin/sh -c 'test ! -e {} || kill -STOP $$'", flag.display());
    let mut script = world.script(STAY, &[("check", &check)]);
    script.is_alive_ms = 300;
    let order = world.order("hung", Action::Online(script));
    assert_eq!(world.answer(order), Outcome::Online);
    life.wait_for_life();
    fs::write(&flag, "").unwrap();
    let (mut unknown, mut seen) = (false, false);
    while !(unknown && seen) {
        let report = world.report();
        match report.outcome {
            _ if report.order != order => {}
            Outcome::Health(Health::Good, _) => {}
            Outcome::Health(Health::Unknown, why) => {
                unknown |= why.contains("has not answered");
            }
            // A busy machine may have been late before.
            Outcome::Notice(text) => seen |= text.contains("`sh` is stopped"),
            other => panic!("it is not known, no more: {other:?}"),
        }
    }
    neighbour.is_fine(&mut world);
    assert!(life.lives(), "it was ended for a check that hangs");
    // It can be stopped like any other.
    assert_eq!(world.ask("hung", Action::Terminate), Outcome::Offline);
    neighbour.is_fine(&mut world);
}

fn floods_of_output_drown_nobody() {
    let mut world = World::start();
    let mut neighbour = Neighbour::start(&mut world);
    let mut life = world.witness("life");
    // Program and check print for ever, as fast as they can.
    let floods = "exec 9>$ROOT/life; echo >&9; exec yes this-is-a-flood-of-output";
    let script = world.script(floods, &[]);
    assert_eq!(world.ask("flood", Action::Online(script)), Outcome::Online);
    life.wait_for_life();
    let checked = world.script("while :; do sleep 1; done", &[("check", "yes flood-of-a-check")]);
    world.order("flooding-check", Action::Online(checked));
    let log = world.path("var/lib/stead/logs/flood.log.1");
    eventually("a whole file was put aside", || log.exists());
    neighbour.is_fine(&mut world);
    let size = |name: &str| {
        let path = world.path("var/lib/stead/logs").join(name);
        fs::metadata(path).map_or(0, |file| file.len())
    };
    let bytes = size("flood.log") + size("flood.log.1");
    assert!(bytes <= 2 << 20, "{bytes} bytes are kept");
    assert_eq!(world.ask("flooding-check", Action::Terminate), Outcome::Offline);
    assert_eq!(world.ask("flood", Action::Offline), Outcome::Offline);
    assert!(!life.lives());
    neighbour.is_fine(&mut world);
}

fn a_crash_loop_leaves_nothing_behind() {
    let mut world = World::start();
    let mut neighbour = Neighbour::start(&mut world);
    let monitor = world.monitor_pid();
    let count = |what: &str| fs::read_dir(format!("/proc/{monitor}/{what}")).unwrap().count();
    let (threads, descriptors) = (count("task"), count("fd"));
    for _ in 0..40 {
        let script = world.script("exit 3", &[]);
        let order = world.order("crashes", Action::Online(script));
        // It may have been online for a moment.
        while !matches!(world.answer(order), Outcome::Failed(_)) {}
    }
    neighbour.is_fine(&mut world);
    eventually("its threads are gone", || count("task") <= threads + 2);
    eventually("its descriptors are closed", || count("fd") <= descriptors + 4);
    assert_eq!(world.status().admitted.len(), 1, "only the neighbour runs");
}

/// How a start ended that may be over before it was seen; `None`: it runs.
fn ended(world: &mut World, resource: &str, action: Action) -> Option<String> {
    match world.ask(resource, action) {
        Outcome::Online => None,
        Outcome::Failed(why) => Some(why),
        other => panic!("{other:?}"),
    }
}

/// Whether there is no controller for a limit here: it is refused then, and the story told.
fn is_refused(why: Option<&str>) -> bool {
    let refused = why.filter(|why| why.contains("cannot be held: no controller"));
    if let Some(why) = refused {
        println!("skipped: {why}");
    }
    refused.is_some()
}

fn a_memory_eater_is_killed_and_the_cause_is_named() {
    let mut world = World::start();
    let mut neighbour = Neighbour::start(&mut world);
    let eater = hog(&world, "memory", &[("memory-limit", "48MiB")]);
    let order = world.order("eater", Action::Online(eater));
    let why = loop {
        match world.answer(order) {
            Outcome::Online => {}
            Outcome::Failed(why) => break why,
            other => panic!("{other:?}"),
        }
    };
    neighbour.is_fine(&mut world);
    if !is_refused(Some(&why)) {
        let named = "the program was killed by the kernel: out of memory (memory-limit 48 MiB)";
        assert!(why.starts_with(named), "{why}");
    }
    assert_eq!(world.status().admitted.len(), 1, "only the neighbour runs");
}

/// A daemon that a script left running: the record names the cause.
fn what_a_place_runs_is_held_by_its_limit_too() {
    let mut world = World::start();
    let mut neighbour = Neighbour::start(&mut world);
    let program = std::env::current_exe().unwrap();
    let online = format!("/bin/sh -c '{} as-hog memory &'", program.display());
    let given = [("online-command", online.as_str()), ("memory-limit", "48MiB")];
    let script = spec("generic-script", &given);
    let why = ended(&mut world, "script", Action::Online(script));
    if !is_refused(why.as_deref()) {
        let text = loop {
            let (code, text) = world.guard_notice();
            if code == "out-of-memory" {
                break text;
            }
        };
        let named = "of resource `script` something was killed by the kernel: out of memory";
        assert!(text.starts_with(named), "{text}");
    }
    neighbour.is_fine(&mut world);
}

fn a_fork_bomb_stays_in_its_limit() {
    let mut world = World::start();
    let mut neighbour = Neighbour::start(&mut world);
    let bomb = hog(&world, "processes", &[("process-limit", "40")]);
    let why = ended(&mut world, "bomb", Action::Online(bomb));
    if !is_refused(why.as_deref()) {
        let children = took(&world);
        assert!((20..40).contains(&children), "{children} processes were made");
        neighbour.is_fine(&mut world);
        assert_eq!(world.ask("bomb", Action::Offline), Outcome::Offline);
    }
    assert_eq!(world.status().admitted.len(), 1, "all of it is killed");
    neighbour.is_fine(&mut world);
}

fn one_that_opens_everything_hurts_itself() {
    let mut world = World::start();
    let mut neighbour = Neighbour::start(&mut world);
    let opens = hog(&world, "descriptors", &[]);
    assert_eq!(world.ask("opens", Action::Online(opens)), Outcome::Online);
    assert!(took(&world) > 100);
    neighbour.is_fine(&mut world);
    assert_eq!(world.ask("opens", Action::Offline), Outcome::Offline);
}
