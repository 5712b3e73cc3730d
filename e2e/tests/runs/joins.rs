//! A cluster of one node gets a second one, which then stands in for the first.

use e2e::{ONE, PATIENCE, Site, TWO, World, Writer, wait};
use stead_lab::prober::Outcome;
use stead_model::config::QuorumMode;
use stead_model::view::NodeState;

#[test]
fn a_158_a_single_node_virtual_server_later_gets_a_second_node() {
    let world = World::with("joins", |options| {
        options.spares = 1;
        options.quorum = Some(QuorumMode::NodeAndDiskMajority);
    });
    let site = Site::new("web", 100);
    let writer = Writer::start(&world);
    site.create(&world, ONE);
    let prober = site.probe(&world);
    writer.wait_more(20);
    let alone = world.cluster().view(ONE).unwrap();
    assert_eq!(alone.nodes.len(), 1, "{:?}", alone.nodes);
    world.cluster().add(TWO).unwrap();
    wait("the second node votes and has quorum", || {
        for node in [ONE, TWO] {
            let view = world.cluster().view(node).map_err(|error| error.to_string())?;
            let joined = view.nodes.iter().find(|seen| seen.node == TWO);
            let joined = joined.ok_or_else(|| format!("{node} does not know it"))?;
            if !view.quorum.has_quorum || !joined.votes || joined.state != NodeState::Up {
                return Err(format!("{node}: quorum {}, {joined:?}", view.quorum.has_quorum));
            }
        }
        Ok(())
    });
    let missed = prober.attempts().into_iter().find(|a| a.result != Outcome::Good);
    assert!(missed.is_none(), "joining was noticed by a client: {missed:?}");
    // The service of a node that was there before learns of it from its own log again.
    world.crash(ONE);
    world.taken_over(&site.group, TWO);
    writer.wait_more(20);
    world.start(ONE);
    world.cluster().wait_serving(PATIENCE).unwrap();
    world.place(&site.group, ONE);
    writer.wait_more(20);
}
