//! Whether a cluster needs somebody: what `status` names and its exit code says.

use stead_model::config::QuorumMode;
use stead_model::group::{Desired, GroupState};
use stead_model::resource::ResourceState;
use stead_model::view::{GroupView, NodeState, NodeView, QuorumView, View};

use crate::reach::name_of;

/// Everything that is not as it should be, one sentence each; without quorum that alone, since
/// nothing else is known for certain.
pub(crate) fn troubles(view: &View) -> Vec<String> {
    if !view.quorum.has_quorum {
        return vec!["no quorum".into()];
    }
    let nodes = view.nodes.iter().flat_map(|node| of_node(view, node));
    let own = view.troubles.iter().cloned();
    let groups = view.groups.iter().flat_map(of_group);
    own.chain(nodes).chain(of_disk(&view.quorum)).chain(groups).collect()
}

fn of_node(view: &View, node: &NodeView) -> Vec<String> {
    let name = name_of(view, node.node);
    match node.state {
        NodeState::Down if node.left => vec![format!("{name} has left and is down")],
        NodeState::Down => vec![format!("{name} is down")],
        NodeState::Suspected => vec![format!("{name} is suspected: silent on all networks")],
        NodeState::Up => node
            .links
            .iter()
            .filter(|link| !link.up && link.role.carries_cluster())
            .map(|link| format!("{name} is silent on network `{}`", link.name))
            .collect(),
    }
}

fn of_disk(quorum: &QuorumView) -> Option<String> {
    let used = match quorum.mode? {
        QuorumMode::NodeAndDiskMajority | QuorumMode::DiskOnly => true,
        QuorumMode::NodeMajority => false,
    };
    let state = quorum.disk_state.as_deref().unwrap_or("its state is unknown");
    (used && quorum.disk_host.is_none()).then(|| format!("no node hosts the quorum disk: {state}"))
}

fn of_group(group: &GroupView) -> Vec<String> {
    let name = &group.group;
    let mut found = Vec::new();
    if let Some(why) = &group.failed {
        found.push(format!("group `{name}` stays down: {why}"));
    } else if !as_wanted(group) {
        let wanted = match group.desired {
            Desired::Online => "online",
            Desired::Offline => "offline",
        };
        found.push(format!("group `{name}` is {}, wanted {wanted}", group.state.word()));
    }
    let failed = group.resources.iter().filter(|r| r.state == ResourceState::Failed);
    found.extend(failed.map(|resource| {
        let detail = resource.detail.as_deref().unwrap_or("no reason is known");
        format!("resource `{}` failed: {detail}", resource.resource)
    }));
    found
}

/// A group is as wanted when all of its resources that shall run do, and no other does.
fn as_wanted(group: &GroupView) -> bool {
    let empty = group.resources.is_empty();
    match (group.desired, group.state) {
        (Desired::Online, GroupState::Online) | (Desired::Offline, GroupState::Offline) => true,
        // Nothing in it shall run.
        (Desired::Online, GroupState::Offline | GroupState::PartialOnline) => {
            empty
                || group.resources.iter().all(|resource| match resource.desired {
                    Desired::Online => resource.state == ResourceState::Online,
                    Desired::Offline => resource.state == ResourceState::Offline,
                })
        }
        (Desired::Online, GroupState::Pending | GroupState::Failed | GroupState::Unknown)
        | (
            Desired::Offline,
            GroupState::Online
            | GroupState::PartialOnline
            | GroupState::Pending
            | GroupState::Failed
            | GroupState::Unknown,
        ) => false,
    }
}
