//! Every state of a resource with every input, as a table that is reviewed as text.
//! `UPDATE=1` writes it anew.

use std::fmt::Write;

use stead_core::resources::machine::{Call, Happened, How, Machine, State, Stop, Then, Watch};
use stead_model::order::Outcome;
use stead_model::resource::Health;
use stead_model::{Epoch, LeaseNumber, OrderId, Time};

const FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/resources/machine.txt");
const DUE: Time = Time(100);

fn call() -> Call {
    Call { order: OrderId(7), lease: LeaseNumber(3), epoch: Epoch(2), due: DUE }
}

fn stop(how: How, then: Then) -> Stop {
    Stop { how, then, stuck: 0 }
}

fn states() -> Vec<State> {
    let (rest, failure) = (|| Then::Rest, || Then::Failure("sick".into()));
    vec![
        State::Offline,
        State::Starting(Some(call())),
        State::Starting(None),
        State::Online(Watch::Nobody),
        State::Online(Watch::Asked(call())),
        State::Online(Watch::Monitor(call())),
        State::Stopping(Some(call()), stop(How::Gracefully, rest())),
        State::Stopping(Some(call()), stop(How::AtOnce, failure())),
        State::Stopping(None, stop(How::Gracefully, rest())),
        State::Stuck { why: "hangs".into(), again: DUE, stop: stop(How::AtOnce, rest()) },
        State::Failed("sick".into()),
    ]
}

type Input = (&'static str, fn(&mut Machine) -> Happened);

fn inputs() -> Vec<Input> {
    fn said(machine: &mut Machine, outcome: Outcome) -> Happened {
        machine.reported(Time(50), outcome)
    }
    vec![
        ("said online", |m| said(m, Outcome::Online)),
        ("said offline", |m| said(m, Outcome::Offline)),
        ("said failed", |m| said(m, Outcome::Failed("broke".into()))),
        ("said stop failed", |m| said(m, Outcome::StopFailed("in the kernel".into()))),
        ("said refused", |m| said(m, Outcome::Refused("lease over".into()))),
        ("said healthy", |m| said(m, Outcome::Health(Health::Good, "ok".into()))),
        ("said cannot tell", |m| said(m, Outcome::Health(Health::Unknown, "hung".into()))),
        ("said unwell", |m| said(m, Outcome::Health(Health::Bad, "no answer".into()))),
        ("said a notice", |m| said(m, Outcome::Notice("hm".into()))),
        ("time passed", |m| m.timed_out(DUE)),
        ("monitor died", |m| {
            m.monitor_died();
            Happened::Nothing
        }),
        ("own monitor died", |m| {
            m.own_monitor_died();
            Happened::Nothing
        }),
        ("hard stop done", |m| {
            m.hard_stopped();
            Happened::Nothing
        }),
        ("administrator acted", |m| {
            m.forgive();
            Happened::Nothing
        }),
    ]
}

fn word(state: &State) -> String {
    match state {
        State::Offline => "offline".into(),
        State::Starting(call) => format!("starting{}", lost(call)),
        State::Online(Watch::Nobody) => "online, unwatched".into(),
        State::Online(Watch::Asked(_)) => "online, adopting".into(),
        State::Online(Watch::Monitor(_)) => "online".into(),
        State::Stopping(call, stop) => format!("stopping {}{}", manner(stop), lost(call)),
        State::Stuck { stop, .. } => format!("stuck {}", manner(stop)),
        State::Failed(_) => "failed".into(),
    }
}

fn lost(call: &Option<Call>) -> &'static str {
    if call.is_some() { "" } else { ", order lost" }
}

fn manner(stop: &Stop) -> String {
    let then = match stop.then {
        Then::Rest => "rest",
        Then::Failure(_) => "judge",
    };
    format!("({:?}, then {then}, stuck {})", stop.how, stop.stuck).to_lowercase()
}

fn table() -> String {
    let mut text = String::new();
    for state in states() {
        let _ = writeln!(text, "{}", word(&state));
        for (name, input) in inputs() {
            let mut machine = Machine { state: state.clone(), ..Machine::offline() };
            let happened = input(&mut machine);
            let next = word(&machine.state);
            let next = if machine.state == state { "-".to_owned() } else { next };
            let mut line = format!("    {name:<20} {next:<42}");
            if happened != Happened::Nothing {
                let _ = write!(line, " {happened:?}");
            }
            let _ = writeln!(text, "{}", line.trim_end());
        }
    }
    text
}

#[test]
#[expect(clippy::disallowed_methods, reason = "the table is a file; the core itself reads none")]
fn every_state_with_every_input() {
    let found = table();
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(FILE, &found).unwrap();
    }
    let expected = std::fs::read_to_string(FILE).unwrap();
    assert_eq!(found, expected, "run with UPDATE=1 and review the difference");
}

#[test]
fn a_resource_that_could_not_be_stopped_is_never_down() {
    for state in states() {
        for (name, input) in inputs() {
            let mut machine = Machine { state: state.clone(), ..Machine::offline() };
            input(&mut machine);
            if matches!(state, State::Stuck { .. }) && name != "hard stop done" {
                assert!(!machine.is_down(), "{name}");
            }
        }
    }
}
