//! Reading the ring: the records that count, where the log ends, and whether it may end there.
//!
//! The log ends at the first batch that is not complete. That is a torn tail, and nothing that was
//! acknowledged is lost, unless there is evidence against it: the block that breaks the batch was
//! written whole (eight equal stamps), or some block of this log says that the place was already
//! durable when it was made. With evidence it is damage, an error, never a cut. To have all the
//! evidence the whole ring is read.

use std::collections::VecDeque;

use crate::area::Area;
use crate::batch;
use crate::block::{BLOCK, BlockFault, Head, Kind, touched, written_whole};
use crate::journal::Placed;
use crate::seal::{LifeSeal, Seal};
use crate::superblock::Superblock;

/// Why the log cannot be trusted from a place on.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Damage {
    #[error("the block was written whole and its content has changed since")]
    Changed,
    #[error("the block was durable before the one at byte {later_offset} was made, and is gone")]
    Lost { later_offset: u64 },
    #[error("the block does not continue the log")]
    Misplaced,
}

/// A place where the log breaks off although it should go on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Break {
    pub(crate) at: u64,
    pub(crate) damage: Damage,
}

/// The batch that is being put together.
#[derive(Debug)]
struct Pending {
    first: Head,
    content: Vec<u8>,
}

#[derive(Debug)]
pub(crate) struct RingReader {
    area: Area,
    mark: u32,
    superblock: Superblock,
    covers: u64,
    key: Option<(u64, LifeSeal)>,
    /// Next block to look at.
    at: u64,
    last_life: u64,
    pub(crate) next_seq: u64,
    pending: Option<Pending>,
    pub(crate) batches: VecDeque<Placed>,
    pub(crate) records: Vec<(u64, Vec<u8>)>,
    cut_at: Option<u64>,
    /// The last append before the end was interrupted half-way.
    pub(crate) is_torn: bool,
}

impl RingReader {
    pub(crate) fn new(area: Area, seal: &Seal, superblock: Superblock) -> Self {
        Self {
            area,
            mark: seal.mark(),
            superblock,
            covers: superblock.snapshot.map_or(0, |place| place.covers),
            key: None,
            at: superblock.start_at,
            last_life: superblock.oldest_life,
            next_seq: superblock.start_seq,
            pending: None,
            batches: VecDeque::new(),
            records: Vec::new(),
            cut_at: None,
            is_torn: false,
        }
    }

    /// Place of the next block to read and how many follow it without a gap on the device; `None`
    /// when the whole ring was read.
    pub(crate) fn wanted(&self) -> Option<(u64, u64)> {
        let ring_blocks = self.area.ring_blocks();
        let left = self.superblock.start_at + ring_blocks - self.at;
        let until_wrap = ring_blocks - self.at % ring_blocks;
        (left > 0).then_some((self.at, left.min(until_wrap)))
    }

    /// First place behind the log: where it breaks off, or the end of a full ring.
    pub(crate) fn end_at(&self) -> u64 {
        let open_at = self.pending.as_ref().map_or(self.at, |pending| pending.first.at);
        self.cut_at.unwrap_or(open_at)
    }

    /// Takes whole blocks, in order.
    pub(crate) fn take(&mut self, bytes: &[u8], seal: &Seal) -> Result<(), Break> {
        for block in bytes.chunks_exact(BLOCK) {
            match self.cut_at {
                None => self.take_block(block, seal)?,
                Some(cut_at) => self.take_evidence(block, cut_at, seal)?,
            }
            self.at += 1;
        }
        Ok(())
    }

    /// Ends the log at a break, as the adopter of H2 does.
    pub(crate) fn cut_here(&mut self) {
        self.cut_at = Some(self.end_at());
        self.at = self.superblock.start_at + self.area.ring_blocks();
    }

    fn take_block(&mut self, block: &[u8], seal: &Seal) -> Result<(), Break> {
        let lives = self.lives_here();
        let opened = Head::peek(block).and_then(|head| {
            let in_reach = head.kind == Kind::Records && (lives.0..=lives.1).contains(&head.life);
            if !in_reach || head.at != self.at {
                return Err(BlockFault::Mismatch);
            }
            head.open(block, self.key(head.life, seal)).map(|content| (head, content))
        });
        let fault = match opened {
            Ok((head, content)) => return self.take_part(head, content),
            Err(fault) => fault,
        };
        if fault != BlockFault::Blank && written_whole(block, self.at, lives, self.mark) {
            return Err(Break { at: self.at, damage: Damage::Changed });
        }
        let cut_at = self.end_at();
        if cut_at < self.superblock.life_at {
            let later_offset = self.area.superblock_offset(self.superblock.generation);
            return Err(Break { at: cut_at, damage: Damage::Lost { later_offset } });
        }
        self.is_torn = self.pending.is_some() || touched(block, self.at, lives, self.mark);
        self.pending = None;
        self.cut_at = Some(cut_at);
        self.take_evidence(block, cut_at, seal)
    }

    /// First and last life whose blocks count at the place to look at. What an older life left
    /// behind its end stays there until it is overwritten, perhaps in parts: it never counts.
    fn lives_here(&self) -> (u64, u64) {
        let Superblock { life, life_at, .. } = self.superblock;
        if self.at < life_at { (self.last_life, life.saturating_sub(1)) } else { (life, life) }
    }

    fn take_part(&mut self, head: Head, content: Vec<u8>) -> Result<(), Break> {
        let misplaced = Break { at: head.at, damage: Damage::Misplaced };
        let pending = match self.pending.take() {
            None if head.index == 0 && head.first_seq == self.next_seq => {
                Pending { first: head, content }
            }
            Some(mut pending)
                if head.life == pending.first.life
                    && head.blocks == pending.first.blocks
                    && head.first_seq == pending.first.first_seq
                    && u64::from(head.index) == head.at - pending.first.at =>
            {
                pending.content.extend_from_slice(&content);
                pending
            }
            None | Some(_) => return Err(misplaced),
        };
        if u64::from(head.index) + 1 == u64::from(pending.first.blocks) {
            self.finish(pending).ok_or(misplaced)
        } else {
            self.pending = Some(pending);
            Ok(())
        }
    }

    fn finish(&mut self, pending: Pending) -> Option<()> {
        let Head { at, life, first_seq, .. } = pending.first;
        let records = batch::decode(&pending.content)?;
        self.last_life = life;
        self.next_seq += records.len() as u64;
        self.batches.push_back(Placed { at, life, first_seq, writes_left: 0 });
        let numbered = (first_seq..).zip(records);
        self.records.extend(numbered.filter(|(seq, _)| *seq > self.covers));
        Some(())
    }

    /// Looks behind the end for a block that proves that the log went on.
    fn take_evidence(&mut self, block: &[u8], cut_at: u64, seal: &Seal) -> Result<(), Break> {
        let Ok(head) = Head::peek(block) else { return Ok(()) };
        let ring_blocks = self.area.ring_blocks();
        let of_this_log = head.kind == Kind::Records
            && head.life >= self.superblock.oldest_life
            && head.at % ring_blocks == self.at % ring_blocks;
        let speaks_against_the_end = head.durable > cut_at || head.life > self.superblock.life;
        if of_this_log
            && speaks_against_the_end
            && head.open(block, self.key(head.life, seal)).is_ok()
        {
            let later_offset = self.area.ring_offset(self.at);
            return Err(Break { at: cut_at, damage: Damage::Lost { later_offset } });
        }
        Ok(())
    }

    fn key(&mut self, life: u64, seal: &Seal) -> &LifeSeal {
        if self.key.as_ref().is_none_or(|(cached, _)| *cached != life) {
            self.key = None;
        }
        &self.key.get_or_insert_with(|| (life, seal.life(life))).1
    }
}
