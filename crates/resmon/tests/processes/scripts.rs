//! `generic-script` under guard and monitor (A-162, B4).

use std::fs;

use rustix::process::Signal;
use stead_model::Span;
use stead_model::order::{Action, OnlineSpec, Outcome};
use stead_model::resource::Health;

use crate::Story;
use crate::world::{World, eventually, now, send_signal, spec};

macro_rules! stories {
    ($($name:ident),* $(,)?) => { &[$((stringify!($name), $name)),*] };
}

pub(crate) const ALL: &[Story] = stories![
    a_script_is_entered_everywhere,
    a_script_that_fails_says_where_and_why,
    what_a_script_leaves_is_watched_and_killed,
    commands_take_the_place_of_a_script,
    a_script_that_cannot_end_is_told,
];

/// A script that writes down where it was entered, and has a body.
pub(crate) fn script(world: &World, body: &str, more: &[(&str, &str)]) -> OnlineSpec {
    let file = world.path("service");
    let text = format!("#!/bin/sh\necho $1 >>$ROOT/entered\ncase $1 in\n{body}\nesac\n");
    fs::write(&file, text).unwrap();
    rustix::fs::chmod(&file, rustix::fs::Mode::from_raw_mode(0o755)).unwrap();
    let env = format!("ROOT={}", world.path("").display());
    let own = [("script", file.to_str().unwrap()), ("env", env.as_str())];
    spec("generic-script", &[&own, more].concat())
}

fn entered(world: &World) -> Vec<String> {
    let text = fs::read_to_string(world.path("entered")).unwrap_or_default();
    text.lines().map(str::to_owned).collect()
}

fn health(world: &mut World, wanted: Health) -> String {
    loop {
        if let Outcome::Health(health, why) = world.report().outcome
            && health == wanted
        {
            return why;
        }
    }
}

fn a_script_is_entered_everywhere() {
    let mut world = World::start();
    let body =
        "is-alive) test -e $ROOT/lost && exit 75; test ! -e $ROOT/bad || { echo sick; exit 1; };;";
    let mut spec = script(&world, body, &[]);
    (spec.looks_alive_ms, spec.is_alive_ms) = (150, 200);
    assert_eq!(world.ask("s", Action::Online(spec)), Outcome::Online);
    health(&mut world, Health::Good);
    eventually("both checks were made", || {
        let all = entered(&world);
        ["looks-alive", "is-alive"].iter().all(|point| all.iter().any(|e| e == point))
    });
    fs::write(world.path("lost"), "").unwrap();
    assert_eq!(health(&mut world, Health::Unknown), "`is-alive` does not know");
    fs::write(world.path("bad"), "").unwrap();
    fs::remove_file(world.path("lost")).unwrap();
    assert_eq!(health(&mut world, Health::Bad), "`is-alive` ended with code 1: sick");
    assert_eq!(world.ask("s", Action::Offline), Outcome::Offline);
    let all = entered(&world);
    assert_eq!(all[..2], ["open", "online"]);
    assert_eq!(all[all.len() - 2..], ["offline", "close"]);
    assert!(world.logs("s").contains("sick"));
    assert!(world.status().admitted.is_empty());
}

fn a_script_that_fails_says_where_and_why() {
    let mut world = World::start();
    let broken = script(&world, "online) echo no licence >&2; exit 9;;", &[]);
    let failed = Outcome::Failed("`online` ended with code 9: no licence".into());
    assert_eq!(world.ask("s", Action::Online(broken)), failed);
    // What was begun is ended before the failure is told.
    assert_eq!(entered(&world), ["open", "online", "terminate"]);
    let empty = script(&world, "*) exit 3;;", &[]);
    let failed = Outcome::Failed("it has no entry point `online`".into());
    assert_eq!(world.ask("t", Action::Online(empty)), failed);
    let nothing = spec("generic-script", &[]);
    assert!(matches!(world.ask("u", Action::Online(nothing)), Outcome::Failed(_)));
}

const DAEMON: &str = "online) (exec 9>$ROOT/life; echo >&9; exec setsid sleep 1000) & \
                      echo $! >$ROOT/pid;;\n\
                      looks-alive) kill -0 $(cat $ROOT/pid);;";

fn what_a_script_leaves_is_watched_and_killed() {
    let mut world = World::start();
    let mut life = world.witness("life");
    let spec = script(&world, DAEMON, &[]);
    assert_eq!(world.ask("s", Action::Online(spec.clone())), Outcome::Online);
    life.wait_for_life();
    let pid = fs::read_to_string(world.path("pid")).unwrap().trim().parse().unwrap();
    let killed = now();
    send_signal(pid, Signal::KILL);
    health(&mut world, Health::Bad);
    assert!(now().since(killed) < Span::from_secs(4), "found by the poll only");
    assert_eq!(world.ask("s", Action::Offline), Outcome::Offline);

    assert_eq!(world.ask("s", Action::Online(spec.clone())), Outcome::Online);
    life.wait_for_life();
    assert_eq!(world.ask("s", Action::Terminate), Outcome::Offline);
    assert!(!life.lives(), "terminated, and something of it lives");
    assert_eq!(world.ask("s", Action::Online(spec)), Outcome::Online);
    life.wait_for_life();
    world.hard_stop();
    assert!(!life.lives(), "the hard stop is done, and something of it lives");
}

fn commands_take_the_place_of_a_script() {
    let mut world = World::start();
    let mark = world.path("mark");
    let mark = mark.to_str().unwrap();
    let (make, remove) = (format!("touch {mark}"), format!("rm {mark}"));
    let given = [("online-command", make.as_str()), ("offline-command", remove.as_str())];
    let spec = spec("generic-script", &given);
    assert_eq!(world.ask("s", Action::Online(spec)), Outcome::Online);
    assert!(fs::exists(mark).unwrap());
    assert_eq!(world.ask("s", Action::Offline), Outcome::Offline);
    assert!(!fs::exists(mark).unwrap());
}

fn a_script_that_cannot_end_is_told() {
    let mut world = World::start();
    let spec = script(&world, "offline) exit 1;;\nterminate) test -e $ROOT/fine;;", &[]);
    assert_eq!(world.ask("s", Action::Online(spec)), Outcome::Online);
    let answer = world.ask("s", Action::Offline);
    let told = Outcome::StopFailed("`terminate` ended with code 1".into());
    assert_eq!(answer, told);
    fs::write(world.path("fine"), "").unwrap();
    assert_eq!(world.ask("s", Action::Offline), Outcome::Offline);
}
