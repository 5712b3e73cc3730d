//! A node is frozen for 5 s. While it is, only its kernel answers; after the thaw everything on it
//! is stopped within the grace. What an application sends in that moment is told, not judged: this
//! is the stated hole of level C.

use std::time::Duration;

use e2e::witness::{self, Stay};
use e2e::{other, rounds, tell, wait};
use stead_lab::boot_ns;
use stead_model::NodeId;
use stead_model::profile::Profile;

use crate::stage::{Place, Stage, good_of};

const FROZEN_NS: u64 = 5_000_000_000;

#[test]
fn freeze_of_the_owner() {
    let stage = Stage::set("freeze");
    for round in 0..rounds().div_ceil(2) {
        let place = if round % 2 == 0 { Place::Follower } else { Place::Leader };
        let owner = place.of(stage.arrange(place));
        freeze(&stage, owner);
    }
}

fn freeze(stage: &Stage, owner: NodeId) {
    let (world, heir) = (&stage.world, other(owner));
    let begun_ns = world.lab().freeze(owner).unwrap();
    let frozen_ns = boot_ns();
    world.taken_over(&stage.site.group, heir);
    stage.answers(heir, frozen_ns);
    stage.writer.served_by(world, heir);
    wait("5 s", || if boot_ns() >= begun_ns + FROZEN_NS { Ok(()) } else { Err(String::new()) });
    let thaw_ns = boot_ns();
    world.lab().thaw(owner).unwrap();
    let thawed_ns = boot_ns();
    let roles = e2e::Roles::settled(world);
    stage.answers(heir, boot_ns());

    let attempts = stage.prober.attempts();
    let dead = good_of(&attempts, owner, frozen_ns, thaw_ns);
    assert!(dead.is_empty(), "a frozen node answered: {dead:?}");
    let stays = witness::stays(world, &stage.site, frozen_ns);
    let of = |node: NodeId| stays.iter().filter(move |stay| stay.node == node);
    let new = of(heir).next().copied();
    assert!(new.is_some(), "{heir} never ran it: {stays:?}");
    let late: Vec<&Stay> = of(owner).collect();
    let last_ns = late.iter().map(|stay| stay.last_ns).max().unwrap_or(thaw_ns);
    let grace = Duration::from_nanos(Profile::Standard.timing().grace.0);
    let took = Duration::from_nanos(last_ns.saturating_sub(thawed_ns));
    assert!(took <= grace, "{owner} went on for {took:?} after the thaw: {late:?}");
    let stamps = witness::stamps(world, &stage.site, thaw_ns);
    let stamps = stamps.iter().filter(|s| s.node == u64::from(owner.0)).count();
    let answers = good_of(&attempts, owner, frozen_ns, u64::MAX).len();
    tell(&format!(
        "{owner} ran {took:?} after its thaw, {stamps} stamps, {answers} answers; {} leads",
        roles.leads
    ));
}
