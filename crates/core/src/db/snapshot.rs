//! The database as bytes, for snapshots of the log, and the hash that tells replicas apart.

use stead_model::wire::codec;
use thiserror::Error;

use super::Db;

/// Version of the snapshot format, its first byte.
pub const VERSION: u8 = 1;

const _: () = assert!(codec::PAYLOAD_BYTES_MAX > 64 << 20, "a snapshot must fit into a frame");

/// Why bytes are no snapshot of the database.
#[derive(Clone, PartialEq, Eq, Debug, Error)]
pub enum RestoreError {
    /// There are none.
    #[error("snapshot of the database is empty")]
    Empty,
    /// Another version wrote it.
    #[error("snapshot of the database has version {0}, this is version {VERSION}")]
    Version(u8),
    /// It does not decode.
    #[error("snapshot of the database does not decode: {0}")]
    Decode(String),
}

impl Db {
    /// The whole database as bytes.
    ///
    /// # Panics
    /// Never: the database has only types that postcard can write.
    #[must_use]
    pub fn snapshot(&self) -> Vec<u8> {
        postcard::to_extend(self, vec![VERSION]).expect("the database encodes")
    }

    /// The database that [`Db::snapshot`] wrote.
    ///
    /// # Errors
    /// If the bytes are of another version or damaged.
    pub fn restore(bytes: &[u8]) -> Result<Self, RestoreError> {
        match bytes.split_first() {
            None => Err(RestoreError::Empty),
            Some((&VERSION, rest)) => {
                postcard::from_bytes(rest).map_err(|e| RestoreError::Decode(e.to_string()))
            }
            Some((&version, _)) => Err(RestoreError::Version(version)),
        }
    }
}

/// Folds bytes into a running 64-bit hash (FNV-1a over the former value and the bytes). It finds
/// divergence, not forgery.
#[must_use]
pub fn fold(hash: u64, bytes: &[u8]) -> u64 {
    const OFFSET: u64 = 0xcbf2_9ce4_8422_2325;
    const PRIME: u64 = 0x0000_0100_0000_01b3;
    let former = hash.to_le_bytes();
    former.iter().chain(bytes).fold(OFFSET, |h, b| (h ^ u64::from(*b)).wrapping_mul(PRIME))
}
