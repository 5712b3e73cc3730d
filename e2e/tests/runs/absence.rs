//! A node announces an absence and stands still for longer than a lease: nobody takes its group,
//! and when it goes on its group does, too. Given back, its loss is a second again.

use e2e::{other, tell, wait, witness};
use stead_lab::boot_ns;

use crate::stage::{Place, Stage};

const AWAY_NS: u64 = 5_000_000_000;

#[test]
fn absence_is_waited_for() {
    let stage = Stage::set("absence");
    for place in [Place::Leader, Place::Follower] {
        stay_away(&stage, place);
    }
}

fn stay_away(stage: &Stage, place: Place) {
    let owner = place.of(stage.arrange(place));
    let (world, heir) = (&stage.world, other(owner));
    let epoch = stage.epoch(heir);
    let begun_ns = boot_ns();
    announce(stage, "absent", true);
    world.lab().freeze(owner).unwrap();
    let frozen_ns = boot_ns();
    wait("5 s", || if boot_ns() >= frozen_ns + AWAY_NS { Ok(()) } else { Err(String::new()) });
    world.lab().thaw(owner).unwrap();
    let thawed_ns = boot_ns();
    stage.answers(owner, thawed_ns);
    stage.writer.wait_more(20);
    let (on_owner, on_heir) = (world.group(owner, "web"), world.group(heir, "web"));
    assert_eq!((on_owner.owner, on_owner.epoch.0), (Some(owner), epoch));
    assert_eq!((on_heir.owner, on_heir.epoch.0), (Some(owner), epoch));
    let stays = witness::one_at_a_time(world, &stage.site, begun_ns);
    assert!(stays.iter().all(|stay| stay.node == owner), "{heir} ran it meanwhile: {stays:?}");
    world.assert_unharmed(&[owner], begun_ns, &[]);

    announce(stage, "present", false);
    let crash_ns = world.crash(owner);
    world.taken_over(&stage.site.group, heir);
    stage.answers(heir, crash_ns);
    let outage = stage.prober.outage_after(crash_ns).map_or(0.0, |outage| outage.ms());
    tell(&format!("{owner} was waited for; back, its loss costs {outage:.0} ms"));
    assert!(outage < AWAY_NS as f64 / 1e6, "the long lease was waited for: {outage} ms");
    world.start(owner);
}

/// Says it with the command, and waits until every node knows and leases are renewed so.
fn announce(stage: &Stage, word: &str, absent: bool) {
    let world = &stage.world;
    let owner = world.group(e2e::ONE, "web").owner.expect("it is online");
    let said = world.stead(&["node", word, &owner.to_string()]);
    assert_eq!(said.code, 0, "{}", said.err);
    wait("all know of it", || {
        for node in [e2e::ONE, e2e::TWO] {
            let view = world.cluster().view(node).map_err(|error| error.to_string())?;
            let seen = view.nodes.iter().find(|seen| seen.node == owner);
            if seen.is_none_or(|seen| seen.absent != absent || seen.lease_longer != absent) {
                return Err(format!("{node} sees {seen:?}"));
            }
        }
        Ok(())
    });
    stage.writer.wait_more(50);
}
