//! What stead says happened, in the order of its records. No evidence of what did.

use stead_api::contract::{ClusterEvent, ClusterEvents};
use stead_model::NodeId;
use stead_model::record::Record;

use crate::{World, wait};

/// The first record of a node with a code after a moment, about a group if that is named; waits
/// for it.
#[must_use]
pub fn first(world: &World, node: NodeId, after_ns: u64, about: About<'_>) -> Record {
    wait(&format!("record {about:?} of {node}"), || {
        let records = world.cluster().records(node, 0).map_err(|error| error.to_string())?;
        let found = records.into_iter().find(|r| r.boot_ns >= after_ns && about.fits(r));
        found.ok_or_else(|| "it did not come".into())
    })
}

/// Which record is meant.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct About<'a> {
    /// Its code.
    pub code: &'a str,
    /// The group it is about.
    pub group: Option<&'a str>,
}

impl About<'_> {
    fn fits(&self, record: &Record) -> bool {
        let group = record.group.as_ref().map(|group| group.as_str());
        record.code == self.code && self.group.is_none_or(|wanted| group == Some(wanted))
    }
}

/// A takeover in the words of whoever took over: suspected, then granted, then online.
pub fn in_order(world: &World, by: NodeId, after_ns: u64, group: &str) {
    let online = first(world, by, after_ns, About { code: "group-online", group: Some(group) });
    let granted = first(world, by, after_ns, About { code: "group-granted", group: Some(group) });
    let suspected = first(world, by, after_ns, About { code: "suspected", group: None });
    let moments = [&suspected, &granted, &online].map(|record| record.boot_ns);
    assert!(moments.is_sorted(), "out of order: {suspected}, {granted}, {online}");
}

/// The same takeover as the list of all nodes tells it, asked of whoever took over: from the group
/// online back to the silence of the node that is lost, and that its own records are missing.
pub fn chain(world: &World, (by, lost): (NodeId, NodeId), group: &str) {
    let node = by.to_string();
    let said = world.stead(&["events", "--group", group, "--node", &node, "--json"]);
    assert_eq!(said.code, 0, "{}", said.err);
    assert!(said.err.contains(&format!("without the records of {lost} ")), "{}", said.err);
    let told: ClusterEvents = serde_json::from_str(&said.out).expect("what the API tells");
    let caused = |event: &ClusterEvent| {
        let cause = event.cause.unwrap_or_else(|| panic!("no cause of {}", event.record));
        let found = told.events.iter().find(|other| other.told.contains(&cause));
        found.unwrap_or_else(|| panic!("{cause} is not in the list")).clone()
    };
    let online = told.events.iter().rev().find(|event| event.record.code == "group-online");
    let online = online.unwrap_or_else(|| panic!("{group} is not online: {}", said.out)).clone();
    let granted = caused(&online);
    let suspected = caused(&granted);
    let chain = [&online, &granted, &suspected].map(|event| event.record.code.as_str());
    assert_eq!(chain, ["group-online", "group-granted", "suspected"], "{}", said.out);
    assert!(suspected.record.text.starts_with(&lost.to_string()), "{}", suspected.record);
}
