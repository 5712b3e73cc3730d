//! Who is where: this node's and its peers' addresses on the networks of the cluster.

use std::net::{IpAddr, SocketAddr};

use stead_model::config::{NetworkEntry, NodeAddress, NodeConfig, NodeEntry, address_on};
use stead_model::rules::Priority;
use stead_model::{Incarnation, NetworkId, NodeId};

/// All that the transport knows of the cluster; replaced when nodes join or leave, and when another
/// use is made of the networks.
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
    /// Own ends, one per network on which this node has an address; none comes or goes.
    pub(crate) networks: Vec<OwnEnd>,
    /// Ways to the other nodes; of each, first that which streams prefer.
    pub(crate) routes: Vec<Route>,
    others: Vec<NodeEntry>,
}

/// This node on one network.
#[derive(Clone, Debug)]
pub(crate) struct OwnEnd {
    pub(crate) network: NetworkId,
    pub(crate) name: String,
    pub(crate) local: SocketAddr,
    pub(crate) priority: Priority,
    /// Whether it is for nodes; nothing is sent and nobody listened to on others.
    pub(crate) carries: bool,
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

impl OwnEnd {
    /// Where it is.
    pub(crate) fn address(&self) -> NodeAddress {
        NodeAddress { network: self.network, address: self.local.ip() }
    }
}

impl Peers {
    /// Reads networks and nodes out of the configuration.
    pub(crate) fn new(config: &NodeConfig, incarnation: Incarnation) -> Self {
        let own_address =
            |network: NetworkId| address_on(&config.node_entry(config.node)?.addresses, network);
        let end = |n: &NetworkEntry| {
            let local = SocketAddr::new(own_address(n.id)?, config.port);
            let (network, name, priority) = (n.id, n.name.clone(), n.priority);
            Some(OwnEnd { network, name, local, priority, carries: n.role.carries_cluster() })
        };
        let alone = Self {
            cluster_id: config.cluster_id,
            cluster: config.cluster.clone(),
            node: config.node,
            incarnation,
            networks: config.networks.iter().filter_map(end).collect(),
            routes: Vec::new(),
            others: Vec::new(),
        };
        alone.with(config.nodes.iter().filter(|n| n.id != config.node))
    }

    /// The same with ways to these nodes, behind those that there are, in place of former ones; and
    /// from where this node is, if it is one of them.
    pub(crate) fn with<'a>(mut self, nodes: impl Iterator<Item = &'a NodeEntry>) -> Self {
        for node in nodes {
            if node.id != self.node {
                self.others.retain(|other| other.id != node.id);
                self.others.push(node.clone());
                continue;
            }
            for own in &mut self.networks {
                let now =
                    address_on(&node.addresses, own.network).unwrap_or_else(|| own.local.ip());
                own.local.set_ip(now);
            }
        }
        self.routed()
    }

    /// The same without ways to a node.
    pub(crate) fn without(mut self, node: NodeId) -> Self {
        self.others.retain(|other| other.id != node);
        self.routed()
    }

    /// The same with the names, roles and priorities that the networks have now.
    pub(crate) fn over(mut self, networks: &[NetworkEntry]) -> Self {
        for own in &mut self.networks {
            let Some(now) = networks.iter().find(|n| n.id == own.network) else { continue };
            own.name.clone_from(&now.name);
            (own.priority, own.carries) = (now.priority, now.role.carries_cluster());
        }
        self.routed()
    }

    fn routed(mut self) -> Self {
        let mut ends: Vec<_> = self.ends().map(|(end, own)| (end, own.clone())).collect();
        ends.sort_by_key(|(_, own)| std::cmp::Reverse(own.priority));
        let routes = self.others.iter().flat_map(|node| {
            ends.iter().filter_map(|(end, own)| {
                let remote =
                    SocketAddr::new(address_on(&node.addresses, own.network)?, own.local.port());
                Some(Route { peer: node.id, end: *end, remote })
            })
        });
        self.routes = routes.collect();
        self
    }

    /// The node to which a way leads at this address.
    pub(crate) fn node_at(&self, address: IpAddr) -> Option<NodeId> {
        let mut routes = self.routes.iter();
        routes.find(|route| route.remote.ip() == address).map(|route| route.peer)
    }

    /// The addresses at which a node is reached.
    pub(crate) fn addresses_of(&self, node: NodeId) -> impl Iterator<Item = IpAddr> {
        let routes = self.routes.iter().filter(move |route| route.peer == node);
        routes.map(|route| route.remote.ip())
    }

    /// Own ends that are for nodes, with their indexes.
    pub(crate) fn ends(&self) -> impl Iterator<Item = (usize, &OwnEnd)> {
        self.networks.iter().enumerate().filter(|(_, own)| own.carries)
    }

    /// Index of the route by which something from `address` came over a network.
    pub(crate) fn route_from(&self, end: usize, address: IpAddr) -> Option<usize> {
        self.routes.iter().position(|r| r.end == end && r.remote.ip() == address)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use stead_model::config::{NetworkRole, NodeAddress, QuorumConfig, QuorumMode};
    use stead_model::profile::Profile;

    /// Three nodes on two networks of the loopback device and one network for clients only.
    pub(crate) fn config(node: u16, port: u16) -> NodeConfig {
        let network = |id, role| NetworkEntry::new(NetworkId(id), format!("net{id}"), role);
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
        assert_eq!((peers.ends().count(), peers.networks.len()), (2, 3));
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

    #[test]
    fn networks_are_used_as_their_roles_say_and_the_one_with_the_highest_priority_first() {
        let mut config = config(2, 7);
        let peers = Peers::new(&config, Incarnation(1));
        let ends = |peers: &Peers| -> Vec<(u16, usize)> {
            peers.routes.iter().map(|route| (route.peer.0, route.end)).collect()
        };
        assert_eq!(ends(&peers), [(1, 0), (1, 1), (3, 0), (3, 1)]);
        config.networks[1].priority = Priority::parse("high").unwrap();
        let peers = peers.over(&config.networks);
        assert_eq!(ends(&peers), [(1, 1), (1, 0), (3, 1), (3, 0)]);
        (config.networks[0].role, config.networks[2].role) =
            (NetworkRole::Public, NetworkRole::Private);
        let peers = peers.over(&config.networks);
        assert_eq!(ends(&peers), [(1, 1), (1, 2), (3, 1), (3, 2)]);
        assert_eq!(peers.route_from(0, IpAddr::from([127, 77, 1, 3])), None);
        assert_eq!(ends(&peers.without(NodeId(1))), [(3, 1), (3, 2)]);
    }

    #[test]
    fn what_comes_from_a_former_node_is_from_an_address_of_no_node() {
        let before = Peers::new(&config(2, 7), Incarnation(1));
        let after = before.clone().without(NodeId(1));
        assert_eq!(after.route_from(0, IpAddr::from([127, 77, 1, 1])), None);
        let route = after.route_from(1, IpAddr::from([127, 77, 2, 3])).unwrap();
        assert_eq!(after.routes[route].peer, NodeId(3));
        assert_eq!(after.routes.len(), 2);
    }
}
