//! Forced quorum: an administrator says that the voters that are missing are off, and the log goes
//! on without them, in a new *history*.
//!
//! What was agreed on in another history does not count: whoever comes back with an older one takes
//! the newer one over, and two that were forced beside each other never mix.

use std::collections::BTreeSet;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::ids::{LogIndex, NodeId, Term, VoterId};
use crate::time::UtcMillis;
use crate::view::{NodeState, View};

/// Which history of the log something belongs to.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Debug, Serialize, Deserialize)]
pub struct History {
    /// How often quorum was forced; 0: never.
    pub generation: u32,
    /// Tells two of the same generation apart; 0 while quorum was never forced.
    pub id: u64,
}

/// A forced quorum, as the log has it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Forced {
    /// The history that began with it.
    pub history: History,
    /// The node on which it was forced.
    pub node: NodeId,
    /// Who asked for it.
    pub who: String,
    /// Wall clock of that node.
    pub at: UtcMillis,
    /// Voters that lost their votes: those that were said to be off, and others that take the new
    /// history over first.
    pub dropped: Vec<VoterId>,
    /// The voters with which it went on.
    pub voters: Vec<VoterId>,
    /// The last entry of each of the last terms of the log that it went on with: by that another
    /// node finds out what only it has.
    pub ends: Vec<(Term, LogIndex)>,
}

impl fmt::Display for History {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:08x}", self.generation, self.id >> 32)
    }
}

impl fmt::Display for Forced {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { node, who, history, .. } = self;
        write!(f, "quorum forced on {node} by {who} without {} ", names(&self.dropped))?;
        write!(f, "(generation {})", history.generation)
    }
}

/// Voters for people.
#[must_use]
pub fn names<'a>(voters: impl IntoIterator<Item = &'a VoterId>) -> String {
    let name = |voter: &VoterId| match voter.node() {
        Some(node) => node.to_string(),
        None => "the quorum disk".to_owned(),
    };
    voters.into_iter().map(name).collect::<Vec<_>>().join(", ")
}

/// Voters that the viewing node does not hear, and the quorum disk where that is said.
#[must_use]
pub fn lost(view: &View, without_disk: bool) -> BTreeSet<VoterId> {
    let up = |voter: &VoterId| {
        let found = view.nodes.iter().find(|n| Some(n.node) == voter.node());
        found.is_some_and(|n| n.node == view.node || n.state == NodeState::Up)
    };
    let is_lost = |v: &VoterId| if v.is_disk() { without_disk } else { !up(v) };
    view.quorum.voters.iter().copied().filter(is_lost).collect()
}
