//! A note: what the owner of a resource leaves for whoever owns it after it.
//!
//! The resource's type writes and reads it, for everybody in between it is bytes. It goes from the
//! owner's monitor to the monitors of all nodes, is kept in memory only, and nothing is decided by
//! it: a note that is lost, old or wrong costs comfort, never safety.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::ids::{Epoch, ResourceId};

/// A longer note is not sent and not taken.
pub const NOTE_BYTES_MAX: usize = 64 << 10;

/// A note about one resource; the next one takes its place.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Note {
    /// The resource.
    pub resource: ResourceId,
    /// The epoch in which its owner wrote it.
    pub epoch: Epoch,
    /// What only its type understands.
    pub bytes: Vec<u8>,
}

impl Note {
    /// Whether it takes the place of an earlier note about the same resource: not if it is of an
    /// earlier owner.
    #[must_use]
    pub fn replaces(&self, earlier: &Self) -> bool {
        self.epoch >= earlier.epoch
    }
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "note of {} {}, {} bytes", self.resource, self.epoch, self.bytes.len())
    }
}
