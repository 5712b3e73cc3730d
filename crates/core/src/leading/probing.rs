//! A planned move looks first: before the leader tells the owner to stop, the target says whether
//! a stranger has something that the group needs there.
//!
//! The owner serves meanwhile, so the look is no part of the outage; where a stranger is found the
//! move is refused and nothing was stopped. No safety hangs on it: an answer that does not come
//! holds the move up for [`PATIENCE`] and no longer, and a failover never looks.

use stead_model::change::Change;
use stead_model::reason::{Code, Reason};
use stead_model::request::{Answer, Envelope};
use stead_model::wire::peer::PeerMessage;
use stead_model::{GroupId, NodeId, RequestId, Span, Time};

use super::fitting::Waiting;
use super::{Around, Leading, Mail, send_answer};
use crate::consensus::replica::Replica;
use crate::effect::Channel;
use crate::groups::Decision;

/// How long a move waits for the answer of its target.
pub(super) const PATIENCE: Span = Span::from_millis(250);

/// A move whose target looks.
#[derive(Debug)]
pub(super) struct Probing {
    envelope: Envelope,
    /// The nodes that wait for the answer to the request.
    askers: Vec<NodeId>,
    group: GroupId,
    target: NodeId,
    /// When the move goes on, answered or not.
    pub(super) until: Time,
}

/// The group and the target of a move that stops something.
pub(super) fn planned_move(decision: &Decision) -> Option<(&GroupId, NodeId)> {
    match decision {
        Decision::Propose(Change::Release { group, to: Some(to), .. }) => Some((group, *to)),
        Decision::Propose(_)
        | Decision::ProposeAll(_)
        | Decision::Tell { .. }
        | Decision::Rehearse { .. }
        | Decision::Join { .. }
        | Decision::Readdress(..)
        | Decision::Rotate
        | Decision::Raise(_)
        | Decision::Vote { .. } => None,
    }
}

impl Leading {
    /// Whether the target of this request looks already; then whoever asks waits, too.
    pub(super) fn is_probing(&mut self, id: RequestId, from: NodeId) -> bool {
        let Some(probing) = self.probing.get_mut(&id) else { return false };
        if !probing.askers.contains(&from) {
            probing.askers.push(from);
        }
        true
    }

    pub(super) fn probe(
        &mut self,
        (from, envelope): (NodeId, &Envelope),
        (group, target): (&GroupId, NodeId),
        around: &mut Around<'_>,
    ) {
        let message = PeerMessage::Probe { id: envelope.id, group: group.clone() };
        around.mail.push(Mail { to: target, channel: Channel::Stream, message });
        let probing = Probing {
            envelope: envelope.clone(),
            askers: vec![from],
            group: group.clone(),
            target,
            until: around.now + PATIENCE,
        };
        self.probing.insert(envelope.id, probing);
    }

    /// The target has looked.
    pub(crate) fn probed(
        &mut self,
        from: NodeId,
        (id, taken): (RequestId, Option<String>),
        around: &mut Around<'_>,
    ) {
        let Some(probing) = self.probing.get_mut(&id).filter(|p| p.target == from) else { return };
        let Some(why) = taken else {
            probing.until = around.now;
            return;
        };
        let text = format!("cannot move group `{}` to {from}", probing.group);
        let hint = "find the station with that MAC address and take the address away from it";
        let reason = Reason::new(Code::Conflict, text).because(why).hint(hint);
        for to in std::mem::take(&mut probing.askers) {
            send_answer(around, to, id, Some(Answer::Refused(reason.clone())));
        }
        self.probing.remove(&id);
    }

    /// Moves whose target has looked, or had its time, are decided anew and proposed.
    pub(super) fn move_on(&mut self, replica: &mut Replica, around: &mut Around<'_>) {
        let due = self.probing.iter().filter(|(_, p)| p.until <= around.now);
        for id in due.map(|(id, _)| *id).collect::<Vec<_>>() {
            let Some(probing) = self.probing.remove(&id) else { continue };
            let answer = match self.decide(replica, &probing.envelope, around) {
                Err(reason) => Some(Answer::Refused(reason)),
                Ok(decision) => {
                    match self.carry_out(replica, &probing.envelope, decision, around) {
                        Ok(true) => {
                            let (askers, notices) = (probing.askers, Vec::new());
                            self.requests.insert(id, Waiting { askers, notices });
                            return;
                        }
                        Ok(false) => None,
                        Err(reason) => Some(Answer::Refused(reason)),
                    }
                }
            };
            for to in probing.askers {
                send_answer(around, to, id, answer.clone());
            }
        }
    }
}
