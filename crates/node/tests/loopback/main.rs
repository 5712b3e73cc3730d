//! Real node services on the loopback device: real sockets, real logs, the real API. Only the
//! guard is the test's own: it speaks the guard's frames and runs nothing.

#![expect(clippy::unwrap_used, reason = "a test fails by a panic")]

mod admission;
mod attacks;
mod events;
mod forced;
mod networks;
mod remote;
mod rotated;
mod tampered;
mod world;

use stead_api::ClientError;
use stead_model::config::QuorumMode;
use stead_model::network::InterfaceState;
use stead_model::reason::Code;
use stead_model::request::Request;
use stead_model::view::{InterfaceView, LinkView, NetworkView, View};
use stead_model::{NodeId, RequestId};

use world::{World, alone};

#[test]
fn three_nodes_elect_one_leader_and_apply_a_change() {
    let _alone = alone();
    let mut world = World::new(3, QuorumMode::NodeMajority, 17_601);
    let leader = world.one_leader();
    let index = world.set(0, "first");
    world.applied_everywhere(index);
    let view = world.view(0);
    for node in view.nodes.iter().filter(|n| n.node != NodeId(1)) {
        assert!(node.links.iter().all(|l| l.up), "{:?}", node.links);
    }

    let dead = usize::from(leader.node().unwrap().0) - 1;
    world.nodes[dead].stop();
    let other = (dead + 1) % 3;
    let index = world.set(other, "second");
    world.applied_everywhere(index);
    assert_ne!(world.one_leader(), leader);

    world.nodes[dead].start();
    world.applied_everywhere(index);
    world.one_leader();
}

#[test]
fn every_node_shows_all_interfaces_and_the_figures_of_its_links() {
    let _alone = alone();
    let world = World::new(3, QuorumMode::NodeMajority, 17_609);
    world.one_leader();
    let whole = |view: &View| {
        let up = |network: &NetworkView| {
            let lo = |one: &InterfaceView| {
                (one.name.as_deref(), one.state) == (Some("lo"), Some(InterfaceState::Up))
            };
            network.interfaces.len() == 3 && network.interfaces.iter().all(lo)
        };
        let mut links = view.nodes.iter().flat_map(|node| &node.links);
        let told = |link: &LinkView| {
            link.up && link.sent > 0 && link.round_trip_us.is_some_and(|us| us < 1_000_000)
        };
        view.networks.iter().all(up) && links.all(told)
    };
    world.until("interfaces and round trips", |views| views.iter().all(whole));
    let subnet = world.view(0).networks[0].subnets[0].to_string();
    assert_eq!(subnet, "127.0.0.0/8");
}

#[test]
fn two_nodes_and_a_disk_go_on_when_one_is_gone_and_the_other_catches_up() {
    let _alone = alone();
    let mut world = World::new(2, QuorumMode::NodeAndDiskMajority, 17_602);
    world.one_leader();
    let index = world.set(0, "both");
    world.applied_everywhere(index);
    world.until("a host of the disk", |views| views.iter().all(|v| v.quorum.disk_host.is_some()));
    world.nodes[0].stop();
    let index = world.set(1, "alone");
    world.nodes[0].start();
    world.applied_everywhere(index);
    world.one_leader();
}

#[test]
fn a_minority_refuses_and_says_so() {
    let _alone = alone();
    let mut world = World::new(3, QuorumMode::NodeMajority, 17_603);
    world.one_leader();
    world.nodes[1].stop();
    world.nodes[2].stop();
    world.until("no quorum", |views| !views[0].quorum.has_quorum);
    assert!(world.view(0).quorum.lost_since.is_some());
    let client = world.nodes[0].client();
    let request = Request::SetKey { key: "k".into(), value: None };
    match world.runtime.block_on(client.request(&request)) {
        Err(ClientError::Refused(reason)) => {
            assert!(matches!(reason.code, Code::NoQuorum | Code::Timeout), "{reason:?}");
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_repeated_request_gets_the_first_answer() {
    let _alone = alone();
    let world = World::new(3, QuorumMode::NodeMajority, 17_604);
    world.one_leader();
    let request = Request::SetKey { key: "k".into(), value: Some("v".into()) };
    let id = RequestId { client: 42, number: 1 };
    let ask = |node: usize| {
        let client = world.nodes[node].client();
        world.runtime.block_on(client.request_as(id, &request)).unwrap().index
    };
    let first = ask(0);
    assert_eq!([ask(0), ask(1), ask(2)], [first; 3]);
}

#[test]
fn records_are_followed_and_explained_over_a_restart() {
    let _alone = alone();
    let mut world = World::new(1, QuorumMode::NodeMajority, 17_605);
    world.one_leader();
    let follow = |world: &World, since: u64| {
        let client = world.nodes[0].client();
        world.runtime.block_on(async {
            let mut follow = client.follow(since).await.unwrap();
            follow.next().await.unwrap().unwrap()
        })
    };
    let first = follow(&world, 0);
    assert_eq!((first.number, first.code.as_str()), (1, "service-started"));
    let client = world.nodes[0].client();
    let told = world.runtime.block_on(client.explain_timeouts()).unwrap();
    assert!(told.priority.starts_with("no real-time priority"), "{}", told.priority);
    world.nodes[0].stop();
    assert!(matches!(
        world.runtime.block_on(client.status()),
        Err(ClientError::Unreachable { .. })
    ));
    world.nodes[0].start();
    let again = follow(&world, 2);
    assert!(again.number >= 2 && again.boot_ns >= first.boot_ns);
}
