//! What a node tells is told by its wall clock, whichever way that was set.

use stead_model::NodeId;
use stead_sim::script::parse;
use stead_sim::trace::Detail;
use stead_sim::world::{Setup, World};

const SCRIPT: &str = "\
cluster 3 majority standard
at 3s clock n1 forward 48h
at 5s clock n1 back 90h
at 5s clock n2 forward 1h
end 8s
";

#[test]
fn a_node_tells_the_time_of_a_clock_that_was_set_back() {
    let script = parse(SCRIPT).unwrap();
    let plan = script.plan();
    let detail = Detail::Hash;
    let mut world =
        World::new(Setup { seed: 1, plan, planted: None, detail, script: Some(script) });
    while world.step() {}
    assert!(world.violation.is_none(), "{:?}", world.violation);
    for number in 1..=3 {
        let id = NodeId(number);
        let node = world.nodes.iter().find(|node| node.id == id).unwrap();
        let service = node.service.as_ref().unwrap();
        let told = service.cluster.view(node.clock.show(world.now)).at;
        let clock = world.wall_clock(id);
        assert!(told.0.abs_diff(clock.0) < 1_000, "{id} tells {told:?} at {clock:?}");
    }
}
