//! A disk in memory: whole writes, torn writes, and an opening driven over it.

use stead_journal::{
    Area, BLOCK_BYTES, ClusterKey, DiskId, OpenError, Opened, Opening, Plain, Sealed, Step, Write,
};

pub(crate) const SECTOR: usize = 512;

#[derive(Clone)]
pub(crate) struct Disk(pub(crate) Vec<u8>);

impl Disk {
    pub(crate) fn for_area(area: &Area) -> Self {
        Self(vec![0; area.end() as usize])
    }

    pub(crate) fn write(&mut self, write: &Write) {
        self.tear(write, |_sector| true);
    }

    /// Carries out only those sectors of a write that `lands` names.
    pub(crate) fn tear(&mut self, write: &Write, lands: impl Fn(usize) -> bool) {
        assert_eq!(write.offset % BLOCK_BYTES, 0, "writes are aligned");
        assert_eq!(write.data.len() as u64 % BLOCK_BYTES, 0, "writes are whole blocks");
        for (index, sector) in write.data.chunks(SECTOR).enumerate() {
            if lands(index) {
                let start = write.offset as usize + index * SECTOR;
                self.0[start..start + SECTOR].copy_from_slice(sector);
            }
        }
    }

    pub(crate) fn read(&self, offset: u64, len: u64) -> &[u8] {
        &self.0[offset as usize..(offset + len) as usize]
    }

    pub(crate) fn open<S>(&self, mut opening: Opening<S>) -> Result<Opened<S>, OpenError> {
        for _step in 0..10_000 {
            match opening.step() {
                Step::Read { offset, len } => opening.feed(self.read(offset, len)),
                Step::Done(opened) => return Ok(*opened),
                Step::Failed(error) => return Err(error),
            }
        }
        panic!("the opening does not end");
    }

    pub(crate) fn open_own(&self, area: Area) -> Result<Opened<Plain>, OpenError> {
        self.open(Opening::quiet(area, own_seal()))
    }
}

/// Ring of 8 blocks, snapshots of 2 blocks: wraps within a few appends.
pub(crate) fn small_area() -> Area {
    Area::new(4096, 8 * BLOCK_BYTES, 2 * BLOCK_BYTES).expect("sizes of an area")
}

pub(crate) fn own_seal() -> Plain {
    Plain { disk: DiskId([0x11; 16]) }
}

pub(crate) fn sealed(slot: u32) -> Sealed {
    Sealed { key: ClusterKey::new([0x22; 32]), disk: DiskId([0x33; 16]), slot }
}

/// A small generator, so that every run is the same.
pub(crate) struct Dice(pub(crate) u64);

impl Dice {
    pub(crate) fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % sides
    }
}
