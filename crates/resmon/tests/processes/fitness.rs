//! A monitor says what a resource would lack on its node, before the resource is made.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use stead_model::order::{Action, Advice, Fitness, Outcome, Wanted};

use crate::Story;
use crate::agents::installed;
use crate::world::{World, eventually, spec};

macro_rules! stories {
    ($($name:ident),* $(,)?) => { &[$((stringify!($name), $name)),*] };
}

pub(crate) const ALL: &[Story] = stories![
    what_is_missing_is_named_with_its_property,
    what_comes_with_a_disk_is_not_looked_for,
    hundreds_are_looked_at,
    an_agent_says_what_it_takes,
    a_broken_agent_is_not_judged,
    the_program_of_a_probe_must_be_there,
    a_probe_that_runs_ends_with_the_lease,
];

fn wanted(kind: &str, properties: &[(&str, &str)], mounts: &[&str]) -> Action {
    let mounts = mounts.iter().map(|m| (*m).to_owned()).collect::<BTreeSet<_>>();
    Action::Fit(Box::new(Wanted { spec: spec(kind, properties), mounts }))
}

fn unfit(causes: &[&str]) -> Outcome {
    let causes = causes.iter().map(|c| (*c).to_owned()).collect();
    Outcome::Fitness(Fitness::Unfit(causes))
}

const FIT: Outcome = Outcome::Fitness(Fitness::Fit);

fn what_is_missing_is_named_with_its_property() {
    let mut world = World::start();
    let application = "generic-application";
    let mut ask = |kind, properties: &[_]| world.ask("new", wanted(kind, properties, &[]));
    assert_eq!(ask("dummy", &[]), FIT);
    assert_eq!(ask(application, &[("command", "sleep 60"), ("check", "/bin/true")]), FIT);
    assert_eq!(
        ask(application, &[("command", "/opt/missing run"), ("check", "nowhere -x")]),
        unfit(&[
            "`command`: there is no program /opt/missing",
            "`check`: there is no program `nowhere` in \
             /usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        ])
    );
    assert_eq!(
        ask(application, &[("command", "/etc/passwd"), ("cwd", "/nowhere")]),
        unfit(&[
            "`cwd`: there is no folder /nowhere",
            "`command`: /etc/passwd may not be executed",
        ])
    );
    let Outcome::Fitness(Fitness::Unfit(causes)) =
        ask(application, &[("command", "/bin/true"), ("user", "stranger")])
    else {
        panic!("a user that is missing fits");
    };
    assert_eq!(causes, ["`user`: there is no user `stranger` on this node"]);
    let missing = unfit(&["`script`: there is no program /opt/missing"]);
    assert_eq!(ask("generic-script", &[("script", "/opt/missing")]), missing);
    let own = [("script", "/bin/true"), ("online-command", "/opt/missing up")];
    let missing = unfit(&["`online-command`: there is no program /opt/missing"]);
    assert_eq!(ask("generic-script", &own), missing);
    let missing =
        unfit(&["`type`: there is no program /usr/lib/ocf/resource.d/heartbeat/NoSuchAgent"]);
    assert_eq!(ask("ocf:heartbeat:NoSuchAgent", &[]), missing);
    let disk = [("disk", "/dev/stead-no-such-disk"), ("mount-point", "/mnt")];
    let missing = ask("physical-disk", &disk);
    assert!(format!("{missing:?}").contains("`disk`: there is no device /dev/stead-no-such"));
    let missing = ask("ip-address", &[("address", "203.0.113.9/24")]);
    let told = "`address`: no interface of this node has an address in 203.0.113.9/24";
    assert!(format!("{missing:?}").contains(told), "{missing:?}");
    let missing = ask("ip-address", &[("address", "10.9.0.9/24"), ("interface", "eth77")]);
    assert!(format!("{missing:?}").contains("`interface`: no interface `eth77`"), "{missing:?}");
    assert!(world.status().admitted.is_empty(), "a look started something");
}

/// A program on a shared disk is where the disk is.
fn what_comes_with_a_disk_is_not_looked_for() {
    let mut world = World::start();
    let given = [("command", "/srv/missing/bin/run"), ("cwd", "/srv/missing")];
    let mut ask = |mounts: &[&str]| world.ask("new", wanted("generic-application", &given, mounts));
    assert_eq!(ask(&["/srv/missing"]), FIT);
    assert_ne!(ask(&["/srv/miss"]), FIT);
}

/// A declaration may want hundreds of resources at once; each is answered once.
fn hundreds_are_looked_at() {
    let mut world = World::start();
    let orders = (0..300).map(|number| {
        let command = if number % 3 == 0 { "/opt/missing" } else { "/bin/true" };
        world.order("new", wanted("generic-application", &[("command", command)], &[]))
    });
    let mut open: BTreeSet<_> = orders.collect();
    let mut missing = 0;
    while !open.is_empty() {
        let report = world.report();
        if let Outcome::Fitness(fitness) = report.outcome {
            assert!(open.remove(&report.order), "{} is answered twice", report.order);
            missing += usize::from(fitness != Fitness::Fit);
        }
    }
    assert_eq!(missing, 100);
}

/// Agents that are read here as they are: Debian's.
fn an_agent_says_what_it_takes() {
    let mut world = World::start();
    let mut ask = |kind: &str, properties: &[_]| world.ask("new", wanted(kind, properties, &[]));
    if installed("heartbeat/IPaddr2") {
        assert_eq!(
            ask("ocf:heartbeat:IPaddr2", &[("cidr_netmsk", "24"), ("arp_count", "few")]),
            unfit(&[
                "`arp_count`: it must be a whole number, not `few`",
                "`cidr_netmsk`: the agent has no such parameter; did you mean `cidr_netmask`?",
                "`ip` is missing, the agent requires it: IPv4 or IPv6 address",
            ])
        );
        assert_eq!(ask("ocf:heartbeat:IPaddr2", &[("ip", "10.9.0.5")]), FIT);
    }
    if installed("pacemaker/Dummy") {
        let level = unfit(&["`check-level`: the agent checks at 0"]);
        assert_eq!(ask("ocf:pacemaker:Dummy", &[("check-level", "30")]), level);
        assert_eq!(ask("ocf:pacemaker:Dummy", &[("fake", "yes")]), FIT);
        let mut short = spec("ocf:pacemaker:Dummy", &[]);
        short.pending_timeout_ms = 5_000;
        let mounts = BTreeSet::new();
        let told = world.ask("new", Action::Fit(Box::new(Wanted { spec: short, mounts })));
        let Outcome::Fitness(Fitness::Advised(told)) = told else { panic!("{told:?}") };
        let Advice { property, given_ms, wanted_ms, .. } = &told[0];
        assert_eq!((property.as_str(), *given_ms, *wanted_ms), ("pending-timeout", 5_000, 20_000));
    }
    let known: &[(&str, &[(&str, &str)])] = &[
        ("heartbeat/Filesystem", &[("device", "/dev/x"), ("directory", "/x"), ("fstype", "ext4")]),
        ("heartbeat/pgsql", &[]),
        ("heartbeat/nginx", &[]),
    ];
    for (agent, properties) in known.iter().filter(|(agent, _)| installed(agent)) {
        let kind = format!("ocf:{}", agent.replace('/', ":"));
        let told = world.ask("new", wanted(&kind, properties, &[]));
        let fits = matches!(&told, Outcome::Fitness(Fitness::Fit | Fitness::Advised(_)));
        assert!(fits, "{kind}: {told:?}");
    }
}

/// What an agent says of itself may hang, be garbage or fail: that is named, and no reason to
/// refuse it.
fn a_broken_agent_is_not_judged() {
    if !rustix::process::geteuid().is_root() {
        println!("  not tried: agents are made in /usr/lib/ocf, which needs root");
        return;
    }
    let provider = format!("stead-test-{}", std::process::id());
    let folder = Path::new("/usr/lib/ocf/resource.d").join(&provider);
    fs::create_dir_all(&folder).unwrap();
    let gone = Gone(folder.clone());
    let mut world = World::start();
    for (name, script, why) in [
        ("garbage", "echo '<resource-agent><para'", "cannot be read"),
        ("fails", "echo half; exit 1", "ended with exit status: 1"),
        ("floods", "while :; do echo 0123456789012345678901234567890123456789; done", ""),
        ("hangs", "trap '' TERM; sleep 600 & wait", "did not end within 5 s"),
    ] {
        let path = folder.join(name);
        fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        let kind = format!("ocf:{provider}:{name}");
        let told = world.ask("new", wanted(&kind, &[], &[]));
        let Outcome::Fitness(Fitness::Unsure(told)) = told else { panic!("{name}: {told:?}") };
        assert!(told.contains(why), "{name}: {told}");
    }
    drop(gone);
}

/// A folder that goes with its story.
struct Gone(PathBuf);

impl Drop for Gone {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn the_program_of_a_probe_must_be_there() {
    let mut world = World::start();
    let mut ask = |probe: &str| world.ask("new", wanted("dummy", &[("probe", probe)], &[]));
    assert_eq!(ask("command:/bin/true -x"), FIT);
    let missing = unfit(&["`probe`: there is no program /opt/missing"]);
    assert_eq!(ask("command:/opt/missing -x"), missing);
}

fn a_probe_that_runs_ends_with_the_lease() {
    let mut world = World::start();
    let file = world.path("probe");
    let probe = format!("command:/bin/sh -c 'echo $$ > {}; exec sleep 600'", file.display());
    let given = [("probe", probe.as_str()), ("probe-interval", "100ms"), ("probe-timeout", "1h")];
    assert_eq!(world.ask("d", Action::Online(spec("dummy", &given))), Outcome::Online);
    let mut pid = String::new();
    eventually("the probe runs", || {
        pid = fs::read_to_string(&file).unwrap_or_default();
        pid.ends_with('\n')
    });
    world.hard_stop();
    let process = Path::new("/proc").join(pid.trim());
    eventually("the probe ended", || {
        let stat = fs::read_to_string(process.join("stat")).unwrap_or_default();
        stat.is_empty() || stat.contains(") Z ")
    });
}
