//! The quorum disk under keys that follow others (decision 0037).
//!
//! Its log gets under them as after any drop: the host claims anew, in its other slot, and copies
//! (R2). Headers and the identity block only change their seal, not what they say: each node writes
//! those of its own slots anew, and the first node of the cluster those of slots that no node has
//! (nobody joins meanwhile) and the identity block. The header of the newest log is left to its
//! host: **a header under the new key is never that of a newest log under the former one**, so that
//! who has seen all of them under it knows that nothing is left that needs the former one.
//!
//! A node tells that it has seen that while none of its own writes is on its way: what is late may
//! be under the former key. An evicted node is not waited for: what it still writes is under a key
//! that nobody believes any more. Until a node with quorum has sealed that header anew nobody can
//! read the disk (decision 0041).

use stead_journal::{Header, Identity, Medium as IdentityMedium};
use stead_model::keys::Print;
use stead_model::{Span, Time};

use super::{MISSES, Seat, State, Surroundings};
use crate::consensus::keeper::IoDesk;
use crate::effect::{Device, Ticket};
use crate::event::IoResult;
use crate::quorum::table::{SeatKeys, Table, Unreadable};

/// What is sealed anew, one after the other.
pub(super) struct Reseal {
    ticket: Ticket,
    now: Piece,
    /// The last one is next.
    then: Vec<Piece>,
}

#[derive(Clone, Copy)]
enum Piece {
    Identity,
    Header(u32, Header),
}

impl Reseal {
    /// Whether it writes what the header of a slot said: nothing else may be written there before.
    pub(super) fn holds(&self, slot: u32) -> bool {
        let is_it = |piece: &Piece| matches!(piece, Piece::Header(held, _) if *held == slot);
        is_it(&self.now) || self.then.iter().any(is_it)
    }
}

impl Seat {
    /// The set under which this node has seen all of the disk while it believed two.
    pub(crate) const fn sealed_with(&self) -> Option<Print> {
        self.sealed
    }

    /// The node has other keys than before.
    pub(crate) fn rekey(&mut self, keys: SeatKeys) {
        let seals_anew = keys.print != self.config.keys.print;
        if let Some(medium) = &mut self.medium {
            medium.keys = keys.clone();
        }
        if seals_anew {
            self.sealed = None;
            self.rekeys = true;
        } else if let State::Live(live) = &mut self.state {
            live.medium.keys = keys.clone();
        }
        self.config.keys = keys;
        self.poll_at = self.polled_at;
    }

    /// What is hosted or claimed under the former key ends, once D need not lead any more. It is
    /// hosted here again at once: nobody is to be waited for.
    pub(super) fn take_new_keys(&mut self, now: Time, around: &Surroundings) {
        if !self.rekeys {
            return;
        }
        match &self.state {
            State::Live(live) if live.replica.is_leader() && live.replica.voters().len() > 1 => {
                return;
            }
            State::Live(_) => {
                self.drop_live(now, "it is sealed anew, with keys that follow".into());
                self.misses = MISSES;
                self.may_claim_at = now;
                // The last claim was this node's own, and nobody is adopting.
                self.claim_seen = (0, now);
            }
            claiming if claiming.is_claiming() => {
                let why = "the keys of the cluster follow others".to_owned();
                self.retreat(now, around.timing.heartbeat, why);
            }
            _ => {}
        }
        self.rekeys = false;
    }

    /// Whether the disk is to be looked at, although another node hosts it.
    pub(super) fn is_to_be_sealed(&self) -> bool {
        let keys = &self.config.keys;
        keys.follow_others() && self.sealed != Some(keys.print)
    }

    /// The log that is to be copied lies in the slot that was to be claimed.
    pub(super) fn spare_slot(&mut self, now: Time, heartbeat: Span, slot: u32) {
        self.retreat(now, heartbeat, "the log in its slot is under another key".into());
        self.turn = 1 - slot % 2;
    }

    /// Notes what a look at the disk shows, and seals anew what is this node's to seal.
    pub(super) fn look_after(&mut self, table: &Table, io: &mut IoDesk) {
        if !self.is_to_be_sealed() || self.rekeys || self.reseal.is_some() {
            return;
        }
        if table.is_sealed() {
            if self.late.is_empty() && self.has_newest(table) {
                self.sealed = Some(self.config.keys.print);
                let text = "all of the quorum disk is sealed with the new keys".to_owned();
                self.news.push(("disk-sealed", text));
            }
            return;
        }
        let pieces = self.pieces(table);
        self.seal_next(pieces, io);
    }

    /// Whether the newest log is in the slot of a node that stays: no other is waited for.
    fn has_newest(&self, table: &Table) -> bool {
        let (slot, Header { active, .. }) = table.newest();
        active == 0 || is_in(self.members, slot)
    }

    /// Whether nothing is wrong with the disk but headers of evicted nodes under a strange key.
    pub(super) fn is_of_evicted(&self, unreadable: &Unreadable) -> bool {
        let slots = &unreadable.strange;
        !slots.is_empty() && slots.iter().all(|slot| is_in(self.evicted, *slot))
    }

    /// Seals the first of them anew, if this node has quorum and keys were rotated: the newest log
    /// was elsewhere when that ended, and what is under those of before comes too late. The claim
    /// is as high as any, so that none of the slot's goes back (R1).
    pub(super) fn seal_for_evicted(&mut self, unreadable: &Unreadable, io: &mut IoDesk) {
        let Some(slot) = unreadable.strange.first().filter(|_| self.may_seal) else { return };
        if self.reseal.is_some() {
            return;
        }
        let header = Header { claim: unreadable.highest_claim, ..Header::default() };
        self.seal_next(vec![Piece::Header(*slot, header)], io);
        let node = slot / 2 + 1;
        let text = format!("seals a header of n{node} anew, which it wrote after it was evicted");
        self.news.push(("disk-sealed", text));
    }

    fn pieces(&self, table: &Table) -> Vec<Piece> {
        let first = self.members.trailing_zeros() + 1 == u32::from(self.config.node.0);
        let (newest, Header { active, .. }) = table.newest();
        let hosted = self.live().map(|live| live.slot);
        let is_mine = |slot: u32| {
            let has_node = is_in(self.members, slot);
            let own = slot / 2 + 1 == u32::from(self.config.node.0);
            (own || (first && !has_node)) && (slot != newest || active == 0) && Some(slot) != hosted
        };
        let in_doubt = |slot: u32| self.late.values().any(|late| *late == slot);
        let headers = table.others().filter(|(slot, _)| is_mine(*slot) && !in_doubt(*slot));
        let mut pieces: Vec<Piece> = headers.map(|(slot, h)| Piece::Header(slot, h)).collect();
        if first && table.identity_is_other() {
            pieces.push(Piece::Identity);
        }
        pieces
    }

    fn seal_next(&mut self, mut pieces: Vec<Piece>, io: &mut IoDesk) {
        let (Some(medium), Some(piece)) = (&self.medium, pieces.pop()) else { return };
        let (disk, geometry, key) = (medium.disk, medium.geometry, &medium.keys.seal);
        let (offset, block) = match piece {
            Piece::Identity => {
                let identity = Identity { disk, medium: IdentityMedium::Shared { geometry } };
                (Identity::OFFSET, identity.encode(Some(key)))
            }
            Piece::Header(slot, header) => {
                let place = geometry.header_place(disk, slot);
                (place.offset, header.encode(&place, key))
            }
        };
        let ticket = io.write(Device::QuorumDisk, offset, block);
        self.reseal = Some(Reseal { ticket, now: piece, then: pieces });
    }

    pub(super) fn is_resealed_by(&self, ticket: Ticket) -> bool {
        self.reseal.as_ref().is_some_and(|reseal| reseal.ticket == ticket)
    }

    /// A piece is sealed, or could not be: the next look finds it again.
    pub(super) fn resealed(&mut self, result: &IoResult, io: &mut IoDesk) {
        let Some(Reseal { then, .. }) = self.reseal.take() else { return };
        if !matches!(result, IoResult::Failed(_)) && self.is_to_be_sealed() {
            self.seal_next(then, io);
        }
    }
}

/// Whether a slot is of one of these nodes; bit n is set for node n + 1.
const fn is_in(nodes: u64, slot: u32) -> bool {
    match nodes.checked_shr(slot / 2) {
        Some(from_it) => from_it & 1 == 1,
        None => false,
    }
}
