//! Who is where: this node's and its peers' addresses on the networks of the cluster.

use std::net::{IpAddr, SocketAddr};

use stead_model::config::NodeConfig;
use stead_model::{Incarnation, NetworkId, NodeId};

/// All that the transport knows of the cluster; fixed for the life of the service.
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
        let address = |node: NodeId, network: NetworkId| -> Option<IpAddr> {
            let entry = config.node_entry(node)?;
            entry.addresses.iter().find(|a| a.network == network).map(|a| a.address)
        };
        let networks: Vec<OwnEnd> = config
            .networks
            .iter()
            .filter(|n| n.role.carries_cluster())
            .filter_map(|n| {
                let local = SocketAddr::new(address(config.node, n.id)?, config.port);
                Some(OwnEnd { network: n.id, name: n.name.clone(), local })
            })
            .collect();
        let others = config.nodes.iter().map(|n| n.id).filter(|n| *n != config.node);
        let route = |peer: NodeId, (end, own): (usize, &OwnEnd)| {
            let remote = SocketAddr::new(address(peer, own.network)?, config.port);
            Some(Route { peer, end, remote })
        };
        let routes = others
            .flat_map(|peer| networks.iter().enumerate().filter_map(move |end| route(peer, end)))
            .collect();
        Self {
            cluster_id: config.cluster_id,
            cluster: config.cluster.clone(),
            node: config.node,
            incarnation,
            networks,
            routes,
        }
    }

    /// Index of the route by which something from `address` came over a network.
    pub(crate) fn route_from(&self, end: usize, address: IpAddr) -> Option<usize> {
        self.routes.iter().position(|r| r.end == end && r.remote.ip() == address)
    }
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
}
