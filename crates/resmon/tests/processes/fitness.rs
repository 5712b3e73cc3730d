//! A monitor says what a resource would lack on its node, before the resource is made.

use std::collections::BTreeSet;

use stead_model::order::{Action, Fitness, Outcome, Wanted};

use crate::Story;
use crate::world::{World, spec};

macro_rules! stories {
    ($($name:ident),* $(,)?) => { &[$((stringify!($name), $name)),*] };
}

pub(crate) const ALL: &[Story] = stories![
    what_is_missing_is_named_with_its_property,
    what_comes_with_a_disk_is_not_looked_for,
    hundreds_are_looked_at,
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
