//! Watches a mounted file system: what the kernel tells makes a check due at once.
//!
//! * An error the driver reports (fanotify's `FAN_FS_ERROR`): a log that cannot be written, a
//!   damaged structure.
//! * A change of the mounts of this namespace: somebody unmounted it, or it takes no write any
//!   more.
//!
//! The thread waits for the kernel only and never touches the device, so a disk that hangs does
//! not hang it.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use rustix::event::{EventfdFlags, PollFd, PollFlags, eventfd, poll};

use super::mount_table;
use crate::host::block::FileSystemErrors;
use crate::monitor::STACK_BYTES;
use crate::resource_type::Push;

/// What is watched.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Watched {
    /// Number of the device.
    pub(super) number: u64,
    /// Where it is mounted.
    pub(super) point: PathBuf,
    /// Whether it was mounted to be written.
    pub(super) writes: bool,
}

/// What is wrong with a mount; it stays so until it is mounted anew.
#[derive(Clone, Debug, Default)]
pub(super) struct Trouble(Arc<Mutex<Option<String>>>);

impl Trouble {
    /// Notes what is wrong; the first cause counts.
    pub(super) fn note(&self, why: String) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(why);
    }

    /// What is wrong, if anything.
    pub(super) fn known(&self) -> Option<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Watches until it is dropped.
#[derive(Debug)]
pub(super) struct Watch {
    end: Arc<OwnedFd>,
}

impl Watch {
    /// Begins.
    ///
    /// # Errors
    /// There is no thread or no descriptor for it.
    pub(super) fn start(watched: Watched, trouble: Trouble, push: Push) -> io::Result<Self> {
        let end = Arc::new(eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?);
        let mounts = File::open("/proc/self/mountinfo")?;
        let errors = FileSystemErrors::of(&watched.point).ok();
        let ends = Arc::clone(&end);
        thread::Builder::new().stack_size(STACK_BYTES).spawn(move || {
            if let Some(why) = wait(&watched, &mounts, errors.as_ref(), &ends) {
                trouble.note(why);
                push.look();
            }
        })?;
        Ok(Self { end })
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        // A counter that is full wakes as well.
        let _ = rustix::io::write(&self.end, &1_u64.to_ne_bytes());
    }
}

/// Waits for a failure; `None` when the watch is over.
fn wait(
    watched: &Watched,
    mounts: &File,
    errors: Option<&FileSystemErrors>,
    end: &OwnedFd,
) -> Option<String> {
    loop {
        if let Some(why) = missing(watched) {
            return Some(why);
        }
        let mut fds = vec![PollFd::new(end, PollFlags::IN), PollFd::new(mounts, PollFlags::PRI)];
        fds.extend(errors.map(|errors| PollFd::from_borrowed_fd(errors.as_fd(), PollFlags::IN)));
        match poll(&mut fds, None) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(_) => return None,
        }
        if !fds[0].revents().is_empty() {
            return None;
        }
        let told = errors.map(FileSystemErrors::take).unwrap_or_default();
        if let Some(error) = told.first() {
            let why = io::Error::from_raw_os_error(error.abs());
            return Some(format!("the file system reports an error: {why}"));
        }
    }
}

/// What the table of mounts says against it.
fn missing(watched: &Watched) -> Option<String> {
    let Watched { number, point, writes } = watched;
    let entries = mount_table::own().ok()?;
    let shown = point.display();
    match mount_table::of_device(&entries, *number, point) {
        None => Some(format!("it is not mounted at {shown} any more: somebody unmounted it")),
        Some(entry) if *writes && entry.read_only => {
            Some(format!("the file system at {shown} takes no write any more (read-only)"))
        }
        Some(_) => None,
    }
}
