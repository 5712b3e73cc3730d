//! Disks: what is on the media, and reads and writes in flight that a crash can tear.
//!
//! A sector of 512 bytes is atomic and a read sees every write that completed before it began;
//! one that overlaps a write sees either content, sector by sector, and never goes back. A write
//! that is cut by power loss leaves any prefix or any subset of its sectors. The quorum disk has
//! a path per node, and a write that was reported as failed may still land (R3).

use std::collections::BTreeMap;

use stead_core::{Device, Ticket};
use stead_model::NodeId;

use crate::rng::Rng;

/// The unit that is written wholly or not at all.
pub const SECTOR_BYTES: u64 = 512;
const CHUNK_BYTES: u64 = 4096;

/// The bytes of one disk; what was never written reads as zeros.
#[derive(Clone, Default, Debug)]
pub struct Media {
    chunks: BTreeMap<u64, Box<[u8]>>,
}

impl Media {
    /// Freshly formatted media.
    #[must_use]
    pub fn formatted(writes: &[(u64, Vec<u8>)]) -> Self {
        let mut media = Self::default();
        writes.iter().for_each(|(offset, data)| media.write(*offset, data, |_| true));
        media
    }

    /// Reads `length` bytes.
    #[must_use]
    pub fn read(&self, offset: u64, length: u64) -> Vec<u8> {
        let mut bytes = vec![0; length as usize];
        let end = offset + length;
        for (index, chunk) in self.chunks.range(offset / CHUNK_BYTES..end.div_ceil(CHUNK_BYTES)) {
            let start = index * CHUNK_BYTES;
            let (from, to) = (start.max(offset), (start + CHUNK_BYTES).min(end));
            let source = &chunk[(from - start) as usize..(to - start) as usize];
            bytes[(from - offset) as usize..(to - offset) as usize].copy_from_slice(source);
        }
        bytes
    }

    /// Writes those sectors of `data` for which `keep` says so.
    pub fn write(&mut self, offset: u64, data: &[u8], mut keep: impl FnMut(u64) -> bool) {
        let end = offset + data.len() as u64;
        let mut at = offset;
        while at < end {
            let stop = ((at / SECTOR_BYTES + 1) * SECTOR_BYTES).min(end);
            if keep((at - offset) / SECTOR_BYTES) {
                let chunk = (self.chunks.entry(at / CHUNK_BYTES))
                    .or_insert_with(|| vec![0; CHUNK_BYTES as usize].into_boxed_slice());
                let inside = (at % CHUNK_BYTES) as usize;
                let source = &data[(at - offset) as usize..(stop - offset) as usize];
                chunk[inside..inside + source.len()].copy_from_slice(source);
            }
            at = stop;
        }
    }

    /// Damages a range for good.
    pub fn damage(&mut self, offset: u64, length: u64, rng: &mut Rng) {
        let mut bytes = self.read(offset, length);
        bytes.iter_mut().for_each(|byte| *byte ^= rng.between(1, 255) as u8);
        self.write(offset, &bytes, |_| true);
    }

    /// What power loss leaves of a write: nothing, all, a prefix or any subset of its sectors.
    /// True if it was torn.
    pub fn tear(&mut self, offset: u64, data: &[u8], rng: &mut Rng) -> bool {
        let sectors = (data.len() as u64).div_ceil(SECTOR_BYTES);
        match rng.below(4) {
            0 => return false,
            1 => {
                self.write(offset, data, |_| true);
                return false;
            }
            2 => {
                let prefix = rng.below(sectors + 1);
                self.write(offset, data, |sector| sector < prefix);
                return prefix > 0 && prefix < sectors;
            }
            _ => {}
        }
        let mut kept = 0;
        self.write(offset, data, |_| {
            let keep = rng.chance(500);
            kept += u64::from(keep);
            keep
        });
        kept > 0 && kept < sectors
    }
}

/// A read or write on its way.
#[derive(Clone, Debug)]
pub struct Flight {
    /// Whose.
    pub node: NodeId,
    /// Life of the node service that asked.
    pub service: u64,
    /// The core's number of it.
    pub ticket: Ticket,
    /// Where.
    pub device: Device,
    /// Offset on the device.
    pub offset: u64,
    /// What.
    pub body: Body,
    /// How it ends.
    pub fate: Fate,
    /// What is read, under the same ticket, when the write is durable: offset and length.
    pub then: Option<(u64, u64)>,
}

/// What a flight does.
#[derive(Clone, Debug)]
pub enum Body {
    /// A read; some sectors may have been sampled before its end.
    Read {
        /// How many bytes.
        length: u64,
        /// Content at an earlier moment of the read.
        early: Option<Vec<u8>>,
    },
    /// A write.
    Write {
        /// The bytes.
        data: Vec<u8>,
    },
}

/// How a read or write ends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fate {
    /// Well.
    Done,
    /// With an error; a write may have landed in part.
    Failed,
}

impl Flight {
    /// Ends a read: every sector as it was early or as it is now.
    #[must_use]
    pub fn sample(&self, media: &Media, rng: &mut Rng) -> Vec<u8> {
        let Body::Read { length, early } = &self.body else { return Vec::new() };
        let mut bytes = media.read(self.offset, *length);
        let Some(early) = early else { return bytes };
        let sector = SECTOR_BYTES as usize;
        for (now, before) in bytes.chunks_mut(sector).zip(early.chunks(sector)) {
            if rng.chance(500) {
                now.copy_from_slice(before);
            }
        }
        bytes
    }

    /// Lets any subset of a write's sectors land before its end.
    pub fn land_some(&self, media: &mut Media, rng: &mut Rng) {
        if let Body::Write { data } = &self.body {
            media.write(self.offset, data, |_| rng.chance(500));
        }
    }

    /// Lets a write land wholly.
    pub fn land(&self, media: &mut Media) {
        if let Body::Write { data } = &self.body {
            media.write(self.offset, data, |_| true);
        }
    }
}

/// A node's way to the quorum disk.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub enum Path {
    /// It works.
    #[default]
    Up,
    /// Every read and write fails.
    Broken,
    /// Nothing comes back until the path does; then everything lands.
    Hung,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn media_reads_back_across_chunks_and_zeros_elsewhere() {
        let mut media = Media::formatted(&[(4_000, vec![7; 5_000])]);
        assert_eq!(media.read(3_999, 5_002), [&[0][..], &[7; 5_000], &[0]].concat());
        media.write(4_096, &[9; 1_024], |sector| sector == 1);
        assert_eq!(media.read(4_096, 512), vec![7; 512]);
        assert_eq!(media.read(4_608, 512), vec![9; 512]);
    }

    #[test]
    fn a_torn_write_leaves_whole_sectors_only() {
        let mut rng = Rng::new(3);
        let mut torn = 0;
        for _ in 0..200 {
            let mut media = Media::default();
            torn += u32::from(media.tear(0, &[5; 2_048], &mut rng));
            let bytes = media.read(0, 2_048);
            assert!(bytes.chunks(512).all(|s| s.iter().all(|b| *b == s[0])));
        }
        assert!((50..150).contains(&torn), "{torn}");
    }
}
