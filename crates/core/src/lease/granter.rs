//! Granting leases: the leader's side (R6, R7).
//!
//! A question is answered after a quorum, heard *after* the question arrived, confirmed the
//! leader. Questions that arrive while such a round is under way wait for the next one, and a round
//! waits a moment for those that will come: with many nodes that saves most rounds.

use std::collections::BTreeMap;

use stead_model::profile::{LeaseLength, Timing};
use stead_model::wire::peer::{LeaseAnswer, LeaseQuestion};
use stead_model::{Incarnation, LeaseNumber, LogIndex, NodeId, Span, Time};

use crate::consensus::batch::Elected;
use crate::planted::{Fault, Planted};

/// What a leader knows of the leases it and its predecessors granted.
#[derive(Debug)]
pub(crate) struct Granter {
    elected: Elected,
    planted: Planted,
    nodes: BTreeMap<NodeId, Asked>,
    waiting: Vec<Pending>,
    round: Option<Round>,
    rounds: u64,
}

/// What the leader knows of one node's questions.
#[derive(Clone, Copy, Debug, Default)]
struct Asked {
    service: Incarnation,
    /// Arrival of its last question.
    last: Option<Time>,
    /// Sending of its last answer (only a planted fault looks at it).
    answered: Option<Time>,
    /// The first question this leader answered.
    first: Option<LeaseNumber>,
    /// The highest question it answered with the longer length or more, and with that of an
    /// absence.
    longest: [Option<LeaseNumber>; 2],
    /// What its guard has in force.
    in_force: Option<LeaseNumber>,
}

/// A question on its way to an answer.
#[derive(Clone, Copy, Debug)]
struct Pending {
    question: LeaseQuestion,
    barrier: LogIndex,
    /// When it is looked into, whoever else asks until then.
    due: Time,
}

#[derive(Debug)]
struct Round {
    context: u64,
    began: Time,
    questions: Vec<Pending>,
}

/// Lengths as the leader's log has them.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Lengths {
    /// Answers may have this length: it is applied and not being taken back.
    pub(crate) answer: LeaseLength,
    /// The longest length in the log, proposed entries included: what a wait counts (R6).
    pub(crate) wait: LeaseLength,
}

impl Granter {
    pub(crate) fn new(elected: Elected, planted: Planted) -> Self {
        let rounds = elected.term.0 << 24;
        Self { elected, planted, nodes: BTreeMap::new(), waiting: Vec::new(), round: None, rounds }
    }

    /// A question arrived. It counts for the wait before it is answered. A node that has no lease
    /// in force waits for nobody.
    pub(crate) fn question(
        &mut self,
        now: Time,
        question: LeaseQuestion,
        barrier: LogIndex,
        timing: &Timing,
    ) {
        let asked = self.nodes.entry(question.node).or_default();
        if asked.service != question.service {
            (asked.first, asked.longest) = (None, [None; 2]);
            asked.service = question.service;
        }
        asked.last = Some(now);
        asked.in_force = question.in_force;
        self.waiting.retain(|p| p.question.node != question.node);
        let due = if question.in_force.is_some() { now + timing.gathering() } else { now };
        self.waiting.push(Pending { question, barrier, due });
    }

    /// The read to start now, if questions are due and no round runs; a round that was forgotten
    /// (the engine drops reads when it changes) is begun anew after a while.
    pub(crate) fn next_round(&mut self, now: Time, timing: &Timing) -> Option<u64> {
        if let Some(round) = &mut self.round {
            if now < forgotten_at(round, timing) {
                return None;
            }
            self.waiting.append(&mut round.questions);
        }
        self.round = None;
        let due = self.waiting.iter().any(|p| p.due <= now);
        if !due && !self.all_wait(now, timing) {
            return None;
        }
        self.rounds += 1;
        let questions = std::mem::take(&mut self.waiting);
        self.round = Some(Round { context: self.rounds, began: now, questions });
        Some(self.rounds)
    }

    /// Whether everybody who still asks for leases has a question waiting.
    fn all_wait(&self, now: Time, timing: &Timing) -> bool {
        let asks = |asked: &Asked| asked.last.is_some_and(|at| now.since(at) < timing.renewal * 2);
        let waits = |node| self.waiting.iter().any(|p| p.question.node == node);
        let all = self.nodes.iter().all(|(node, asked)| waits(*node) || !asks(asked));
        all && !self.waiting.is_empty()
    }

    /// When [`Granter::next_round`] has something to do.
    pub(crate) fn deadline(&self, timing: &Timing) -> Option<Time> {
        match &self.round {
            Some(round) => Some(forgotten_at(round, timing)),
            None => self.waiting.iter().map(|p| p.due).min(),
        }
    }

    /// A quorum confirmed the round: its questions may be answered.
    pub(crate) fn confirmed(
        &mut self,
        now: Time,
        context: u64,
        lengths: impl Fn(NodeId) -> Lengths,
        timing: &Timing,
    ) -> Vec<(NodeId, LeaseAnswer)> {
        if self.round.as_ref().is_none_or(|r| r.context != context) {
            return Vec::new();
        }
        let questions = self.round.take().map(|r| r.questions).unwrap_or_default();
        let mut answers = Vec::new();
        for Pending { question, barrier, .. } in questions {
            let LeaseQuestion { node, service, number, .. } = question;
            let length = lengths(node).answer;
            let asked = self.nodes.entry(node).or_default();
            asked.answered = Some(now);
            asked.first.get_or_insert(number);
            for (longest, level) in asked.longest.iter_mut().zip(LONG) {
                if length >= level {
                    *longest = (*longest).max(Some(number));
                }
            }
            let (term, length) = (self.elected.term, timing.length(length));
            answers.push((node, LeaseAnswer { service, number, term, length, barrier }));
        }
        answers
    }

    /// Whether the node's guard has in force an answer of this leader younger than every one of
    /// more than this length: older ones are dropped there, so nothing longer can come into force.
    pub(crate) fn took_at_most(&self, node: NodeId, length: LeaseLength) -> bool {
        let Some(asked) = self.nodes.get(&node) else { return false };
        let mut longer = asked.longest.iter().zip(LONG).filter(|(_, level)| *level > length);
        let longest = longer.next().and_then(|(longest, _)| *longest);
        asked.in_force.is_some_and(|n| Some(n) > longest && Some(n) >= asked.first)
            && asked.first.is_some()
    }

    /// The time from which on the node is known stopped, unless it asks again (R6).
    pub(crate) fn stopped_at(&self, node: NodeId, length: Span, timing: &Timing) -> Time {
        let wait = self.wait(length, timing);
        let Elected { at, smallest_age, .. } = self.elected;
        let held = at + wait - smallest_age;
        let asked = self.nodes.get(&node).copied().unwrap_or_default();
        let from =
            if self.planted.has(Fault::WaitFromLastAnswer) { asked.answered } else { asked.last };
        from.map_or(held, |from| held.max(from + wait))
    }

    fn wait(&self, length: Span, timing: &Timing) -> Span {
        if self.planted.has(Fault::NoClockMargin) {
            return length + timing.grace;
        }
        if self.planted.has(Fault::TakeoverIgnoresGrace) {
            return length + timing.margin(length);
        }
        timing.wait(length)
    }

    /// When the node last asked.
    pub(crate) fn last_asked(&self, node: NodeId) -> Option<Time> {
        let asked = self.nodes.get(&node)?;
        if self.planted.has(Fault::WaitFromLastAnswer) { asked.answered } else { asked.last }
    }
}

/// When a round that nobody confirmed is taken for forgotten.
fn forgotten_at(round: &Round, timing: &Timing) -> Time {
    round.began + timing.heartbeat * 2
}

/// Lengths above the short one, in their order.
const LONG: [LeaseLength; 2] = [LeaseLength::Longer, LeaseLength::Absence];

#[cfg(test)]
mod tests {
    use stead_model::Term;
    use stead_model::profile::Profile;

    use super::*;

    const TIMING: Timing = Profile::Standard.timing();

    fn at(ms: u64) -> Time {
        Time(Span::from_millis(ms).0)
    }

    fn granter() -> Granter {
        let elected =
            Elected { term: Term(1), at: at(0), smallest_age: Span::ZERO, by_transfer: false };
        Granter::new(elected, Planted::default())
    }

    /// A node asks; it has a lease in force, or none.
    fn asks(granter: &mut Granter, now: Time, node: u16, has_lease: bool) {
        let question = LeaseQuestion {
            node: NodeId(node),
            service: Incarnation(1),
            number: LeaseNumber(now.0),
            in_force: has_lease.then_some(LeaseNumber(1)),
        };
        granter.question(now, question, LogIndex(1), &TIMING);
    }

    /// Nodes that get an answer to what they have asked.
    fn answered(granter: &mut Granter, now: Time, round: u64) -> Vec<u16> {
        let length = LeaseLength::Short;
        let lengths = |_| Lengths { answer: length, wait: length };
        let answers = granter.confirmed(now, round, lengths, &TIMING);
        answers.into_iter().map(|(node, _)| node.0).collect()
    }

    #[test]
    fn a_round_waits_for_those_who_ask_as_well_and_for_nobody_else() {
        let (mut granter, gathering) = (granter(), TIMING.gathering());
        for node in [1, 2, 3] {
            asks(&mut granter, at(0), node, true);
        }
        let first = granter.next_round(at(0), &TIMING).expect("all have asked");
        assert_eq!(answered(&mut granter, at(1), first), [1, 2, 3]);
        asks(&mut granter, at(200), 1, true);
        asks(&mut granter, at(202), 2, true);
        assert_eq!(granter.next_round(at(202), &TIMING), None);
        assert_eq!(granter.deadline(&TIMING), Some(at(200) + gathering));
        // The third one is late: the others have waited long enough.
        let second = granter.next_round(at(200) + gathering, &TIMING).expect("it is due");
        asks(&mut granter, at(207), 3, true);
        assert_eq!(granter.next_round(at(207), &TIMING), None, "one round at a time");
        assert_eq!(answered(&mut granter, at(208), second), [1, 2]);
        assert_eq!(granter.next_round(at(208), &TIMING), None, "the others may ask again");
        let third = granter.next_round(at(207) + gathering, &TIMING).expect("it is due");
        assert_eq!(answered(&mut granter, at(215), third), [3]);
        // It falls silent, and is not waited for any more.
        for now in [400, 600, 800] {
            asks(&mut granter, at(now), 1, true);
            asks(&mut granter, at(now), 2, true);
            let waits = now < 607;
            let round = granter.next_round(at(now), &TIMING);
            assert_eq!(round.is_none(), waits, "{now} ms");
            let round = round.or_else(|| granter.next_round(at(now) + gathering, &TIMING));
            assert_eq!(answered(&mut granter, at(now + 10), round.unwrap()), [1, 2]);
        }
    }

    #[test]
    fn who_has_no_lease_waits_for_nobody() {
        let mut granter = granter();
        for node in [1, 2] {
            asks(&mut granter, at(0), node, true);
        }
        let first = granter.next_round(at(0), &TIMING).expect("all have asked");
        assert_eq!(answered(&mut granter, at(1), first), [1, 2]);
        asks(&mut granter, at(100), 2, false);
        let second = granter.next_round(at(100), &TIMING).expect("it has no lease");
        // Forgotten by the engine: it is begun anew, with what came meanwhile.
        asks(&mut granter, at(150), 1, true);
        let until = granter.deadline(&TIMING).expect("a round is under way");
        assert_eq!(granter.next_round(until, &TIMING), Some(second + 1));
        assert_eq!(answered(&mut granter, until, second), Vec::<u16>::new());
        assert_eq!(answered(&mut granter, until, second + 1), [1, 2]);
    }
}
