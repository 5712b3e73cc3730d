//! Who is where: this node's and its peers' addresses on the networks of the cluster.

use std::net::{IpAddr, SocketAddr};

use stead_model::config::{NodeConfig, NodeEntry};
use stead_model::{Incarnation, NetworkId, NodeId};

/// All that the transport knows of the cluster; replaced when nodes join.
#[derive(Clone, Debug)]
pub(crate) struct Peers {
    /// Messages of another cluster are dropped.
    pub(crate) cluster_id: u64,
    /// The cluster's name, for people.
    pub(crate) cluster: String,
    /// This node.
    pub(crate) node: NodeId,
    /// Life of this node service.
    pub(crate) incarnation: Incarnation,
    /// Own ends, one per network that carries cluster traffic.
    pub(crate) networks: Vec<OwnEnd>,
    /// Ways to the other nodes.
    pub(crate) routes: Vec<Route>,
}

/// This node on one network.
#[derive(Clone, Debug)]
pub(crate) struct OwnEnd {
    pub(crate) network: NetworkId,
    pub(crate) name: String,
    pub(crate) local: SocketAddr,
}

/// The way to one peer over one network.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Route {
    /// The peer.
    pub(crate) peer: NodeId,
    /// Index into [`Peers::networks`].
    pub(crate) end: usize,
    /// Where it listens.
    pub(crate) remote: SocketAddr,
}

impl Peers {
    /// Reads the networks that carry cluster traffic out of the configuration.
    pub(crate) fn new(config: &NodeConfig, incarnation: Incarnation) -> Self {
        let own_address = |network: NetworkId| address(config.node_entry(config.node)?, network);
        let networks: Vec<OwnEnd> = config
            .networks
            .iter()
            .filter(|n| n.role.carries_cluster())
            .filter_map(|n| {
                let local = SocketAddr::new(own_address(n.id)?, config.port);
                Some(OwnEnd { network: n.id, name: n.name.clone(), local })
            })
            .collect();
        let alone = Self {
            cluster_id: config.cluster_id,
            cluster: config.cluster.clone(),
            node: config.node,
            incarnation,
            networks,
            routes: Vec::new(),
        };
        alone.with(config.nodes.iter().filter(|n| n.id != config.node))
    }

    /// The same with ways to more nodes, behind those that there are.
    pub(crate) fn with<'a>(mut self, nodes: impl Iterator<Item = &'a NodeEntry>) -> Self {
        for node in nodes {
            for (end, own) in self.networks.iter().enumerate() {
                let Some(remote) = address(node, own.network) else { continue };
                let remote = SocketAddr::new(remote, own.local.port());
                self.routes.push(Route { peer: node.id, end, remote });
            }
        }
        self
    }

    /// Index of the route by which something from `address` came over a network.
    pub(crate) fn route_from(&self, end: usize, address: IpAddr) -> Option<usize> {
        self.routes.iter().position(|r| r.end == end && r.remote.ip() == address)
    }
}

fn address(node: &NodeEntry, network: NetworkId) -> Option<IpAddr> {
    node.addresses.iter().find(|a| a.network == network).map(|a| a.address)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use stead_model::config::{
        NetworkEntry, NetworkRole, NodeAddress, NodeEntry, QuorumConfig, QuorumMode,
    };
    use stead_model::profile::Profile;

    /// Three nodes on two networks of the loopback device and one network for clients only.
    pub(crate) fn config(node: u16, port: u16) -> NodeConfig {
        let network = |id, role| NetworkEntry { id: NetworkId(id), name: format!("net{id}"), role };
        let address = |network: u8, node: u16| NodeAddress {
            network: NetworkId(network),
            address: IpAddr::from([127, 77, network, node as u8]),
        };
        let entry = |node: u16| NodeEntry {
            id: NodeId(node),
            name: format!("node{node}"),
            addresses: vec![address(1, node), address(2, node), address(3, node)],
        };
        NodeConfig {
            cluster: "test".into(),
            cluster_id: 99,
            node: NodeId(node),
            port,
            nodes: vec![entry(1), entry(2), entry(3)],
            founders: None,
            networks: vec![
                network(1, NetworkRole::Private),
                network(2, NetworkRole::Mixed),
                network(3, NetworkRole::Public),
            ],
            quorum: QuorumConfig { mode: QuorumMode::NodeMajority, disk: None },
            profile: Profile::Standard,
            watchdog: None,
        }
    }

    #[test]
    fn only_networks_that_carry_cluster_traffic_are_used() {
        let peers = Peers::new(&config(2, 7), Incarnation(1));
        assert_eq!(peers.networks.len(), 2);
        assert_eq!(peers.routes.len(), 4);
        let from = |end, address: [u8; 4]| {
            peers.route_from(end, IpAddr::from(address)).map(|r| peers.routes[r].peer)
        };
        assert_eq!(from(0, [127, 77, 1, 3]), Some(NodeId(3)));
        assert_eq!(from(0, [127, 77, 2, 3]), None, "an address of another network");
        assert_eq!(from(0, [127, 77, 1, 2]), None, "our own address");
        assert_eq!(from(0, [127, 77, 1, 9]), None, "a stranger");
    }

    #[test]
    fn a_node_that_joins_gets_routes_and_the_others_keep_theirs() {
        let mut small = config(2, 7);
        let joins = small.nodes.pop().unwrap();
        let before = Peers::new(&small, Incarnation(1));
        assert_eq!(before.route_from(0, IpAddr::from([127, 77, 1, 3])), None);
        let after = before.clone().with([&joins].into_iter());
        assert_eq!(after.routes[..before.routes.len()], before.routes);
        let route = after.route_from(1, IpAddr::from([127, 77, 2, 3])).unwrap();
        assert_eq!(after.routes[route].peer, NodeId(3));
        assert_eq!(after.routes.len(), 4);
    }
}
