//! The database as bytes, for snapshots of the log, and the hash that tells replicas apart.
//!
//! ```text
//! | format, 1 byte | mark | database of the first level | what each later level added |
//! ```
//!
//! Every program reads the mark; what follows it reads only who knows the level. A field of a later
//! level is none of the first: it is skipped by serde and written behind, so that at every level
//! the bytes are those of the programs that had no later one.

use std::collections::BTreeMap;

use stead_model::program::{ClusterLevel, Levels, Mark, Program, fits};
use stead_model::wire::codec;
use thiserror::Error;

use super::Db;

/// Version of the snapshot format, its first byte. What only grows is told by the level.
pub const VERSION: u8 = 2;

const _: () = assert!(codec::PAYLOAD_BYTES_MAX > 64 << 20, "a snapshot must fit into a frame");

/// Why bytes are no snapshot of the database.
#[derive(Clone, PartialEq, Eq, Debug, Error)]
pub enum RestoreError {
    /// There are none.
    #[error("snapshot of the database is empty")]
    Empty,
    /// Another version wrote it.
    #[error(
        "snapshot of the database has format {0}, stead {own} here has format {VERSION}",
        own = env!("CARGO_PKG_VERSION")
    )]
    Version(u8),
    /// This program does not know the level of the cluster.
    #[error("{0}")]
    Level(String),
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
        let head = postcard::to_extend(&self.mark, vec![VERSION]).expect("a mark encodes");
        let first = postcard::to_extend(self, head).expect("the database encodes");
        if self.level() < ClusterLevel::PROGRAMS {
            return first;
        }
        postcard::to_extend(&self.programs, first).expect("programs encode")
    }

    /// The database that [`Db::snapshot`] wrote.
    ///
    /// # Errors
    /// If the bytes are of another version, of a level that is none of these, or damaged.
    pub fn restore(bytes: &[u8], levels: Levels) -> Result<Self, RestoreError> {
        let rest = match bytes.split_first() {
            None => return Err(RestoreError::Empty),
            Some((&VERSION, rest)) => rest,
            Some((&version, _)) => return Err(RestoreError::Version(version)),
        };
        let damaged = |e: postcard::Error| RestoreError::Decode(e.to_string());
        let (mark, rest) = postcard::take_from_bytes::<Mark>(rest).map_err(damaged)?;
        check(mark, levels).map_err(RestoreError::Level)?;
        let (db, rest) = postcard::take_from_bytes::<Self>(rest).map_err(damaged)?;
        let (programs, rest) = match mark.level < ClusterLevel::PROGRAMS {
            true => (BTreeMap::new(), rest),
            false => postcard::take_from_bytes(rest).map_err(damaged)?,
        };
        if !rest.is_empty() {
            let why = format!("{} bytes more than {} has", rest.len(), mark.level);
            return Err(RestoreError::Decode(why));
        }
        Ok(Self { mark, programs, ..db })
    }
}

/// Whether a program that knows these levels can go on with that mark.
pub(crate) fn check(mark: Mark, levels: Levels) -> Result<(), String> {
    fits(THIS_NODE, Program { levels, ..Program::own() }, mark)
}

/// Who cannot go on, in its own last words.
const THIS_NODE: &str = "this node";

/// Folds bytes into a running 64-bit hash (FNV-1a over the former value and the bytes). It finds
/// divergence, not forgery.
#[must_use]
pub fn fold(hash: u64, bytes: &[u8]) -> u64 {
    const OFFSET: u64 = 0xcbf2_9ce4_8422_2325;
    const PRIME: u64 = 0x0000_0100_0000_01b3;
    let former = hash.to_le_bytes();
    former.iter().chain(bytes).fold(OFFSET, |h, b| (h ^ u64::from(*b)).wrapping_mul(PRIME))
}
