//! The superblock: which snapshot counts and where the log begins in the ring.
//!
//! Two lie at the head of an area and are written in turn; the newest valid one counts, so a torn
//! switch leaves the older one in force. What it says about the ring lies in its first sector,
//! what it says about the snapshot in its last: a torn superblock is a mixture and only the
//! checksum tells, on every device, whatever it writes atomically.

use crate::area::{Area, SnapshotSlot};
use crate::block::{BLOCK, BlockFault, CONTENT, Head, Kind};
use crate::bytes::{put, u64_at};
use crate::planted::Planted;
use crate::seal::{LifeSeal, Seal};
use crate::snapshot::SnapshotPlace;

const SNAPSHOT_PART: usize = CONTENT - 40;
/// No count of this format gets here in the life of a device.
const NUMBER_END: u64 = 1 << 62;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Superblock {
    /// Counts superblocks of the area; decides which of the two places it is written to.
    pub(crate) generation: u64,
    /// Newest life that may have written to the ring.
    pub(crate) life: u64,
    /// Oldest life of which the ring may hold a valid block.
    pub(crate) oldest_life: u64,
    /// Log place at which `life` began: below it older lives wrote, from it on nobody else counts.
    pub(crate) life_at: u64,
    /// Log place of the first block that counts, and the sequence number of its first record.
    pub(crate) start_at: u64,
    pub(crate) start_seq: u64,
    pub(crate) snapshot: Option<SnapshotPlace>,
}

/// A superblock that was read, with what is needed to judge it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Found {
    Valid(Superblock),
    /// Genuine, but of an area of other sizes.
    OtherSizes {
        ring_bytes: u64,
        snapshot_bytes: u64,
    },
    Bad(BlockFault),
}

impl Superblock {
    pub(crate) fn encode(&self, area: &Area, counter: u64, seal: (&LifeSeal, u32)) -> Vec<u8> {
        let mut content = [0; CONTENT];
        put(&mut content, 0, &area.ring_bytes().to_le_bytes());
        put(&mut content, 8, &area.snapshot_bytes().to_le_bytes());
        put(&mut content, 16, &self.oldest_life.to_le_bytes());
        put(&mut content, 24, &self.start_at.to_le_bytes());
        put(&mut content, 32, &self.start_seq.to_le_bytes());
        put(&mut content, 40, &self.life_at.to_le_bytes());
        if let Some(place) = self.snapshot {
            let slot: u64 = match place.slot {
                SnapshotSlot::First => 1,
                SnapshotSlot::Second => 2,
            };
            for (index, field) in
                [slot, place.life, place.id, place.covers, place.len].iter().enumerate()
            {
                put(&mut content, SNAPSHOT_PART + index * 8, &field.to_le_bytes());
            }
        }
        let head = Head {
            kind: Kind::Superblock,
            life: self.life,
            counter,
            at: self.generation,
            durable: 0,
            first_seq: 0,
            index: 0,
            blocks: 1,
            len: CONTENT as u32,
        };
        let mut block = Vec::with_capacity(BLOCK);
        head.seal_into(&mut block, &content, seal);
        block
    }

    fn decode(block: &[u8], area: &Area, seal: &Seal, planted: Planted) -> Found {
        let head = match Head::peek(block) {
            Ok(head) if head.kind == Kind::Superblock => head,
            Ok(_records) => return Found::Bad(BlockFault::Foreign),
            Err(fault) => return Found::Bad(fault),
        };
        let life_seal = seal.life(head.life);
        let content = if planted.accept_torn_superblock() {
            head.open_unchecked(block, &life_seal).0
        } else {
            match head.open(block, &life_seal) {
                Ok(content) => content,
                Err(fault) => return Found::Bad(fault),
            }
        };
        let (ring_bytes, snapshot_bytes) = (u64_at(&content, 0), u64_at(&content, 8));
        if ring_bytes != area.ring_bytes() || snapshot_bytes != area.snapshot_bytes() {
            return Found::OtherSizes { ring_bytes, snapshot_bytes };
        }
        let field = |index: usize| u64_at(&content, SNAPSHOT_PART + index * 8);
        let slot = match field(0) {
            0 => None,
            1 => Some(SnapshotSlot::First),
            2 => Some(SnapshotSlot::Second),
            _other => return Found::Bad(BlockFault::Mismatch),
        };
        let snapshot = slot.map(|slot| SnapshotPlace {
            slot,
            life: field(1),
            id: field(2),
            covers: field(3),
            len: field(4),
        });
        let superblock = Self {
            generation: head.at,
            life: head.life,
            oldest_life: u64_at(&content, 16),
            start_at: u64_at(&content, 24),
            start_seq: u64_at(&content, 32),
            life_at: u64_at(&content, 40),
            snapshot,
        };
        if superblock.is_possible(area, planted) {
            Found::Valid(superblock)
        } else {
            Found::Bad(BlockFault::Mismatch)
        }
    }

    /// Bounds that keep all later arithmetic in range, whoever made the block.
    fn is_possible(&self, area: &Area, planted: Planted) -> bool {
        let numbers = [self.generation, self.life, self.life_at, self.start_at, self.start_seq];
        let place_fits = |place: &SnapshotPlace| {
            place.len <= area.snapshot_limit_bytes() && place.covers < NUMBER_END
        };
        numbers.iter().all(|number| *number < NUMBER_END)
            && self.oldest_life <= self.life
            && self.snapshot.as_ref().is_none_or(place_fits)
            && (self.start_seq <= self.snapshot.map_or(u64::MAX, |place| place.covers + 1)
                || planted.accept_torn_superblock())
    }

    /// Judges both superblocks of an area; `pair` is the first 8 KiB of it.
    pub(crate) fn decode_pair(
        pair: &[u8],
        area: &Area,
        seal: &Seal,
        planted: Planted,
    ) -> [Found; 2] {
        let (first, second) = pair.split_at(BLOCK);
        [Self::decode(first, area, seal, planted), Self::decode(second, area, seal, planted)]
    }

    /// Order of age: a new life begins its own generations.
    pub(crate) fn age(&self) -> (u64, u64) {
        (self.life, self.generation)
    }
}

impl Found {
    pub(crate) fn superblock(self) -> Option<Superblock> {
        match self {
            Self::Valid(superblock) => Some(superblock),
            Self::OtherSizes { .. } | Self::Bad(_) => None,
        }
    }

    pub(crate) fn fault(self) -> BlockFault {
        match self {
            Self::Bad(fault) => fault,
            Self::OtherSizes { .. } | Self::Valid(_) => BlockFault::Mismatch,
        }
    }
}
