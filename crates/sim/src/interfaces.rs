//! Interfaces of the nodes, as their kernels tell them; one that is not up passes nothing.

use std::net::IpAddr;

use stead_core::Event;
use stead_model::network::{Interface, InterfaceState, Port, Subnet};
use stead_model::{NetworkId, NodeId};

use crate::swarm::Told;
use crate::world::World;

impl World {
    /// The kernel of a node says how its interfaces are, where the world is one with interfaces.
    pub(crate) fn tell_interfaces(&mut self, node: NodeId) {
        if self.plan.interfaces == Told::No {
            return;
        }
        let interface = |network: u8| Interface {
            network: NetworkId(network),
            port: Some(Port {
                name: format!("eth{network}"),
                subnet: Subnet::of(IpAddr::from([10, network, 0, 0]), 24),
            }),
            state: match self.dead_interfaces.contains(&(node, network)) {
                true => InterfaceState::NoCarrier,
                false => InterfaceState::Up,
            },
        };
        let numbers = (1..).take(self.net.networks());
        let all = numbers.map(interface).collect();
        self.tell(node, Event::Interfaces(all));
    }

    /// The cable of a node's interface is pulled, or put back.
    pub(crate) fn interface_is(&mut self, (node, network): (NodeId, u8), state: InterfaceState) {
        let is_up = state == InterfaceState::Up;
        if is_up {
            self.dead_interfaces.remove(&(node, network));
        } else {
            self.dead_interfaces.insert((node, network));
        }
        let word = state.word();
        self.trace.milestone(self.now, || format!("interface of {node} on net{network}: {word}"));
        let others: Vec<NodeId> = self.node_ids().filter(|other| *other != node).collect();
        for other in others {
            let dead = !is_up || self.dead_interfaces.contains(&(other, network));
            for way in [(node, other), (other, node)] {
                self.net.set_cut(usize::from(network) - 1, way, dead);
            }
        }
        self.tell_interfaces(node);
    }
}
