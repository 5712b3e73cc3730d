//! Memory lock and real-time priority: what keeps the guard on time when the node is busy; that the
//! kernel ends others first when memory runs out; and as many open files as are allowed, for it
//! holds six of each program.
//!
//! The first three are not always allowed. The guard then goes on without, and says so in a notice
//! that the node service records (visible fallback).

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use rustix::mm::{MlockAllFlags, mlockall};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use super::Notice;
use crate::sys::{self, Limits};

/// Real-time priority of the guard: above ordinary real-time work, below interrupt threads (50).
pub(super) const PRIORITY: i32 = 40;

/// Of the guard: it is never ended. Of node service and monitors: only when nothing else is left.
const OOM_GUARD: i32 = -1000;
const OOM_SERVICES: i32 = -900;

/// The limits that the guard's children get.
#[derive(Clone, Copy, Debug)]
pub(super) struct Privilege {
    /// For applications: what the guard was started with.
    pub(super) programs: Limits,
    /// For node service and monitor, which lock their own memory: lifted where allowed.
    pub(super) services: Limits,
}

/// Takes what is allowed and says what is not.
pub(super) fn take(notices: &mut Vec<Notice>) -> Privilege {
    let before = getrlimit(Resource::Memlock);
    let files_before = getrlimit(Resource::Nofile);
    let files = Rlimit { current: files_before.maximum, maximum: files_before.maximum };
    // Up to the hard limit it is always allowed.
    let _ = setrlimit(Resource::Nofile, files);
    match lock_memory() {
        Ok(()) => notices.push(Notice::info("memory-locked", "the guard's memory is locked")),
        Err(why) => notices.push(Notice::warning(
            "memory-not-locked",
            format!(
                "the guard's memory is not locked ({why}): it may be late when memory is short"
            ),
        )),
    }
    match sys::real_time(PRIORITY) {
        Ok(()) => notices.push(Notice::info(
            "real-time",
            format!("the guard runs with real-time priority {PRIORITY}"),
        )),
        Err(why) => notices.push(Notice::warning(
            "not-real-time",
            format!("the guard has no real-time priority ({why}): it may be late on a busy node"),
        )),
    }
    let (oom_before, oom_services) = spare(notices);
    let programs =
        Limits { memlock: pair(before), files: pair(files_before), oom_score: oom_before };
    let lifted = getrlimit(Resource::Memlock).maximum.is_none();
    let memlock = if lifted { (u64::MAX, u64::MAX) } else { programs.memlock };
    Privilege {
        programs,
        services: Limits { memlock, files: pair(files), oom_score: oom_services },
    }
}

/// When memory runs out the kernel ends the largest process it may; then what stands in its way
/// here is a program of a group and not what watches over it. Returns what the guard was started
/// with, which is what programs get, and what node service and monitors get.
fn spare(notices: &mut Vec<Notice>) -> (i32, i32) {
    let path = Path::new(OsStr::from_bytes(sys::OOM_SCORE.to_bytes()));
    let before = fs::read_to_string(path).ok().and_then(|text| text.trim().parse().ok());
    let before = before.unwrap_or_default();
    match fs::write(path, OOM_GUARD.to_string()) {
        Ok(()) => {
            let text = "the kernel ends other programs than the guard when memory runs out";
            notices.push(Notice::info("spared", text));
            (before, OOM_SERVICES)
        }
        Err(why) => {
            let text = format!("the kernel may end the guard when memory runs out ({why})");
            notices.push(Notice::warning("not-spared", text));
            (before, before)
        }
    }
}

/// Locks what is used now and later. Under a limit a later allocation would fail, so the memory
/// is locked only where none holds: it can be lifted, or the guard is exempt, which is the case
/// if it may lock under a limit of zero.
fn lock_memory() -> Result<(), String> {
    let before = getrlimit(Resource::Memlock);
    let lift = setrlimit(Resource::Memlock, Rlimit { current: None, maximum: None });
    if lift.is_err() {
        let zero = Rlimit { current: Some(0), maximum: before.maximum };
        setrlimit(Resource::Memlock, zero).map_err(|e| e.to_string())?;
    }
    let all = MlockAllFlags::CURRENT | MlockAllFlags::FUTURE | MlockAllFlags::ONFAULT;
    mlockall(all).map_err(|why| {
        // The limit was lowered by this process, which may therefore raise it to what it was.
        let _ = setrlimit(Resource::Memlock, before);
        let limit = before.current.unwrap_or_default() / 1024;
        format!("{why}, the limit is {limit} KiB and cannot be lifted")
    })
}

/// Whether a notice is one of [`take`].
pub(super) fn tells(notice: &Notice) -> bool {
    matches!(
        notice.code.as_str(),
        "memory-locked"
            | "memory-not-locked"
            | "spared"
            | "not-spared"
            | "real-time"
            | "not-real-time"
    )
}

fn pair(limit: Rlimit) -> (u64, u64) {
    (limit.current.unwrap_or(u64::MAX), limit.maximum.unwrap_or(u64::MAX))
}
