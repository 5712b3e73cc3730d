//! One node runs the program of a former version, the other one the present one: they are one
//! cluster until the level is raised, and the former one ends where it is.

use std::fs;

use e2e::{Roles, World, kept, other, tell, until, wait, witness};
use stead_lab::{Station, boot_ns};
use stead_model::NodeId;
use stead_model::program::{ClusterLevel, Levels};
use stead_model::view::NodeState;

use crate::stage::{Place, Stage};
use crate::upgrade::{becomes, replace};

#[test]
fn two_versions_are_one_cluster_until_the_level_is_raised() {
    let former = kept::path();
    let stage = Stage::set("mixed");
    let world = &stage.world;
    let owner = Place::Leader.of(stage.arrange(Place::Leader));
    let away = other(owner);

    // The former program, while the group runs on the other node; then it has the group.
    let program = replace(world, away, ("former", &former));
    becomes(world, away, program);
    knows(world, owner, away, ClusterLevel::FIRST);
    for node in [away, owner] {
        world.place(&stage.site.group, node);
        stage.answers(node, boot_ns());
        stage.writer.wait_more(10);
    }
    refused(world, away);

    // Both run the former one: as long as the level is the first an upgrade can be taken back.
    world.place(&stage.site.group, away);
    let program = replace(world, owner, ("former", &former));
    becomes(world, owner, program);
    stage.adopted(away);
    stage.writer.wait_more(10);

    // Both get the present one, and the cluster the level.
    for node in [owner, away] {
        let program = replace(world, node, ("present", e2e::program::path()));
        becomes(world, node, program);
        stage.adopted(away);
        knows(world, owner, node, Levels::OWN.highest);
    }
    let raised = world.stead(&["cluster", "level", "--raise"]);
    assert_eq!((raised.code, raised.out.as_str()), (0, "the cluster is at level 2\n"));
    for node in [owner, away] {
        until("the raise is applied", || world.view(node).level == ClusterLevel(2));
    }

    // The way back is closed: the former program says so, and runs nothing.
    replace(world, owner, ("former-again", &former));
    let said = wait("the former program ends", || last_words(world, owner));
    tell(&said);
    stage.adopted(away);
    stage.writer.wait_more(10);
    until("the others know what it ran last", || {
        let view = world.view(away);
        let node = view.nodes.iter().find(|n| n.node == owner);
        node.is_some_and(|n| n.state != NodeState::Up && n.program.is_some())
    });
    replace(world, owner, ("present-again", e2e::program::path()));
    let _ = Roles::settled(world);
    stage.writer.wait_more(10);
    witness::one_at_a_time(world, &stage.site, 0);
}

/// Waits until a node has heard what another one knows.
fn knows(world: &World, by: NodeId, node: NodeId, highest: ClusterLevel) {
    until("its program is told", || {
        let view = world.view(by);
        let found = view.nodes.iter().find(|n| n.node == node && n.state == NodeState::Up);
        found.and_then(|n| n.program).is_some_and(|program| program.levels.highest == highest)
    });
}

fn refused(world: &World, by: NodeId) {
    let raised = world.stead(&["cluster", "level", "--raise"]);
    assert_eq!(raised.code, 1, "{}", raised.out);
    let why = format!("{by} runs stead");
    assert!(raised.err.contains(&why) && raised.err.contains("(level 1)"), "{}", raised.err);
    let shown = world.stead(&["cluster", "level"]);
    assert!(shown.out.contains("it cannot be raised to level 2: "), "{}", shown.out);
}

fn last_words(world: &World, node: NodeId) -> Result<String, String> {
    let console = fs::read_to_string(world.lab().console(Station::Node(node))).unwrap();
    let said = console.lines().rfind(|line| line.contains("the cluster is at level 2"));
    said.map(str::to_owned).ok_or_else(|| "its console does not say why".into())
}
