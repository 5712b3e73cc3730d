//! Processes of a node are killed, one kind after the other.

use e2e::processes::{self, Role};
use e2e::{other, rounds, tell, until, wait, witness};
use rustix::process::Signal;
use stead_lab::boot_ns;
use stead_model::group::GroupState;

use crate::stage::{Place, Stage};

const WEB: Role<'static> = Role::Application("demo-web");
const WITNESS: Role<'static> = Role::Application("lab-stamp");

#[test]
fn killed_application_is_restarted_in_place() {
    let stage = Stage::set("killed-app");
    let owner = other(stage.arrange(Place::Follower).leads);
    let from_ns = boot_ns();
    for _ in 0..rounds() {
        let epoch = stage.epoch(owner);
        let web = processes::find(&stage.world, owner, WEB);
        let killed_ns = boot_ns();
        processes::signal(web, Signal::KILL);
        until("another web server", || {
            processes::all(&stage.world, owner, WEB).first().is_some_and(|pid| *pid != web)
        });
        let answer = stage.answers(owner, killed_ns);
        stage.world.online(&stage.site.group, owner);
        assert_eq!(stage.epoch(owner), epoch, "a restart in place is no failover");
        tell(&format!("answered {} µs after the kill", (answer.done_ns - killed_ns) / 1000));
    }
    let gap = witness::longest_gap_ns(&stage.world, &stage.site, from_ns) / 1_000_000;
    tell(&format!("the witness beside it never paused longer than {gap} ms"));
    let stays = witness::one_at_a_time(&stage.world, &stage.site, from_ns);
    assert_eq!(stays.len(), 1, "what was not killed was restarted: {stays:?}");
}

#[test]
fn killed_guard_takes_everything_with_it() {
    let stage = Stage::set("killed-guard");
    for round in 0..rounds() {
        let place = if round % 2 == 0 { Place::Leader } else { Place::Follower };
        let owner = place.of(stage.arrange(place));
        let epoch = stage.epoch(owner);
        let under: Vec<u32> = [WEB, WITNESS, Role::Monitor, Role::Service]
            .map(|role| processes::find(&stage.world, owner, role))
            .into();
        let guard = processes::find(&stage.world, owner, Role::Guard);
        let killed_ns = boot_ns();
        processes::signal(guard, Signal::KILL);
        until("nothing of the guard is left", || under.iter().all(|pid| !processes::lives(*pid)));
        let stopped = (boot_ns() - killed_ns) / 1_000_000;
        // A guard that is back proves that nothing of the former one runs: the group may stay.
        let owner = wait("the group is online in a new epoch", || {
            let group = stage.world.group(other(owner), &stage.site.group);
            let online = group.state == GroupState::Online && group.epoch.0 > epoch;
            if online { group.owner.ok_or_else(String::new) } else { Err(format!("{group:?}")) }
        });
        let answer = stage.answers(owner, killed_ns);
        let served = (answer.done_ns - killed_ns) / 1_000_000;
        tell(&format!("all ended within {stopped} ms, {owner} answered after {served} ms"));
    }
    witness::one_at_a_time(&stage.world, &stage.site, 0);
}
