//! The header of a slot on the quorum disk (R1): what its host claims and which log is active.
//!
//! One checksummed sector in its own 4 KiB block, so that a neighbour's torn write cannot reach
//! it. `claim` and `active` are two numbers and only ever grow (H1); growing is the caller's duty.

use crate::bytes::{put, take, u32_at, u64_at};
use crate::plate::{PlateError, PlateKind};
use crate::seal::{ClusterKey, DiskId};

/// H_i of slot `i`.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct Header {
    /// Highest epoch that this host ever claimed; 0 if none.
    pub claim: u64,
    /// Epoch of the log that is in the slot's area; 0 if none ever was.
    pub active: u64,
    /// Renewals, counted up with every guard.
    pub counter: u64,
    /// Which start of which process writes here.
    pub incarnation: u64,
}

/// Where a header is meant to be.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct HeaderPlace {
    pub disk: DiskId,
    pub slot: u32,
    /// Byte of the device, for messages.
    pub offset: u64,
}

const PLATE: PlateKind = PlateKind {
    name: "slot header",
    magic: *b"stjh\0\0\0\0",
    context: "stead quorum disk slot header v1",
};

impl Header {
    /// The 4 KiB block of this header; its first sector alone carries everything.
    pub fn encode(&self, place: &HeaderPlace, key: &ClusterKey) -> Vec<u8> {
        let mut fields = [0; 52];
        put(&mut fields, 0, &place.slot.to_le_bytes());
        put(&mut fields, 4, &place.disk.0);
        put(&mut fields, 20, &self.claim.to_le_bytes());
        put(&mut fields, 28, &self.active.to_le_bytes());
        put(&mut fields, 36, &self.counter.to_le_bytes());
        put(&mut fields, 44, &self.incarnation.to_le_bytes());
        PLATE.encode(&fields, Some(key))
    }

    /// Reads a header from the block (at least its first sector) read at `place`.
    pub fn decode(block: &[u8], place: &HeaderPlace, key: &ClusterKey) -> Result<Self, PlateError> {
        let (name, offset) = (PLATE.name, place.offset);
        let genuine = PLATE.check(block, offset, Some(key));
        match genuine {
            // With another disk's header the disk is the news, not the key.
            Ok(()) | Err(PlateError::WrongKey { .. }) => {}
            Err(error) => return Err(error),
        }
        let found = DiskId(take(block, 16));
        if found != place.disk {
            return Err(PlateError::OtherDisk { name, offset, found, expected: place.disk });
        }
        genuine?;
        let slot = u32_at(block, 12);
        if slot != place.slot {
            return Err(PlateError::OtherSlot { name, offset, found: slot, expected: place.slot });
        }
        Ok(Self {
            claim: u64_at(block, 32),
            active: u64_at(block, 40),
            counter: u64_at(block, 48),
            incarnation: u64_at(block, 56),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: [u8; 32] = [5; 32];
    const HEADER: Header = Header { claim: 9, active: 7, counter: 1 << 40, incarnation: 3 };

    fn place(disk: u8, slot: u32) -> HeaderPlace {
        HeaderPlace { disk: DiskId([disk; 16]), slot, offset: 4096 }
    }

    fn block() -> Vec<u8> {
        HEADER.encode(&place(1, 2), &ClusterKey::new(KEY))
    }

    fn decode(block: &[u8], place: HeaderPlace, key: u8) -> Result<Header, PlateError> {
        Header::decode(block, &place, &ClusterKey::new([key; 32]))
    }

    #[test]
    fn a_header_comes_back_from_its_first_sector() {
        assert_eq!(block().len(), 4096);
        assert_eq!(decode(&block()[..512], place(1, 2), 5), Ok(HEADER));
    }

    #[test]
    fn what_is_wrong_is_told_apart() {
        let block = block();
        assert!(matches!(decode(&block, place(1, 2), 6), Err(PlateError::WrongKey { .. })));
        assert!(matches!(decode(&block, place(9, 2), 5), Err(PlateError::OtherDisk { .. })));
        assert!(matches!(
            decode(&block, place(1, 3), 5),
            Err(PlateError::OtherSlot { found: 2, expected: 3, .. })
        ));
        assert!(matches!(decode(&[0; 512], place(1, 2), 5), Err(PlateError::Blank { .. })));
        assert!(matches!(decode(&[7; 512], place(1, 2), 5), Err(PlateError::Foreign { .. })));
        assert!(matches!(decode(&[], place(1, 2), 5), Err(PlateError::Short { got: 0, .. })));
        let mut newer = block;
        put(&mut newer, 8, &2u16.to_le_bytes());
        let crc = crc32fast::hash(&newer[..508]);
        put(&mut newer, 508, &crc.to_le_bytes());
        assert!(matches!(
            decode(&newer, place(1, 2), 5),
            Err(PlateError::NewerFormat { found: 2, .. })
        ));
    }

    #[test]
    fn every_flipped_bit_of_the_sector_is_damage() {
        let block = block();
        for bit in 0..512 * 8 {
            let mut bad = block.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            let error = decode(&bad, place(1, 2), 5).unwrap_err();
            assert!(matches!(error, PlateError::Damaged { .. }), "bit {bit}: {error}");
        }
    }

    #[test]
    fn a_forged_header_needs_the_key() {
        let mut forged = block();
        put(&mut forged, 32, &99u64.to_le_bytes());
        let crc = crc32fast::hash(&forged[..508]);
        put(&mut forged, 508, &crc.to_le_bytes());
        assert!(matches!(decode(&forged, place(1, 2), 5), Err(PlateError::WrongKey { .. })));
    }
}
