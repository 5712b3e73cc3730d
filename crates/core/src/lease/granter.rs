//! Granting leases: the leader's side (R6, R7).
//!
//! A question is answered after a quorum, heard *after* the question arrived, confirmed the
//! leader. Questions that arrive while such a round is under way wait for the next one.

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

    /// A question arrived. It counts for the wait before it is answered.
    pub(crate) fn question(&mut self, now: Time, question: LeaseQuestion, barrier: LogIndex) {
        let asked = self.nodes.entry(question.node).or_default();
        if asked.service != question.service {
            (asked.first, asked.longest) = (None, [None; 2]);
            asked.service = question.service;
        }
        asked.last = Some(now);
        asked.in_force = question.in_force;
        self.waiting.retain(|p| p.question.node != question.node);
        self.waiting.push(Pending { question, barrier });
    }

    /// The read to start now, if questions wait and no round runs; a round that was forgotten
    /// (the engine drops reads when it changes) is begun anew after `patience`.
    pub(crate) fn next_round(&mut self, now: Time, patience: Span) -> Option<u64> {
        if let Some(round) = &mut self.round {
            if now.since(round.began) < patience {
                return None;
            }
            self.waiting.append(&mut round.questions);
        }
        self.round = None;
        if self.waiting.is_empty() {
            return None;
        }
        self.rounds += 1;
        let questions = std::mem::take(&mut self.waiting);
        self.round = Some(Round { context: self.rounds, began: now, questions });
        Some(self.rounds)
    }

    /// When [`Granter::next_round`] has something to do.
    pub(crate) fn deadline(&self, patience: Span) -> Option<Time> {
        self.round.as_ref().map(|r| r.began + patience)
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
        for Pending { question, barrier } in questions {
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

/// Lengths above the short one, in their order.
const LONG: [LeaseLength; 2] = [LeaseLength::Longer, LeaseLength::Absence];
