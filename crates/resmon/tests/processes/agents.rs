//! Debian's OCF agents under guard and monitor (A-162, B4).

use std::collections::BTreeMap;
use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::process::{Signal, geteuid};
use stead_model::Span;
use stead_model::external::Installed;
use stead_model::order::{Action, OnlineSpec, Outcome};
use stead_model::resource::Health;
use stead_model::wire::monitor::Question;

use crate::Story;
use crate::disks::Bench;
use crate::world::{World, eventually, now, send_signal, spec};

macro_rules! stories {
    ($($name:ident),* $(,)?) => { &[$((stringify!($name), $name)),*] };
}

pub(crate) const ALL: &[Story] = stories![
    an_agent_is_started_checked_and_stopped,
    an_agent_finds_its_environment,
    an_agent_that_is_missing_or_refuses_says_why,
    an_agent_is_shown_with_its_table,
    an_agent_that_hangs_is_ended,
    what_runs_already_is_stopped_first,
    a_daemon_of_an_agent_is_watched_and_killed,
    a_hard_stop_ends_what_an_agent_left,
    a_guard_that_dies_takes_what_agents_left_along,
    an_agent_is_adopted,
    ipaddr2_is_taken_away_at_a_hard_stop,
    filesystem_is_shut_down_at_a_hard_stop,
    nginx_comes_and_goes,
    pgsql_comes_and_goes,
];

/// Whether the agent is installed; told where it is not.
pub(crate) fn installed(agent: &str) -> bool {
    let there = Path::new("/usr/lib/ocf/resource.d").join(agent).is_file();
    if !there {
        println!("  not tried: no agent {agent} (Debian's resource-agents)");
    }
    there
}

fn dummy(world: &World, more: &[(&str, &str)]) -> OnlineSpec {
    let state = world.path("state");
    let own = [("state", state.to_str().unwrap())];
    spec("ocf:pacemaker:Dummy", &[&own, more].concat())
}

fn bad_health(world: &mut World) -> String {
    loop {
        if let Outcome::Health(Health::Bad, why) = world.report().outcome {
            return why;
        }
    }
}

fn an_agent_is_started_checked_and_stopped() {
    if !installed("pacemaker/Dummy") {
        return;
    }
    let mut world = World::start();
    let state = world.path("state");
    let mut spec = dummy(&world, &[]);
    spec.is_alive_ms = 200;
    assert_eq!(world.ask("d", Action::Online(spec)), Outcome::Online);
    assert!(state.exists(), "the agent was not started");
    fs::remove_file(&state).unwrap();
    assert_eq!(bad_health(&mut world), "the agent says that it does not run");
    fs::write(&state, "").unwrap();
    assert_eq!(world.ask("d", Action::Offline), Outcome::Offline);
    assert!(!state.exists(), "the agent was not stopped");
    assert!(world.status().admitted.is_empty());

    // The levels of a check, and the agent's own reason.
    let mut deep = dummy(&world, &[("check-level", "30")]);
    deep.is_alive_ms = 200;
    assert_eq!(world.ask("d", Action::Online(deep)), Outcome::Online);
    assert_eq!(bad_health(&mut world), "the agent's check: it failed: hyperdrive quota reached");
    assert!(world.logs("d").contains("hyperdrive quota reached"));
    assert_eq!(world.ask("d", Action::Terminate), Outcome::Offline);
    assert!(!state.exists(), "terminated, and its agent was not asked to stop it");
}

fn an_agent_finds_its_environment() {
    if !installed("pacemaker/Dummy") {
        return;
    }
    let mut world = World::start();
    let file = world.path("environment");
    let spec = dummy(&world, &[("envfile", file.to_str().unwrap()), ("fake", "a b")]);
    assert_eq!(world.ask("web.d", Action::Online(spec)), Outcome::Online);
    let text = fs::read_to_string(file).unwrap();
    let start = text.split("###").find(|part| part.contains("__OCF_ACTION=start"));
    let start = start.unwrap_or(&text).lines().filter_map(|line| line.split_once('='));
    let all: BTreeMap<&str, &str> = start.collect();
    for (name, value) in [
        ("OCF_ROOT", "/usr/lib/ocf"),
        ("OCF_RA_VERSION_MAJOR", "1"),
        ("OCF_RESOURCE_INSTANCE", "web.d"),
        ("OCF_RESOURCE_TYPE", "Dummy"),
        ("OCF_RESOURCE_PROVIDER", "pacemaker"),
        ("OCF_RESKEY_fake", "a b"),
        ("OCF_RESKEY_CRM_meta_interval", "0"),
        ("STEAD_GROUP", "web"),
        ("STEAD_EPOCH", "e2"),
    ] {
        assert_eq!(all.get(name).copied(), Some(value), "{name} in {all:?}");
    }
    assert!(!all.contains_key("OCF_RESKEY_check-level"), "not the agent's: {all:?}");
}

/// agents are listed by name, and one tells its table.
fn an_agent_is_shown_with_its_table() {
    let mut world = World::start();
    let mut ask = |kind: &str| world.question(Question::Agent { kind: kind.into() });
    let none = ask("ocf:heartbeat:NoSuchThing").unwrap_err();
    assert!(none.starts_with("there is no agent /usr/lib/ocf/resource.d/heartbeat/NoS"), "{none}");
    assert_eq!(ask("ip-address").unwrap_err(), "`ip-address` is no agent");
    if !installed("heartbeat/IPaddr2") {
        return;
    }
    let told: Installed = serde_json::from_str(&ask("ocf:heartbeat:IPaddr2").unwrap()).unwrap();
    assert!(told.about.contains("IPv4"), "{}", told.about);
    let ip = told.properties.iter().find(|p| p.name == "ip").unwrap();
    assert!(ip.required && ip.about == "IPv4 or IPv6 address", "{ip:?}");
    let start = told.actions.iter().find(|a| a.name == "start").unwrap();
    assert_eq!(start.timeout_ms, Some(20_000));
    let all = world.question(Question::Types).unwrap();
    let all: Vec<Installed> = serde_json::from_str(&all).unwrap();
    let listed = all.iter().find(|one| one.name == "ocf:heartbeat:IPaddr2").unwrap();
    assert!(listed.properties.is_empty(), "it was asked");
}

fn an_agent_that_is_missing_or_refuses_says_why() {
    let mut world = World::start();
    let Outcome::Failed(why) =
        world.ask("x", Action::Online(spec("ocf:heartbeat:NoSuchThing", &[])))
    else {
        panic!("it started")
    };
    assert!(why.contains("not installed here") && why.contains("heartbeat/NoSuchThing"), "{why}");
    if !installed("heartbeat/Filesystem") {
        return;
    }
    let mut refused = spec("ocf:heartbeat:Filesystem", &[("device", "/dev/nowhere")]);
    refused.first = true;
    let Outcome::Failed(why) = world.ask("fs", Action::Online(refused)) else { panic!("it runs") };
    assert!(why.contains("agent `Filesystem`"), "{why}");
    assert!(world.status().admitted.is_empty());
}

fn an_agent_that_hangs_is_ended() {
    if !installed("pacemaker/Dummy") {
        return;
    }
    let mut world = World::start();
    let mut slow = dummy(&world, &[("op_sleep", "600")]);
    slow.pending_timeout_ms = 300;
    let asked = now();
    let order = world.order("slow", Action::Online(slow));
    // The agent ignores TERM, and its last stop sleeps for as long: the node is told.
    let answer = world.answer(order);
    assert!(matches!(answer, Outcome::StopFailed(_)), "{answer:?}");
    assert!(now().since(asked) < Span::from_secs(15));
    // Another one goes its way meanwhile.
    let fine = dummy(&world, &[]);
    assert_eq!(world.ask("fine", Action::Online(fine)), Outcome::Online);
}

fn what_runs_already_is_stopped_first() {
    if !installed("pacemaker/Dummy") {
        return;
    }
    let mut world = World::start();
    let file = world.path("environment");
    fs::write(world.path("state"), "by somebody else").unwrap();
    let spec = dummy(&world, &[("envfile", file.to_str().unwrap())]);
    let order = world.order("d", Action::Online(spec));
    let mut told = Vec::new();
    loop {
        let report = world.report();
        match report.outcome {
            Outcome::Notice(text) => told.push(text),
            other if report.order == order => {
                assert_eq!(other, Outcome::Online);
                break;
            }
            _ => {}
        }
    }
    assert!(told.iter().any(|text| text.contains("stopped first")), "{told:?}");
    assert_eq!(fs::read_to_string(world.path("state")).unwrap(), "", "it was not started anew");
    let text = fs::read_to_string(file).unwrap();
    let actions = text.lines().filter_map(|l| l.strip_prefix("### ")?.split(' ').next());
    assert_eq!(actions.collect::<Vec<_>>(), ["monitor", "stop", "start"]);
}

/// A daemon that forks away, by the agent `anything`.
fn daemon(world: &World) -> OnlineSpec {
    let file = world.path("daemon.sh");
    let root = world.path("");
    let script = format!(
        "#!/bin/sh\n(setsid sh -c 'exec 9>{0}life; echo >&9; exec sleep 1000') &\n\
         exec 9>{0}life; exec sleep 1000\n",
        root.display()
    );
    fs::write(&file, script).unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).unwrap();
    let (pid, user) = (world.path("pid"), if geteuid().is_root() { "root" } else { "" });
    let own = [("binfile", file.to_str().unwrap()), ("pidfile", pid.to_str().unwrap())];
    let user: &[(&str, &str)] = if user.is_empty() { &[] } else { &[("user", user)] };
    spec("ocf:heartbeat:anything", &[&own, user].concat())
}

fn pid_in(path: PathBuf) -> i32 {
    fs::read_to_string(path).unwrap().trim().parse().unwrap()
}

fn a_daemon_of_an_agent_is_watched_and_killed() {
    if !installed("heartbeat/anything") {
        return;
    }
    let mut world = World::start();
    let mut life = world.witness("life");
    let daemon = daemon(&world);
    assert_eq!(world.ask("any", Action::Online(daemon.clone())), Outcome::Online);
    life.wait_for_life();
    let killed = now();
    send_signal(pid_in(world.path("pid")), Signal::KILL);
    // The thorough check is due in a minute.
    let why = bad_health(&mut world);
    assert!(now().since(killed) < Span::from_secs(15), "{why}");
    assert_eq!(world.ask("any", Action::Offline), Outcome::Offline);
    assert!(!life.lives(), "what forked away from the agent's own process lives on");

    assert_eq!(world.ask("any", Action::Online(daemon)), Outcome::Online);
    life.wait_for_life();
    assert_eq!(world.ask("any", Action::Terminate), Outcome::Offline);
    assert!(!life.lives(), "terminated, and something of it lives");
}

fn a_hard_stop_ends_what_an_agent_left() {
    if !installed("heartbeat/anything") {
        return;
    }
    let mut world = World::start();
    let mut life = world.witness("life");
    let daemon = daemon(&world);
    assert_eq!(world.ask("any", Action::Online(daemon)), Outcome::Online);
    life.wait_for_life();
    world.hard_stop();
    assert!(!life.lives(), "the hard stop is done and something lives");
    assert!(world.status().admitted.is_empty());
}

fn a_guard_that_dies_takes_what_agents_left_along() {
    if !installed("heartbeat/anything") {
        return;
    }
    let mut world = World::start();
    let mut life = world.witness("life");
    let daemon = daemon(&world);
    assert_eq!(world.ask("any", Action::Online(daemon)), Outcome::Online);
    life.wait_for_life();
    send_signal(world.guard.id().cast_signed(), Signal::KILL);
    eventually("nothing is left", || !life.lives());
}

fn an_agent_is_adopted() {
    if !installed("heartbeat/anything") {
        return;
    }
    let mut world = World::start();
    let mut life = world.witness("life");
    let daemon = daemon(&world);
    assert_eq!(world.ask("any", Action::Online(daemon.clone())), Outcome::Online);
    life.wait_for_life();
    send_signal(world.monitor_pid(), Signal::KILL);
    world.next_monitor();
    world.hello(1);
    assert!(life.lives());
    assert_eq!(world.ask("any", Action::Adopt(daemon)), Outcome::Online);
    assert!(life.lives());
    send_signal(pid_in(world.path("pid")), Signal::KILL);
    bad_health(&mut world);
    assert_eq!(world.ask("any", Action::Offline), Outcome::Offline);
    assert!(!life.lives());
}

fn ipaddr2_is_taken_away_at_a_hard_stop() {
    if !installed("heartbeat/IPaddr2") {
        return;
    }
    let Some(mut world) = crate::addresses::world() else { return };
    let online = || {
        let given = [("ip", "10.9.0.50"), ("cidr_netmask", "24"), ("arp_count", "1")];
        Action::Online(spec("ocf:heartbeat:IPaddr2", &given))
    };
    assert_eq!(world.ask("vip", online()), Outcome::Online);
    assert_eq!(crate::addresses::on_node(&world), Some(24));
    assert_eq!(world.ask("vip", Action::Offline), Outcome::Offline);
    assert_eq!(crate::addresses::on_node(&world), None);
    assert_eq!(world.ask("vip", online()), Outcome::Online);
    world.hard_stop();
    assert_eq!(crate::addresses::on_node(&world), None, "the guard left it there");
}

fn filesystem_is_shut_down_at_a_hard_stop() {
    if !installed("heartbeat/Filesystem") {
        return;
    }
    let Some(mut bench) = Bench::set() else { return };
    let point = bench.world.path("mnt");
    fs::create_dir(&point).unwrap();
    let device = bench.device.to_str().unwrap().to_owned();
    let online = || {
        let point = point.to_str().unwrap();
        let given = [("device", device.as_str()), ("directory", point), ("fstype", "ext4")];
        Action::Online(spec("ocf:heartbeat:Filesystem", &given))
    };
    assert_eq!(bench.world.ask("fs", online()), Outcome::Online);
    assert!(bench.on_disk("lost+found").exists() && !bench.is_free());
    assert_eq!(bench.world.ask("fs", Action::Offline), Outcome::Offline);
    assert!(bench.is_free());
    assert_eq!(bench.world.ask("fs", online()), Outcome::Online);
    bench.world.hard_stop();
    assert!(bench.is_free(), "the hard stop is done and it is mounted");
}

fn run(program: &str, words: &[&str]) -> String {
    let output = Command::new(program).args(words).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{program} {words:?}: {text}{output:?}");
    text
}

fn nginx_comes_and_goes() {
    if !installed("heartbeat/nginx")
        || !geteuid().is_root()
        || !Path::new("/usr/sbin/nginx").exists()
    {
        println!("  not tried: nginx as root");
        return;
    }
    let mut world = World::start();
    let root = world.path("");
    let file = world.path("nginx.conf");
    let text = format!(
        "worker_processes 1;\npid {0}nginx.pid;\nerror_log {0}error.log;\nevents {{}}\n\
         http {{ access_log off; server {{ listen 127.0.0.1:18087;\n\
         location / {{ return 200 up; }} }} }}\n",
        root.display()
    );
    fs::write(&file, text).unwrap();
    let given = [("configfile", file.to_str().unwrap()), ("httpd", "/usr/sbin/nginx")];
    let spec = spec("ocf:heartbeat:nginx", &given);
    assert_eq!(world.ask("web", Action::Online(spec)), Outcome::Online);
    assert!(serves(), "nginx does not serve");
    let master = pid_in(world.path("nginx.pid"));
    send_signal(master, Signal::KILL);
    bad_health(&mut world);
    assert_eq!(world.ask("web", Action::Offline), Outcome::Offline);
    // Workers outlive a killed master for ever.
    assert!(!serves(), "a worker still serves");
}

/// Whether the web server of the story answers.
fn serves() -> bool {
    let Ok(mut stream) = TcpStream::connect("127.0.0.1:18087") else { return false };
    let mut answer = String::new();
    let asked = stream.write_all(b"GET / HTTP/1.0\r\n\r\n");
    asked.and_then(|()| stream.read_to_string(&mut answer)).is_ok() && answer.ends_with("up")
}

fn pgsql_comes_and_goes() {
    let found = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten().next();
    let Some(bin) = found.map(|version| version.path().join("bin")) else {
        println!("  not tried: no PostgreSQL");
        return;
    };
    if !installed("heartbeat/pgsql") || !geteuid().is_root() {
        println!("  not tried: pgsql as root");
        return;
    }
    let mut world = World::start();
    fs::set_permissions(world.path(""), fs::Permissions::from_mode(0o755)).unwrap();
    let (data, program) = (world.path("data"), |name: &str| bin.join(name).display().to_string());
    fs::create_dir(&data).unwrap();
    let data = data.to_str().unwrap();
    run("chown", &["postgres", data]);
    let initdb = program("initdb");
    run("runuser", &["-u", "postgres", "--", &initdb, "-A", "trust", "--no-sync", "-D", data]);
    let sockets = "unix_socket_directories = '/tmp'\n";
    let configured = format!("{data}/postgresql.auto.conf");
    fs::write(configured, sockets).unwrap();
    let given = [
        ("pgctl", program("pg_ctl")),
        ("psql", program("psql")),
        ("pgdata", data.to_owned()),
        ("pgport", "15487".to_owned()),
        ("socketdir", "/tmp".to_owned()),
        ("logfile", format!("{data}/log")),
    ];
    let given: Vec<(&str, &str)> = given.iter().map(|(n, v)| (*n, v.as_str())).collect();
    let spec = spec("ocf:heartbeat:pgsql", &given);
    assert_eq!(world.ask("db", Action::Online(spec)), Outcome::Online, "{}", world.logs("db"));
    let first = fs::read_to_string(format!("{data}/postmaster.pid")).unwrap();
    let postmaster: i32 = first.lines().next().unwrap().parse().unwrap();
    world.hard_stop();
    assert!(!Path::new(&format!("/proc/{postmaster}")).exists(), "the database lives on");
}
