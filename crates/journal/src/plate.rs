//! The frame of identity and header: one sector that tells a foreign, newer, wrongly keyed and
//! damaged block apart.
//!
//! The CRC-32 over the sector stands at its end in every format, so damage is known first; then
//! magic and format; then the keyed hash, which only nodes of the cluster can make.

use crate::block::{BLOCK, FORMAT_VERSION, SECTOR};
use crate::bytes::{is_blank, put, take, u16_at};
use crate::seal::{ClusterKey, DiskId};

pub(crate) const MAC_AT: usize = SECTOR - 36;
const CRC_AT: usize = SECTOR - 4;

/// What a plate is: its magic, and what its keyed hash is made for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PlateKind {
    pub(crate) name: &'static str,
    pub(crate) magic: [u8; 8],
    pub(crate) context: &'static str,
}

/// Why an identity block or a header cannot be used.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum PlateError {
    #[error("{name} at byte {offset}: nothing was ever written there; format the disk first")]
    Blank { name: &'static str, offset: u64 },
    #[error(
        "{name} at byte {offset}: this is not a disk of stead; \
         give another one, or wipe and format it"
    )]
    Foreign { name: &'static str, offset: u64 },
    #[error(
        "{name} at byte {offset}: it has format {found}, this version reads {known}; \
         upgrade this node",
        known = FORMAT_VERSION
    )]
    NewerFormat { name: &'static str, offset: u64, found: u16 },
    #[error(
        "{name} at byte {offset}: it is damaged (wrong checksum); \
         replace the disk by a newly formatted one as a new voter"
    )]
    Damaged { name: &'static str, offset: u64 },
    #[error(
        "{name} at byte {offset}: it was made with another cluster key; \
         this disk belongs to another cluster, or the key file of this node is wrong"
    )]
    WrongKey { name: &'static str, offset: u64 },
    #[error(
        "{name} at byte {offset}: it belongs to disk {found}, not to {expected}: \
         the disk was replaced or copied; add it as a new voter"
    )]
    OtherDisk { name: &'static str, offset: u64, found: DiskId, expected: DiskId },
    #[error("{name} at byte {offset}: it is that of slot {found}, not of slot {expected}")]
    OtherSlot { name: &'static str, offset: u64, found: u32, expected: u32 },
    #[error("{name} at byte {offset}: it is for a {found}, not for a {expected}")]
    OtherMedium { name: &'static str, offset: u64, found: &'static str, expected: &'static str },
    #[error("{name} at byte {offset}: its sizes make no sense")]
    Impossible { name: &'static str, offset: u64 },
    #[error("{name} at byte {offset}: {got} bytes were read instead of 512 or more")]
    Short { name: &'static str, offset: u64, got: u64 },
}

impl PlateKind {
    /// A 4 KiB block whose first sector holds `fields` (from byte 12 on) under both checks.
    pub(crate) fn encode(&self, fields: &[u8], key: Option<&ClusterKey>) -> Vec<u8> {
        let mut block = vec![0; BLOCK];
        put(&mut block, 0, &self.magic);
        put(&mut block, 8, &FORMAT_VERSION.to_le_bytes());
        put(&mut block, 12, fields);
        if let Some(key) = key {
            let mac = key.mac(self.context, &block[..MAC_AT]);
            put(&mut block, MAC_AT, &mac);
        }
        let crc = crc32fast::hash(&block[..CRC_AT]);
        put(&mut block, CRC_AT, &crc.to_le_bytes());
        block
    }

    /// Checks the first sector of `block`, which was read at byte `offset`.
    pub(crate) fn check(
        &self,
        block: &[u8],
        offset: u64,
        key: Option<&ClusterKey>,
    ) -> Result<(), PlateError> {
        let name = self.name;
        let Some(sector) = block.get(..SECTOR) else {
            return Err(PlateError::Short { name, offset, got: block.len() as u64 });
        };
        if is_blank(sector) {
            return Err(PlateError::Blank { name, offset });
        }
        let crc = crc32fast::hash(&sector[..CRC_AT]).to_le_bytes();
        let has_magic = take(sector, 0) == self.magic;
        match (has_magic, crc == take(sector, CRC_AT)) {
            (true, true) => {}
            // One changed bit in the magic must not make a damaged disk look like an empty one.
            (false, true) => return Err(PlateError::Foreign { name, offset }),
            (true, false) => return Err(PlateError::Damaged { name, offset }),
            (false, false) if self.resembles(sector) => {
                return Err(PlateError::Damaged { name, offset });
            }
            (false, false) => return Err(PlateError::Foreign { name, offset }),
        }
        let found = u16_at(sector, 8);
        if found != FORMAT_VERSION {
            return Err(PlateError::NewerFormat { name, offset, found });
        }
        if let Some(key) = key
            && key.mac(self.context, &sector[..MAC_AT]) != take::<32>(sector, MAC_AT)
        {
            return Err(PlateError::WrongKey { name, offset });
        }
        Ok(())
    }

    fn resembles(&self, sector: &[u8]) -> bool {
        let differing: u32 =
            sector.iter().zip(self.magic).map(|(found, known)| (found ^ known).count_ones()).sum();
        differing <= 8
    }
}
