//! Disks: one thread per device carries out reads and writes in the order they were given.
//!
//! A hung device hangs its own thread and nothing else. Completions are events, told when the
//! operation has ended and not before: the core decides how long it waits (R3).
//!
//! Not here: what is read and written (journals of the core).

mod device;
mod disks;
mod queue;
mod thread;

pub(crate) use device::{BlockDev, Caching, DeviceError};
pub(crate) use disks::{Disks, OwnLog, QuorumPlace};
use thread::{DiskThread, Medium};
