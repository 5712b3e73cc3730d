//! A batch: the records of one append, written as one atomic run of blocks.
//!
//! A batch counts only if all its blocks are valid, so its records appear together or not at all.
//! It starts in a fresh block and no block is ever written twice in one round of the ring: an
//! interrupted append cannot touch what was acknowledged before. The price is up to 4 KiB per
//! append; a device writes no less anyway, and a full half of an 8 MiB ring still holds a thousand
//! appends between two snapshots.

use crate::block::{CONTENT, Head, Kind};
use crate::bytes::u32_at;
use crate::seal::LifeSeal;

/// What all blocks of a batch have in common.
#[derive(Clone, Copy, Debug)]
pub(crate) struct BatchPlace {
    pub(crate) at: u64,
    pub(crate) life: u64,
    pub(crate) durable: u64,
    pub(crate) first_seq: u64,
}

/// Bytes that `records` take inside a batch.
pub(crate) fn content_bytes<R: AsRef<[u8]>>(records: &[R]) -> u64 {
    records.iter().map(|record| record.as_ref().len() as u64 + 4).sum()
}

/// Blocks that `content` bytes take.
pub(crate) fn blocks(content: u64) -> u64 {
    content.div_ceil(CONTENT as u64)
}

/// The blocks of a batch, one after the other; `counter` is advanced once per block.
pub(crate) fn encode<R: AsRef<[u8]>>(
    place: &BatchPlace,
    records: &[R],
    seal: (&LifeSeal, u32),
    counter: &mut u64,
) -> Vec<u8> {
    let mut content = Vec::with_capacity(content_bytes(records) as usize);
    for record in records {
        content.extend_from_slice(&(record.as_ref().len() as u32).to_le_bytes());
        content.extend_from_slice(record.as_ref());
    }
    let parts = content.chunks(CONTENT);
    let blocks = parts.len() as u32;
    let mut out = Vec::with_capacity(parts.len() * crate::block::BLOCK);
    for (index, part) in parts.enumerate() {
        let head = Head {
            kind: Kind::Records,
            life: place.life,
            counter: *counter,
            at: place.at + index as u64,
            durable: place.durable,
            first_seq: place.first_seq,
            index: index as u32,
            blocks,
            len: part.len() as u32,
        };
        head.seal_into(&mut out, part, seal);
        *counter += 1;
    }
    out
}

/// The records inside the joined content of a batch; `None` if it is not what `encode` makes.
pub(crate) fn decode(mut content: &[u8]) -> Option<Vec<Vec<u8>>> {
    let mut records = Vec::new();
    while !content.is_empty() {
        if content.len() < 4 {
            return None;
        }
        let len = u32_at(content, 0) as usize;
        records.push(content.get(4..4 + len)?.to_vec());
        content = &content[4 + len..];
    }
    Some(records)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn content_that_no_batch_has_is_refused() {
        assert_eq!(decode(&[]), Some(vec![]));
        assert_eq!(decode(&[1, 0, 0, 0, 9, 0, 0, 0, 0]), Some(vec![vec![9], vec![]]));
        assert_eq!(decode(&[2, 0, 0, 0, 9]), None);
        assert_eq!(decode(&[1, 0, 0]), None);
        assert_eq!(decode(&[255, 255, 255, 255, 1]), None);
    }
}
