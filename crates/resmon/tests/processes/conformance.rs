//! The conformance test of external types (A-163): good samples pass, and each kind of bad one is
//! caught by the check that is made for it.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::thread;
use std::time::Duration;

use stead_model::probe::Probe;
use stead_resmon::kit::{self, Trials};

use crate::Story;
use crate::external::{free_port, has_python};

macro_rules! stories {
    ($($name:ident),* $(,)?) => { &[$((stringify!($name), $name)),*] };
}

pub(crate) const ALL: &[Story] = stories![
    good_types_conform,
    each_wrong_type_is_caught_by_its_check,
    what_cannot_be_tested_is_told,
];

/// The test takes over all processes of the one it runs in: it gets one of its own.
pub(crate) fn be_kit(args: &[String]) -> ExitCode {
    let word = |at: usize| Some(args[at].clone()).filter(|word| !word.is_empty());
    let properties = args[3..].iter().filter_map(|given| given.split_once('='));
    let properties = properties.map(|(name, value)| (name.to_owned(), value.to_owned()));
    let trials = Trials {
        program: PathBuf::from(&args[0]),
        properties: properties.collect::<BTreeMap<_, _>>(),
        probe: word(1).and_then(|probe| Probe::parse(&probe)),
        only: word(2),
        call_limit: Duration::from_secs(20),
        // Whoever is known to be wrong is not waited for.
        patience: Duration::from_secs(if args[2].is_empty() { 10 } else { 1 }),
    };
    match kit::test(&trials) {
        Ok(report) => {
            for check in report.checks.iter().chain(&report.criteria) {
                println!("{}: {:?}: {}", check.name, check.result, check.detail);
            }
            if report.passed() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
        }
        Err(why) => {
            println!("{why}");
            ExitCode::from(2)
        }
    }
}

/// Runs the test on a program: its code and what it said.
fn test(program: &Path, probe: &str, only: &str, properties: &[&str]) -> (i32, String) {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.arg("as-kit").arg(program).arg(probe).arg(only).args(properties);
    let output = command.output().unwrap();
    (output.status.code().unwrap(), String::from_utf8(output.stdout).unwrap())
}

fn conforms(program: &Path) {
    let port = free_port();
    let (given, probe) = (format!("port={port}"), format!("tcp:{port}"));
    let (code, said) = test(program, &probe, "", &[&given]);
    assert_eq!(code, 0, "{said}");
    assert_eq!(said.matches(": Passed: ").count(), kit::names().len() + 5, "{said}");
    for criterion in [
        "data in a configurable location",
        "transactions",
        "cluster interface",
        "health reports",
        "online and offline without data loss",
    ] {
        assert!(said.contains(&format!("{criterion}: Passed")), "{said}");
    }
}

/// The samples of the SDK and in Python, and what the wrong types below are made of.
fn good_types_conform() {
    let folder = tempfile::tempdir().unwrap();
    let own = std::env::current_exe().unwrap();
    let rust = folder.path().join("counter");
    write(&rust, &format!("#!/bin/sh\nexec {} as-counter\n", own.display()));
    let python = has_python();
    thread::scope(|scope| {
        scope.spawn(|| conforms(&rust));
        if python {
            scope.spawn(|| conforms(&sample()));
            scope.spawn(|| {
                let right = folder.path().join("wrong");
                write(&right, RIGHT);
                let (code, said) = test(&right, "", "", &["size=1"]);
                assert_eq!(code, 0, "{said}");
                assert!(said.contains("transactions: NotShown"), "{said}");
            });
        }
    });
}

fn sample() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/types/counter.py")
}

fn write(program: &Path, text: &str) {
    fs::write(program, text).unwrap();
    fs::set_permissions(program, fs::Permissions::from_mode(0o755)).unwrap();
}

/// A type that does right, where nothing is put in the place of its parts: a child process serves.
const RIGHT: &str = r#"#!/usr/bin/python3
import json, os, signal, subprocess, sys, threading, time
child, props = None, [{"name": "size", "form": "number", "required": True, "about": "x"}]
def say(**m): print(json.dumps(m), flush=True)
def alive(): return child is not None and child.poll() is None
def end():
    global child
    if child: child.kill(); child.wait()
    child = None
#BEGIN
for line in sys.stdin:
    try: o = json.loads(line); call = o["call"]
    except (ValueError, TypeError, KeyError): continue
    r = None
    if call == "cancel": continue
    if call == "describe":
        r = {"protocol": 1, "name": "wrong", "version": "1", "about": "x", "properties": props}
    if call == "open" and not o["properties"].get("size", "").isdigit():
        say(say="failed", id=o["id"], text="no size"); continue
    if call == "control":
        say(say="failed", id=o["id"], text="no code"); continue
    if call == "online" and not alive():
        null = subprocess.DEVNULL
        child = subprocess.Popen(["sleep", "600"], stdin=null, stdout=null)
    if call in ("offline", "terminate"): end()
    if "alive" in call: r = {"health": "good" if alive() else "bad"}
    #CALL
    say(say="done", id=o["id"], result=r)
    if call == "close": sys.exit(0)
"#;

/// What each wrong type puts in the place of what, the check that catches it, and its words.
const WRONG: &[(&str, &str, &str, &str)] = &[
    ("#BEGIN", "print('ready')", "describes", "said what is no message: `ready`"),
    ("#BEGIN", "if os.fork(): os._exit(0)", "stays", "its process ended after it had forked"),
    ("#BEGIN", "signal.signal(15, signal.SIG_IGN)", "signal", "it ignores SIGTERM"),
    ("if alive() else", "if child else", "truth", "its processes are dead, and `is-alive` says"),
    (
        "end()\n    if \"al",
        "pass\n    if \"al",
        "offline",
        "it is offline, and `is-alive` says good",
    ),
    ("child.kill(); child.wait()", "pass", "terminate", "1 of its processes run"),
    ("KeyError): continue", "KeyError): sys.exit(1)", "reads", "closed its"),
    ("open\" and not", "open\" and 0 and not", "refuses", "it opens without property `size`"),
    ("== \"control\":", "== \"none\":", "controls", "it does what control code"),
    ("sys.exit(0)", "pass", "closes", "it goes on after `close`"),
    (
        "#CALL",
        "if call == 'online':\n        if os.path.exists(LOCK): sys.exit(9)\n        \
         open(LOCK, 'w').close()\n    \
         if call == 'offline' and os.path.exists(LOCK): os.remove(LOCK)",
        "killed",
        "after it was killed while GoingOnline",
    ),
];

/// Each is right without its one wrong part, so the check catches that and nothing else.
fn each_wrong_type_is_caught_by_its_check() {
    if !has_python() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    thread::scope(|scope| {
        for (number, wrong) in WRONG.iter().enumerate() {
            let program = folder.path().join(format!("wrong{number}"));
            scope.spawn(move || is_caught(&program, wrong));
        }
    });
}

fn is_caught(program: &Path, (part, instead, check, told): &(&str, &str, &str, &str)) {
    assert!(RIGHT.contains(part), "{part}");
    let lock = program.with_extension("lock");
    let instead = instead.replace("LOCK", &format!("'{}'", lock.display()));
    write(program, &RIGHT.replacen(part, &instead, 1));
    let (code, said) = test(program, "", check, &["size=1"]);
    // One that does not even describe itself is not tested any further.
    let described = *check != "describes";
    assert_eq!(code, if described { 1 } else { 2 }, "{check}: {said}");
    let line = said.lines().find(|line| line.contains(told));
    let line = line.unwrap_or_else(|| panic!("{check} does not say `{told}`: {said}"));
    assert!(!described || line.starts_with(check), "{check}: {line}");
}

fn what_cannot_be_tested_is_told() {
    let (code, said) = test(Path::new("/nowhere/type"), "", "", &[]);
    assert_eq!(code, 2);
    assert!(said.contains("/nowhere/type cannot be run: No such file"), "{said}");
    if has_python() {
        let (code, said) = test(&sample(), "", "", &[]);
        assert_eq!(code, 2);
        assert!(said.contains("property `port` is missing"), "{said}");
    }
}
