//! A monitor that was stopped with an unread order to start, and goes on when the order is void;
//! and one that does not go on.

use std::collections::BTreeMap;

use e2e::processes::{self, Role};
use e2e::{Roles, other, until, wait, witness};
use rustix::process::Signal;
use stead_lab::{CutSpec, Station, boot_ns};
use stead_model::NodeId;
use stead_model::request::Request;

use crate::stage::{Place, Stage, failed};

#[test]
fn stalled_monitor_goes_on_after_the_end_of_the_lease() {
    let stage = Stage::set("stalled");
    let (monitor, target, void) = granted_to_a_stalled_monitor(&stage);
    let station = Station::Node(target);
    stage.world.lab().cut(CutSpec::Station { station, network: None }).unwrap();
    stage.world.taken_over(&stage.site.group, other(target));
    goes_on(monitor);
    stage.world.heal();
    never_ran(&stage, target, void);
}

#[test]
fn stalled_monitor_goes_on_after_its_service_died() {
    let stage = Stage::set("stalled-twice");
    let (monitor, target, void) = granted_to_a_stalled_monitor(&stage);
    let service = processes::find(&stage.world, target, Role::Service);
    processes::signal(service, Signal::KILL);
    until("a new service", || {
        let view = stage.world.cluster().view(target);
        let new = processes::all(&stage.world, target, Role::Service);
        view.is_ok_and(|view| view.quorum.has_quorum) && !new.contains(&service)
    });
    // The order of the dead service is void when the new one reported (R9).
    until("a newer epoch", || stage.world.group(other(target), &stage.site.group).epoch.0 > void);
    goes_on(monitor);
    never_ran(&stage, target, void);
}

/// monitors that die or stay silent are replaced, one by one; what they host runs on.
#[test]
fn silent_monitor_is_replaced_and_nothing_moves() {
    let stage = Stage::set("silent");
    let roles = stage.arrange(Place::Leader);
    let owner = other(roles.leads);
    let (web, group) = (stage.site.web(), &stage.site.group);
    let properties = BTreeMap::from([("separate-monitor".to_owned(), Some("true".to_owned()))]);
    stage.world.ask(&Request::SetResource { resource: web.clone(), properties });
    stage.writer.wait_more(5);
    assert!(processes::all(&stage.world, roles.leads, Role::OwnMonitor(web.as_str())).is_empty());
    // From its next start on.
    stage.world.place(group, owner);
    stage.adopted(owner);
    let own = processes::find(&stage.world, owner, Role::OwnMonitor(web.as_str()));
    let shared = processes::find(&stage.world, owner, Role::Monitor);
    let before = applications(&stage, owner);
    let (epoch, from_ns) = (stage.epoch(owner), boot_ns());

    processes::signal(own, Signal::KILL);
    until("another own monitor", || {
        let found = processes::all(&stage.world, owner, Role::OwnMonitor(web.as_str()));
        found.first().is_some_and(|pid| *pid != own)
    });
    stage.adopted(owner);
    assert!(processes::lives(shared), "the other one was in no danger");

    let own = processes::find(&stage.world, owner, Role::OwnMonitor(web.as_str()));
    processes::signal(shared, Signal::STOP);
    let recorded = |code: &str| stage.world.records(owner).into_iter().find(|r| r.code == code);
    until("it is told", || recorded("monitor-silent").is_some());
    until("another shared monitor", || {
        let found = processes::all(&stage.world, owner, Role::Monitor);
        found.first().is_some_and(|pid| *pid != shared)
    });
    stage.adopted(owner);
    let told = recorded("monitor-replaced").expect("a record").text;
    assert!(told.contains("is stopped"), "what it did: {told}");
    assert!(processes::lives(own) && !processes::lives(shared));
    assert_eq!(applications(&stage, owner), before, "applications were restarted");
    assert_eq!(stage.epoch(owner), epoch, "the group moved");
    let missed = failed(&stage.prober.attempts(), from_ns);
    assert!(missed.is_empty(), "{} answers missed: {:?}", missed.len(), missed.first());
    witness::one_at_a_time(&stage.world, &stage.site, 0);
}

fn applications(stage: &Stage, owner: NodeId) -> [u32; 2] {
    [Role::Application("demo-web"), Role::Application("lab-stamp")]
        .map(|role| processes::find(&stage.world, owner, role))
}

/// The guard may have ended it with the lease, or replaced it because it did not answer; then there
/// is nobody to go on.
fn goes_on(monitor: u32) {
    if processes::lives(monitor) {
        processes::signal(monitor, Signal::CONT);
    }
}

/// The group is granted to a node whose monitor does not read the order. Returns the monitor, the
/// node and the epoch.
fn granted_to_a_stalled_monitor(stage: &Stage) -> (u32, NodeId, u64) {
    let roles = stage.arrange(Place::Leader);
    let target = other(roles.leads);
    let monitor = processes::find(&stage.world, target, Role::Monitor);
    processes::signal(monitor, Signal::STOP);
    let group = stage.site.group.as_str().into();
    stage.world.ask(&Request::MoveGroup { group, to: Some(target) });
    let epoch = wait("the group is granted", || {
        let group = stage.world.group(target, &stage.site.group);
        if group.owner == Some(target) { Ok(group.epoch.0) } else { Err(format!("{group:?}")) }
    });
    (monitor, target, epoch)
}

/// All is well in the end, and the void epoch never was.
fn never_ran(stage: &Stage, target: NodeId, void: u64) {
    let _ = Roles::settled(&stage.world);
    stage.writer.wait_more(20);
    let stays = witness::one_at_a_time(&stage.world, &stage.site, 0);
    let ran = stays.iter().find(|stay| stay.node == target && stay.epoch == void);
    assert_eq!(ran, None, "an order of epoch {void} was carried out when it was void");
}
