//! Where one log area lies on its device: two superblocks, the ring, two snapshot slots.

use crate::block::{BLOCK_BYTES, CONTENT};
use crate::snapshot;

/// Ring of a log area on real media, bytes.
pub const RING_BYTES: u64 = 8 << 20;
/// Smallest ring that is accepted, bytes (tests and simulator).
pub const RING_BYTES_MIN: u64 = 4 * BLOCK_BYTES;
/// Largest ring that is accepted, bytes: all of it is read when a journal is opened.
pub const RING_BYTES_MAX: u64 = 1 << 30;

/// One log area: `base` is the byte where its first superblock lies.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Area {
    base: u64,
    ring_bytes: u64,
    snapshot_bytes: u64,
}

/// Why an area cannot exist.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum AreaError {
    #[error("log area: {what} is {bytes} bytes, it must be a multiple of 4096")]
    Unaligned { what: &'static str, bytes: u64 },
    #[error("log area: {what} is {bytes} bytes, it must be at least {min}")]
    TooSmall { what: &'static str, bytes: u64, min: u64 },
    #[error("log area: {what} is {bytes} bytes, that is more than this format can address")]
    TooLarge { what: &'static str, bytes: u64 },
}

impl Area {
    /// An area at byte `base` with a ring and two snapshot slots of the given sizes.
    pub fn new(base: u64, ring_bytes: u64, snapshot_bytes: u64) -> Result<Self, AreaError> {
        for (what, bytes, min) in [
            ("base", base, 0),
            ("ring", ring_bytes, RING_BYTES_MIN),
            ("snapshot slot", snapshot_bytes, BLOCK_BYTES),
        ] {
            if bytes % BLOCK_BYTES != 0 {
                return Err(AreaError::Unaligned { what, bytes });
            }
            if bytes < min {
                return Err(AreaError::TooSmall { what, bytes, min });
            }
            if bytes > 1 << 56 {
                return Err(AreaError::TooLarge { what, bytes });
            }
        }
        if ring_bytes > RING_BYTES_MAX {
            return Err(AreaError::TooLarge { what: "ring", bytes: ring_bytes });
        }
        Ok(Self { base, ring_bytes, snapshot_bytes })
    }

    /// Bytes on the device.
    pub fn bytes(&self) -> u64 {
        2 * BLOCK_BYTES + self.ring_bytes + 2 * self.snapshot_bytes
    }

    /// First byte behind the area.
    pub fn end(&self) -> u64 {
        self.base + self.bytes()
    }

    pub fn base(&self) -> u64 {
        self.base
    }

    pub fn ring_bytes(&self) -> u64 {
        self.ring_bytes
    }

    /// Bytes of one snapshot slot on the device.
    pub fn snapshot_bytes(&self) -> u64 {
        self.snapshot_bytes
    }

    /// Largest snapshot that fits, bytes of content.
    pub fn snapshot_limit_bytes(&self) -> u64 {
        snapshot::content_bytes(self.snapshot_bytes)
    }

    /// Largest batch that fits into an empty ring, bytes of content with 4 bytes per record.
    pub fn batch_limit_bytes(&self) -> u64 {
        self.ring_blocks() * CONTENT as u64
    }

    pub(crate) fn ring_blocks(&self) -> u64 {
        self.ring_bytes / BLOCK_BYTES
    }

    pub(crate) fn superblock_offset(&self, generation: u64) -> u64 {
        self.base + generation % 2 * BLOCK_BYTES
    }

    /// Byte where the block at log place `at` lies.
    pub(crate) fn ring_offset(&self, at: u64) -> u64 {
        self.base + 2 * BLOCK_BYTES + at % self.ring_blocks() * BLOCK_BYTES
    }

    pub(crate) fn snapshot_offset(&self, slot: SnapshotSlot) -> u64 {
        let first = self.base + 2 * BLOCK_BYTES + self.ring_bytes;
        match slot {
            SnapshotSlot::First => first,
            SnapshotSlot::Second => first + self.snapshot_bytes,
        }
    }
}

/// The two places for snapshots; a new one never overwrites the one in use.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum SnapshotSlot {
    First,
    Second,
}

impl SnapshotSlot {
    pub(crate) fn other(self) -> Self {
        match self {
            Self::First => Self::Second,
            Self::Second => Self::First,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_follow_one_another_without_overlap() {
        let area = Area::new(8192, 16384, 4096).unwrap();
        assert_eq!(area.superblock_offset(4), 8192);
        assert_eq!(area.superblock_offset(5), 12288);
        assert_eq!(area.ring_offset(0), 16384);
        assert_eq!(area.ring_offset(7), 16384 + 3 * 4096);
        assert_eq!(area.snapshot_offset(SnapshotSlot::First), 32768);
        assert_eq!(area.snapshot_offset(SnapshotSlot::Second), 36864);
        assert_eq!(area.end(), 40960);
    }

    #[test]
    fn bad_sizes_are_refused_with_the_part_named() {
        assert!(matches!(
            Area::new(1, 16384, 4096),
            Err(AreaError::Unaligned { what: "base", bytes: 1 })
        ));
        assert!(matches!(
            Area::new(0, 8192, 4096),
            Err(AreaError::TooSmall { what: "ring", min: RING_BYTES_MIN, .. })
        ));
        let error = Area::new(0, 16384, 0).unwrap_err();
        assert_eq!(
            error.to_string(),
            "log area: snapshot slot is 0 bytes, it must be at least 4096"
        );
        assert!(matches!(Area::new(0, 1 << 60, 4096), Err(AreaError::TooLarge { .. })));
    }
}
