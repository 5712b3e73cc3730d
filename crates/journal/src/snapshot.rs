//! A snapshot on the device: chunks of up to 64 KiB, each protected by itself.
//!
//! Chunks need no stamps: a snapshot counts only when a superblock names it, and that superblock
//! is written after all chunks are durable, so an invalid chunk of a named snapshot is damage.
//! Large chunks keep the overhead at one part in a thousand.

use crate::area::SnapshotSlot;
use crate::block::{BLOCK, CHECK, FORMAT_VERSION};
use crate::bytes::{put, take, u32_at, u64_at};
use crate::seal::LifeSeal;

const CHUNK: usize = 64 << 10;
const HEAD: usize = 48;
const FRAME: usize = HEAD + CHECK;
const IN_CHUNK: usize = CHUNK - FRAME;
const MAGIC: [u8; 4] = *b"stjs";

/// A state and the sequence number of the last record that is contained in it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Snapshot {
    pub covers: u64,
    pub bytes: Vec<u8>,
}

/// Where the snapshot in use lies, as the superblock says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct SnapshotPlace {
    pub(crate) slot: SnapshotSlot,
    /// Life it was written in; picks the key.
    pub(crate) life: u64,
    /// Generation of the superblock that published it; tells it from older content of the slot.
    pub(crate) id: u64,
    pub(crate) covers: u64,
    /// Bytes of content.
    pub(crate) len: u64,
}

/// Content that fits into `slot_bytes` on the device.
pub(crate) const fn content_bytes(slot_bytes: u64) -> u64 {
    let whole = slot_bytes / CHUNK as u64 * IN_CHUNK as u64;
    let rest = slot_bytes % CHUNK as u64;
    if rest == 0 { whole } else { whole + rest - FRAME as u64 }
}

/// Bytes on the device that `len` bytes of content take, whole blocks.
pub(crate) const fn device_bytes(len: u64) -> u64 {
    let whole = len / IN_CHUNK as u64 * CHUNK as u64;
    let rest = len % IN_CHUNK as u64;
    if rest == 0 { whole } else { whole + (rest + FRAME as u64).next_multiple_of(BLOCK as u64) }
}

/// Turns a snapshot into what is written; `counter` is advanced once per chunk.
pub(crate) fn encode(
    place: &SnapshotPlace,
    content: &[u8],
    seal: &LifeSeal,
    counter: &mut u64,
) -> Vec<u8> {
    let mut out = Vec::with_capacity(device_bytes(content.len() as u64) as usize);
    for (index, part) in content.chunks(IN_CHUNK).enumerate() {
        let start = out.len();
        out.resize(start + device_bytes(part.len() as u64) as usize, 0);
        let chunk = &mut out[start..];
        put(chunk, 0, &MAGIC);
        put(chunk, 4, &FORMAT_VERSION.to_le_bytes());
        put(chunk, 8, &place.life.to_le_bytes());
        put(chunk, 16, &counter.to_le_bytes());
        put(chunk, 24, &place.id.to_le_bytes());
        put(chunk, 32, &(index as u32).to_le_bytes());
        put(chunk, 36, &(part.len() as u32).to_le_bytes());
        put(chunk, HEAD, part);
        let (clear, rest) = chunk.split_at_mut(HEAD);
        let content_end = rest.len() - CHECK;
        let (hidden, check) = rest.split_at_mut(content_end);
        check.copy_from_slice(&seal.protect(*counter, clear, hidden));
        *counter += 1;
    }
    out
}

/// Appends the content of the chunks in `device`, the first of which has number `index`.
/// On a bad chunk returns its place within `device`.
pub(crate) fn decode(
    place: &SnapshotPlace,
    device: &mut [u8],
    seal: &LifeSeal,
    out: &mut Vec<u8>,
) -> Result<(), usize> {
    for start in (0..device.len()).step_by(CHUNK) {
        let end = device.len().min(start + CHUNK);
        let index = (out.len() / IN_CHUNK) as u32;
        let expected = (place.len - out.len() as u64).min(IN_CHUNK as u64) as usize;
        let (clear, rest) = device[start..end].split_at_mut(HEAD);
        let content_end = rest.len() - CHECK;
        let (hidden, check) = rest.split_at_mut(content_end);
        let fits = take(clear, 0) == MAGIC
            && u64_at(clear, 8) == place.life
            && u64_at(clear, 24) == place.id
            && u32_at(clear, 32) == index
            && u32_at(clear, 36) as usize == expected
            && expected <= hidden.len();
        if !fits || !seal.open(u64_at(clear, 16), clear, (&mut *hidden, take(check, 0))) {
            return Err(start);
        }
        out.extend_from_slice(&hidden[..expected]);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seal::{ClusterKey, DiskId, Seal, Sealed};

    #[test]
    fn sizes_are_inverse_and_tight() {
        for len in [0, 1, 4032, 4033, 65_472, 65_473, 130_944, 1 << 20] {
            let device = device_bytes(len);
            assert_eq!(device % 4096, 0);
            assert!(content_bytes(device) >= len, "{len}");
            assert!(device == 0 || content_bytes(device - 4096) < len, "{len}");
        }
    }

    #[test]
    fn content_comes_back_and_every_bad_chunk_is_found() {
        let key = ClusterKey::new([1; 32]);
        let seal = Seal::from(Sealed { key, disk: DiskId([2; 16]), slot: 3 }).life(4);
        let content: Vec<u8> = (0..150_000u32).map(|i| i as u8).collect();
        let slot = SnapshotSlot::First;
        let place = SnapshotPlace { slot, life: 4, id: 7, covers: 1, len: 150_000 };
        let mut counter = 10;
        let device = encode(&place, &content, &seal, &mut counter);
        assert_eq!(counter, 13, "one nonce per chunk");
        let read = |place: &SnapshotPlace, mut device: Vec<u8>| {
            let mut out = Vec::new();
            decode(place, &mut device, &seal, &mut out).map(|()| out)
        };
        assert_eq!(read(&place, device.clone()), Ok(content));
        let mut bad = device.clone();
        bad[70_000] ^= 1;
        assert_eq!(read(&place, bad), Err(CHUNK));
        assert_eq!(read(&SnapshotPlace { id: 8, ..place }, device.clone()), Err(0));
        let mut swapped = device;
        let second = swapped[CHUNK..2 * CHUNK].to_vec();
        swapped[..CHUNK].copy_from_slice(&second);
        assert_eq!(read(&place, swapped), Err(0));
    }
}
