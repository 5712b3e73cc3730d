//! Histories: what is said in another one is not heard, and an older one is given up (R13).
//!
//! ```text
//!   told of a newer one ──► what only this node has is put aside ──► its own writes end
//!        ──► the log is replaced, durably ──► a new follower, which is sent everything
//! ```
//!
//! Where quorum was never forced all this costs a number in each heartbeat.

use std::collections::BTreeMap;

use stead_model::forced::{Forced, History};
use stead_model::order::GuardOrder;
use stead_model::record::Level;
use stead_model::wire::peer::{Heartbeat, PeerMessage};
use stead_model::{LogIndex, NodeId, Span, Term, Time, VoterId};

use super::{Cluster, Own};
use crate::consensus::batch::Batch;
use crate::consensus::history::{Unshared, empty_state};
use crate::consensus::record::SavedState;
use crate::effect::{Channel, Device, Effect, IoOp, Ticket};
use crate::event::IoResult;
use crate::planted::Fault;

/// What is known of the histories of others.
#[derive(Debug, Default)]
pub(super) struct Histories {
    peers: BTreeMap<NodeId, Peer>,
    /// The quorum disk belongs to a history that this node can never have.
    foreign_disk: bool,
    /// Why nothing could be put aside, as it was said.
    not_kept: Option<String>,
    /// When a node with an older history was answered last.
    hailed: Option<Time>,
}

/// What another node said last.
#[derive(Clone, Copy, Debug)]
pub(super) struct Peer {
    pub(super) history: History,
    /// Term and index of its last entry.
    pub(super) last: (Term, LogIndex),
    /// Whether quorum is being forced there.
    pub(super) forces: bool,
    /// When it was told of the history here.
    told: Option<Time>,
    /// The other history of the same generation that was recorded.
    conflict: u64,
}

/// A node's log on the way to another content.
#[derive(Debug)]
pub(super) enum Remaking {
    /// There is a newer history; how it began was not told yet. In its own the node does nothing
    /// any more, with D least of all.
    Awaited,
    /// What only this node has is being put aside.
    Aside(Ticket, Box<SavedState>),
    /// What is being written of the former content ends first.
    Ending(Box<SavedState>),
    /// The new content is being written.
    Installing(Box<SavedState>),
}

impl Histories {
    pub(super) fn heard(&mut self, from: NodeId, heartbeat: &Heartbeat) {
        let Heartbeat { history, last, forces, .. } = *heartbeat;
        let peer = self.peers.get(&from);
        let (told, conflict) = peer.map_or((None, 0), |peer| (peer.told, peer.conflict));
        self.peers.insert(from, Peer { history, last, forces, told, conflict });
    }

    pub(super) fn of(&self, node: NodeId) -> Option<&Peer> {
        self.peers.get(&node)
    }

    pub(super) const fn disk_is_foreign(&self) -> bool {
        self.foreign_disk
    }
}

/// Says of all that is sent in which history it counts, where quorum was forced before.
pub(super) fn within(history: History, mut effects: Vec<Effect>) -> Vec<Effect> {
    if history.id == 0 {
        return effects;
    }
    for effect in &mut effects {
        let Effect::Send { message, .. } = effect else { continue };
        if counts_always(message) {
            continue;
        }
        let inner = std::mem::replace(message, PeerMessage::Bundle(Vec::new()));
        *message = PeerMessage::Within { history: history.id, message: Box::new(inner) };
    }
    effects
}

const fn counts_always(message: &PeerMessage) -> bool {
    matches!(message, PeerMessage::Heartbeat(_) | PeerMessage::Members(_) | PeerMessage::Forced(_))
}

impl Cluster {
    /// Takes a message if it counts in the history of this node.
    pub(super) fn message_within(
        &mut self,
        now: Time,
        (from, history): (NodeId, u64),
        message: PeerMessage,
    ) {
        let same = history == self.history().id;
        let older = match &message {
            PeerMessage::Heartbeat(heartbeat) => {
                heartbeat.history.generation < self.history().generation
            }
            // Whoever says of nothing in which history it counts has the first one.
            _ => history == 0 && !same,
        };
        if older {
            self.hail(now);
        }
        let planted = self.planted.has(Fault::OlderHistoryCounts);
        if same || counts_always(&message) || planted {
            self.count(now, from, message);
        }
    }

    /// A node with an older history is heard: it and those with it hear of the newer one now, not
    /// with the next heartbeat. Some that find each other again could elect a leader before.
    fn hail(&mut self, now: Time) {
        let pause = Span(self.timing.heartbeat.0 / BETWEEN_HAILS_OF_BEAT);
        if self.histories.hailed.is_none_or(|at| now.since(at) >= pause) {
            self.histories.hailed = Some(now);
            self.send_heartbeats(now);
        }
    }

    /// Answers a heartbeat of a node that has an older history than a leader that is known here.
    pub(super) fn tell_history(&mut self, now: Time, to: NodeId) {
        let again = self.timing.heartbeat * BETWEEN_TELLS_BEATS;
        let own = self.running().filter(|own| own.remaking.is_none());
        let Some(own) = own else { return };
        let (is, leads) = (own.replica.history(), own.replica.leader().is_some());
        let Some(forced) = own.replica.db.forced().cloned() else { return };
        let Some(peer) = self.histories.peers.get_mut(&to) else { return };
        if peer.history.generation == is.generation && peer.history.id != is.id {
            let new = peer.conflict != peer.history.id;
            peer.conflict = peer.history.id;
            if new {
                self.record(now, Level::Error, "history-conflict", conflict(to, is));
            }
            return;
        }
        let due = peer.told.is_none_or(|at| now.since(at) >= again);
        if peer.history.generation < is.generation && leads && due {
            peer.told = Some(now);
            let message = PeerMessage::Forced(Box::new(forced));
            self.out.push(Effect::Send { to, channel: Channel::Stream, message });
        }
    }

    /// A node with a newer history is heard: from now on this one leads nobody and elects nobody in
    /// its own. Those that were lost, and D, could be a majority there.
    pub(super) fn await_history(&mut self, now: Time, from: NodeId) {
        let theirs = self.histories.of(from).map(|peer| peer.history).unwrap_or_default();
        let Own::Running(own) = &mut self.own else { return };
        let older = own.replica.history().generation < theirs.generation;
        if !older || own.remaking.is_some() || self.planted.has(Fault::OlderHistoryCounts) {
            return;
        }
        own.leading = None;
        own.remaking = Some(Remaking::Awaited);
        self.forcing = None;
        self.asker.forget_questions();
        let text = format!(
            "quorum was forced on the side of {from}: this node waits to be told what became of \
             the log"
        );
        self.record(now, Level::Warning, "history-awaited", text);
    }

    /// Another node, or D, has a newer history: this one gives its own up.
    pub(super) fn take_over_history(&mut self, now: Time, forced: &Forced) {
        let leased = self.asker.lease(now).is_some();
        let voter = VoterId::from(self.node);
        let Own::Running(own) = &mut self.own else { return };
        let older = own.replica.history().generation < forced.history.generation;
        let busy = !matches!(own.remaking, None | Some(Remaking::Awaited));
        if busy || !older {
            return;
        }
        let unshared = own.replica.unshared(forced);
        let state = Box::new(empty_state(forced, voter));
        own.leading = None;
        own.remaking = Some(if unshared.count() == 0 {
            Remaking::Ending(state)
        } else {
            let data = told_of(&unshared, forced).into_bytes();
            let device = Device::Aside(forced.history.generation);
            Remaking::Aside(self.io.submit(device, IoOp::Write { offset: 0, data }), state)
        });
        self.forcing = None;
        self.asker.forget_questions();
        let text = format!("{forced}: this node takes its log over{}", given_up(&unshared));
        if leased {
            self.out.push(Effect::Guard(GuardOrder::HardStop { why: text.clone() }));
        }
        if self.histories.not_kept.is_none() {
            self.record(now, Level::Warning, "history-given-up", text);
        }
    }

    /// What only this node had is a file, or cannot be written: then it keeps its log. Whether the
    /// completion was that of it.
    pub(super) fn put_aside(&mut self, now: Time, ticket: Ticket, result: &IoResult) -> bool {
        let Own::Running(own) = &mut self.own else { return false };
        let Some(Remaking::Aside(awaited, _)) = &own.remaking else { return false };
        if *awaited != ticket {
            return false;
        }
        let Some(Remaking::Aside(_, state)) = own.remaking.take() else { return false };
        let IoResult::Failed(why) = result else {
            own.remaking = Some(Remaking::Ending(state));
            self.histories.not_kept = None;
            return true;
        };
        if self.histories.not_kept.as_ref() != Some(why) {
            self.histories.not_kept = Some(why.clone());
            let text = format!(
                "this node cannot keep a copy of what it gives up, and does not come back before \
                 it can: {why}"
            );
            self.record(now, Level::Error, "history-not-kept", text);
        }
        true
    }

    /// Takes the replacement of this node's log as far as it can go.
    pub(super) fn remake(&mut self, now: Time) -> bool {
        let Own::Running(own) = &mut self.own else { return false };
        let mut installed = None;
        while let Some(batch) = own.keeper.released() {
            installed = batch.install.or(installed);
        }
        match own.remaking.take() {
            None => false,
            Some(Remaking::Ending(state)) if own.keeper.is_idle() => {
                let install = Some((*state).clone());
                own.keeper.push(Batch { install, ..Batch::default() }, &mut self.io);
                own.remaking = Some(Remaking::Installing(state));
                true
            }
            Some(waits @ (Remaking::Awaited | Remaking::Aside(..) | Remaking::Ending(_))) => {
                own.remaking = Some(waits);
                if let Err(why) = own.keeper.compact(&mut own.replica, &mut self.io) {
                    self.fail_own(format!("cannot write the node's log: {why}"));
                }
                false
            }
            Some(Remaking::Installing(state)) if installed.as_ref() == Some(&*state) => {
                match own.replica.remade(&state) {
                    Ok(replica) => own.replica = replica,
                    Err(why) => self.fail_own(format!("cannot use the node's new log: {why}")),
                }
                self.is_remade(now);
                true
            }
            Some(waits @ Remaking::Installing(_)) => {
                own.remaking = Some(waits);
                false
            }
        }
    }

    /// What was on its way in the former history is dropped.
    fn is_remade(&mut self, now: Time) {
        self.inbox.clear();
        self.early_questions.clear();
        self.out.retain(|effect| !matches!(effect, Effect::Send { .. }));
        self.sights += 1;
        let text = format!("the log of this node is that of history {}", self.history());
        self.record(now, Level::Info, "history-begins", text);
    }

    /// Whether D, if it is hosted here, has the history of this node.
    pub(super) fn disk_is_aligned(&self) -> bool {
        let live = self.seat.as_ref().and_then(|seat| seat.live());
        live.is_none_or(|live| live.replica.history() == self.history())
    }

    /// Brings D and this node into one history, the newer one; whether D may go on.
    pub(super) fn align_disk(&mut self, now: Time) -> bool {
        let Own::Running(own) = &mut self.own else { return false };
        if matches!(own.remaking, Some(Remaking::Awaited)) {
            return false;
        }
        if self.disk_is_aligned() {
            return true;
        }
        let Own::Running(own) = &mut self.own else { return false };
        let Some(seat) = self.seat.as_mut() else { return true };
        let voter = seat.voter();
        let Some(live) = seat.live_mut() else { return true };
        let (is, disk) = (own.replica.history(), live.replica.history());
        if disk.generation > is.generation {
            if let Some(forced) = live.replica.db.forced().cloned() {
                self.take_over_history(now, &forced);
            }
            return false;
        }
        if live.is_being_remade() {
            return true;
        }
        if let Some(forced) = own.replica.db.forced()
            && disk.generation < is.generation
        {
            live.remake(empty_state(forced, voter));
            return true;
        }
        let why = "it belongs to another forced history of the same generation";
        seat.part(now, why.to_owned());
        self.histories.foreign_disk = true;
        let text = format!("this node does not use the quorum disk any more: {why}");
        self.record(now, Level::Error, "history-conflict", text);
        true
    }
}

fn conflict(node: NodeId, is: History) -> String {
    format!(
        "quorum was forced on the side of {node}, too (generation {}): neither hears the other. \
         Keep one side: end the cluster on the hosts of the other one, evict those nodes here, and \
         let them join anew",
        is.generation
    )
}

fn given_up(unshared: &Unshared) -> String {
    let Unshared { shared, last, .. } = unshared;
    match unshared.count() {
        0 => " and gives nothing up".to_owned(),
        1 => format!(" and gives up {last}, which the other log does not have"),
        count => {
            let first = shared.next();
            format!(" and gives {count} entries up, {first} to {last}, which it does not have")
        }
    }
}

/// What an administrator finds in the file.
fn told_of(unshared: &Unshared, forced: &Forced) -> String {
    let Unshared { shared, last, lines } = unshared;
    let mut text = format!("{forced} at {} ms (UTC)\n", forced.at.0);
    text += &format!(
        "This node had entries that the log of {} does not have: {} to {last}.\n",
        forced.node,
        shared.next()
    );
    let gone = unshared.count() - (lines.len() as u64).min(unshared.count());
    if gone > 0 {
        text += &format!("The first {gone} of them were in its database only, and are not here.\n");
    }
    text += "Entry, term, cluster time, why, and what was changed:\n";
    lines.iter().fold(text, |text, line| text + line + "\n")
}

/// Part of a heartbeat between two answers to nodes that have an older history.
const BETWEEN_HAILS_OF_BEAT: u64 = 10;
/// Heartbeats between two words to a node that has an older history.
const BETWEEN_TELLS_BEATS: u64 = 5;
