//! Requests at the leader: validated against the database, proposed once, answered when applied.

use raft::eraftpb::{ConfChangeType, ConfChangeV2};
use stead_model::change::{Change, Entry};
use stead_model::declaration::Foreseen;
use stead_model::reason::{Code, Reason};
use stead_model::request::{Answer, Envelope, Request};
use stead_model::token::{Shown, TokenUse};
use stead_model::wire::peer::PeerMessage;
use stead_model::{NodeId, VoterId};

use super::fitting::Waiting;
use super::leaving::membership;
use super::{Around, Leading, Mail, cluster_time, joining, keys, level, networks, probing};
use crate::consensus::replica::Replica;
use crate::effect::Channel;
use crate::groups::{self, Decision};

/// What became of a request.
pub(super) enum Taken {
    /// It is proposed; the answer follows when it is applied.
    Waits,
    /// It is answered.
    Answered(Answer),
    /// This replica cannot take it now; the asker tries again.
    NotNow,
}

impl Leading {
    pub(super) fn propose(
        &mut self,
        replica: &mut Replica,
        from: NodeId,
        envelope: &Envelope,
        around: &mut Around<'_>,
    ) -> Taken {
        if let Some(answer) = replica.db.answer(envelope.id) {
            return Taken::Answered(answer);
        }
        if let Some(waiting) = self.requests.get_mut(&envelope.id) {
            if !waiting.askers.contains(&from) {
                waiting.askers.push(from);
            }
            return Taken::Waits;
        }
        if self.is_probing(envelope.id, from) || self.is_fitting(envelope.id, from) {
            return Taken::Waits;
        }
        // Validation needs to know everything that is in the log: it looks at what is applied.
        let request = &envelope.request;
        let may_join = || is_independent(request) && replica.tail_bytes() < WAITING_BYTES_MAX;
        if !replica.is_settled() && !may_join() {
            return Taken::NotNow;
        }
        // Until an entry of the own term is applied a leader does not know what is committed.
        if !replica.has_applied_own_term() {
            return Taken::NotNow;
        }
        let decision = match self.decide(replica, envelope, around) {
            Ok(decision) => decision,
            Err(reason) => return Taken::Answered(Answer::Refused(reason)),
        };
        if self.fit(replica, (from, envelope), &decision, around) {
            return Taken::Waits;
        }
        if let Some(answer) = answered_at_once(replica, &decision, &[]) {
            return Taken::Answered(answer);
        }
        if let Some(planned) = probing::planned_move(&decision) {
            self.probe((from, envelope), planned, around);
            return Taken::Waits;
        }
        match self.carry_out(replica, envelope, decision, around) {
            Ok(true) => {
                let waiting = Waiting { askers: vec![from], notices: Vec::new() };
                self.requests.insert(envelope.id, waiting);
                Taken::Waits
            }
            Ok(false) => Taken::NotNow,
            Err(reason) => Taken::Answered(Answer::Refused(reason)),
        }
    }

    pub(super) fn decide(
        &self,
        replica: &Replica,
        envelope: &Envelope,
        around: &Around<'_>,
    ) -> Result<Decision, Reason> {
        let input = self.input(replica, around);
        // What is on its way may add to the database whatever it is.
        let limit_bytes = around.database_limit_bytes.saturating_sub(replica.tail_bytes());
        let decision = groups::decide(&envelope.request, &input, limit_bytes)?;
        networks::check_reach(&decision, &replica.db, around)?;
        Ok(decision)
    }

    /// Whether the request was proposed.
    pub(super) fn carry_out(
        &self,
        replica: &mut Replica,
        envelope: &Envelope,
        decision: Decision,
        around: &mut Around<'_>,
    ) -> Result<bool, Reason> {
        let at = cluster_time(replica, around.utc);
        let why = format!("request of {}", envelope.who);
        let mut entry = Entry { at, request: Some(envelope.id), why, changes: Vec::new() };
        match decision {
            Decision::Propose(change) => entry.changes.push(change),
            Decision::ProposeAll(changes) => entry.changes = changes,
            Decision::Tell { .. } => return Ok(false),
            Decision::Rehearse { node: to, group, resource, epoch } => {
                let message = PeerMessage::FailResource { group, resource, epoch };
                around.mail.push(Mail { to, channel: Channel::Stream, message });
            }
            Decision::Join { number, name, addresses, token } => {
                let joins = (number, name, addresses);
                let (node, change, voters) = joining::join(joins, &replica.db, around)?;
                entry.changes.push(change);
                entry.changes.extend(token.map(|Shown { token, by }| Change::TokenUsed {
                    token,
                    used: TokenUse { by, node },
                }));
                return Ok(replica.propose_membership(voters, &entry).is_ok());
            }
            Decision::Readdress(node, wish) => {
                entry.changes.push(joining::readdress(node, wish, replica, around)?);
            }
            Decision::Rotate => entry.changes.push(keys::begin(replica, around)?),
            Decision::Raise(to) => entry.changes.push(level::begin(to, &replica.db, around)?),
            Decision::Vote { node, votes } => {
                let change = vote_change(replica, node, votes)?;
                return Ok(replica.propose_membership(change, &entry).is_ok());
            }
        }
        level::suits(&entry, replica.db.level())?;
        Ok(replica.propose(&entry).is_ok())
    }
}

/// What needs no entry: a question, or groups that are as they are declared.
pub(super) fn answered_at_once(
    replica: &Replica,
    decision: &Decision,
    notices: &[String],
) -> Option<Answer> {
    match decision {
        Decision::Tell { foreseen, .. } => {
            let notices = notices.to_vec();
            Some(Answer::Foreseen(Foreseen { notices, ..foreseen.clone() }))
        }
        Decision::ProposeAll(changes) if changes.is_empty() => {
            Some(Answer::Done { index: replica.applied() })
        }
        Decision::ProposeAll(_)
        | Decision::Propose(_)
        | Decision::Rehearse { .. }
        | Decision::Join { .. }
        | Decision::Readdress(..)
        | Decision::Rotate
        | Decision::Raise(_)
        | Decision::Vote { .. } => None,
    }
}

/// Entries that are not applied wait for room in the logs; no request joins more than this.
const WAITING_BYTES_MAX: u64 = 1 << 20;

/// Whether a request may be validated while earlier entries are still on their way.
const fn is_independent(request: &Request) -> bool {
    matches!(request, Request::SetKey { .. })
}

fn vote_change(replica: &Replica, node: NodeId, votes: bool) -> Result<ConfChangeV2, Reason> {
    let voter = VoterId::from(node);
    let text = format!("cannot change the vote of `{node}`");
    if !replica.is_member(voter) {
        return Err(Reason::new(Code::NotFound, text).because("there is no such node"));
    }
    if replica.is_voter(voter) == votes {
        let now = if votes { "it votes already" } else { "it has no vote" };
        return Err(Reason::new(Code::Conflict, text).because(now));
    }
    if !votes && replica.voters().len() == 1 {
        return Err(Reason::new(Code::Conflict, text).because("it is the last voter"));
    }
    if !votes && replica.leader() == Some(voter) {
        return Err(Reason::new(Code::Conflict, text)
            .because("it leads the cluster")
            .hint("ask again after another node leads"));
    }
    let kind = if votes { ConfChangeType::AddNode } else { ConfChangeType::AddLearnerNode };
    Ok(membership(voter, kind))
}
