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

use super::history::{Deed, History};
use super::image;
use super::reservation::{Outcome, Request, Reservations};
use crate::step::{Step, StepError};

/// One disk.
#[derive(Debug)]
pub(super) struct Disk {
    pub(super) name: String,
    pub(super) size_bytes: u64,
    file: File,
    reservations: Mutex<Reservations>,
    history: History,
    /// Who wrote and who was refused last; forgotten when the registrations change.
    last: Mutex<Last>,
}

#[derive(Debug, Default)]
struct Last {
    wrote: Option<NodeId>,
    refused: Option<NodeId>,
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
        let history = History::open(file)?;
        let (name, reservations, last) = (name.to_owned(), Mutex::default(), Mutex::default());
        Ok(Self { name, size_bytes, file: opened, reservations, history, last })
    }

    /// Its registrations; no write goes on while they are held.
    pub(super) fn reservations(&self) -> MutexGuard<'_, Reservations> {
        // Nothing panics half way through a change.
        self.reservations.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Carries out a request of a path.
    pub(super) fn ask(&self, node: NodeId, request: Request) -> Outcome {
        let mut reservations = self.reservations();
        let outcome = reservations.ask(node, request);
        match outcome {
            Outcome::Done { .. } => {
                *self.last.lock().unwrap_or_else(PoisonError::into_inner) = Last::default();
                self.history.note(node, Deed::Asked(request), reservations.nodes());
            }
            Outcome::Conflict | Outcome::Keys(_) => {}
        }
        outcome
    }

    /// Notes what is new on a disk that knows reservations; on another (the quorum disk) all write.
    fn noted(&self, node: NodeId, deed: Deed, reservations: &Reservations) {
        if !reservations.used() {
            return;
        }
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let before = match deed {
            Deed::Wrote => &mut last.wrote,
            Deed::Refused => &mut last.refused,
            Deed::Asked(_) => return,
        };
        if before.replace(node) != Some(node) {
            self.history.note(node, deed, reservations.nodes());
        }
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
            self.noted(node, Deed::Refused, &reservations);
            return Err(RESERVATION_CONFLICT);
        }
        let end = offset.checked_add(data.len() as u64);
        if end.is_none_or(|end| end > self.size_bytes) {
            return Err(Errno::NOSPC);
        }
        self.noted(node, Deed::Wrote, &reservations);
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
    use super::super::reservation::Key;
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
            assert_ne!(disk.ask(A, request), Outcome::Conflict);
        }
        assert_eq!(disk.write(B, 0, b"no"), Err(RESERVATION_CONFLICT));
        assert_eq!(disk.write(B, 0, b"no"), Err(RESERVATION_CONFLICT));
        assert_eq!(disk.read(0, 2).unwrap(), [0, 0]);
        disk.write(A, 0, b"ok").unwrap();
        assert_eq!(disk.read(0, 2).unwrap(), b"ok");
        let history = super::super::history::read(&dir.path().join("disk")).unwrap();
        let told: Vec<(NodeId, Deed)> =
            history.into_iter().map(|h| (h.node, h.what)).skip(2).collect();
        assert_eq!(told, [(B, Deed::Refused), (A, Deed::Wrote)]);
    }
}
