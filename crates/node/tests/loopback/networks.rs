//! Networks of which another use is made while real node services run on them.

use std::net::{SocketAddr, TcpStream};

use stead_api::ClientError;
use stead_model::config::{NetworkRole, QuorumMode};
use stead_model::reason::{Code, Reason};
use stead_model::request::Request;
use stead_model::rules::Priority;
use stead_model::view::{LinkView, NodeView, View};

use crate::world::{World, alone};

const PORT: u16 = 17_613;

/// Asks node 2 for a change of a network.
fn set(
    world: &World,
    network: &str,
    (name, role, priority): (Option<&str>, Option<NetworkRole>, Option<u16>),
) -> Result<(), Reason> {
    let (network, name) = (network.to_owned(), name.map(str::to_owned));
    let request = Request::SetNetwork { network, name, role, priority: priority.map(Priority) };
    let client = world.nodes[1].client();
    match world.runtime.block_on(client.request(&request)) {
        Ok(done) => {
            world.applied_everywhere(done.index);
            Ok(())
        }
        Err(ClientError::Refused(reason)) => Err(reason),
        Err(error) => panic!("{error}"),
    }
}

/// Waits until nodes hear each other over these networks and no others.
fn linked(world: &World, networks: &[&str]) {
    let over = |node: &NodeView| {
        let names: Vec<&str> = node.links.iter().map(|link| link.name.as_str()).collect();
        names == networks && node.links.iter().all(|link: &LinkView| link.up)
    };
    let all = |view: &View| view.nodes.iter().filter(|node| node.node != view.node).all(over);
    world.until(&format!("links over {networks:?}"), |views| views.iter().all(all));
}

/// Waits until the third node listens on these networks and no others, to datagrams and to streams.
fn listens(world: &World, networks: [bool; 2]) {
    let listens = |network: u8| {
        // As the kernel writes it: the address as a number of the host, then the port.
        let udp = format!("{:08X}:{PORT:04X}", u32::from_ne_bytes([127, 78, network, 3]));
        let takes = std::fs::read_to_string("/proc/net/udp").unwrap().contains(&udp);
        let at = SocketAddr::from(([127, 78, network, 3], PORT));
        (takes, TcpStream::connect(at).is_ok())
    };
    let wanted = networks.map(|open| (open, open));
    world.until(&format!("n3 to listen on {networks:?}"), |_| [1, 2].map(listens) == wanted);
}

#[test]
fn nodes_take_up_and_leave_networks_as_their_roles_change_and_after_a_restart() {
    let _alone = alone();
    let mut world = World::new(3, QuorumMode::NodeMajority, PORT);
    world.one_leader();
    linked(&world, &["net1", "net2"]);
    let (public, mixed) = (Some(NetworkRole::Public), Some(NetworkRole::Mixed));

    set(&world, "net2", (None, public, None)).unwrap();
    linked(&world, &["net1"]);
    listens(&world, [true, false]);
    let refused = set(&world, "net1", (None, public, None)).unwrap_err();
    assert_eq!(refused.code, Code::Conflict);

    set(&world, "net2", (Some("clients"), mixed, Some(3_000))).unwrap();
    linked(&world, &["net1", "clients"]);
    listens(&world, [true, true]);
    assert_eq!(world.view(2).networks[1].priority, Priority(3_000));

    world.nodes[2].stop();
    let down = |views: &[View]| views.iter().all(|view| view.nodes[2].links.iter().all(|l| !l.up));
    world.until("the third one silent", down);
    let refused = set(&world, "net1", (None, public, None)).unwrap_err();
    assert!(refused.to_string().contains("n3 is not heard over another network"), "{refused}");
    world.nodes[2].start();
    linked(&world, &["net1", "clients"]);

    // What the file of a node says is old by now: it takes what its log says.
    set(&world, "net1", (None, public, None)).unwrap();
    linked(&world, &["clients"]);
    world.nodes[2].stop();
    world.until("the third one silent", down);
    world.nodes[2].start();
    linked(&world, &["clients"]);
    listens(&world, [false, true]);
    let index = world.set(2, "after");
    world.applied_everywhere(index);
    world.one_leader();
}
