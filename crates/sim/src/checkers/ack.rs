//! I-ACK: a change acknowledged to a client is never lost while a quorum survives, and a node
//! that missed changes gets them before it runs anything.
//!
//! Every key is written once, so a value that is absent or different is a lost change. Each node
//! is asked for each acknowledged key as soon as it has applied its entry.

use std::collections::{BTreeMap, BTreeSet};

use stead_model::{LogIndex, NodeId};

use super::{Promise, Verdict, Violation};

/// An acknowledged change.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Kept {
    /// The key.
    pub key: String,
    /// Its value.
    pub value: String,
}

/// The checker.
#[derive(Default, Debug)]
pub struct Ack {
    kept: BTreeMap<LogIndex, Kept>,
    /// Highest index of any acknowledged request.
    newest: LogIndex,
    /// By node: acknowledged before its guard started, and checked up to here.
    nodes: BTreeMap<NodeId, Seen>,
    /// Histories that began by force, as far as they were seen.
    histories: BTreeSet<u64>,
}

#[derive(Clone, Copy, Default, Debug)]
struct Seen {
    missed: LogIndex,
    checked: LogIndex,
}

impl Ack {
    /// A client got an answer.
    pub fn acknowledged(&mut self, index: LogIndex, kept: Option<Kept>) -> Verdict {
        self.newest = self.newest.max(index);
        let Some(kept) = kept else { return Ok(()) };
        match self.kept.insert(index, kept.clone()) {
            Some(other) if other != kept => {
                let text =
                    format!("{} and {} were both acknowledged at {index}", kept.key, other.key);
                Err(Violation::new(Promise::Ack, text))
            }
            Some(_) | None => {
                self.nodes.values_mut().for_each(|s| s.checked = s.checked.min(below(index)));
                Ok(())
            }
        }
    }

    /// How many changes are remembered.
    #[must_use]
    pub fn count(&self) -> usize {
        self.kept.len()
    }

    /// The highest acknowledged index.
    #[must_use]
    pub const fn newest(&self) -> LogIndex {
        self.newest
    }

    /// A guard starts, with nothing running: what is acknowledged by now its node has before it
    /// runs anything.
    pub fn guard_starts(&mut self, node: NodeId) {
        self.nodes.insert(node, Seen { missed: self.newest, checked: LogIndex(0) });
    }

    /// A service starts from what is durable: it is asked for every change anew.
    pub fn service_starts(&mut self, node: NodeId) {
        self.nodes.entry(node).or_default().checked = LogIndex(0);
    }

    /// A node has applied everything up to `applied`.
    pub fn applied(
        &mut self,
        node: NodeId,
        applied: LogIndex,
        value: impl Fn(&str) -> Option<String>,
    ) -> Verdict {
        let seen = self.nodes.entry(node).or_default();
        if applied <= seen.checked {
            return Ok(());
        }
        let from = seen.checked.next();
        seen.checked = applied;
        let lost = (self.kept.range(from..=applied))
            .find(|(_, kept)| value(&kept.key).as_deref() != Some(kept.value.as_str()));
        lost.map_or(Ok(()), |(index, kept)| {
            let text = format!("{} acknowledged at {index} is not on {node}", kept.key);
            Err(Violation::new(Promise::Ack, text))
        })
    }

    /// A node goes on in another history; it had applied `had`, and has `has` now. What is not in
    /// a forced history when that begins is lost, as was confirmed; what the forced node had
    /// applied is not. How much was lost.
    pub fn goes_on(
        &mut self,
        (node, history): (NodeId, u64),
        (had, has): (LogIndex, LogIndex),
        value: impl Fn(&str) -> Option<String>,
    ) -> u64 {
        self.nodes.entry(node).or_default().checked = LogIndex(0);
        if history == 0 || !self.histories.insert(history) {
            return 0;
        }
        let before = self.kept.len();
        self.kept.retain(|index, kept| {
            *index <= had || value(&kept.key).as_deref() == Some(kept.value.as_str())
        });
        // What was asked again, of another leader, has another number in this log, one of the last.
        for kept in self.kept.split_off(&has.next()).into_values() {
            let free = (0..=has.0).rev().map(LogIndex).find(|index| !self.kept.contains_key(index));
            self.kept.extend(free.map(|index| (index, kept)));
        }
        self.newest = self.newest.min(has);
        self.nodes.values_mut().for_each(|seen| seen.missed = seen.missed.min(has));
        (before - self.kept.len()) as u64
    }

    /// A resource begins to act on a node that has applied everything up to `applied`.
    pub fn runs(&self, node: NodeId, applied: LogIndex) -> Verdict {
        let missed = self.nodes.get(&node).map_or(LogIndex(0), |seen| seen.missed);
        if applied >= missed {
            return Ok(());
        }
        let text = format!("{node} runs a resource with {applied}, {missed} was acknowledged");
        Err(Violation::new(Promise::Ack, text))
    }
}

const fn below(index: LogIndex) -> LogIndex {
    LogIndex(index.0.saturating_sub(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept(key: &str) -> Option<Kept> {
        Some(Kept { key: key.into(), value: "v".into() })
    }

    #[test]
    fn i_ack_sees_a_lost_change_even_if_the_answer_came_late() {
        let (n1, mut ack) = (NodeId(1), Ack::default());
        assert_eq!(ack.applied(n1, LogIndex(9), |_| None), Ok(()));
        assert_eq!(ack.acknowledged(LogIndex(4), kept("a")), Ok(()));
        assert_eq!(ack.applied(n1, LogIndex(9), |_| Some("v".into())), Ok(()));
        assert_eq!(ack.acknowledged(LogIndex(5), kept("b")), Ok(()));
        assert!(ack.applied(n1, LogIndex(10), |_| None).is_err());
        assert!(ack.acknowledged(LogIndex(5), kept("c")).is_err());
    }

    #[test]
    fn i_ack_what_is_lost_by_force_is_what_the_forced_node_never_had() {
        let (n1, mut ack) = (NodeId(1), Ack::default());
        ack.acknowledged(LogIndex(4), kept("a")).unwrap();
        ack.acknowledged(LogIndex(5), kept("b")).unwrap();
        assert_eq!(ack.goes_on((n1, 7), (LogIndex(4), LogIndex(5)), |_| None), 1);
        assert_eq!(ack.goes_on((NodeId(2), 7), (LogIndex(0), LogIndex(5)), |_| None), 0);
        assert!(ack.applied(n1, LogIndex(5), |_| None).is_err());
    }

    #[test]
    fn i_ack_what_a_forced_log_has_under_another_number_is_kept() {
        let (n1, mut ack) = (NodeId(1), Ack::default());
        ack.acknowledged(LogIndex(9), kept("a")).unwrap();
        assert_eq!(ack.goes_on((n1, 7), (LogIndex(4), LogIndex(6)), |_| Some("v".into())), 0);
        assert_eq!(ack.acknowledged(LogIndex(9), kept("b")), Ok(()));
        assert!(ack.applied(n1, LogIndex(6), |_| None).is_err(), "it was acknowledged");
    }

    #[test]
    fn a_058_a_node_that_missed_changes_may_not_run() {
        let mut ack = Ack::default();
        ack.acknowledged(LogIndex(4), None).unwrap();
        ack.guard_starts(NodeId(2));
        assert!(ack.runs(NodeId(2), LogIndex(3)).is_err());
        assert_eq!(ack.runs(NodeId(2), LogIndex(4)), Ok(()));
    }
}
