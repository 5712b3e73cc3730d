//! What a hand does to one mounted file system: shut it down, detach it, prove that it is gone.
//!
//! Runs in a process of its own, for every one of these calls may wait for the device.

use std::fs::{File, OpenOptions};
use std::io::{self, Read};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::PathBuf;
use std::time::Duration;

use rustix::fs::{OFlags, major, minor};
use rustix::mount::{UnmountFlags, unmount};
use serde::{Deserialize, Serialize};
use stead_model::mount_table;
use stead_model::wire::guard::MountUndo;

use crate::sys;

/// What a hand is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(super) enum Task {
    /// Nothing may be written any more.
    ShutDown,
    /// Nothing may be written, and no mount is left in any namespace.
    Detach,
    /// Lets go of the descriptor: whoever does that last waits for the device.
    LetGo,
}

/// Does it, and gives the code the process ends with: nothing is left to do.
///
/// The other end of `gate` is closed when the guard has let go of its own copy of `root`.
pub(super) fn act(task: Task, undo: &MountUndo, root: Option<OwnedFd>, mut gate: impl Read) -> u8 {
    // The end of the pipe is all that is waited for.
    let _ = gate.read(&mut [0]);
    match task {
        Task::LetGo => {}
        Task::ShutDown => shut_down(undo, root.as_ref()),
        Task::Detach => {
            shut_down(undo, root.as_ref());
            detach(undo);
            // It would keep the file system alive.
            drop(root);
            wait_until_gone(undo);
        }
    }
    0
}

/// By the descriptor that was handed over, and by the mount point: the monitor may have died
/// between the mount and the hand-over.
fn shut_down(undo: &MountUndo, root: Option<&OwnedFd>) {
    if let Some(root) = root {
        // It may be shut down already.
        drop(sys::hand::shut_down_file_system(root.as_fd()));
    }
    for point in points(undo) {
        let Ok(opened) = File::open(point) else { continue };
        if opened.metadata().is_ok_and(|found| found.dev() == undo.number) {
            drop(sys::hand::shut_down_file_system(opened.as_fd()));
        }
    }
}

/// Takes every mount of the device away from the mount point, the last one first.
fn detach(undo: &MountUndo) {
    for point in points(undo).iter().rev() {
        // What cannot be taken away shows in the proof.
        let _ = unmount(point, UnmountFlags::DETACH | UnmountFlags::NOFOLLOW);
    }
}

/// Where the device is mounted at the mount point, once per mount.
fn points(undo: &MountUndo) -> Vec<PathBuf> {
    let table = std::fs::read("/proc/self/mountinfo").unwrap_or_default();
    points_in(&table, undo)
}

fn points_in(table: &[u8], undo: &MountUndo) -> Vec<PathBuf> {
    let device = (major(undo.number), minor(undo.number));
    let mounts = mount_table::parse(table).into_iter();
    let meant = mounts.filter(|m| m.device == device && m.point.as_os_str() == undo.point.as_str());
    meant.map(|mount| mount.point).collect()
}

/// An exclusive open succeeds when no mount of the device is left in any namespace. Never gives
/// up: until then the node is dirty.
fn wait_until_gone(undo: &MountUndo) {
    while !is_gone(undo) {
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn is_gone(undo: &MountUndo) -> bool {
    let exclusive = OFlags::EXCL.bits().cast_signed();
    match OpenOptions::new().read(true).custom_flags(exclusive).open(&undo.device) {
        Ok(_) => true,
        Err(why) if why.kind() == io::ErrorKind::NotFound => true,
        Err(why) => match why.raw_os_error() {
            // The device itself is gone.
            Some(libc::ENXIO | libc::ENODEV) => true,
            // Busy: another device under this path proves nothing, but is not ours either.
            Some(_) | None => {
                std::fs::metadata(&undo.device).is_ok_and(|found| found.rdev() != undo.number)
            }
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &[u8] = b"36 35 7:3 / /srv/my\\040data rw,noatime shared:1 - ext4 /dev/loop3 rw\n\
                           37 35 7:3 /sub /elsewhere rw - ext4 /dev/loop3 rw\n\
                           38 35 7:4 / /srv/my\\040data rw - ext4 /dev/loop4 rw\n\
                           39 36 7:3 / /srv/my\\040data rw - ext4 /dev/loop3 rw\n";

    #[test]
    fn only_mounts_of_that_device_at_that_place_are_meant() {
        let undo = |number, point: &str| MountUndo {
            what: String::new(),
            device: String::new(),
            number,
            point: point.into(),
        };
        let number = |minor| rustix::fs::makedev(7, minor);
        let found = |undo: &MountUndo| points_in(TABLE, undo).len();
        assert_eq!(found(&undo(number(3), "/srv/my data")), 2);
        assert_eq!(found(&undo(number(4), "/srv/my data")), 1);
        assert_eq!(found(&undo(number(5), "/srv/my data")), 0);
        assert_eq!(found(&undo(number(3), "/srv")), 0);
    }
}
