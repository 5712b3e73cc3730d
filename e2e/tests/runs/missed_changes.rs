//! a node that missed changes gets them before it forms or runs anything.

use e2e::{Roles, other, rounds, wait};

use crate::stage::{Place, Stage};

#[test]
fn missed_changes_are_there_before_it_forms() {
    let stage = Stage::set("missed");
    for round in 0..rounds().div_ceil(2) {
        let roles: Roles = stage.arrange(Place::Leader);
        // Once the node that leads and hosts the disk is away for the change, once the other.
        let away = if round % 2 == 0 { other(roles.leads) } else { roles.leads };
        let there = other(away);
        stage.world.lab().stop(away).unwrap();
        stage.writer.wait_more(30);
        stage.world.crash(there);
        let acknowledged = stage.writer.acknowledged();
        stage.world.start(away);
        wait("the node that was away forms", || {
            let view = stage.world.cluster().view(away).map_err(|error| error.to_string())?;
            if !view.quorum.has_quorum {
                return Err("no quorum".into());
            }
            let shown = acknowledged.shown_in(&view);
            assert!(shown.is_ok(), "{away} formed without the changes: {shown:?}");
            Ok(())
        });
        stage.world.taken_over(&stage.site.group, away);
        stage.writer.wait_more(10);
        stage.world.start(there);
    }
    e2e::witness::one_at_a_time(&stage.world, &stage.site, 0);
}
