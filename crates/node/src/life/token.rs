//! A join token, made on a member for a host that is to become a node.

use std::net::SocketAddr;

use stead_model::reason::{Code, Reason};
use stead_model::view::{NodeState, NodeView, View};
use stead_trust::JoinToken;

use super::Host;
use super::create::untrusted;
use super::host::Stand;
use crate::admission;

/// Makes one that names members of the view: this one first, then those that answer. It is good
/// once the cluster knows its hash.
///
/// # Errors
/// This host is in no cluster, or its files cannot be read.
pub fn token(host: &Host, view: &View) -> Result<JoinToken, Reason> {
    let refused = || Reason::new(Code::Conflict, "cannot make a join token");
    let Stand::Member(config) = host.stand()? else {
        return Err(refused()
            .because("this host is in no cluster")
            .hint("make it on a host that is: `stead cluster token`"));
    };
    let above = || refused().because("there is no port above that of the nodes");
    let port = admission::port(config.port).ok_or_else(above)?;
    let mut nodes: Vec<&NodeView> = view.nodes.iter().collect();
    nodes.sort_by_key(|node| (node.node != config.node, node.state != NodeState::Up));
    let carries = |network| {
        let entry = view.networks.iter().find(|entry| entry.id == network);
        entry.is_some_and(|entry| entry.role.carries_cluster())
    };
    let addresses = nodes.iter().flat_map(|node| &node.addresses);
    let addresses = addresses.filter(|own| carries(own.network));
    let members = addresses.map(|own| SocketAddr::new(own.address, port)).collect();
    let authority = host.paths.pki().authority().map_err(untrusted)?;
    JoinToken::create(authority.fingerprint(), members).map_err(untrusted)
}
