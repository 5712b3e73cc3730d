//! The interfaces of the nodes on the networks of the cluster: records of this node's, and what
//! the view shows of all.

use std::collections::BTreeSet;

use stead_model::config::{NetworkEntry, NodeEntry, address_on};
use stead_model::network::{Interface, InterfaceState};
use stead_model::record::Level;
use stead_model::view::{InterfaceView, NetworkView};
use stead_model::{NetworkId, NodeId, Time};

use super::Cluster;
use super::reporting::Next;

impl Cluster {
    /// The kernel of this node says how its interfaces are now.
    pub(super) fn interfaces_are(&mut self, now: Time, interfaces: Vec<Interface>) {
        for interface in self.interfaces.told(now, interfaces) {
            let network = interface.network;
            let (level, code) = match interface.state {
                InterfaceState::Up => (Level::Info, "interface-up"),
                InterfaceState::NoCarrier | InterfaceState::Down | InterfaceState::Absent => {
                    (Level::Warning, "interface-down")
                }
            };
            let name = self.network(network);
            let text = format!("network {name} of {}: {interface}", self.node);
            self.record(now, level, code, text);
        }
        let seen = self.interfaces.seen();
        self.with_holdings(|h| h.interfaces_are(now, seen));
        self.sights += 1;
        self.reporting.next = Next::Now;
    }

    /// The last node that was heard on a network is silent there: whether it is this node's
    /// interface that reaches nobody, though its kernel has nothing against it, nobody can tell.
    /// Where the others say that their interfaces are down, there is nothing to wonder about.
    pub(super) fn note_silence(&mut self, now: Time, network: NetworkId) {
        let works = |i: &&Interface| i.state == InterfaceState::Up;
        let Some(interface) = self.interfaces.on(network).filter(works) else { return };
        let up = |node: &NodeId| self.interface(*node, network).is_some_and(|i| works(&i));
        if self.links.silent_on(network).iter().any(up) {
            let name = self.network(network);
            let text = format!(
                "network {name}: no node is heard on it, and {interface}. Addresses of groups \
                 on it stay where they are; look at its cable and switch, and move them by hand if \
                 clients do not reach them"
            );
            self.record(now, Level::Warning, "network-silent", text);
        }
    }

    /// What a node told of its interface on a network; nothing of a node that is silent.
    fn interface(&self, node: NodeId, network: NetworkId) -> Option<&Interface> {
        if node == self.node {
            return self.interfaces.on(network);
        }
        let told = self.reporting.latest.get(&node)?.interfaces.iter();
        told.map(|told| &told.interface).find(|interface| interface.network == network)
    }

    /// All networks, with the interface of every node on it.
    pub(super) fn network_views(&self) -> Vec<NetworkView> {
        self.config.networks.iter().map(|network| self.network_view(network)).collect()
    }

    fn network_view(&self, network: &NetworkEntry) -> NetworkView {
        let nodes = &self.config.nodes;
        let port = |n: &NodeEntry| self.interface(n.id, network.id)?.port.as_ref();
        let subnets: BTreeSet<_> = nodes.iter().filter_map(port).map(|p| p.subnet).collect();
        let interface = |n: &NodeEntry| {
            let address = address_on(&n.addresses, network.id)?;
            let answers = n.id == self.node || self.links.is_heard(n.id);
            Some(InterfaceView {
                node: n.id,
                address,
                name: port(n).map(|port| port.name.clone()),
                state: self.interface(n.id, network.id).filter(|_| answers).map(|i| i.state),
            })
        };
        NetworkView {
            id: network.id,
            name: network.name.clone(),
            role: network.role,
            priority: network.priority,
            subnets: subnets.into_iter().collect(),
            interfaces: nodes.iter().filter_map(interface).collect(),
        }
    }
}
