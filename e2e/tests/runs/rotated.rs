//! New keys by the command line while a program answers its clients (decision 0037):
//! nothing moves, nobody is elected, and the cluster fails over with them afterwards.

use e2e::{ONE, Roles, TWO, other, tell, witness};
use stead_lab::boot_ns;

use crate::stage::{Place, Stage};

#[test]
fn rotated_keys_of_a_cluster_that_serves() {
    let stage = Stage::set("rotated");
    let owner = Place::Leader.of(stage.arrange(Place::Leader));
    let (epoch, from_ns) = (stage.epoch(owner), boot_ns());
    let plan = stage.world.stead(&["cluster", "rotate-keys", "--plan"]);
    assert_eq!(plan.code, 0, "{}{}", plan.out, plan.err);
    assert!(plan.out.contains("join tokens end"), "{}", plan.out);
    let done = stage.world.stead(&["cluster", "rotate-keys"]);
    tell(&format!("{}{}", done.err, done.out));
    assert_eq!(done.code, 0, "{}{}", done.out, done.err);
    assert!(done.out.contains("rotation 1 is over"), "{}", done.out);
    stage.answers(owner, boot_ns());
    assert_eq!(stage.epoch(owner), epoch, "it moved");
    let stays = witness::stays(&stage.world, &stage.site, from_ns);
    assert!(stays.iter().all(|stay| stay.node == owner), "{stays:?}");
    stage.world.assert_unharmed(&[ONE, TWO], from_ns, &["suspected", "link-down", "elected"]);

    // With one node gone a rotation waits, is named, and is abandoned.
    stage.world.crash(other(owner));
    let heir = other(owner);
    let waits = stage.world.stead(&["cluster", "rotate-keys", "--wait", "3s"]);
    assert_eq!(waits.code, 1, "{}{}", waits.out, waits.err);
    let named = format!("known: {heir}");
    assert!(waits.err.contains(&named) && waits.err.contains("is silent"), "{}", waits.err);
    let back = stage.world.stead(&["cluster", "rotate-keys", "--abandon"]);
    assert_eq!(back.code, 0, "{}{}", back.out, back.err);
    stage.world.start(heir);
    let _ = Roles::settled(&stage.world);

    // A failover with the quorum disk under the new key.
    stage.world.crash(owner);
    stage.answers(heir, boot_ns());
    witness::one_at_a_time(&stage.world, &stage.site, 0);
}
