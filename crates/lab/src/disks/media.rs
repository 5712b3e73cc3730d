//! The media of a disk: one sparse file behind the paths of all nodes.
//!
//! A write is seen by every path as soon as it is answered, and a disk never loses power: only
//! nodes do, with what their kernels had not written yet. So a flush has nothing to do here; that
//! it is asked for, and answered with an error where the path is gone, is what counts.
//!
//! Whoever writes holds the reservations meanwhile: when a preemption is answered, no write of a
//! victim is under way.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

use rustix::io::Errno;
use stead_model::NodeId;

use super::image;
use super::reservation::Reservations;
use crate::step::{Step, StepError};

/// One disk.
#[derive(Debug)]
pub(super) struct Disk {
    pub(super) name: String,
    pub(super) size_bytes: u64,
    file: File,
    reservations: Mutex<Reservations>,
}

impl Disk {
    /// Opens a disk's file; a new one gets an empty ext4 file system.
    pub(super) fn open(file: &Path, name: &str) -> Result<Self, StepError> {
        if !file.exists() {
            image::write_new(file, name)?;
        }
        let opened = OpenOptions::new().read(true).write(true).mode(0o600).open(file);
        let opened = opened.step("open the disk", file.display())?;
        let size_bytes = opened.metadata().step("look at the disk", file.display())?.len();
        Ok(Self { name: name.to_owned(), size_bytes, file: opened, reservations: Mutex::default() })
    }

    /// Its registrations; no write goes on while they are held.
    pub(super) fn reservations(&self) -> MutexGuard<'_, Reservations> {
        // Nothing panics half way through a change.
        self.reservations.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads; what is behind the end is missing.
    pub(super) fn read(&self, offset: u64, length: u32) -> Result<Vec<u8>, Errno> {
        let left = self.size_bytes.saturating_sub(offset).min(length.into());
        let mut bytes = vec![0; usize::try_from(left).map_err(|_| Errno::INVAL)?];
        self.file.read_exact_at(&mut bytes, offset).map_err(|error| errno_of(&error))?;
        Ok(bytes)
    }

    /// Writes for a node, if it may.
    pub(super) fn write(&self, node: NodeId, offset: u64, data: &[u8]) -> Result<(), Errno> {
        let reservations = self.reservations();
        if !reservations.may_write(node) {
            return Err(RESERVATION_CONFLICT);
        }
        let end = offset.checked_add(data.len() as u64);
        if end.is_none_or(|end| end > self.size_bytes) {
            return Err(Errno::NOSPC);
        }
        let written = self.file.write_all_at(data, offset);
        drop(reservations);
        written.map_err(|error| errno_of(&error))
    }
}

fn errno_of(error: &io::Error) -> Errno {
    Errno::from_io_error(error).unwrap_or(Errno::IO)
}

/// What Linux makes of RESERVATION CONFLICT of a SCSI disk.
const RESERVATION_CONFLICT: Errno = Errno::BADE;

#[cfg(test)]
mod tests {
    use super::super::reservation::{Key, Outcome, Request};
    use super::*;

    const A: NodeId = NodeId(1);
    const B: NodeId = NodeId(2);

    #[test]
    fn all_see_a_write_at_once_and_nobody_writes_behind_the_end() {
        let dir = tempfile::tempdir().unwrap();
        let disk = Disk::open(&dir.path().join("disk"), "data").unwrap();
        disk.write(A, 8192, b"seen").unwrap();
        assert_eq!(disk.read(8192, 4).unwrap(), b"seen");
        assert_eq!(disk.write(A, disk.size_bytes - 2, b"long"), Err(Errno::NOSPC));
        assert_eq!(disk.write(A, u64::MAX, b"wrap"), Err(Errno::NOSPC));
        assert_eq!(disk.read(disk.size_bytes - 2, 4).unwrap().len(), 2);
        assert_eq!(disk.read(u64::MAX, 4).unwrap(), b"");
    }

    #[test]
    fn who_is_not_registered_reads_but_does_not_write() {
        let dir = tempfile::tempdir().unwrap();
        let disk = Disk::open(&dir.path().join("disk"), "data").unwrap();
        let key = Key(1);
        for request in [Request::Register { key }, Request::Reserve { key }] {
            assert_ne!(disk.reservations().ask(A, request), Outcome::Conflict);
        }
        assert_eq!(disk.write(B, 0, b"no"), Err(RESERVATION_CONFLICT));
        assert_eq!(disk.read(0, 2).unwrap(), [0, 0]);
        disk.write(A, 0, b"ok").unwrap();
        assert_eq!(disk.read(0, 2).unwrap(), b"ok");
    }
}
