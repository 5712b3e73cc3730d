//! How a quorum disk is divided: identity, header table, then one equal area per slot.
//!
//! Fixed at formatting. A possible host has two slots, so that after a crash it need not wait for
//! the I/O of its dead incarnation (R3).

use crate::area::{Area, AreaError, RING_BYTES};
use crate::block::BLOCK_BYTES;
use crate::header::{Header, HeaderPlace};
use crate::seal::{ClusterKey, DiskId};
use crate::snapshot::device_bytes;

/// Nodes that a quorum disk is formatted for unless told otherwise.
pub const NODES_DEFAULT: u32 = 16;
/// Largest database that a quorum disk is planned for, bytes.
pub const DATABASE_LIMIT_BYTES: u64 = 64 << 20;
/// Smallest database limit that a plan accepts, bytes.
pub const DATABASE_LIMIT_BYTES_MIN: u64 = 8 << 20;
/// Room in a snapshot beside the database, for what is in the log and not applied, bytes; a
/// quarter of a snapshot too small for it.
const BESIDE_BYTES: u64 = 4 << 20;
/// What a snapshot holds at most.
const STATE_BYTES_MAX: u64 = DATABASE_LIMIT_BYTES + BESIDE_BYTES;
const SLOTS_MAX: u32 = 256;

/// Sizes of a quorum disk.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Geometry {
    slots: u32,
    ring_bytes: u64,
    snapshot_bytes: u64,
}

/// Why a quorum disk cannot be divided as asked.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum GeometryError {
    #[error(
        "quorum disk: {device_bytes} bytes are too small for {nodes_max} nodes: the database \
         could grow to less than 8 MiB; {needed_bytes} bytes ({needed_mib} MiB) or more would do{}",
        fewer_nodes(*nodes_would_do)
    )]
    TooSmall {
        device_bytes: u64,
        nodes_max: u32,
        needed_bytes: u64,
        needed_mib: u64,
        /// For how many nodes the device would do, 0 for none.
        nodes_would_do: u32,
    },
    #[error("quorum disk: {nodes_max} nodes are not possible, only 1 to {}", SLOTS_MAX / 2)]
    Nodes { nodes_max: u32 },
    #[error("quorum disk: {slots} slots are not possible, only 1 to {SLOTS_MAX}")]
    Slots { slots: u32 },
    #[error(transparent)]
    Area(#[from] AreaError),
}

impl Geometry {
    /// Explicit sizes; `plan` chooses them for a real device.
    pub fn new(slots: u32, ring_bytes: u64, snapshot_bytes: u64) -> Result<Self, GeometryError> {
        if !(1..=SLOTS_MAX).contains(&slots) {
            return Err(GeometryError::Slots { slots });
        }
        Area::new(0, ring_bytes, snapshot_bytes)?;
        Ok(Self { slots, ring_bytes, snapshot_bytes })
    }

    /// The division of a device of `device_bytes` for a cluster of up to `nodes_max` nodes: two
    /// slots per node, rings of 8 MiB, a database of up to 64 MiB as the rest allows.
    pub fn plan(device_bytes: u64, nodes_max: u32) -> Result<Self, GeometryError> {
        if !(1..=SLOTS_MAX / 2).contains(&nodes_max) {
            return Err(GeometryError::Nodes { nodes_max });
        }
        let slots = 2 * nodes_max;
        let needed_bytes = needed_bytes(slots);
        if device_bytes < needed_bytes {
            let fits = |nodes: &u32| self::needed_bytes(2 * nodes) <= device_bytes;
            return Err(GeometryError::TooSmall {
                device_bytes,
                nodes_max,
                needed_bytes,
                needed_mib: needed_bytes.div_ceil(1 << 20),
                nodes_would_do: (1..nodes_max).rev().find(fits).unwrap_or(0),
            });
        }
        let areas_bytes = device_bytes - BLOCK_BYTES * (1 + u64::from(slots));
        let area_bytes = areas_bytes / u64::from(slots);
        let spare = (area_bytes - RING_BYTES - 2 * BLOCK_BYTES) / 2;
        let snapshot_bytes = spare - spare % BLOCK_BYTES;
        Self::new(slots, RING_BYTES, snapshot_bytes.min(self::device_bytes(STATE_BYTES_MAX)))
    }

    pub fn slots(&self) -> u32 {
        self.slots
    }

    pub fn ring_bytes(&self) -> u64 {
        self.ring_bytes
    }

    /// Bytes of one snapshot slot on the device.
    pub fn snapshot_bytes(&self) -> u64 {
        self.snapshot_bytes
    }

    /// Largest database, bytes: with what is in the log beside it it fits into a snapshot.
    pub fn database_limit_bytes(&self) -> u64 {
        let state_bytes = self.area(0).snapshot_limit_bytes();
        (state_bytes - BESIDE_BYTES.min(state_bytes / 4)).min(DATABASE_LIMIT_BYTES)
    }

    /// Byte and length of the whole header table: one read (R1).
    pub fn header_table(&self) -> (u64, u64) {
        (BLOCK_BYTES, BLOCK_BYTES * u64::from(self.slots))
    }

    /// Where the header of `slot` lies.
    pub fn header_place(&self, disk: DiskId, slot: u32) -> HeaderPlace {
        HeaderPlace { disk, slot, offset: BLOCK_BYTES * (1 + u64::from(slot)) }
    }

    /// Where the log of `slot` lies.
    pub fn area(&self, slot: u32) -> Area {
        let (table, table_bytes) = self.header_table();
        let (ring_bytes, snapshot_bytes) = (self.ring_bytes, self.snapshot_bytes);
        let one = Area::new(0, ring_bytes, snapshot_bytes)
            .expect("the sizes were checked when the geometry was made");
        let base = table + table_bytes + u64::from(slot) * one.bytes();
        Area::new(base, ring_bytes, snapshot_bytes)
            .expect("areas begin at multiples of 4096 far below the limit")
    }

    /// Bytes of the device that are used.
    pub fn bytes(&self) -> u64 {
        self.area(self.slots - 1).end()
    }

    /// Empty headers for the whole table, for formatting; written before the identity block.
    pub fn blank_headers(&self, disk: DiskId, key: &ClusterKey) -> Vec<u8> {
        let header = Header::default();
        (0..self.slots)
            .flat_map(|slot| header.encode(&self.header_place(disk, slot), key))
            .collect()
    }
}

fn needed_bytes(slots: u32) -> u64 {
    let snapshots = 2 * device_bytes(DATABASE_LIMIT_BYTES_MIN + BESIDE_BYTES);
    let area = 2 * BLOCK_BYTES + RING_BYTES + snapshots;
    BLOCK_BYTES + u64::from(slots) * (BLOCK_BYTES + area)
}

fn fewer_nodes(nodes: u32) -> String {
    match nodes {
        0 => String::new(),
        some => format!("; or format it for {some} nodes"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    #[test]
    fn the_documented_sizes_hold() {
        let limit = |device, nodes| {
            let geometry = Geometry::plan(device, nodes).unwrap();
            assert!(geometry.bytes() <= device);
            geometry.database_limit_bytes()
        };
        // 512 MiB and 4 nodes: 24 MiB, less the frames.
        assert!((23 * MIB + MIB * 9 / 10..24 * MIB).contains(&limit(512 * MIB, 4)));
        // 64 MiB and 16 nodes: 4.6 GiB.
        assert_eq!(limit(4710 * MIB, 16), 64 * MIB);
        assert!(limit(4560 * MIB, 16) < 64 * MIB);
        assert_eq!(limit(1 << 40, 16), 64 * MIB);
    }

    #[test]
    fn a_small_disk_is_refused_with_the_size_that_would_do() {
        let error = Geometry::plan(512 * MIB, 16).unwrap_err();
        let GeometryError::TooSmall { needed_bytes, nodes_would_do, .. } = error else {
            panic!("{error}");
        };
        assert!(Geometry::plan(needed_bytes, 16).is_ok());
        assert!(Geometry::plan(needed_bytes - 1, 16).is_err());
        assert!(Geometry::plan(512 * MIB, nodes_would_do).is_ok());
        assert!(Geometry::plan(512 * MIB, nodes_would_do + 1).is_err());
        let limit = Geometry::plan(needed_bytes, 16).unwrap().database_limit_bytes();
        assert!(limit >= DATABASE_LIMIT_BYTES_MIN);
        assert!(error.to_string().contains("or format it for 7 nodes"), "{error}");
        assert!(Geometry::plan(MIB, 1).unwrap_err().to_string().ends_with("MiB) or more would do"));
    }

    #[test]
    fn slots_do_not_overlap() {
        let geometry = Geometry::new(4, 16384, 8192).unwrap();
        let (table, bytes) = geometry.header_table();
        assert_eq!(geometry.header_place(DiskId([0; 16]), 3).offset, table + 3 * 4096);
        assert_eq!(geometry.area(0).base(), table + bytes);
        for slot in 1..4 {
            assert_eq!(geometry.area(slot).base(), geometry.area(slot - 1).end());
        }
        assert_eq!(geometry.bytes(), geometry.area(3).end());
    }

    #[test]
    fn a_formatted_table_reads_as_empty_headers() {
        let geometry = Geometry::new(4, 16384, 8192).unwrap();
        let (disk, key) = (DiskId([1; 16]), ClusterKey::new([2; 32]));
        let table = geometry.blank_headers(disk, &key);
        assert_eq!(table.len() as u64, geometry.header_table().1);
        for (slot, block) in (0..).zip(table.chunks(4096)) {
            let place = geometry.header_place(disk, slot);
            assert_eq!(Header::decode(block, &place, &key), Ok(Header::default()));
        }
    }
}
