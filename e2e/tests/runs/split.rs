//! Both networks cut between two nodes: exactly one side runs, and the other has stopped
//! everything before the first starts it. Who wins is whoever hosts the quorum disk.

use e2e::{other, rounds, tell, witness};
use stead_lab::boot_ns;
use stead_model::view::{NodeState, NodeView};

use crate::stage::{Place, Stage, good_of};

#[test]
fn split_owner_hosts_the_disk() {
    let stage = Stage::set("split-host");
    for _ in 0..rounds() {
        let roles = stage.arrange(Place::Leader);
        let (winner, loser) = (roles.leads, other(roles.leads));
        let epoch = stage.epoch(winner);
        let cut_ns = stage.world.split(winner, loser);
        without_quorum(&stage, loser);
        stage.writer.wait_more(20);
        stage.answers(winner, boot_ns());
        assert_eq!(stage.epoch(winner), epoch, "the winner's group moved");
        let stays = witness::one_at_a_time(&stage.world, &stage.site, cut_ns);
        assert!(stays.iter().all(|stay| stay.node == winner), "{stays:?}");
        stage.world.heal();
    }
    witness::one_at_a_time(&stage.world, &stage.site, 0);
}

#[test]
fn split_owner_does_not_host_the_disk() {
    let stage = Stage::set("split-other");
    for _ in 0..rounds() {
        let roles = stage.arrange(Place::Follower);
        let (winner, loser) = (roles.leads, other(roles.leads));
        let cut_ns = stage.world.split(winner, loser);
        stage.world.taken_over(&stage.site.group, winner);
        let first = stage.answers(winner, cut_ns);
        stage.writer.wait_more(20);
        without_quorum(&stage, loser);
        let stays = witness::one_at_a_time(&stage.world, &stage.site, cut_ns);
        let nodes: Vec<_> = stays.iter().map(|stay| stay.node).collect();
        assert_eq!(nodes, [loser, winner], "{stays:?}");
        let late = good_of(&stage.prober.attempts(), loser, first.sent_ns, u64::MAX);
        assert!(late.is_empty(), "the loser answered after the winner: {late:?}");
        let gap = (stays[1].first_ns - stays[0].last_ns) / 1_000_000;
        tell(&format!("{loser} stopped {gap} ms before {winner} started"));
        stage.world.heal();
    }
    witness::one_at_a_time(&stage.world, &stage.site, 0);
}

fn without_quorum(stage: &Stage, node: stead_model::NodeId) {
    e2e::until(&format!("{node} is isolated, without quorum"), || {
        let view = stage.world.view(node);
        let isolated = |seen: &NodeView| seen.state == NodeState::Isolated;
        !view.quorum.has_quorum && view.nodes.iter().all(isolated)
    });
}
