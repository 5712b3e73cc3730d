//! A monitor that was stopped with an unread order to start, and goes on when the order is void.

use e2e::processes::{self, Role};
use e2e::{Roles, other, until, wait, witness};
use rustix::process::Signal;
use stead_lab::{CutSpec, Station};
use stead_model::NodeId;
use stead_model::request::Request;

use crate::stage::{Place, Stage};

#[test]
fn stalled_monitor_goes_on_after_the_end_of_the_lease() {
    let stage = Stage::set("stalled");
    let (monitor, target, void) = granted_to_a_stalled_monitor(&stage);
    let station = Station::Node(target);
    stage.world.lab().cut(CutSpec::Station { station, network: None }).unwrap();
    stage.world.taken_over(&stage.site.group, other(target));
    // The guard may have ended it with the lease; then there is nobody to go on.
    if processes::lives(monitor) {
        processes::signal(monitor, Signal::CONT);
    }
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
    processes::signal(monitor, Signal::CONT);
    never_ran(&stage, target, void);
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
