//! `ext:NAME` under guard and monitor (A-092, A-162, A-164): the samples, and programs that break
//! every rule.

use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use rustix::process::Signal;
use stead_model::Span;
use stead_model::external::Installed;
use stead_model::order::{Action, Fitness, OnlineSpec, Outcome, Wanted};
use stead_model::resource::Health;
use stead_model::wire::monitor::Question;

use crate::Story;
use crate::world::{World, now, send_signal, spec};

/// The sample in Rust is part of this program.
#[path = "../../../sdk/examples/counter.rs"]
pub(crate) mod counter;

macro_rules! stories {
    ($($name:ident),* $(,)?) => { &[$((stringify!($name), $name)),*] };
}

pub(crate) const ALL: &[Story] = stories![
    a_type_in_python_comes_and_goes,
    a_type_in_rust_comes_and_goes,
    wrong_properties_of_a_type_are_refused,
    a_program_that_fails_by_itself_is_told_at_once,
    a_program_that_dies_is_told_and_started_again,
    a_program_goes_on_when_its_monitor_dies,
    nothing_of_a_type_outlives_the_lease,
    programs_that_break_the_rules_are_named,
    a_program_that_hangs_is_ended,
    what_acts_beyond_processes_is_terminated_by_its_program,
    what_does_not_fit_is_told_before_it_is_made,
    what_is_installed_is_told,
    control_codes_reach_the_program,
];

/// Debian's Python, which the guard's programs find.
pub(crate) fn has_python() -> bool {
    let there = Path::new("/usr/bin/python3").exists();
    if !there {
        println!("  not tried: no /usr/bin/python3 (Debian's python3)");
    }
    there
}

/// The sample in Python, as the type `counter`.
fn install_python(world: &World) {
    let sample = include_str!("../../../../examples/types/counter.py");
    install(world, "counter", sample);
}

/// Installs a program as a type on the node.
pub(crate) fn install(world: &World, name: &str, text: &str) {
    let folder = world.path("etc/stead/types");
    fs::create_dir_all(&folder).unwrap();
    fs::write(folder.join(name), text).unwrap();
    fs::set_permissions(folder.join(name), fs::Permissions::from_mode(0o755)).unwrap();
}

/// A port that was free a moment ago.
pub(crate) fn free_port() -> u16 {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port()
}

/// A counter of this world.
fn counting(world: &World, port: u16, more: &[(&str, &str)]) -> OnlineSpec {
    let (port, file) = (port.to_string(), world.path("count"));
    let own = [("port", port.as_str()), ("file", file.to_str().unwrap())];
    spec("ext:counter", &[&own, more].concat())
}

/// What a visitor hears; nobody where nobody serves.
fn visit(port: u16) -> Option<u64> {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).ok()?;
    stream.write_all(b"hello\n").ok()?;
    let mut line = String::new();
    BufReader::new(stream).read_line(&mut line).ok()?;
    line.trim().parse().ok()
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

fn comes_and_goes(world: &mut World) {
    let port = free_port();
    let mut spec = counting(world, port, &[]);
    (spec.looks_alive_ms, spec.is_alive_ms) = (150, 200);
    assert_eq!(world.ask("c", Action::Online(spec.clone())), Outcome::Online);
    assert_eq!((visit(port), visit(port)), (Some(1), Some(2)));
    health(world, Health::Good);
    assert_eq!(world.ask("c", Action::Offline), Outcome::Offline);
    assert_eq!(visit(port), None, "offline, and it serves");
    assert!(world.status().admitted.is_empty());
    assert!(!world.path("run/stead/types/c.in").exists(), "a pipe is left behind");

    // Nothing is lost, also when all of it is killed.
    assert_eq!(world.ask("c", Action::Online(spec.clone())), Outcome::Online);
    assert_eq!(visit(port), Some(3));
    assert_eq!(world.ask("c", Action::Terminate), Outcome::Offline);
    assert_eq!(visit(port), None, "terminated, and it serves");
    assert_eq!(world.ask("c", Action::Online(spec)), Outcome::Online);
    assert_eq!(visit(port), Some(4));
    assert_eq!(world.ask("c", Action::Offline), Outcome::Offline);
}

fn a_type_in_python_comes_and_goes() {
    if !has_python() {
        return;
    }
    let mut world = World::start();
    install_python(&world);
    comes_and_goes(&mut world);
}

fn a_type_in_rust_comes_and_goes() {
    let mut world = World::start();
    let own = std::env::current_exe().unwrap();
    install(&world, "counter", &format!("#!/bin/sh\nexec {} as-counter\n", own.display()));
    comes_and_goes(&mut world);
}

fn failed(world: &mut World, resource: &str, spec: OnlineSpec) -> String {
    match world.ask(resource, Action::Online(spec)) {
        Outcome::Failed(why) => why,
        other => panic!("{resource}: {other:?}"),
    }
}

/// A-164: the table of a type is asked where it is installed.
fn wrong_properties_of_a_type_are_refused() {
    let mut world = World::start();
    let missing = failed(&mut world, "m", spec("ext:nowhere", &[]));
    assert!(missing.starts_with("resource type `ext:nowhere` is not installed here"), "{missing}");
    if !has_python() {
        return;
    }
    install_python(&world);
    let without = failed(&mut world, "a", spec("ext:counter", &[("file", "/tmp/x")]));
    assert!(without.contains("property `port` is missing"), "{without}");
    let unknown = counting(&world, 1, &[("colour", "red")]);
    let unknown = failed(&mut world, "b", unknown);
    assert!(unknown.contains("type `ext:counter` has no property `colour`"), "{unknown}");
    let shape = counting(&world, 1, &[("delay-ms", "long")]);
    let shape = failed(&mut world, "c", shape);
    assert!(shape.contains("property `delay-ms` cannot be `long`: it must be"), "{shape}");
    // What no table says the program refuses itself.
    let zero = counting(&world, 0, &[]);
    let zero = failed(&mut world, "d", zero);
    assert_eq!(zero, "resource type `ext:counter`: property `port` cannot be `0`");
    assert!(world.status().admitted.is_empty());
}

/// The program says that it broke, and no check was due for minutes.
fn a_program_that_fails_by_itself_is_told_at_once() {
    if !has_python() {
        return;
    }
    let mut world = World::start();
    let program = "#!/usr/bin/python3\nimport json, sys, threading, time\n\
        def say(**m): print(json.dumps(m), flush=True)\n\
        def breaks():\n    while not __import__('os').path.exists('BREAK'): time.sleep(0.01)\n    \
        say(say='broke', text='the listener died')\n\
        for line in sys.stdin:\n    o = json.loads(line)\n    r = None\n    \
        if o['call'] == 'describe': r = \
        {'protocol': 1, 'name': 'frail', 'version': '1', 'about': 'x'}\n    \
        if o['call'] == 'online': threading.Thread(target=breaks, daemon=True).start()\n    \
        say(say='done', id=o['id'], result=r)\n";
    let mark = world.path("break");
    install(&world, "frail", &program.replace("BREAK", mark.to_str().unwrap()));
    let mut spec = spec("ext:frail", &[]);
    spec.looks_alive_ms = 600_000;
    let order = world.order("f", Action::Online(spec));
    assert_eq!(world.answer(order), Outcome::Online);
    let began = now();
    fs::write(&mark, "").unwrap();
    assert_eq!(world.answer(order), Outcome::Failed("the listener died".into()));
    assert!(now().since(began) < Span::from_secs(15), "it was not told at once");
    assert!(world.status().admitted.is_empty(), "it failed, and something of it runs");
}

/// Process numbers of what runs as the type `counter` of a world.
fn programs(world: &World) -> Vec<i32> {
    let wanted = world.path("etc/stead/types/counter");
    let processes = fs::read_dir("/proc").unwrap().flatten();
    let pids = processes.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    let runs = |pid: &i32| {
        let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        line.split(|byte| *byte == 0).any(|word| word == wanted.as_os_str().as_encoded_bytes())
    };
    pids.filter(runs).collect()
}

fn a_program_that_dies_is_told_and_started_again() {
    if !has_python() {
        return;
    }
    let mut world = World::start();
    install_python(&world);
    let port = free_port();
    let mut spec = counting(&world, port, &[]);
    spec.looks_alive_ms = 600_000;
    let order = world.order("c", Action::Online(spec.clone()));
    assert_eq!(world.answer(order), Outcome::Online);
    assert_eq!(visit(port), Some(1));
    let running = programs(&world);
    assert_eq!(running.len(), 1, "{running:?}");
    send_signal(running[0], Signal::KILL);
    let Outcome::Failed(why) = world.answer(order) else { panic!("it did not fail") };
    let ways = ["its program ended by itself", "its program closed its output, or ended"];
    assert!(ways.contains(&why.as_str()), "{why}");
    assert_eq!(world.ask("c", Action::Online(spec)), Outcome::Online);
    assert_eq!(visit(port), Some(2));
}

/// What serves inside of the program is not stopped when a monitor dies.
fn a_program_goes_on_when_its_monitor_dies() {
    if !has_python() {
        return;
    }
    let mut world = World::start();
    install_python(&world);
    let port = free_port();
    let mut spec = counting(&world, port, &[]);
    assert_eq!(world.ask("c", Action::Online(spec.clone())), Outcome::Online);
    let before = programs(&world);
    send_signal(world.monitor_pid(), Signal::KILL);
    world.next_monitor();
    world.hello(2);
    assert_eq!(visit(port), Some(1), "it does not serve without a monitor");
    spec.is_alive_ms = 200;
    assert_eq!(world.ask("c", Action::Adopt(spec.clone())), Outcome::Online);
    health(&mut world, Health::Good);
    assert_eq!(programs(&world), before, "another program runs");
    assert_eq!(world.ask("c", Action::Offline), Outcome::Offline);
    assert_eq!(visit(port), None);

    // One that died meanwhile is not adopted.
    assert_eq!(world.ask("c", Action::Online(spec.clone())), Outcome::Online);
    let program = programs(&world)[0];
    send_signal(world.monitor_pid(), Signal::STOP);
    send_signal(program, Signal::KILL);
    send_signal(world.monitor_pid(), Signal::KILL);
    world.next_monitor();
    world.hello(3);
    let why = match world.ask("c", Action::Adopt(spec)) {
        Outcome::Failed(why) => why,
        other => panic!("{other:?}"),
    };
    assert_eq!(why, "its program does not run any more");
    assert!(world.status().admitted.is_empty());
}

/// A-092: whatever a type starts, wherever it hides it.
const HIDER: &str = "#!/bin/sh\n\
    while read -r line; do\n\
    id=${line#*\\\"id\\\":}; id=${id%%,*}\n\
    case $line in\n\
    *describe*) echo '{\"say\":\"done\",\"id\":'$id',\"result\":{\"protocol\":1,\"name\":\"hider\",\
    \"version\":\"1\",\"about\":\"x\"}}'; continue;;\n\
    *online*) (exec 9>LIFE; echo >&9; setsid sleep 1000 >/dev/null 2>&1 </dev/null &) ;;\n\
    *alive*) echo '{\"say\":\"done\",\"id\":'$id',\"result\":{\"health\":\"good\"}}'; continue;;\n\
    esac\n\
    echo '{\"say\":\"done\",\"id\":'$id'}'\n\
    done\n";

fn nothing_of_a_type_outlives_the_lease() {
    let mut world = World::start();
    let mut life = world.witness("life");
    let program = HIDER.replace("LIFE", world.path("life").to_str().unwrap());
    install(&world, "hider", &program);
    assert_eq!(world.ask("h", Action::Online(spec("ext:hider", &[]))), Outcome::Online);
    life.wait_for_life();
    assert_eq!(world.ask("h", Action::Offline), Outcome::Offline);
    assert!(!life.lives(), "offline, and what its program hid lives");
    assert_eq!(world.ask("h", Action::Online(spec("ext:hider", &[]))), Outcome::Online);
    life.wait_for_life();
    world.hard_stop();
    assert!(!life.lives(), "the hard stop is done, and what its program hid lives");
}

/// A program that describes itself and does this when it is told to go online.
pub(crate) fn rude(deed: &str) -> String {
    format!(
        "#!/usr/bin/python3\nimport json, os, sys, time\n\
        def say(**m): print(json.dumps(m), flush=True)\n\
        for line in sys.stdin:\n    o = json.loads(line)\n    r = None\n    \
        if o['call'] == 'describe': r = \
        {{'protocol': 1, 'name': 'rude', 'version': '1', 'about': 'x'}}\n    \
        if o['call'] == 'online':\n        {deed}\n    \
        say(say='done', id=o['id'], result=r)\n"
    )
}

fn programs_that_break_the_rules_are_named() {
    if !has_python() {
        return;
    }
    let mut world = World::start();
    let deeds = [
        ("print('Hello!', flush=True)", "said what is no message: `Hello!`"),
        ("sys.stdout.write('x' * 70000); sys.stdout.flush()", "a message of more than 65536 bytes"),
        ("[say(say='notice', text='x') for _ in range(2000)]", "more than 200 messages within a"),
        ("say(say='done', id=o['id'] + 1)", "answered a call that nobody made"),
        ("os.close(1); time.sleep(600)", "closed its output, or ended"),
        ("os._exit(3)", "ended"),
        ("os.fork() and os._exit(0); time.sleep(600)", "its program ended by itself"),
        ("say(say='failed', id=o['id'], text='no\\nlicence'); continue", "`ext:rude`: no licence"),
    ];
    for (deed, told) in deeds {
        install(&world, "rude", &rude(deed));
        let why = failed(&mut world, "r", spec("ext:rude", &[]));
        assert!(why.contains(told), "{deed}: {why}");
        assert!(world.status().admitted.is_empty(), "{deed}: something of it runs");
    }
    let wrong = rude("pass").replace("'protocol': 1", "'protocol': 9");
    install(&world, "rude", &wrong);
    let why = failed(&mut world, "r", spec("ext:rude", &[]));
    assert!(why.contains("it chose version 9 of the protocol"), "{why}");
    install(&world, "rude", "no program\n");
    let why = failed(&mut world, "r", spec("ext:rude", &[]));
    assert!(why.starts_with("its program was not started"), "{why}");
}

/// It hears no signal and no cancel; a check that hangs is no failure.
fn a_program_that_hangs_is_ended() {
    if !has_python() {
        return;
    }
    let mut world = World::start();
    let deaf = "import signal; signal.signal(15, signal.SIG_IGN)\n        ";
    install(&world, "rude", &rude(&format!("{deaf}time.sleep(600)")));
    let mut hanging = spec("ext:rude", &[]);
    hanging.pending_timeout_ms = 1_000;
    let order = world.order("r", Action::Online(hanging));
    let why = Outcome::Failed("it did not come online within 1000 ms".into());
    assert_eq!(world.answer(order), why);
    assert!(world.status().admitted.is_empty(), "something of it runs");

    let program = rude(deaf)
        .replace("r = None\n", "r = None\n    if 'alive' in o['call']: time.sleep(600)\n");
    install(&world, "rude", &program);
    let mut spec = spec("ext:rude", &[("check-timeout", "300ms")]);
    spec.looks_alive_ms = 150;
    assert_eq!(world.ask("r", Action::Online(spec)), Outcome::Online);
    health(&mut world, Health::Unknown);
    let order = world.order("r", Action::Offline);
    assert_eq!(world.answer(order), Outcome::Offline);
    assert!(world.status().admitted.is_empty(), "something of it runs");
}

/// What is no process only the type's own `terminate` takes away.
fn what_acts_beyond_processes_is_terminated_by_its_program() {
    if !has_python() {
        return;
    }
    let mut world = World::start();
    let mark = world.path("mark");
    let program = "#!/usr/bin/python3\nimport json, os, sys\n\
        for line in sys.stdin:\n    o = json.loads(line)\n    r = None\n    \
        if o['call'] == 'describe': r = \
        {'protocol': 1, 'name': 'marker', 'version': '1', 'about': 'x', 'beyond': True}\n    \
        if o['call'] == 'online': open('MARK', 'w').close()\n    \
        if o['call'] in ('offline', 'terminate') and os.path.exists('MARK'): \
        os.remove('MARK')\n    \
        if 'alive' in o['call']: r = {'health': 'good'}\n    \
        print(json.dumps({'say': 'done', 'id': o['id'], 'result': r}), flush=True)\n";
    install(&world, "marker", &program.replace("MARK", mark.to_str().unwrap()));
    assert_eq!(world.ask("m", Action::Online(spec("ext:marker", &[]))), Outcome::Online);
    assert!(mark.exists());
    assert_eq!(world.ask("m", Action::Terminate), Outcome::Offline);
    assert!(!mark.exists(), "terminated, and its mark is there");
    assert_eq!(world.ask("m", Action::Online(spec("ext:marker", &[]))), Outcome::Online);
    fs::remove_file(world.path("etc/stead/types/marker")).unwrap();
    let told = world.ask("m", Action::Terminate);
    assert!(matches!(told, Outcome::StopFailed(_)), "{told:?}: nobody took its mark away");
    install(&world, "marker", &program.replace("MARK", mark.to_str().unwrap()));
    assert_eq!(world.ask("m", Action::Terminate), Outcome::Offline);
    assert!(!mark.exists());
}

/// A-164: the table of a type is shown where it is installed, and why one cannot be used.
fn what_is_installed_is_told() {
    if !has_python() {
        return;
    }
    let mut world = World::start();
    install_python(&world);
    install(&world, "odd", &rude("pass"));
    install(&world, "silent", "#!/bin/sh\nexit 1\n");
    let told = world.question(Question::Types).unwrap();
    let all: Vec<Installed> = serde_json::from_str(&told).unwrap();
    let of = |name: &str| all.iter().find(|one| one.name == name).unwrap();
    let counter = of("ext:counter");
    assert_eq!(counter.about, "counts its visitors (version 1.0)");
    let names: Vec<&str> = counter.properties.iter().map(|p| p.name.as_str()).collect();
    assert_eq!(names, ["port", "file", "delay-ms"]);
    assert!(counter.properties[0].required);
    assert_eq!(counter.controls[0].0, "count");
    assert!(of("ext:odd").about.contains("it calls itself `rude`"), "{}", of("ext:odd").about);
    assert!(of("ext:silent").about.contains("ended"), "{}", of("ext:silent").about);
}

/// A-164: control codes.
fn control_codes_reach_the_program() {
    if !has_python() {
        return;
    }
    let mut world = World::start();
    install_python(&world);
    let port = free_port();
    let ask = |code: &str, text: &str| Question::Control {
        resource: "c".into(),
        code: code.into(),
        text: text.into(),
    };
    let nowhere = world.question(ask("count", "")).unwrap_err();
    assert_eq!(nowhere, "it does not run on this node");
    let spec = counting(&world, port, &[]);
    let order = world.order("c", Action::Online(spec));
    assert_eq!(world.answer(order), Outcome::Online);
    assert_eq!(world.question(ask("set", "41")), Ok(String::new()));
    assert_eq!(visit(port), Some(42));
    assert_eq!(world.question(ask("count", "")), Ok("42".into()));
    let unknown = world.question(ask("fly", "")).unwrap_err();
    assert_eq!(unknown, "resource type `ext:counter`: there is no control code `fly`");
    let dummy = world.ask("d", Action::Online(crate::world::spec("dummy", &[])));
    assert_eq!(dummy, Outcome::Online);
    let question = Question::Control { resource: "d".into(), code: "x".into(), text: "".into() };
    let none = world.question(question).unwrap_err();
    assert_eq!(none, "its type has no control code `x`");
    // The sample rehearses a failure by a code of its own.
    let _ = world.question(ask("break", ""));
    let Outcome::Failed(why) = world.answer(order) else { panic!("it did not fail") };
    assert!(why.starts_with("the server ended"), "{why}");
    // One with a monitor of its own answers there, and nowhere else.
    let own =
        || Question::Control { resource: "own".into(), code: "count".into(), text: "".into() };
    world.own_monitor("own");
    let spec = counting(&world, free_port(), &[]);
    assert_eq!(world.ask("own", Action::Online(spec)), Outcome::Online);
    assert_eq!(world.question(own()), Ok("42".into()), "the file is the same");
    world.turn_to(0);
    assert_eq!(world.question(own()).unwrap_err(), nowhere);
}

/// A-164: a possible owner is asked before the resource is made; nothing is started for that.
fn what_does_not_fit_is_told_before_it_is_made() {
    let mut world = World::start();
    let wanted = |spec| Action::Fit(Box::new(Wanted { spec, mounts: BTreeSet::new() }));
    let nowhere = world.ask("new", wanted(spec("ext:nowhere", &[])));
    let Outcome::Fitness(Fitness::Unfit(causes)) = &nowhere else { panic!("{nowhere:?}") };
    assert!(causes[0].starts_with("`type`: resource type `ext:nowhere` is not installed here"));
    if !has_python() {
        return;
    }
    install_python(&world);
    let mut told = |spec| match world.ask("new", wanted(spec)) {
        Outcome::Fitness(Fitness::Unfit(causes)) => causes.join("; "),
        // A node that is too busy to start it in time says so, and nothing is refused.
        Outcome::Fitness(Fitness::Unsure(why)) => format!("unsure: {why}"),
        other => format!("{other:?}"),
    };
    let is = |said: String, wanted: &str| {
        assert!(said == wanted || said.starts_with("unsure: "), "{said}, not {wanted}");
    };
    let file = ("file", "/tmp/count");
    is(told(spec("ext:counter", &[("port", "80"), file])), "Fitness(Fit)");
    is(
        told(spec("ext:counter", &[file])),
        "property `port` is missing: type `ext:counter` requires it: TCP port on 127.0.0.1: \
         give `port=` followed by a whole number",
    );
    is(
        told(spec("ext:counter", &[("port", "x"), file])),
        "property `port` cannot be `x`: it must be a whole number",
    );
    // What no table says the program refuses itself.
    is(told(spec("ext:counter", &[("port", "0"), file])), "property `port` cannot be `0`");
    let admitted = world.status().admitted;
    assert!(admitted.is_empty(), "a look has started something: {admitted:?}");
}
