//! `network-name`: what the programs of a virtual server see of it.

use std::fs;
use std::path::Path;
use std::process::Command;

use rustix::process::{Signal, geteuid};
use stead_model::config::{NodeConfig, QuorumConfig, QuorumMode};
use stead_model::order::{Action, GuardReport, OnlineSpec, Outcome};
use stead_model::profile::Profile;
use stead_model::resource::Health;
use stead_model::server::VirtualServer;
use stead_model::{NodeId, OrderId};

use crate::Story;
use crate::bind::Bind;
use crate::world::{World, eventually, send_signal, spec};

macro_rules! stories {
    ($($name:ident),* $(,)?) => { &[$((stringify!($name), $name)),*] };
}

pub(crate) const ALL: &[Story] = stories![
    two_virtual_servers_on_a_node_see_their_own_names,
    a_script_sees_the_name_and_mounts_for_all,
    what_the_node_knows_is_kept_fresh,
    a_name_outlives_its_monitor,
    without_namespaces_a_program_has_the_variables,
    a_name_is_online_before_its_server_and_published_by_it,
    a_name_that_must_be_in_dns_waits_for_it_or_fails,
];

/// What a program prints first, each on a line of its own.
const SEEN: &str = "uname -n; getent hosts alpha beta; echo $STEAD_SERVER_NAME \
                    $STEAD_SERVER_FULL_NAME $STEAD_SERVER_ADDRESSES; echo seen;";
const STAY: &str = "while :; do sleep 0.05; done";

fn server(name: &str, addresses: &[&str]) -> VirtualServer {
    VirtualServer {
        name: Some(name.to_owned()),
        domain: Some("example.org".to_owned()),
        addresses: addresses.iter().map(|address| address.parse().unwrap()).collect(),
    }
}

/// The network name of a server.
fn name(server: &VirtualServer) -> OnlineSpec {
    let name = server.name.clone().unwrap();
    let given = [("host-name", name.as_str()), ("zone", "example.org")];
    let server = server.clone();
    OnlineSpec { server, looks_alive_ms: 100, ..spec("network-name", &given) }
}

/// What it says when it has said all.
fn said(world: &mut World, resource: &str) -> Vec<String> {
    let mut lines = Vec::new();
    eventually("the program says what it sees", || {
        lines = world.logs(resource).lines().map(str::to_owned).collect();
        lines.last().is_some_and(|line| line == "seen")
    });
    lines
}

/// Whether this user may make the namespaces; if not it is told.
fn may() -> bool {
    let may = geteuid().is_root();
    if !may {
        println!("skipped: a host name of its own needs root");
    }
    may
}

fn two_virtual_servers_on_a_node_see_their_own_names() {
    if !may() {
        return;
    }
    let mut world = World::start();
    let (alpha, beta) =
        (server("alpha", &["10.9.1.25", "fd09::25"]), server("beta", &["10.9.1.26"]));
    let own = rustix::system::uname().nodename().to_owned();
    for (resource, server) in [("name-a", &alpha), ("name-b", &beta)] {
        assert_eq!(world.ask(resource, Action::Online(name(server))), Outcome::Online);
    }
    for (resource, server) in [("app-a", alpha), ("app-b", beta)] {
        let script = OnlineSpec { server, ..world.script(&format!("{SEEN} {STAY}"), &[]) };
        assert_eq!(world.ask(resource, Action::Online(script)), Outcome::Online);
    }
    // Each knows its own name and address, at the same time, and not that of the other.
    let seen = said(&mut world, "app-a");
    assert_eq!(seen[0], "alpha");
    assert!(seen[1].starts_with("fd09::25") && seen[1].contains("alpha.example.org"), "{seen:?}");
    assert_eq!(seen[2..4], ["alpha alpha.example.org 10.9.1.25 fd09::25", "seen"]);
    let seen = said(&mut world, "app-b");
    assert_eq!(seen[0], "beta");
    assert!(seen[1].starts_with("10.9.1.26") && seen[1].contains("beta.example.org"), "{seen:?}");
    assert_eq!(rustix::system::uname().nodename(), own.as_c_str(), "the node has its own");
    let hosts = world.path("run/stead/servers/alpha.hosts");
    assert!(hosts.exists());
    for resource in ["app-a", "name-a"] {
        assert_eq!(world.ask(resource, Action::Offline), Outcome::Offline);
    }
    assert!(!hosts.exists());
}

/// A node whose mounts are shared, as systemd makes them, or not.
fn node_with(propagation: &str) -> World {
    let mut command = Command::new("unshare");
    command.args(["--mount", "--propagation", propagation]);
    command.arg(std::env::current_exe().unwrap());
    World::start_by(command)
}

/// Whether something is mounted there in the eyes of a process.
fn is_mounted(of: u32, at: &Path) -> bool {
    let table = fs::read(format!("/proc/{of}/mountinfo")).unwrap();
    stead_model::mount_table::parse(&table).iter().any(|mount| mount.point == at)
}

/// A script that mounts something, and leaves a daemon that says what it sees.
fn mounter(world: &World, data: &Path) -> OnlineSpec {
    let (file, data) = (world.path("service"), data.display());
    let text = format!(
        "#!/bin/sh\ncase $1 in\n\
         online) mount -t tmpfs none {data} && (setsid sh -c '{SEEN} sleep 1000' &);;\n\
         offline) umount {data};;\n\
         *) exit 3;;\nesac\n"
    );
    fs::write(&file, text).unwrap();
    rustix::fs::chmod(&file, rustix::fs::Mode::from_raw_mode(0o755)).unwrap();
    fs::create_dir(world.path("data")).unwrap();
    spec("generic-script", &[("script", file.to_str().unwrap())])
}

/// The entry points of a script run in a place of the node itself: its daemons see the virtual
/// name, and what it mounts is for others all the same.
fn a_script_sees_the_name_and_mounts_for_all() {
    if !may() {
        return;
    }
    for propagation in ["shared", "private"] {
        let mut world = node_with(propagation);
        let (guard, data) = (world.guard.id(), world.path("data"));
        let alpha = server("alpha", &["10.9.1.25"]);
        assert_eq!(world.ask("name", Action::Online(name(&alpha))), Outcome::Online);
        let script = OnlineSpec { server: alpha, ..mounter(&world, &data) };
        assert_eq!(world.ask("s", Action::Online(script)), Outcome::Online);
        let seen = said(&mut world, "s");
        assert!(seen.contains(&"alpha".to_owned()), "{seen:?}");
        // Where it could not do both, mounting for all comes first, and that is told.
        let sees = seen.iter().any(|line| line.starts_with("10.9.1.25"));
        assert_eq!(sees, propagation == "shared", "{seen:?}");
        assert_eq!(seen[0].contains("mounts are not shared"), !sees, "{seen:?}");
        assert!(is_mounted(guard, &data), "what it mounted is not seen outside: {propagation}");
        assert!(!is_mounted(guard, Path::new("/etc/hosts")), "its view is seen outside");
        assert_eq!(world.ask("s", Action::Offline), Outcome::Offline);
        assert!(!is_mounted(guard, &data), "what it unmounted stays outside");
    }
}

fn what_the_node_knows_is_kept_fresh() {
    if !may() {
        return;
    }
    let mut world = World::start();
    fs::create_dir_all(world.path("etc")).unwrap();
    fs::write(world.path("etc/hosts"), "127.0.0.1 localhost\n10.9.9.9 alpha\n").unwrap();
    let alpha = server("alpha", &["10.9.1.25"]);
    assert_eq!(world.ask("name", Action::Online(name(&alpha))), Outcome::Online);
    let wait = "wait_for() { until getent hosts $1 | grep $2; do sleep 0.05; done; }";
    let script = format!(
        "{wait}; wait_for alpha 10.9.1.25; echo seen; wait_for new 10.9.9.8; \
                          echo seen; wait_for alpha fd09::26; echo seen; {STAY}"
    );
    let script = OnlineSpec { server: alpha.clone(), ..world.script(&script, &[]) };
    assert_eq!(world.ask("app", Action::Online(script)), Outcome::Online);
    assert_eq!(said(&mut world, "app").len(), 2);
    // What is new on the node is seen by a program that runs.
    fs::write(world.path("etc/hosts"), "127.0.0.1 localhost\n10.9.9.8 new\n").unwrap();
    eventually("the program sees it", || world.logs("app").matches("seen").count() == 2);
    // So is another address that the name stands on from now on.
    let more = server("alpha", &["10.9.1.25", "fd09::26"]);
    assert_eq!(world.ask("name", Action::Adopt(name(&more))), Outcome::Online);
    eventually("the program sees it", || world.logs("app").matches("seen").count() == 3);
}

/// Nothing that stands on it is restarted because a monitor died.
fn a_name_outlives_its_monitor() {
    let mut world = World::start();
    let alpha = server("alpha", &["10.9.1.25"]);
    assert_eq!(world.ask("name", Action::Online(name(&alpha))), Outcome::Online);
    send_signal(world.monitor_pid(), Signal::KILL);
    world.guard_report(|r| matches!(r, GuardReport::MonitorDied { .. }));
    world.next_monitor();
    world.hello(1);
    assert_eq!(world.ask("name", Action::Adopt(name(&alpha))), Outcome::Online);
    assert_eq!(world.ask("name", Action::Offline), Outcome::Offline);
    assert!(world.status().admitted.is_empty());
}

/// Where the kernel refuses, it is told and the program runs with what is left.
fn without_namespaces_a_program_has_the_variables() {
    let own = std::env::current_exe().unwrap();
    let limits = "for kind in pid mnt uts; do echo 0 >/proc/sys/user/max_${kind}_namespaces; done";
    let script = format!("{limits} && exec \"$0\" \"$@\"");
    let mut command = Command::new("unshare");
    command.args(["--user", "--map-root-user", "sh", "-c", &script]).arg(own);
    let tried = Command::new("unshare").args(["--user", "--map-root-user", "true"]).status();
    if !tried.is_ok_and(|status| status.success()) {
        println!("skipped: this kernel makes no user namespaces");
        return;
    }
    let mut world = World::start_by(command);
    let alpha = server("alpha", &["10.9.1.25"]);
    assert_eq!(world.ask("name", Action::Online(name(&alpha))), Outcome::Online);
    let script = world.script(&format!("{SEEN} {STAY}"), &[]);
    let script = OnlineSpec { server: alpha, ..script };
    assert_eq!(world.ask("app", Action::Online(script)), Outcome::Online);
    let seen = said(&mut world, "app");
    assert!(seen.contains(&"alpha alpha.example.org 10.9.1.25".to_owned()), "{seen:?}");
    assert!(seen.iter().any(|line| line.contains("see the node's host name")), "{seen:?}");
    let hidden = loop {
        let (code, text) = world.guard_notice();
        if code == "server-hidden" {
            break text;
        }
    };
    assert!(hidden.contains("`alpha`"), "{hidden}");
}

/// A name that is published on the server, and the folder's cluster.
fn published(
    world: &World,
    bind: &Bind,
    server: &VirtualServer,
    more: &[(&str, &str)],
) -> OnlineSpec {
    fs::create_dir_all(world.path("etc/stead")).unwrap();
    let config = NodeConfig {
        cluster: "lab".into(),
        cluster_id: 7,
        node: NodeId(1),
        port: 1,
        nodes: Vec::new(),
        founders: None,
        networks: Vec::new(),
        quorum: QuorumConfig { mode: QuorumMode::NodeMajority, disk: None },
        profile: Profile::Standard,
        watchdog: None,
    };
    let text = serde_json::to_vec(&config).unwrap();
    fs::write(world.path("etc/stead/cluster.json"), text).unwrap();
    let (servers, key) = (bind.address.to_string(), bind.path("clus.key"));
    let dns = [("dns-servers", servers.as_str()), ("tsig-key", key.to_str().unwrap())];
    let mut spec = name(server);
    let all = [&dns, &[("ttl", "60s")][..], more].concat();
    spec.properties.extend(all.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())));
    spec
}

/// The next notice that has this in it.
fn noticed(world: &mut World, order: OrderId, text: &str) -> String {
    loop {
        let notice = world.notice(order);
        if notice.contains(text) {
            return notice;
        }
    }
}

/// The name comes online and a notice has this in it, in whatever order: the one waits for nothing
/// of the other.
fn online_with(world: &mut World, order: OrderId, text: &str) -> String {
    let (mut online, mut notice) = (false, None);
    loop {
        let report = world.report();
        match report.outcome {
            Outcome::Online if report.order == order => online = true,
            Outcome::Notice(why) if report.order == order && why.contains(text) => {
                notice = Some(why);
            }
            _ => {}
        }
        if let Some(why) = notice.as_ref().filter(|_| online) {
            return why.clone();
        }
    }
}

/// Nothing waits for DNS: while its server is down the name is online, and published when it is up
/// again.
fn a_name_is_online_before_its_server_and_published_by_it() {
    let Some(mut bind) = Bind::set() else { return };
    let mut world = World::start();
    let alpha = server("alpha", &["10.9.1.25"]);
    let mut spec = published(&world, &bind, &alpha, &[]);
    spec.is_alive_ms = 300;
    let order = world.order("name", Action::Online(spec.clone()));
    let why = online_with(&mut world, order, "not in DNS");
    assert!(why.contains("does not answer: connection refused"), "{why}");
    let shown = loop {
        if let Outcome::Health(health, text) = world.report().outcome
            && text.contains("connection refused")
        {
            break health;
        }
    };
    assert_eq!(shown, Health::Good, "it serves all who know its address");
    bind.run();
    bind.until("alpha.example.org", "A", "60 10.9.1.25");
    noticed(&mut world, order, "`alpha.example.org` is 10.9.1.25 in DNS");

    // It stands on another address: without a restart that is published, too.
    let beta = server("alpha", &["10.9.1.26"]);
    spec.server = beta;
    let order = world.order("name", Action::Adopt(spec.clone()));
    assert_eq!(world.answer(order), Outcome::Online);
    bind.until("alpha.example.org", "A", "60 10.9.1.26");
    bind.until("25.1.9.10.in-addr.arpa", "PTR", "");
    // The server lost all changes: the thorough check finds that.
    bind.halt();
    fs::remove_file(bind.path("example.org.jnl")).unwrap();
    bind.run();
    bind.until("alpha.example.org", "A", "60 10.9.1.26");

    // It goes offline and stays published; when it is deleted it does not.
    assert_eq!(world.ask("name", Action::Offline), Outcome::Offline);
    assert_eq!(bind.dig("alpha.example.org", "A"), ["60 10.9.1.26"]);
    let removed = Outcome::Forgotten("`alpha.example.org` was removed from DNS".into());
    assert_eq!(world.ask("name", Action::Forget(spec.clone())), removed);
    assert!(bind.dig("alpha.example.org", "A").is_empty());
    assert!(bind.dig("26.1.9.10.in-addr.arpa", "PTR").is_empty());
    assert_eq!(world.ask("name", Action::Forget(spec)), Outcome::Forgotten(String::new()));
}

fn a_name_that_must_be_in_dns_waits_for_it_or_fails() {
    let Some(bind) = Bind::start() else { return };
    let mut world = World::start();
    let alpha = server("alpha", &["10.9.1.25"]);
    let needs = [("require-dns", "true")];
    let spec = published(&world, &bind, &alpha, &needs);
    assert_eq!(world.ask("name", Action::Online(spec.clone())), Outcome::Online);
    assert_eq!(bind.dig("alpha.example.org", "A"), ["60 10.9.1.25"], "online before it is there");
    assert_eq!(world.ask("name", Action::Offline), Outcome::Offline);
    let wrong = bind.write_key("wrong.key", "clus", "d3Jvbmcgd3Jvbmcgd3Jvbmcg");
    let wrong = [needs[0], ("tsig-key", wrong.to_str().unwrap())];
    let refused = published(&world, &bind, &alpha, &wrong);
    let Outcome::Failed(why) = world.ask("name", Action::Online(refused)) else { panic!("online") };
    assert!(why.contains("another secret for key `clus`"), "{why}");
    assert!(world.status().admitted.is_empty());
}
