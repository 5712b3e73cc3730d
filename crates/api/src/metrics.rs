//! Figures for Prometheus, in its text format: what the last published view counts, spelled out.
//!
//! Nothing is counted for it and nothing kept: a figure that is not in the view is not here. Names
//! are documented in `docs/reference/metrics.md`, and a test holds the two together.

use std::fmt::Write as _;

use stead_model::group::GroupState;
use stead_model::resource::{Health, ResourceState};
use stead_model::upkeep::Upkeep;
use stead_model::view::{GroupView, NodeState, NodeView, ResourceView, View};

/// What a scraper is told of the format.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

const NODE_STATES: [(NodeState, &str); 3] =
    [(NodeState::Up, "up"), (NodeState::Isolated, "isolated"), (NodeState::Down, "down")];
const GROUP_STATES: [(GroupState, &str); 6] = [
    (GroupState::Online, "online"),
    (GroupState::Offline, "offline"),
    (GroupState::PartialOnline, "partial-online"),
    (GroupState::Pending, "pending"),
    (GroupState::Failed, "failed"),
    (GroupState::Unknown, "unknown"),
];
const RESOURCE_STATES: [(ResourceState, &str); 5] = [
    (ResourceState::Offline, "offline"),
    (ResourceState::OnlinePending, "online-pending"),
    (ResourceState::Online, "online"),
    (ResourceState::OfflinePending, "offline-pending"),
    (ResourceState::Failed, "failed"),
];

/// A name, what it is about, and its value.
type Figure<T> = (&'static str, &'static str, fn(&T) -> u64);

/// All figures of a view.
#[must_use]
pub fn text(view: &View) -> String {
    let mut page = Page::default();
    node_itself(&mut page, view);
    nodes(&mut page, view);
    groups(&mut page, view);
    resources(&mut page, view);
    alerts(&mut page, view);
    page.text
}

fn node_itself(page: &mut Page, view: &View) {
    let node = view.node.to_string();
    page.family("stead_info", Kind::Gauge, "The node that tells this, its cluster and version.");
    let labels = [("cluster", &*view.cluster), ("node", &*node), ("version", &*view.version)];
    page.sample(&labels, 1);
    page.family("stead_quorum", Kind::Gauge, "1: this node has quorum, it holds a lease.");
    page.sample(&[], view.quorum.has_quorum.into());
    page.family("stead_voters", Kind::Gauge, "Voters of the cluster, the quorum disk included.");
    page.sample(&[], view.quorum.voters.len() as u64);
    page.family("stead_leader_known", Kind::Gauge, "1: this node knows who leads.");
    page.sample(&[], view.quorum.leader.is_some().into());
    page.family("stead_term", Kind::Gauge, "Term of the consensus: grows with every election.");
    page.sample(&[], view.quorum.term.0);
    page.family("stead_applied_index", Kind::Gauge, "Last applied entry of the cluster's log.");
    page.sample(&[], view.applied.0);
    let about = "Largest database that the quorum disk can hold, 0 without one.";
    page.family("stead_database_limit_bytes", Kind::Gauge, about);
    page.sample(&[], view.quorum.database_limit_bytes);
    page.family("stead_troubles", Kind::Gauge, "What is wrong on this node itself; see `status`.");
    page.sample(&[], view.troubles.len() as u64);
    let about = "Pauses, pins, maintenance and quarantines that are in force.";
    page.family("stead_upkeep", Kind::Gauge, about);
    page.sample(&[], view.upkeep.len() as u64);
}

fn nodes(page: &mut Page, view: &View) {
    page.family("stead_node_state", Kind::Gauge, "1: this node sees the other one in the state.");
    for node in &view.nodes {
        let (number, name) = (node.node.to_string(), &*node.name);
        for (state, word) in NODE_STATES {
            let labels = [("node", &*number), ("name", name), ("state", word)];
            page.sample(&labels, (node.state == state).into());
        }
    }
    page.family("stead_node_quarantined", Kind::Gauge, "1: the node is in quarantine.");
    for node in &view.nodes {
        let is_it = |upkeep: &Upkeep| match upkeep {
            Upkeep::Quarantine { node: it, .. } => *it == node.node,
            _ => false,
        };
        let labels = [("node", &*node.node.to_string()), ("name", &*node.name)];
        page.sample(&labels, view.upkeep.iter().any(is_it).into());
    }
    page.family("stead_link_up", Kind::Gauge, "1: heartbeats of the node arrive on the network.");
    links(page, view, |link| link.up.into());
    let about = "Heartbeats that arrived since the node service started.";
    page.family("stead_heartbeats_received_total", Kind::Counter, about);
    links(page, view, |link| link.received);
    let about = "Heartbeats that are missing since the node service started.";
    page.family("stead_heartbeats_lost_total", Kind::Counter, about);
    links(page, view, |link| link.lost);
    let about = "Missing of the last datagrams of the node on the network, in a thousand.";
    page.family("stead_link_loss_permille", Kind::Gauge, about);
    links(page, view, |link| link.loss_permille.into());
    let about = "How long a heartbeat takes there and back, 0 until one came back.";
    page.family("stead_link_round_trip_microseconds", Kind::Gauge, about);
    links(page, view, |link| link.round_trip_us.unwrap_or(0));
    let about = "By how much one round trip differs from the next.";
    page.family("stead_link_jitter_microseconds", Kind::Gauge, about);
    links(page, view, |link| link.jitter_us.unwrap_or(0));
}

fn links(page: &mut Page, view: &View, value: impl Fn(&stead_model::view::LinkView) -> u64) {
    for NodeView { node, links, .. } in &view.nodes {
        for link in links {
            page.sample(&[("node", &node.to_string()), ("network", &link.name)], value(link));
        }
    }
}

fn groups(page: &mut Page, view: &View) {
    page.family("stead_group_state", Kind::Gauge, "1: the group is in the state.");
    for group in &view.groups {
        for (state, word) in GROUP_STATES {
            let labels = [("group", group.group.as_str()), ("state", word)];
            page.sample(&labels, (group.state == state).into());
        }
    }
    page.family("stead_group_owner", Kind::Gauge, "1: the node owns the group.");
    for GroupView { group, owner, .. } in &view.groups {
        if let Some(owner) = owner {
            page.sample(&[("group", group.as_str()), ("node", &owner.to_string())], 1);
        }
    }
    let figures: [Figure<GroupView>; 3] = [
        ("stead_group_epoch", "Ownerships that the group has had.", |group| group.epoch.0),
        ("stead_group_failovers", "Failovers that count within its period.", |group| {
            group.failovers.into()
        }),
        ("stead_group_failover_limit", "Failovers until it is left failed.", |group| {
            group.failover_limit.into()
        }),
    ];
    for (name, about, value) in figures {
        page.family(name, Kind::Gauge, about);
        for group in &view.groups {
            page.sample(&[("group", group.group.as_str())], value(group));
        }
    }
}

fn resources(page: &mut Page, view: &View) {
    let each = || view.groups.iter().flat_map(|g| g.resources.iter().map(move |r| (g, r)));
    let labels = |group: &GroupView, resource: &ResourceView| {
        [
            ("group", group.group.as_str().to_owned()),
            ("resource", resource.resource.as_str().to_owned()),
            ("type", resource.kind.clone()),
        ]
    };
    page.family("stead_resource_state", Kind::Gauge, "1: the resource is in the state.");
    for (group, resource) in each() {
        let of = labels(group, resource);
        for (state, word) in RESOURCE_STATES {
            let mut all: Vec<_> = of.iter().map(|(name, value)| (*name, value.as_str())).collect();
            all.push(("state", word));
            page.sample(&all, (resource.state == state).into());
        }
    }
    let figures: [Figure<ResourceView>; 2] = [
        ("stead_resource_healthy", "1: its last check said that it works.", |resource| {
            (resource.health == Health::Good).into()
        }),
        (
            "stead_resource_restarts",
            "Restarts in place that count within its period.",
            |resource| resource.restarts.into(),
        ),
    ];
    for (name, about, value) in figures {
        page.family(name, Kind::Gauge, about);
        for (group, resource) in each() {
            let of = labels(group, resource);
            let all: Vec<_> = of.iter().map(|(name, value)| (*name, value.as_str())).collect();
            page.sample(&all, value(resource));
        }
    }
}

fn alerts(page: &mut Page, view: &View) {
    page.family("stead_alert_waiting", Kind::Gauge, "Records that wait to be told by the alert.");
    for alert in &view.alerts {
        page.sample(&[("alert", alert.alert.as_str())], alert.track.waiting.into());
    }
    let about = "Records given up because too many waited for the alert.";
    page.family("stead_alert_dropped_total", Kind::Counter, about);
    for alert in &view.alerts {
        page.sample(&[("alert", alert.alert.as_str())], alert.track.dropped);
    }
}

/// What may become of a figure.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Kind {
    /// It only grows while the node service lives.
    Counter,
    Gauge,
}

/// The text so far, and whose samples come next.
#[derive(Default)]
struct Page {
    text: String,
    family: &'static str,
}

impl Page {
    /// Begins the samples of a name.
    fn family(&mut self, name: &'static str, kind: Kind, about: &str) {
        self.family = name;
        let kind = match kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
        };
        // Writing into a text does not fail.
        let _ = write!(self.text, "# HELP {name} {about}\n# TYPE {name} {kind}\n");
    }

    fn sample(&mut self, labels: &[(&str, &str)], value: u64) {
        self.text.push_str(self.family);
        for (number, (name, value)) in labels.iter().enumerate() {
            let open = if number == 0 { '{' } else { ',' };
            let _ = write!(self.text, "{open}{name}=\"{}\"", escaped(value));
        }
        let close = if labels.is_empty() { "" } else { "}" };
        let _ = writeln!(self.text, "{close} {value}");
    }
}

/// The value of a label.
fn escaped(value: &str) -> String {
    value.replace('\\', r"\\").replace('"', "\\\"").replace('\n', r"\n")
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use stead_model::NodeId;
    use stead_model::config::NetworkRole;
    use stead_model::view::LinkView;

    use super::*;
    use crate::document::{example_group, example_node};

    fn view() -> View {
        let link = LinkView {
            network: stead_model::NetworkId(1),
            name: "private".into(),
            role: NetworkRole::Mixed,
            up: true,
            received: 40,
            lost: 2,
            loss_permille: 48,
            round_trip_us: Some(310),
            jitter_us: None,
            sent: 0,
            unsent: 0,
        };
        let node = NodeView {
            name: "be\"ta".into(),
            state: NodeState::Isolated,
            links: vec![link],
            ..example_node(2)
        };
        let mut group = example_group("web");
        group.failovers = 3;
        View {
            cluster: "c".into(),
            node: NodeId(1),
            nodes: vec![node],
            groups: vec![group],
            troubles: vec!["the disk is full".into()],
            ..View::default()
        }
    }

    /// Every sample by name and labels, as a scraper reads it.
    fn parsed(text: &str) -> BTreeMap<&str, f64> {
        let lines = text.lines().filter(|line| !line.starts_with('#'));
        let samples: Vec<(&str, f64)> = lines
            .map(|line| line.rsplit_once(' ').unwrap())
            .map(|(name, value)| (name, value.parse().unwrap()))
            .collect();
        let count = samples.len();
        let all: BTreeMap<_, _> = samples.into_iter().collect();
        assert_eq!(all.len(), count, "a sample is told twice");
        all
    }

    #[test]
    fn the_figures_are_those_of_the_view() {
        let text = text(&view());
        let all = parsed(&text);
        for (sample, value) in [
            ("stead_quorum", 0.0),
            ("stead_troubles", 1.0),
            (r#"stead_node_state{node="n2",name="be\"ta",state="isolated"}"#, 1.0),
            (r#"stead_node_state{node="n2",name="be\"ta",state="up"}"#, 0.0),
            (r#"stead_link_up{node="n2",network="private"}"#, 1.0),
            (r#"stead_heartbeats_received_total{node="n2",network="private"}"#, 40.0),
            (r#"stead_heartbeats_lost_total{node="n2",network="private"}"#, 2.0),
            (r#"stead_group_state{group="web",state="online"}"#, 1.0),
            (r#"stead_group_state{group="web",state="failed"}"#, 0.0),
            (r#"stead_group_owner{group="web",node="n1"}"#, 1.0),
            (r#"stead_group_failovers{group="web"}"#, 3.0),
            (r#"stead_group_failover_limit{group="web"}"#, 6.0),
        ] {
            assert_eq!(all.get(sample), Some(&value), "{sample}\n{text}");
        }
    }

    #[test]
    fn every_name_is_explained_typed_and_documented_and_no_other() {
        let text = text(&view());
        let named = |mark: &str| -> BTreeSet<String> {
            let lines = text.lines().filter_map(|line| line.strip_prefix(mark));
            lines.map(|line| line.split(' ').next().unwrap().to_owned()).collect()
        };
        let names = named("# HELP ");
        assert_eq!(names, named("# TYPE "));
        for sample in parsed(&text).keys() {
            assert!(names.contains(sample.split('{').next().unwrap()), "{sample}");
        }
        let counters = text.lines().filter(|l| l.starts_with("# TYPE") && l.ends_with(" counter"));
        assert!(counters.clone().all(|line| line.contains("_total ")), "{text}");
        let page = include_str!("../../../docs/reference/metrics.md");
        let rows = page.lines().filter_map(|line| line.strip_prefix("| `stead_"));
        let documented: BTreeSet<_> =
            rows.map(|row| format!("stead_{}", row.split(['`', '{']).next().unwrap())).collect();
        assert_eq!(documented, names);
    }
}
