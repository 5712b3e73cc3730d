//! Quorum is forced on a node that missed what the others agreed on (R13).

use std::collections::BTreeSet;

use stead_api::ClientError;
use stead_model::config::QuorumMode;
use stead_model::request::Request;
use stead_model::{NodeId, VoterId};

use crate::attacks::told;
use crate::world::{World, alone};

#[test]
fn a_forced_node_goes_on_alone_and_the_others_give_up_what_it_never_had() {
    let _alone = alone();
    let mut world = World::new(3, QuorumMode::NodeMajority, 17_614);
    world.one_leader();
    let index = world.set(0, "all");
    world.applied_everywhere(index);
    world.nodes[0].stop();
    let lost_change = world.set(1, "missed");
    world.applied_everywhere(lost_change);
    world.nodes[1].stop();
    world.nodes[2].stop();

    world.nodes[0].start();
    world.until("the log", |views| views[0].quorum.voters.len() == 3);
    let client = world.nodes[0].client();
    let force = |lost: &[u64]| {
        let lost: BTreeSet<VoterId> = lost.iter().copied().map(VoterId).collect();
        let request = Request::ForceQuorum { node: NodeId(1), lost };
        world.runtime.block_on(client.request(&request))
    };
    // Not what the node sees: n3 is off, too.
    match force(&[2]) {
        Err(ClientError::Refused(reason)) => {
            let cause = reason.cause.unwrap();
            assert!(cause.contains("silent are n2, n3"), "{cause}");
        }
        other => panic!("{other:?}"),
    }
    let notices = force(&[2, 3]).unwrap().notices;
    assert!(notices[0].contains("goes on without n2, n3 in 31 s"), "{notices:?}");
    let forced = world.until("a forced quorum", |views| views[0].quorum.has_quorum);
    let shown = forced[0].quorum.forced.clone().unwrap();
    assert_eq!((shown.generation, shown.node), (1, NodeId(1)));
    assert_eq!(shown.missing, [VoterId(2), VoterId(3)]);
    assert_eq!(forced[0].quorum.voters, [VoterId(1)]);
    let index = world.set(0, "alone");

    for late in [1, 2] {
        world.nodes[late].start();
        let given_up = told(&world, late, "history-given-up");
        assert!(given_up.contains(&format!("{lost_change}")), "{given_up}");
        world.applied_everywhere(index);
        let kept = std::fs::read_to_string(world.nodes[late].beside_log("given-up-1.txt"));
        assert!(kept.unwrap().contains("missed"));
    }
    let all_back = |views: &[stead_model::view::View]| {
        views.iter().all(|v| v.quorum.voters.len() == 3 && v.quorum.forced.is_none())
    };
    world.until("all votes back", all_back);
    world.one_leader();
    let index = world.set(2, "after");
    world.applied_everywhere(index);
}
