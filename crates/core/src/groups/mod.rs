//! The leader's side of groups: who shall own what, decided purely and with reasons.
//!
//! ```text
//!  Db (applied log) + what nodes report and whether they are stopped ─► plan ─► one entry
//!
//!  unowned ──grant──► owned e ──release──► owned e, to be stopped ──stopped──► grant e+1 | disown
//!                       │  ▲                                                   (I-STOP-START)
//!                       │  └── grant e+1 to the same node: its service was restarted (R9)
//!                       └── owner known stopped (R6) ──► grant e+1 elsewhere
//! ```
//!
//! The planner may be called at any time at which everything proposed is applied (R8: a report
//! counts for the last epoch in the leader's log, proposed entries included). Each group recovers
//! by itself; all outcomes of one round are one entry.
//!
//! Invariants
//! - I-STOP-START: a group is granted to another node only when its owner is known stopped:
//!   reported for exactly this epoch (R8), or the node's lease is over (R6).
//! - I-WHY: every change carries its reason.
//! - I-CONVERGE: with nothing new to see, the plan is empty.
//!
//! Reading order: `plan` (what is done about every group), `placement` (which node), `order` (what
//! a group waits for), `mend` (what runs against a rule), `failback`, `upkeep`, `quarantine`,
//! `timely`; then what people ask for and are told: `requests`, `core_group`, `declared`, `whole`,
//! `foreseen`, `explain`, `view`, `safety`.
//!
//! Not here: when a node counts as stopped (`lease`), what an owner does (`resources`).

mod core_group;
pub mod declared;
pub mod explain;
pub mod failback;
pub mod foreseen;
mod mend;
mod order;
pub mod placement;
pub mod plan;
mod quarantine;
pub mod requests;
pub mod safety;
mod timely;
mod upkeep;
mod usage;
pub mod view;
mod whole;

use std::collections::BTreeMap;

use stead_model::change::Change;
use stead_model::config::{NetworkEntry, NodeEntry};
use stead_model::wire::peer::{GroupReport, Report};
use stead_model::{Epoch, GroupId, NodeId, UtcMillis};

pub use declared::draft;
pub use explain::{Explanation, explain, see};
pub use foreseen::foresee;
pub use placement::{Candidate, Fit, Layout};
pub use plan::plan;
pub use requests::{Decision, decide};
pub use timely::next_look;
pub use view::{Answering, group_state, group_views, needed, say_what_they_wait_for};

use crate::db::{Db, Networks};
use crate::planted::{Fault, Planted};

/// All the planner looks at.
#[derive(Clone, Debug)]
pub struct PlanInput<'a> {
    /// The database; everything proposed is applied.
    pub db: &'a Db,
    /// Cluster time as the leader would stamp it now, for the failover window.
    pub at: UtcMillis,
    /// All nodes of the cluster.
    pub nodes: BTreeMap<NodeId, NodeLive<'a>>,
    /// Name of the cluster.
    pub cluster: &'a str,
    /// Names and addresses of the nodes.
    pub entries: &'a [NodeEntry],
    /// Names of the nodes and of the cluster: no virtual server may have one of them.
    pub host_names: &'a [String],
    /// The networks of the cluster; what the database says of them comes first.
    pub networks: &'a [NetworkEntry],
    /// Planted faults.
    pub planted: Planted,
}

/// What the leader knows of a node now.
#[derive(Clone, Copy, Default, Debug)]
pub struct NodeLive<'a> {
    /// It is up and may be given groups.
    pub eligible: bool,
    /// It is known stopped: its lease and the grace after it are over (R6).
    pub stopped: bool,
    /// The last report of its present guard.
    pub report: Option<&'a Report>,
}

/// The outcome of one planning round: one entry of the log.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Plan {
    /// All changes.
    pub changes: Vec<Change>,
    /// What caused them, in words for people.
    pub why: String,
}

impl Plan {
    /// Whether there is nothing to do.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.changes.is_empty()
    }
}

impl<'a> PlanInput<'a> {
    /// What the owner of a group reports about it in exactly this epoch (R8). Reports of other
    /// epochs say nothing: that a group once stopped is no proof that it is stopped now.
    #[must_use]
    pub fn reported(&self, node: NodeId, group: &GroupId, epoch: Epoch) -> Option<&'a GroupReport> {
        let any_epoch = self.planted.has(Fault::OfflineWithoutEpoch);
        let report = self.nodes.get(&node)?.report?;
        report.groups.iter().find(|g| g.group == *group && (g.epoch == epoch || any_epoch))
    }

    /// The networks, with what the nodes tell of them.
    fn networks(&self) -> Networks<'a> {
        let reports = self.nodes.iter().filter_map(|(node, live)| Some((*node, live.report?)));
        let told =
            reports.flat_map(|(node, r)| r.interfaces.iter().map(move |i| (node, &i.interface)));
        Networks::new(self.db.networks_of(self.networks), told)
    }

    /// The node from which a change takes a group because its lease is over.
    #[must_use]
    pub fn taken_from(&self, change: &Change) -> Option<NodeId> {
        let Change::Grant { group, node, .. } = change else { return None };
        let owner = self.db.group(group)?.ownership.as_ref()?.node;
        let stopped = self.nodes.get(&owner).is_some_and(|live| live.stopped);
        (owner != *node && stopped).then_some(owner)
    }

    fn is_eligible(&self, node: NodeId) -> bool {
        self.nodes.get(&node).is_some_and(|n| n.eligible)
    }
}
