//! Who leads and who hosts the quorum disk, once the cluster has settled.

use stead_model::view::View;
use stead_model::{NodeId, VoterId};

use crate::{World, wait};

/// Roles in a cluster whose nodes agree about them.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Roles {
    /// The voter that leads.
    pub leader: VoterId,
    /// The node that leads, or hosts the disk that does.
    pub leads: NodeId,
    /// The node that hosts the quorum disk, where there is one.
    pub hosts: Option<NodeId>,
}

impl Roles {
    /// Waits until all nodes are up with quorum and short leases, all groups are as wanted and all
    /// nodes name the same leader and the same host of the disk, which are on one node.
    #[must_use]
    pub fn settled(world: &World) -> Self {
        wait("a settled cluster", || {
            let mut agreed = None;
            for node in world.lab().record().node_ids() {
                let view = world.cluster().view(node).map_err(|error| error.to_string())?;
                let roles = healthy(&view).map_err(|why| format!("{node}: {why}"))?;
                if *agreed.get_or_insert(roles) != roles {
                    return Err(format!("{node} sees {roles:?}, another {agreed:?}"));
                }
            }
            let roles: Self = agreed.ok_or("there are no nodes")?;
            match roles.hosts {
                Some(host) if host != roles.leads => Err(format!("{roles:?}: not on one node")),
                Some(_) | None => Ok(roles),
            }
        })
    }
}

fn healthy(view: &View) -> Result<Roles, String> {
    if !view.quorum.has_quorum {
        return Err("no quorum".into());
    }
    for node in &view.nodes {
        if node.state != stead_model::view::NodeState::Up || node.lease_longer {
            return Err(format!("{} is {:?}, longer {}", node.node, node.state, node.lease_longer));
        }
        if node.links.iter().any(|link| !link.up) {
            return Err(format!("a link to {} is down", node.node));
        }
    }
    for group in &view.groups {
        let wanted = match group.desired {
            stead_model::group::Desired::Online => "online",
            stead_model::group::Desired::Offline => "offline",
        };
        if group.state.word() != wanted {
            return Err(format!("group {} is {}", group.group, group.state.word()));
        }
    }
    let leader = view.quorum.leader.ok_or("nobody leads")?;
    let disk = view.quorum.mode != Some(stead_model::config::QuorumMode::NodeMajority);
    let hosts = view.quorum.disk_host;
    if disk && hosts.is_none() {
        return Err("nobody hosts the disk".into());
    }
    let leads = leader.node().or(hosts).ok_or("the leader is nowhere")?;
    Ok(Roles { leader, leads, hosts })
}
