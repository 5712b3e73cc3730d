//! Control groups: one per program, where a cgroup2 file system is found and may be written.
//!
//! On hybrid hosts it is not at `/sys/fs/cgroup`, so it is looked up in mountinfo. Without one
//! the program's PID namespace is the kill switch; with one, it is killed both ways: frozen, so
//! that nothing forks any more, and killed. Where there is no PID namespace the control group also
//! says when nothing is left: `populated 0` in `cgroup.events`, told by the kernel.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};
use serde::{Deserialize, Serialize};
use stead_model::{Incarnation, mount_table};

use super::handover::{Kept, Luggage};
use crate::sys;

/// Names of the folders of guards begin so.
pub(super) const FOLDER_PREFIX: &str = "stead-guard-";

/// The guard's own part of the control group tree. The lock on the folder says that it lives.
#[derive(Debug)]
pub(super) struct CgroupTree {
    folder: PathBuf,
    lock: File,
}

/// The guard's tree on its way to the program that takes over.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct TreeParcel {
    folder: PathBuf,
    lock: Kept,
}

/// The control group of one program.
#[derive(Debug)]
pub(super) struct Cgroup {
    folder: PathBuf,
    freeze: File,
    /// Kernels before 5.14 have none.
    kill: Option<File>,
    events: File,
    procs: File,
}

/// A control group on its way to the program that takes over.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct CgroupParcel {
    folder: PathBuf,
    freeze: Kept,
    kill: Option<Kept>,
    events: Kept,
    procs: Kept,
}

impl CgroupTree {
    pub(super) fn hand_over(&self, luggage: &mut Luggage) -> TreeParcel {
        TreeParcel { folder: self.folder.clone(), lock: luggage.keep(&self.lock) }
    }

    pub(super) fn take_over(parcel: TreeParcel) -> io::Result<Self> {
        Ok(Self { folder: parcel.folder, lock: File::from(parcel.lock.take()?) })
    }

    /// Makes the guard's own folder below the control group it was started in.
    ///
    /// # Errors
    /// There is no cgroup2 file system here, or it may not be written.
    pub(super) fn make(incarnation: Incarnation) -> io::Result<Self> {
        let base = folder_of(&own_group()?)?;
        sweep(&base);
        let folder = base.join(format!("{FOLDER_PREFIX}{:016x}", incarnation.0));
        fs::create_dir(&folder)?;
        let lock = File::open(&folder)?;
        flock(&lock, FlockOperation::NonBlockingLockExclusive)?;
        let tree = Self { folder, lock };
        tree.create("probe")?.remove()?;
        Ok(tree)
    }

    /// Its folder.
    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Makes the control group of a program.
    pub(super) fn create(&self, name: &str) -> io::Result<Cgroup> {
        let folder = self.folder.join(name);
        fs::create_dir(&folder)?;
        Cgroup::open(&folder).inspect_err(|_| drop(fs::remove_dir(&folder)))
    }
}

impl Drop for CgroupTree {
    fn drop(&mut self) {
        // Fails if something is left in it; the next guard sweeps it.
        drop(fs::remove_dir(&self.folder));
    }
}

impl Cgroup {
    /// One that is there.
    pub(super) fn open(folder: &Path) -> io::Result<Self> {
        let open = |file: &str| OpenOptions::new().write(true).open(folder.join(file));
        Ok(Self {
            folder: folder.to_owned(),
            freeze: open("cgroup.freeze")?,
            kill: open("cgroup.kill").ok(),
            events: File::open(folder.join("cgroup.events"))?,
            procs: open("cgroup.procs")?,
        })
    }

    pub(super) fn hand_over(&self, luggage: &mut Luggage) -> CgroupParcel {
        CgroupParcel {
            folder: self.folder.clone(),
            freeze: luggage.keep(&self.freeze),
            kill: self.kill.as_ref().map(|kill| luggage.keep(kill)),
            events: luggage.keep(&self.events),
            procs: luggage.keep(&self.procs),
        }
    }

    pub(super) fn take_over(parcel: CgroupParcel) -> io::Result<Self> {
        let file = |kept: Kept| kept.take().map(File::from);
        Ok(Self {
            folder: parcel.folder,
            freeze: file(parcel.freeze)?,
            kill: parcel.kill.map(file).transpose()?,
            events: file(parcel.events)?,
            procs: file(parcel.procs)?,
        })
    }

    /// Moves a process in; where that is refused the group is removed again.
    pub(super) fn entered_by(mut self, pid: i32) -> Option<Self> {
        match self.procs.write_all(pid.to_string().as_bytes()) {
            Ok(()) => Some(self),
            Err(_) => {
                drop(self.remove());
                None
            }
        }
    }

    /// Kills all processes in it. Frozen first, none of them begets another one meanwhile; a
    /// frozen process dies as any other.
    pub(super) fn kill(&mut self) -> io::Result<()> {
        drop(self.freeze.write_all(b"1"));
        match &mut self.kill {
            Some(kill) => kill.write_all(b"1"),
            None => kill_each(&self.folder),
        }
    }

    /// Lets what lives in it run again.
    pub(super) fn thaw(&mut self) -> io::Result<()> {
        self.freeze.write_all(b"0")
    }

    /// Whether somebody removed it, which only an empty one can be.
    pub(super) fn is_removed(&self) -> bool {
        let read = self.events.read_at(&mut [0; 1], 0);
        read.is_err_and(|why| why.raw_os_error() == Some(libc::ENODEV))
    }

    /// Whether no process lives in it. Until it is read again, the descriptor of
    /// [`Cgroup::poll_for`] tells the next change.
    pub(super) fn is_empty(&self) -> io::Result<bool> {
        let mut bytes = [0; 128];
        let got = self.events.read_at(&mut bytes, 0)?;
        Ok(is_empty(&String::from_utf8_lossy(&bytes[..got])))
    }

    /// Exceptional (`PRI`) when a process entered it first or the last one is gone.
    pub(super) fn poll_for(&self) -> BorrowedFd<'_> {
        self.events.as_fd()
    }

    /// Removes it when it is empty.
    pub(super) fn remove(&self) -> io::Result<()> {
        fs::remove_dir(&self.folder)
    }
}

/// Kills what lives in a control group and those below it, for kernels that have no `cgroup.kill`.
fn kill_each(folder: &Path) -> io::Result<()> {
    let all = fs::read_to_string(folder.join("cgroup.procs"))?;
    for pid in all.lines().filter_map(|pid| pid.parse().ok()).filter(|pid: &i32| *pid > 0) {
        drop(sys::kill(pid, libc::SIGKILL));
    }
    let below = fs::read_dir(folder)?.flatten().map(|entry| entry.path());
    for group in below.filter(|path| path.is_dir()) {
        // One that is gone meanwhile was empty.
        drop(kill_each(&group));
    }
    Ok(())
}

/// The control group of this process, as in `/proc/self/cgroup`.
pub(super) fn own_group() -> io::Result<String> {
    let own = fs::read_to_string("/proc/self/cgroup")?;
    let group = own.lines().find_map(|line| line.strip_prefix("0::"));
    group.map(str::to_owned).ok_or_else(no_cgroup2)
}

/// Where a control group is a folder.
pub(super) fn folder_of(group: &str) -> io::Result<PathBuf> {
    let table = fs::read_to_string("/proc/self/mountinfo")?;
    mount_table::control_group(&table, group).ok_or_else(no_cgroup2)
}

fn no_cgroup2() -> io::Error {
    io::Error::new(io::ErrorKind::NotFound, "no cgroup2 mount in mountinfo")
}

/// Whether `cgroup.events` says that nothing lives there.
fn is_empty(events: &str) -> bool {
    events.lines().any(|line| line == "populated 0")
}

/// Removes what dead guards left: folders nobody holds a lock on, as far as they are empty.
pub(super) fn sweep(base: &Path) {
    let entries = fs::read_dir(base).into_iter().flatten().flatten();
    let trees = entries.filter(|e| e.file_name().to_string_lossy().starts_with(FOLDER_PREFIX));
    for tree in trees.map(|entry| entry.path()) {
        let dead = File::open(&tree)
            .is_ok_and(|t| flock(&t, FlockOperation::NonBlockingLockExclusive).is_ok());
        if dead {
            for group in fs::read_dir(&tree).into_iter().flatten().flatten() {
                drop(fs::remove_dir(group.path()));
            }
            drop(fs::remove_dir(&tree));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn emptiness_is_what_the_kernel_says() {
        assert!(is_empty("populated 0\nfrozen 1\n"));
        assert!(!is_empty("populated 1\nfrozen 1\n"));
        assert!(!is_empty(""), "no word is no proof");
    }
}
