//! Block devices and file systems: what has no safe call.

#![expect(unsafe_code, reason = "an ioctl, fanotify, and what a child does before exec")]

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

/// Forgets what the kernel has cached of a block device: another node has written to it since.
pub(crate) fn forget_cached(device: &File) -> io::Result<()> {
    const BLKFLSBUF: libc::Ioctl = 0x1261;
    // SAFETY: the request takes no argument.
    check(unsafe { libc::ioctl(device.as_raw_fd(), BLKFLSBUF, 0) })
}

/// The child dies with the thread that starts it.
pub(crate) fn dies_with_us(command: &mut Command) -> &mut Command {
    // SAFETY: the closure makes one system call and allocates nothing.
    unsafe { command.pre_exec(|| check(libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL))) }
}

/// Errors of one file system, told by its driver.
#[derive(Debug)]
pub(crate) struct FileSystemErrors(OwnedFd);

impl FileSystemErrors {
    /// Errors of the file system mounted there from now on.
    ///
    /// # Errors
    /// This kernel (before 5.16) or this driver does not tell.
    pub(crate) fn of(point: &Path) -> io::Result<Self> {
        let point = File::open(point)?;
        let flags =
            libc::FAN_CLASS_NOTIF | libc::FAN_REPORT_FID | libc::FAN_CLOEXEC | libc::FAN_NONBLOCK;
        // SAFETY: takes two numbers and gives a new descriptor.
        let made = unsafe { libc::fanotify_init(flags, libc::O_RDONLY as u32) };
        check(made)?;
        // SAFETY: the descriptor is new and nobody else owns it.
        let errors = unsafe { OwnedFd::from_raw_fd(made) };
        let mark = libc::FAN_MARK_ADD | libc::FAN_MARK_FILESYSTEM;
        // SAFETY: both descriptors are open; no path is given.
        check(unsafe {
            libc::fanotify_mark(made, mark, FAN_FS_ERROR, point.as_raw_fd(), std::ptr::null())
        })?;
        Ok(Self(errors))
    }

    /// Reads what was told; the error numbers.
    pub(crate) fn take(&self) -> Vec<i32> {
        let mut bytes = [0; 4096];
        let got = rustix::io::read(&self.0, &mut bytes).unwrap_or(0);
        errors_in(&bytes[..got])
    }
}

impl AsFd for FileSystemErrors {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// Of `fanotify.h`.
const FAN_FS_ERROR: u64 = 0x8000;
/// Of `fanotify.h`: an information record with an error number behind its header.
const FAN_EVENT_INFO_TYPE_ERROR: u8 = 5;
/// Bytes of `struct fanotify_event_metadata`.
const METADATA_BYTES: usize = 24;

/// The error numbers in what fanotify gives: events, each with information records.
fn errors_in(mut bytes: &[u8]) -> Vec<i32> {
    let mut errors = Vec::new();
    while let Some(length) = number(bytes, 0).map(|length| length as usize) {
        let Some(event) = bytes.get(..length).filter(|_| length >= METADATA_BYTES) else { break };
        let mut records = &event[METADATA_BYTES..];
        while let [kind, _, low, high, ..] = *records {
            let length = usize::from(u16::from_ne_bytes([low, high]));
            if kind == FAN_EVENT_INFO_TYPE_ERROR
                && let Some(error) = number(records, 4)
            {
                errors.push(error.cast_signed());
            }
            records = records.get(length.max(4)..).unwrap_or_default();
        }
        bytes = &bytes[length..];
    }
    errors
}

fn number(bytes: &[u8], at: usize) -> Option<u32> {
    let bytes = bytes.get(at..)?.first_chunk::<4>()?;
    Some(u32::from_ne_bytes(*bytes))
}

fn check(result: i32) -> io::Result<()> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An event of `length` bytes with an error record behind another one.
    fn event(error: i32) -> Vec<u8> {
        let mut bytes = 44_u32.to_ne_bytes().to_vec();
        bytes.resize(METADATA_BYTES, 0);
        bytes.extend([1, 0]);
        bytes.extend(8_u16.to_ne_bytes());
        bytes.extend([0; 4]);
        bytes.extend([FAN_EVENT_INFO_TYPE_ERROR, 0]);
        bytes.extend(12_u16.to_ne_bytes());
        bytes.extend(error.to_ne_bytes());
        bytes.extend([0; 4]);
        bytes
    }

    #[test]
    fn error_numbers_are_found_and_damaged_events_do_no_harm() {
        let mut two = event(5);
        two.extend(event(117));
        assert_eq!(errors_in(&two), [5, 117]);
        for cut in 0..two.len() {
            assert!(errors_in(&two[..cut]).len() <= 2);
        }
        assert!(errors_in(&[0; 64]).is_empty());
    }
}
