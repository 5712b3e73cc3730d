//! One 4 KiB block: head, content, check, and a stamp at the end of every 512-byte sector.
//!
//! The check decides whether a block is valid. The stamps tell *why* an invalid one is invalid:
//! a torn write leaves sectors with different stamps, a block that was written whole and changed
//! later has eight equal ones. The check leaves the stamps out, so a flipped bit in a stamp makes
//! nothing invalid, and no single flipped bit can make an acknowledged block look torn.

use crate::bytes::{is_blank, put, take, u16_at, u32_at, u64_at};
use crate::seal::LifeSeal;

/// Unit of the format: alignment of everything on the device.
pub const BLOCK_BYTES: u64 = 4096;
/// Version that this crate writes; a higher one on disk is refused, never guessed at.
pub const FORMAT_VERSION: u16 = 1;

pub(crate) const BLOCK: usize = 4096;
pub(crate) const SECTOR: usize = 512;
const STAMP: usize = 8;
const IN_SECTOR: usize = SECTOR - STAMP;
const BODY: usize = BLOCK / SECTOR * IN_SECTOR;
pub(crate) const HEAD: usize = 64;
pub(crate) const CHECK: usize = 16;
/// Content of one block, bytes.
pub(crate) const CONTENT: usize = BODY - HEAD - CHECK;
const MAGIC: [u8; 4] = *b"stjb";

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Kind {
    /// Content in the clear (it holds positions only), protected against change.
    Superblock,
    /// Content as the seal says.
    Records,
}

impl Kind {
    fn code(self) -> u8 {
        match self {
            Self::Superblock => 1,
            Self::Records => 2,
        }
    }
}

/// What a block says about itself, always readable.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Head {
    pub(crate) kind: Kind,
    /// Span of writing it belongs to; picks the key.
    pub(crate) life: u64,
    /// Number of this write within its life; the nonce.
    pub(crate) counter: u64,
    /// Place in the log counted in blocks from its beginning (superblock: its generation).
    pub(crate) at: u64,
    /// Everything below this place was durable when the block was made.
    pub(crate) durable: u64,
    /// Sequence number of the first record of the batch.
    pub(crate) first_seq: u64,
    /// Which block of its batch, and how many there are.
    pub(crate) index: u32,
    pub(crate) blocks: u32,
    /// Bytes of content used.
    pub(crate) len: u32,
}

/// Why a block is not valid.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum BlockFault {
    #[error("nothing was ever written there")]
    Blank,
    #[error("it is not a block of a stead journal")]
    Foreign,
    #[error("it has format {found}, this version reads up to {known}", known = FORMAT_VERSION)]
    NewerFormat { found: u16 },
    #[error("its checksum is wrong: torn, damaged, or of another disk, slot or key")]
    Mismatch,
}

impl Head {
    fn bytes(&self) -> [u8; HEAD] {
        let mut head = [0; HEAD];
        put(&mut head, 0, &MAGIC);
        put(&mut head, 4, &FORMAT_VERSION.to_le_bytes());
        put(&mut head, 6, &[self.kind.code()]);
        put(&mut head, 8, &self.life.to_le_bytes());
        put(&mut head, 16, &self.counter.to_le_bytes());
        put(&mut head, 24, &self.at.to_le_bytes());
        put(&mut head, 32, &self.durable.to_le_bytes());
        put(&mut head, 40, &self.first_seq.to_le_bytes());
        put(&mut head, 48, &self.index.to_le_bytes());
        put(&mut head, 52, &self.blocks.to_le_bytes());
        put(&mut head, 56, &self.len.to_le_bytes());
        head
    }

    /// Reads the head of `block` without checking that it is genuine.
    pub(crate) fn peek(block: &[u8]) -> Result<Self, BlockFault> {
        if take(block, 0) != MAGIC {
            let fault = if is_blank(block) { BlockFault::Blank } else { BlockFault::Foreign };
            return Err(fault);
        }
        let kind = match block[6] {
            1 => Kind::Superblock,
            2 => Kind::Records,
            _other => return Err(BlockFault::Foreign),
        };
        Ok(Self {
            kind,
            life: u64_at(block, 8),
            counter: u64_at(block, 16),
            at: u64_at(block, 24),
            durable: u64_at(block, 32),
            first_seq: u64_at(block, 40),
            index: u32_at(block, 48),
            blocks: u32_at(block, 52),
            len: u32_at(block, 56),
        })
    }

    /// Appends the whole block to `out`. `content` is at most `CONTENT` bytes; the rest is zero.
    pub(crate) fn seal_into(&self, out: &mut Vec<u8>, content: &[u8], seal: (&LifeSeal, u32)) {
        let (life_seal, mark) = seal;
        let mut body = [0; BODY];
        put(&mut body, 0, &self.bytes());
        put(&mut body, HEAD, content);
        let (front, check_place) = body.split_at_mut(BODY - CHECK);
        let (clear, hidden) = front.split_at_mut(self.clear_bytes());
        check_place.copy_from_slice(&life_seal.protect(self.counter, clear, hidden));
        let stamp = stamp(self.at, self.life, mark);
        for sector in body.chunks_exact(IN_SECTOR) {
            out.extend_from_slice(sector);
            out.extend_from_slice(&stamp);
        }
    }

    /// Content of a genuine block; the head was peeked from the same bytes.
    pub(crate) fn open(&self, block: &[u8], seal: &LifeSeal) -> Result<Vec<u8>, BlockFault> {
        let (mut content, good) = self.open_unchecked(block, seal);
        let len = self.len as usize;
        // The checksum first: a number in a damaged head means nothing.
        if !good {
            return Err(BlockFault::Mismatch);
        }
        let found = u16_at(block, 4);
        if found != FORMAT_VERSION {
            return Err(BlockFault::NewerFormat { found });
        }
        if len > CONTENT {
            return Err(BlockFault::Mismatch);
        }
        content.truncate(len);
        Ok(content)
    }

    /// All content bytes, and whether the check was right.
    pub(crate) fn open_unchecked(&self, block: &[u8], seal: &LifeSeal) -> (Vec<u8>, bool) {
        let mut body = gather(block);
        let (front, check_place) = body.split_at_mut(BODY - CHECK);
        let check = take(check_place, 0);
        let (clear, hidden) = front.split_at_mut(self.clear_bytes());
        let good = seal.open(self.counter, clear, (hidden, check));
        (body[HEAD..BODY - CHECK].to_vec(), good)
    }

    fn clear_bytes(&self) -> usize {
        match self.kind {
            Kind::Superblock => HEAD + CONTENT,
            Kind::Records => HEAD,
        }
    }
}

fn gather(block: &[u8]) -> [u8; BODY] {
    let mut body = [0; BODY];
    for (sector, part) in block.chunks_exact(SECTOR).zip(body.chunks_exact_mut(IN_SECTOR)) {
        part.copy_from_slice(&sector[..IN_SECTOR]);
    }
    body
}

fn stamp(at: u64, life: u64, mark: u32) -> [u8; STAMP] {
    let mut stamp = [0; STAMP];
    put(&mut stamp, 0, &(at as u32).to_le_bytes());
    put(&mut stamp, 4, &(mark ^ life as u32).to_le_bytes());
    stamp
}

/// True if some sector was written for place `at` in a life within `lives`.
pub(crate) fn touched(block: &[u8], at: u64, lives: (u64, u64), mark: u32) -> bool {
    let mut stamps = block.chunks_exact(SECTOR).map(|s| take::<STAMP>(s, IN_SECTOR));
    stamps.any(|stamp| is_stamp_of(&stamp, at, lives, mark))
}

/// True if every sector was written by one and the same write for place `at`, in a life within
/// `lives` (first to last): such a block was written whole, whatever its check says now.
pub(crate) fn written_whole(block: &[u8], at: u64, lives: (u64, u64), mark: u32) -> bool {
    let mut stamps = block.chunks_exact(SECTOR).map(|s| take::<STAMP>(s, IN_SECTOR));
    let Some(first) = stamps.next() else { return false };
    stamps.all(|other| other == first) && is_stamp_of(&first, at, lives, mark)
}

fn is_stamp_of(stamp: &[u8; STAMP], at: u64, lives: (u64, u64), mark: u32) -> bool {
    let life = u32_at(stamp, 4) ^ mark;
    let span = (lives.1 as u32).wrapping_sub(lives.0 as u32);
    u32_at(stamp, 0) == at as u32 && life.wrapping_sub(lives.0 as u32) <= span
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seal::{DiskId, Plain, Seal};

    fn head() -> Head {
        let kind = Kind::Records;
        let (life, counter, at, durable, first_seq) = (3, 4, 70_000, 69_999, 12);
        Head { kind, life, counter, at, durable, first_seq, index: 0, blocks: 1, len: 5 }
    }

    fn sealed() -> (Vec<u8>, LifeSeal, u32) {
        let seal = Seal::from(Plain { disk: DiskId([7; 16]) });
        let (life_seal, mark) = (seal.life(3), seal.mark());
        let mut block = Vec::new();
        head().seal_into(&mut block, b"hello", (&life_seal, mark));
        (block, life_seal, mark)
    }

    #[test]
    fn a_block_comes_back() {
        let (block, seal, mark) = sealed();
        assert_eq!(block.len(), BLOCK);
        assert_eq!(Head::peek(&block), Ok(head()));
        assert_eq!(head().open(&block, &seal), Ok(b"hello".to_vec()));
        assert!(written_whole(&block, 70_000, (3, 3), mark));
        assert!(!written_whole(&block, 70_001, (3, 3), mark));
        assert!(!written_whole(&block, 70_000, (4, 9), mark));
    }

    #[test]
    fn every_flipped_bit_is_harmless_or_leaves_the_block_visibly_whole() {
        let (block, seal, mark) = sealed();
        for bit in 0..BLOCK * 8 {
            let mut bad = block.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            let opened = Head::peek(&bad).and_then(|head| head.open(&bad, &seal));
            match opened {
                Ok(content) => assert_eq!(content, b"hello", "bit {bit}"),
                Err(_fault) => assert!(written_whole(&bad, 70_000, (3, 3), mark), "bit {bit}"),
            }
        }
    }

    #[test]
    fn a_torn_block_is_not_whole() {
        let (block, seal, mark) = sealed();
        for sectors in 1..8 {
            let mut torn = block.clone();
            torn[sectors * SECTOR..].fill(0);
            assert!(!written_whole(&torn, 70_000, (3, 3), mark));
        }
        let mut torn = block;
        torn[..SECTOR].fill(0);
        assert_eq!(Head::peek(&torn), Err(BlockFault::Foreign));
        assert!(head().open(&torn, &seal).is_err());
    }

    #[test]
    fn a_newer_format_is_named() {
        let (block, seal, _mark) = sealed();
        // What a newer version would write: same frame, its version, its own checksum.
        let mut newer = block;
        put(&mut newer, 4, &2u16.to_le_bytes());
        let mut body = gather(&newer);
        let (front, _) = body.split_at_mut(BODY - CHECK);
        let (clear, hidden) = front.split_at_mut(HEAD);
        let check = seal.protect(4, clear, hidden);
        let end = BLOCK - STAMP - CHECK;
        put(&mut newer, end, &check);
        assert_eq!(head().open(&newer, &seal), Err(BlockFault::NewerFormat { found: 2 }));
    }
}
