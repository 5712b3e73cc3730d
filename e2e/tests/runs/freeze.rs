//! A node is frozen for 5 s. Its kernel falls silent when its lease ends, and says nothing after
//! the thaw either: everything there is stopped within the grace. What an application sends in that
//! moment is told, not judged: this is the stated hole of level C.

use std::time::Duration;

use e2e::witness::{self, Stay};
use e2e::{World, other, rounds, tell, wait};
use stead_lab::client::{Listener, Voice};
use stead_lab::prober::Attempt;
use stead_lab::{Station, boot_ns};
use stead_model::NodeId;
use stead_model::profile::Profile;
use stead_model::record::Record;

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
    let listener = Listener::listen(world.lab(), stage.site.address()).unwrap();
    assert!(listener.next(e2e::PATIENCE).is_some(), "the listener hears nothing");
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

    tells_of_itself(world, owner, thaw_ns);
    let attempts = stage.prober.attempts();
    silent(&attempts, &listener.so_far(), owner, frozen_ns);
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
    let outage = stage.prober.outage_after(begun_ns).map_or(0.0, |outage| outage.ms());
    tell(&format!(
        "outage {outage:.0} ms; {owner} ran {took:?} after its thaw, {stamps} stamps, {answers} \
         answers; {} leads",
        roles.leads
    ));
}

/// From the end of its lease on the frozen owner's kernel answers neither ARP nor TCP, and when it
/// wakes it does not either; the new owner answers.
fn silent(attempts: &[Attempt], voices: &[Voice], owner: NodeId, frozen_ns: u64) {
    // The lease runs from a question that was asked before the freeze.
    let end_ns = frozen_ns + Profile::Standard.timing().lease.0 + DELIVERY_NS;
    let old = Some(Station::Node(owner));
    let late: Vec<_> = voices.iter().filter(|v| v.from == old && v.at_ns > end_ns).collect();
    assert!(late.is_empty(), "{owner} claims the address by ARP: {late:?}");
    let late: Vec<_> = attempts.iter().filter(|a| a.from == old && a.sent_ns > end_ns).collect();
    assert!(late.is_empty(), "the kernel of {owner} answers: {late:?}");
    let heir = Some(Station::Node(other(owner)));
    assert!(voices.iter().any(|v| v.from == heir), "the listener hears nothing: {voices:?}");
    let last = voices.iter().filter(|v| v.from == old).map(|v| v.at_ns).max().unwrap_or(0);
    let after_ms = last.saturating_sub(frozen_ns) as f64 / 1e6;
    tell(&format!("{owner} spoke for the address until {after_ms:.0} ms after its freeze"));
}

/// Whoever wakes says that it stood still, and suspects nobody.
fn tells_of_itself(world: &World, owner: NodeId, thaw_ns: u64) {
    let records = world.records(owner).into_iter().filter(|r| r.boot_ns >= thaw_ns);
    let own = ["stalled", "guard-stalled", "suspected"];
    let told: Vec<Record> = records.filter(|r| own.contains(&r.code.as_str())).collect();
    let of = |code: &str| told.iter().filter(|r| r.code == code).count();
    assert!(of("stalled") > 0 && of("guard-stalled") > 0, "{owner} says nothing: {told:?}");
    assert_eq!(of("suspected"), 0, "{owner} takes its stall for the silence of others: {told:?}");
}

/// What a listener on a busy machine may be late: it tells when it read, not when it was said.
const DELIVERY_NS: u64 = 250_000_000;
