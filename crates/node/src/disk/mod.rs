//! Disks: one thread per device carries out reads and writes in the order they were given.
//!
//! A hung device hangs its own thread and nothing else. Completions are events. What a device of
//! other nodes does not complete in time is told as failed; a completion that comes later is
//! dropped, because the core has been told that the outcome is unknown (R3).
//!
//! Not here: what is read and written (journals of the core).

mod device;
mod disks;
mod pending;
mod queue;
mod thread;

pub(crate) use device::{BlockDev, Caching, DeviceError};
pub(crate) use disks::{Disks, OwnLog, QuorumPlace};
use pending::Pending;
use thread::{DiskThread, Medium};
