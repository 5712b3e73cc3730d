//! Asking for a lease and knowing how long it runs (R7, R8).
//!
//! ```text
//!   ask ──► answer ──► barrier applied ──► the guard's deadline moves ──► in force
//! ```
//!
//! A lease runs from the *sending* of its question, so that whatever delays the answer only makes
//! it shorter.

use std::collections::BTreeMap;

use stead_model::order::{GuardOrder, GuardStatus};
use stead_model::wire::peer::{LeaseAnswer, LeaseQuestion};
use stead_model::{Incarnation, LeaseNumber, LogIndex, NodeId, Span, Term, Time};

use crate::planted::{Fault, Planted};

/// One node's side of the lease.
#[derive(Debug)]
pub(crate) struct Asker {
    node: NodeId,
    service: Incarnation,
    last: LeaseNumber,
    asked: BTreeMap<LeaseNumber, Time>,
    /// Answers whose barrier is not applied yet, with the time their lease runs from.
    answered: Vec<(LeaseAnswer, Time)>,
    lease: Option<Lease>,
    /// The lease to which the guard says it has moved its deadline.
    in_force: Option<LeaseNumber>,
    /// Since when a hard stop is under way.
    stopping: Option<Time>,
    ask_at: Time,
    /// When the last question is repeated, unless an answer comes before.
    repeat_at: Option<Time>,
    planted: Planted,
}

/// A lease.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Lease {
    pub(crate) number: LeaseNumber,
    pub(crate) until: Time,
    term: Term,
}

impl Asker {
    /// A node service that starts; it goes on from what the guard knows (R9).
    pub(crate) fn new(
        (node, service): (NodeId, Incarnation),
        guard: &GuardStatus,
        planted: Planted,
    ) -> Self {
        Self {
            node,
            service,
            last: guard.lease_last,
            asked: BTreeMap::new(),
            answered: Vec::new(),
            lease: None,
            in_force: guard.lease.map(|(number, _)| number),
            stopping: guard.stopping.then_some(Time(0)),
            ask_at: Time(0),
            repeat_at: None,
            planted,
        }
    }

    /// The lease this service has gained itself and that still runs.
    pub(crate) fn lease(&self, now: Time) -> Option<Lease> {
        self.lease.filter(|l| now < l.until && self.stopping.is_none())
    }

    /// Life of the node service.
    pub(crate) const fn service(&self) -> Incarnation {
        self.service
    }

    /// When [`ask`](Self::ask) has a question.
    pub(crate) fn deadline(&self) -> Time {
        self.repeat_at.map_or(self.ask_at, |at| at.min(self.ask_at))
    }

    /// When the lease ends, if there is one.
    pub(crate) fn end(&self) -> Option<Time> {
        self.lease.map(|l| l.until)
    }

    /// Asks as soon as possible: a leader has become known.
    pub(crate) fn hurry(&mut self, now: Time) {
        self.ask_at = self.ask_at.min(now);
    }

    /// Asks now if a question is due within `soon` anyway.
    pub(crate) fn hurry_if_soon(&mut self, now: Time, soon: Span) {
        if self.ask_at <= now + soon {
            self.hurry(now);
        }
    }

    /// The next question, if one is due; the one after it is due `again` later, or `repeat` later
    /// if no answer comes (a lossy network costs questions, not the lease). A node that cannot stop
    /// (a dirty one) asks for nothing: by that the leader knows when its lease is over.
    pub(crate) fn ask(&mut self, now: Time, again: Span, repeat: Span) -> Option<LeaseQuestion> {
        if now < self.deadline() {
            return None;
        }
        (self.ask_at, self.repeat_at) = (now + again, None);
        if self.stopping.is_some_and(|since| now.since(since) >= again) {
            return None;
        }
        self.repeat_at = Some(now + repeat);
        self.last = self.last.next();
        self.asked.insert(self.last, now);
        while self.asked.len() > QUESTIONS_KEPT {
            self.asked.pop_first();
        }
        let Self { node, service, last, in_force, .. } = *self;
        Some(LeaseQuestion { node, service, number: last, in_force })
    }

    /// An answer arrived; one to an unknown question is dropped.
    pub(crate) fn answer(&mut self, now: Time, answer: LeaseAnswer) {
        if answer.service != self.service {
            return;
        }
        let Some(sent) = self.asked.remove(&answer.number) else { return };
        self.repeat_at = None;
        let from = if self.planted.has(Fault::LeaseFromReceipt) { now } else { sent };
        self.answered.push((answer, from));
    }

    /// Takes the newest answer whose barrier is applied; the guard's deadline moves to its end,
    /// also down. An answer of an older leader than the last one taken does not count.
    pub(crate) fn settle(&mut self, now: Time, applied: LogIndex) -> Option<GuardOrder> {
        if self.stopping.is_some() {
            return None;
        }
        let no_barrier = self.planted.has(Fault::NoBarrier);
        let counts = |a: &LeaseAnswer| a.barrier <= applied || no_barrier;
        let newest = self.answered.iter().filter(|(a, _)| counts(a)).max_by_key(|(a, _)| a.number);
        let (answer, from) = *newest?;
        self.answered.retain(|(a, _)| a.number > answer.number);
        let newer = |old: Lease| old.number < answer.number && old.term <= answer.term;
        let until = from + answer.length;
        if until <= now || !self.lease.is_none_or(newer) {
            return None;
        }
        let number = answer.number;
        self.lease = Some(Lease { number, until, term: answer.term });
        Some(GuardOrder::Lease { number, until })
    }

    /// The guard has moved its deadline.
    pub(crate) fn set(&mut self, number: LeaseNumber) {
        self.in_force = self.in_force.max(Some(number));
    }

    /// A hard stop began: no lease counts, and none will before it is finished (R8).
    pub(crate) fn stop_began(&mut self, now: Time) {
        self.stopping = Some(now);
        // What was in force is over: the next lease has the wide barrier (A-058).
        self.in_force = None;
        self.lease = None;
        self.forget_questions();
    }

    /// What it asked was asked in a history that does not count any more.
    pub(crate) fn forget_questions(&mut self) {
        self.answered.clear();
        self.asked.clear();
    }

    pub(crate) fn stop_done(&mut self, now: Time) {
        self.stopping = None;
        self.hurry(now);
    }
}

/// Questions whose answers are still taken: those of more than 2 s in profile `fast`, however late
/// the leader answers.
const QUESTIONS_KEPT: usize = 256;
