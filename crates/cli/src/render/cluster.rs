//! `stead status`: health in the first line, then what it is made of.

use stead_api::attention;
use stead_model::server::VirtualServer;
use stead_model::view::{self, View};

use super::nodes::quorum_line;
use super::{facts, group, groups, moment, nodes, resources};
use crate::reach::name_of;

/// The whole state of a cluster, as one node knows it.
pub(crate) fn status(view: &View) -> String {
    let mut text = headline(view);
    text.push('\n');
    let mut lines = vec![("asked", asked(view)), ("quorum", quorum_line(&view.quorum))];
    lines.extend(where_asked(view).map(|line| ("cluster ip", line)));
    text.push_str(&facts(&lines));
    text.push('\n');
    text.push_str(&nodes(view));
    text.push('\n');
    text.push_str(&groups(&view.groups));
    if view.groups.iter().any(|group| !group.resources.is_empty()) {
        text.push('\n');
        text.push_str(&resources(view));
    }
    text
}

fn headline(view: &View) -> String {
    let cluster = format!("cluster {}", view.cluster);
    if !view.quorum.has_quorum {
        let since = match view.quorum.lost_since {
            Some(at) => moment::to_second(at),
            None => "the node started".into(),
        };
        let lacks = view.quorum.lacks.as_ref();
        let lacks = lacks.map_or_else(String::new, |lacks| format!("  {lacks}\n"));
        return format!("{cluster}: no quorum since {since}, last known:\n{lacks}");
    }
    let all = attention::list(view);
    let word = if all.iter().any(|item| item.urgent) { "needs attention" } else { "healthy" };
    let lines: String = all.iter().map(|item| format!("  {}\n", item.text)).collect();
    format!("{cluster}: {word}\n{lines}")
}

/// The address and the name by which the cluster is administered, and the group that has them.
pub(crate) fn cluster_ip(view: &View) -> String {
    match (view.core_group(), where_asked(view)) {
        (Some(own), Some(line)) => format!("{line}\n\n{}", group(own)),
        (None, _) | (_, None) => "no cluster IP\n".to_owned(),
    }
}

/// By what the cluster is administered, and where that is now.
fn where_asked(view: &View) -> Option<String> {
    let (group, address) = (view.core_group()?, view::cluster_ip(&view.groups)?);
    let names = group.servers.iter().filter_map(VirtualServer::full_name);
    let names: String = names.map(|name| format!(", {name}")).collect();
    let owner = group.owner.map_or_else(String::new, |node| format!(" on {}", name_of(view, node)));
    Some(format!("{address}{names}, {}{owner}", group.state.word()))
}

fn asked(view: &View) -> String {
    let node = name_of(view, view.node);
    let (version, profile) = (&view.version, view.profile.name());
    format!("{node}, stead {version}, profile {profile}, entry {}", view.applied)
}
