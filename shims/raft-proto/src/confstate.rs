//! Building and comparing the membership that a log position has.

use crate::eraftpb::ConfState;
use std::collections::BTreeSet;

impl<V, L> From<(V, L)> for ConfState
where
    V: IntoIterator<Item = u64>,
    L: IntoIterator<Item = u64>,
{
    /// A simple (not joint) configuration of voters and learners.
    fn from((voters, learners): (V, L)) -> Self {
        Self {
            voters: voters.into_iter().collect(),
            learners: learners.into_iter().collect(),
            ..Self::default()
        }
    }
}

/// Whether both describe the same membership. The order of ids does not matter: it comes from the
/// order in which a hash map was walked.
#[must_use]
pub fn conf_state_eq(left: &ConfState, right: &ConfState) -> bool {
    membership(left) == membership(right)
}

fn membership(state: &ConfState) -> ([BTreeSet<u64>; 4], bool) {
    let sets = [&state.voters, &state.learners, &state.voters_outgoing, &state.learners_next]
        .map(|ids| ids.iter().copied().collect());
    (sets, state.auto_leave)
}
