//! The records of all nodes as one list, asked of one of them.

use std::collections::BTreeSet;

use stead_api::contract::{ClusterEvent, ClusterEvents, RecordName};
use stead_model::NodeId;
use stead_model::config::QuorumMode;
use stead_model::group::{Desired, GroupPolicy};
use stead_model::request::Request;

use super::world::{World, alone};

impl World {
    fn events(&self, index: usize) -> ClusterEvents {
        let client = self.nodes[index].client();
        self.runtime.block_on(client.cluster_events(10_000, None)).unwrap()
    }

    /// The list once it holds what is wanted.
    fn events_with(&self, index: usize, wanted: impl Fn(&ClusterEvent) -> bool) -> ClusterEvents {
        let end = std::time::Instant::now() + super::world::WAIT;
        loop {
            let all = self.events(index);
            if all.events.iter().any(&wanted) {
                return all;
            }
            assert!(std::time::Instant::now() < end, "{all:#?}");
        }
    }
}

fn nodes(event: &ClusterEvent) -> BTreeSet<u16> {
    event.told.iter().map(|name| name.node.0).collect()
}

fn is_of_web(event: &ClusterEvent, code: &str) -> bool {
    event.record.code == code && event.record.group.as_ref().is_some_and(|g| g.as_str() == "web")
}

/// Every cause that is in the list stands before what it caused.
fn causes_come_first(all: &ClusterEvents) {
    let mut seen: BTreeSet<RecordName> = BTreeSet::new();
    let known: BTreeSet<_> = all.events.iter().flat_map(|event| &event.told).collect();
    for event in &all.events {
        let early = event.cause.is_none_or(|cause| seen.contains(&cause));
        assert!(early || !known.contains(&event.cause.unwrap()), "{event:?}");
        seen.extend(&event.told);
    }
}

#[test]
fn any_node_tells_the_records_of_all_with_causes_across_nodes() {
    let _alone = alone();
    let mut world = World::new(3, QuorumMode::NodeMajority, 17_613);
    let leader = world.one_leader().node().unwrap();
    let client = world.nodes[0].client();
    let ask = |request: &Request| world.runtime.block_on(client.request(request)).unwrap().index;
    // Its owner is not the leader: what explains its start is on another node.
    let owner = NodeId(leader.0 % 3 + 1);
    let spare = NodeId(owner.0 % 3 + 1);
    let policy = GroupPolicy { preferred_owners: vec![owner, spare], ..GroupPolicy::default() };
    ask(&Request::CreateGroup { group: "web".into(), policy });
    let index = ask(&Request::SetGroupDesired { group: "web".into(), desired: Desired::Online });
    world.applied_everywhere(index);
    world.until("an owner", |views| {
        views.iter().all(|view| view.groups.iter().any(|group| group.owner == Some(owner)))
    });

    for asked in 0..3 {
        let all = world.events_with(asked, |event| {
            is_of_web(event, "group-granted") && nodes(event).len() == 3
        });
        let missing: Vec<_> = all.nodes.iter().filter(|node| node.missing.is_some()).collect();
        assert!(all.nodes.len() == 3 && missing.is_empty(), "{missing:?}");
        causes_come_first(&all);
        let granted = all.events.iter().find(|event| is_of_web(event, "group-granted")).unwrap();
        // As the leader tells it, who decided; and caused by a change that all nodes have.
        assert_eq!(granted.record.node, leader);
        let cause = granted.cause.unwrap();
        let changed = all.events.iter().find(|event| event.told.contains(&cause)).unwrap();
        assert_eq!((changed.record.code.as_str(), nodes(changed).len()), ("changed", 3));
    }

    world.nodes[usize::from(owner.0) - 1].stop();
    let asked = usize::from(spare.0) - 1;
    world.until("another owner", |views| {
        views.iter().all(|view| view.groups.iter().any(|group| group.owner == Some(spare)))
    });
    let all = world.events_with(asked, |event| {
        is_of_web(event, "group-granted")
            && event.cause.is_some()
            && nodes(event) == BTreeSet::from([leader.0, spare.0])
    });
    causes_come_first(&all);
    let gone: Vec<_> = all.nodes.iter().filter(|node| node.missing.is_some()).collect();
    assert_eq!(gone.iter().map(|node| node.node).collect::<Vec<_>>(), [owner]);
    let client = world.nodes[asked].client();
    let told = world.runtime.block_on(client.explain_group("web")).unwrap();
    let codes: Vec<&str> = told.chain.iter().map(|event| event.record.code.as_str()).collect();
    assert!(codes.contains(&"changed") && codes.contains(&"group-granted"), "{codes:?}");
    assert_eq!(told.nodes, all.nodes);
}
