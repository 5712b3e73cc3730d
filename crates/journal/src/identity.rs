//! The first block of a disk or file: what it is, which formatting, and its fixed sizes.
//!
//! Formatting writes it last: a disk with a good identity block was formatted completely.

use crate::area::Area;
use crate::block::BLOCK_BYTES;
use crate::bytes::{put, take, u32_at, u64_at};
use crate::geometry::Geometry;
use crate::plate::{PlateError, PlateKind};
use crate::seal::{ClusterKey, DiskId};

/// What a journal lies on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Medium {
    /// The node's own log: one area, in the clear.
    NodeLog { area: Area },
    /// Quorum disk or witness file: header table and slots, sealed.
    Shared { geometry: Geometry },
}

/// The identity block.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Identity {
    pub disk: DiskId,
    pub medium: Medium,
}

const PLATE: PlateKind = PlateKind {
    name: "identity block",
    magic: *b"stead id",
    context: "stead quorum disk identity v1",
};
const NODE_LOG: u32 = 1;
const SHARED: u32 = 2;

impl Identity {
    /// Byte of the device where the identity block lies.
    pub const OFFSET: u64 = 0;
    /// Its length, bytes.
    pub const BYTES: u64 = BLOCK_BYTES;

    /// The identity of a node's own log file with a ring and snapshots of the given sizes.
    pub fn node_log(
        disk: DiskId,
        ring_bytes: u64,
        snapshot_bytes: u64,
    ) -> Result<Self, crate::AreaError> {
        let area = Area::new(BLOCK_BYTES, ring_bytes, snapshot_bytes)?;
        Ok(Self { disk, medium: Medium::NodeLog { area } })
    }

    /// The 4 KiB block. Shared media need the cluster key, the own log has none.
    pub fn encode(&self, key: Option<&ClusterKey>) -> Vec<u8> {
        let (medium, slots, ring_bytes, snapshot_bytes) = match self.medium {
            Medium::NodeLog { area } => (NODE_LOG, 1, area.ring_bytes(), area.snapshot_bytes()),
            Medium::Shared { geometry } => {
                (SHARED, geometry.slots(), geometry.ring_bytes(), geometry.snapshot_bytes())
            }
        };
        let mut fields = [0; 40];
        put(&mut fields, 0, &medium.to_le_bytes());
        put(&mut fields, 4, &self.disk.0);
        put(&mut fields, 20, &slots.to_le_bytes());
        put(&mut fields, 24, &ring_bytes.to_le_bytes());
        put(&mut fields, 32, &snapshot_bytes.to_le_bytes());
        PLATE.encode(&fields, key)
    }

    /// Reads the identity block; with a key also proves that this cluster made it.
    pub fn decode(block: &[u8], key: Option<&ClusterKey>) -> Result<Self, PlateError> {
        let (name, offset) = (PLATE.name, Self::OFFSET);
        PLATE.check(block, offset, key)?;
        let (ring_bytes, snapshot_bytes) = (u64_at(block, 36), u64_at(block, 44));
        let impossible = PlateError::Impossible { name, offset };
        let medium = match u32_at(block, 12) {
            NODE_LOG => Area::new(BLOCK_BYTES, ring_bytes, snapshot_bytes)
                .map(|area| Medium::NodeLog { area })
                .map_err(|_sizes| impossible)?,
            SHARED => Geometry::new(u32_at(block, 32), ring_bytes, snapshot_bytes)
                .map(|geometry| Medium::Shared { geometry })
                .map_err(|_sizes| impossible)?,
            _unknown => return Err(impossible),
        };
        Ok(Self { disk: DiskId(take(block, 16)), medium })
    }

    /// The geometry of a quorum disk; an error if this is a node's own log.
    pub fn geometry(&self) -> Result<Geometry, PlateError> {
        match self.medium {
            Medium::Shared { geometry } => Ok(geometry),
            Medium::NodeLog { .. } => Err(other_medium("node's own log", "quorum disk")),
        }
    }

    /// The area of a node's own log; an error if this is a quorum disk.
    pub fn area(&self) -> Result<Area, PlateError> {
        match self.medium {
            Medium::NodeLog { area } => Ok(area),
            Medium::Shared { .. } => Err(other_medium("quorum disk", "node's own log")),
        }
    }
}

fn other_medium(found: &'static str, expected: &'static str) -> PlateError {
    PlateError::OtherMedium { name: PLATE.name, offset: Identity::OFFSET, found, expected }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identities_come_back() {
        let disk = DiskId([3; 16]);
        let own = Identity::node_log(disk, 16384, 8192).unwrap();
        assert_eq!(Identity::decode(&own.encode(None), None), Ok(own));
        assert_eq!(own.area().unwrap().base(), 4096);
        assert!(matches!(own.geometry(), Err(PlateError::OtherMedium { .. })));

        let geometry = Geometry::new(4, 16384, 8192).unwrap();
        let shared = Identity { disk, medium: Medium::Shared { geometry } };
        let key = ClusterKey::new([1; 32]);
        let block = shared.encode(Some(&key));
        assert_eq!(Identity::decode(&block, Some(&key)), Ok(shared));
        let other = ClusterKey::new([2; 32]);
        assert!(matches!(Identity::decode(&block, Some(&other)), Err(PlateError::WrongKey { .. })));
    }

    #[test]
    fn a_disk_in_other_use_is_foreign() {
        let error = Identity::decode(&[0xeb; 4096], None).unwrap_err();
        assert_eq!(
            error.to_string(),
            "identity block at byte 0: this is not a disk of stead; \
             give another one, or wipe and format it"
        );
    }
}
