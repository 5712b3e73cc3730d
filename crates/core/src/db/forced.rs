//! The history of the log: how quorum was forced last, and who has not come back since (R13).

use stead_model::VoterId;
use stead_model::forced::{Forced, History};

use super::Db;

/// How far epochs of groups and terms are ahead of all former ones when quorum is forced: further
/// than those that were lost can have gone. So no report, order or answer of an older history is
/// taken for one of the new one.
pub(crate) const STEP: u64 = 1_000_000;

impl Db {
    /// Which history it belongs to.
    #[must_use]
    pub fn history(&self) -> History {
        self.forced.as_ref().map(|forced| forced.history).unwrap_or_default()
    }

    /// How quorum was forced last.
    #[must_use]
    pub const fn forced(&self) -> Option<&Forced> {
        self.forced.as_ref()
    }

    /// The same database in a history that begins: nothing else changes yet.
    #[must_use]
    pub(crate) fn within(self, forced: &Forced) -> Self {
        Self { forced: Some(forced.clone()), ..self }
    }

    /// Carries out what was forced. Those that were dropped get their votes back like nodes that
    /// were away: once they have the whole log. Gives what was forced before.
    pub(super) fn force(&mut self, forced: &Forced) -> Option<Forced> {
        self.lent.extend(forced.dropped.iter().filter_map(|voter| voter.node()));
        self.lent.remove(&forced.node);
        self.left.remove(&forced.node);
        self.epoch_floor.0 += STEP;
        self.groups.values_mut().for_each(|group| group.epoch_last.0 += STEP);
        self.forced.replace(forced.clone())
    }

    /// Voters that were dropped when quorum was forced last, and are neither back nor evicted.
    #[must_use]
    pub fn not_back(&self, votes: impl Fn(VoterId) -> bool) -> Vec<VoterId> {
        let dropped = self.forced.iter().flat_map(|forced| forced.dropped.iter().copied());
        let member = |v: &VoterId| v.node().is_none_or(|node| !self.evicted.contains(&node));
        dropped.filter(|v| !votes(*v)).filter(member).collect()
    }
}
