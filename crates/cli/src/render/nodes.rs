//! Nodes and quorum.

use std::collections::BTreeSet;

use stead_model::VoterId;
use stead_model::amounts::written;
use stead_model::config::QuorumMode;
use stead_model::forced::names;
use stead_model::upkeep::{Drain, Upkeep};
use stead_model::view::{NodeState, NodeView, QuorumView, View};

use super::networks::up;
use super::{Table, facts, moment, yes_no};
use crate::reach::name_of;

/// All nodes.
pub(crate) fn nodes(view: &View) -> String {
    let mut table = Table::new(&["NODE", "STATE", "VOTES", "LEASE", "STEAD", "LINKS"]);
    for node in &view.nodes {
        table.row(vec![
            name_of(view, node.node),
            state(view, node),
            yes_no(node.votes).into(),
            lease(node).into(),
            node.program.map_or_else(|| "unknown".into(), |program| program.version.to_string()),
            links(view, node),
        ]);
    }
    table.text_or("no nodes")
}

/// One node with its links.
pub(crate) fn node(view: &View, node: &NodeView) -> String {
    let mut lines = vec![
        ("node", name_of(view, node.node)),
        ("state", state(view, node)),
        ("votes", yes_no(node.votes).into()),
        ("lease", lease(node).into()),
        ("program", node.program.map_or_else(|| "unknown".into(), |program| program.to_string())),
    ];
    lines.extend(capacity(node));
    let mut text = facts(&lines);
    if !node.room.local.is_empty() {
        let mut table = Table::new(&["OF ITS OWN, NOT HIGHLY AVAILABLE", "NEEDS"]);
        for (service, needs) in &node.room.local {
            table.row(vec![service.clone(), needs.to_string()]);
        }
        text.push('\n');
        text.push_str(&table.text());
    }
    if node.links.is_empty() {
        return text;
    }
    let mut table = Table::new(&["NETWORK", "ROLE", "STATE", "RECEIVED", "LOST"]);
    for link in &node.links {
        table.row(vec![
            link.name.clone(),
            link.role.word().into(),
            up(link).into(),
            link.received.to_string(),
            link.lost.to_string(),
        ]);
    }
    text.push('\n');
    text.push_str(&table.text());
    text
}

/// What it has, what its groups need and what its own services do.
fn capacity(node: &NodeView) -> Vec<(&'static str, String)> {
    let mut all: BTreeSet<&str> = node.room.capacity.iter().map(|(unit, _)| unit).collect();
    all.extend(node.needed.iter().map(|(unit, _)| unit));
    let line = |unit: &str| {
        let needed = written(unit, node.needed.get(unit).unwrap_or(0));
        let local = match node.room.local_use(unit) {
            0 => String::new(),
            own => format!(", {} by its own services", written(unit, own)),
        };
        let of = node.room.capacity.get(unit).map(|has| format!(" of {}", written(unit, has)));
        format!("{unit} {needed}{} needed by groups{local}", of.unwrap_or_default())
    };
    all.into_iter().map(|unit| ("capacity", line(unit))).collect()
}

/// Quorum as one node sees it.
pub(crate) fn quorum(quorum: &QuorumView) -> String {
    let nobody = || "unknown".to_owned();
    let voters: Vec<String> = quorum.voters.iter().copied().map(voter_name).collect();
    let mut lines = vec![
        ("quorum", has(quorum)),
        ("mode", quorum.mode.map_or_else(nobody, |mode| words(mode).into())),
        ("voters", voters.join(", ")),
        ("leader", quorum.leader.map_or_else(nobody, voter_name)),
        ("term", quorum.term.to_string()),
    ];
    if let Some(forced) = &quorum.forced {
        let (node, who, at) = (forced.node, &forced.who, moment::to_second(forced.at));
        let missing = names(&forced.missing);
        lines.push(("forced", format!("on {node} by {who}, {at}; not back: {missing}")));
    }
    if let Some(forcing) = &quorum.forcing {
        let lost = names(&forcing.lost);
        let when = forcing.until.map_or_else(
            || "when the quorum disk is claimed".to_owned(),
            |until| format!("at {}", moment::to_second(until)),
        );
        lines.push(("being forced", format!("without {lost}, {when}")));
    }
    if quorum.mode != Some(QuorumMode::NodeMajority) {
        lines.push(("disk host", quorum.disk_host.map_or_else(nobody, |node| node.to_string())));
        lines.push(("disk", quorum.disk_state.clone().unwrap_or_else(nobody)));
        lines.push(("database limit", format!("{} bytes", quorum.database_limit_bytes)));
    }
    facts(&lines)
}

/// Who is there, who is not, and what would be lost if the node went on without them.
pub(crate) fn forced_loss(view: &View, lost: &BTreeSet<VoterId>) -> String {
    let mut table = Table::new(&["VOTER", "STATE", "HEARD LAST"]);
    for &voter in &view.quorum.voters {
        let node = voter.node().and_then(|id| view.nodes.iter().find(|n| n.node == id));
        let heard = node.and_then(|node| node.heard_at);
        let heard = heard.map_or_else(|| "not since the node started".into(), moment::to_second);
        let (state, heard) = match node {
            Some(node) if node.node == view.node => ("asked".to_owned(), String::new()),
            Some(node) => (state(view, node), heard),
            None => {
                let known = view.quorum.disk_state.clone();
                (known.unwrap_or_else(|| "unknown".to_owned()), String::new())
            }
        };
        let state = if lost.contains(&voter) { format!("{state}, given up") } else { state };
        table.row(vec![voter_name(voter), state, heard]);
    }
    let mut text = table.text_or("no voters");
    text.push_str(&format!(
        "\n{} goes on with what its log has, up to entry {}. Whatever the others agreed on without \
         it is lost.\n",
        view.node, view.applied
    ));
    text
}

/// The same in one line.
pub(super) fn quorum_line(quorum: &QuorumView) -> String {
    let mut parts = vec![has(quorum)];
    parts.extend(quorum.mode.map(|mode| words(mode).to_owned()));
    parts.push(match quorum.leader {
        Some(leader) => format!("{} leads in term {}", voter_name(leader), quorum.term),
        None => "nobody known leads".to_owned(),
    });
    if let Some(host) = quorum.disk_host {
        let state = quorum.disk_state.as_ref().map_or_else(String::new, |s| format!(" ({s})"));
        parts.push(format!("{host} hosts the quorum disk{state}"));
    }
    parts.join(", ")
}

fn has(quorum: &QuorumView) -> String {
    match (quorum.has_quorum, quorum.lost_since) {
        (true, _) => "yes".into(),
        (false, Some(at)) => format!("no, since {}", moment::to_second(at)),
        (false, None) => "no, since the node started".into(),
    }
}

/// A voter as people know it: a node, or the quorum disk.
pub(super) fn voter_name(voter: VoterId) -> String {
    voter.node().map_or_else(|| "quorum disk".to_owned(), |node| node.to_string())
}

const fn words(mode: QuorumMode) -> &'static str {
    match mode {
        QuorumMode::NodeAndDiskMajority => "node and disk majority",
        QuorumMode::NodeMajority => "node majority",
        QuorumMode::DiskOnly => "disk only",
    }
}

/// How it is, and why it is given no groups although it may be up.
fn state(view: &View, node: &NodeView) -> String {
    let mut text = match node.state {
        NodeState::Up if node.left => "leaves",
        NodeState::Up => "up",
        NodeState::Isolated | NodeState::Down if node.left => "left",
        NodeState::Isolated => "isolated",
        NodeState::Down => "down",
    }
    .to_owned();
    for upkeep in &view.upkeep {
        let word = match upkeep {
            Upkeep::Pause { node: it, drain: Drain::No } if *it == node.node => ", paused",
            Upkeep::Pause { node: it, .. } if *it == node.node => ", drained",
            Upkeep::Quarantine { node: it, .. } if *it == node.node => ", in quarantine",
            _ => continue,
        };
        text.push_str(word);
    }
    text
}

const fn lease(node: &NodeView) -> &'static str {
    if node.absent {
        "absence"
    } else if node.lease_longer {
        "long"
    } else {
        "short"
    }
}

fn links(view: &View, node: &NodeView) -> String {
    if node.node == view.node {
        return "(asked)".into();
    }
    let links: Vec<_> = node.links.iter().map(|l| format!("{} {}", l.name, up(l))).collect();
    links.join(", ")
}
