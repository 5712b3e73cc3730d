//! `stead status`: health in the first line, then what it is made of.

use stead_api::attention;
use stead_model::view::View;

use super::nodes::quorum_line;
use super::{facts, groups, moment, nodes, resources};
use crate::reach::name_of;

/// The whole state of a cluster, as one node knows it.
pub(crate) fn status(view: &View) -> String {
    let mut text = headline(view);
    text.push('\n');
    text.push_str(&facts(&[("asked", asked(view)), ("quorum", quorum_line(&view.quorum))]));
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

fn asked(view: &View) -> String {
    let node = name_of(view, view.node);
    let (version, profile) = (&view.version, view.profile.name());
    format!("{node}, stead {version}, profile {profile}, entry {}", view.applied)
}
