//! What keeps heartbeats and lease questions on time: real-time priority for the thread that
//! sends them, memory that is not swapped, and an allocator that stays small.
//!
//! Every part may be refused (no root, no capability, limits): then the service runs without and
//! says so, in its records and in `explain timeouts`. Profile `fast` needs both.

#![expect(unsafe_code, reason = "scheduling and allocator have no safe interface")]

use std::fmt;
use std::io;

use rustix::mm::{MlockAllFlags, mlockall};
use rustix::process::{Resource, getrlimit};
use rustix::thread::CapabilitySet;
use stead_model::wire::guard::NODE_PRIORITY as PRIORITY;

/// Allocations from this size on are returned to the system when they are freed.
const RETURNED_BYTES: i32 = 128 << 10;

/// What was granted.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Priority {
    scheduling: Result<(), String>,
    memory: Result<(), String>,
}

/// Asks for both, for the calling thread and the whole process.
pub(crate) fn claim() -> Priority {
    Priority { scheduling: real_time(), memory: lock_memory() }
}

/// Whether a process like this one gets real-time priority: a thread that ends at once tries.
pub(crate) fn try_real_time() -> Result<(), String> {
    let tried = std::thread::spawn(real_time).join();
    tried.unwrap_or_else(|_| Err("the thread that tried it ended".to_owned()))
}

impl Priority {
    /// Of a service that shares its process with others.
    pub(crate) fn not_asked() -> Self {
        let why = || Err("not asked for".to_owned());
        Self { scheduling: why(), memory: why() }
    }

    /// Whether anything was refused.
    pub(crate) const fn is_full(&self) -> bool {
        self.scheduling.is_ok() && self.memory.is_ok()
    }
}

impl fmt::Display for Priority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.scheduling {
            Ok(()) => write!(f, "real-time priority {PRIORITY}")?,
            Err(why) => write!(f, "no real-time priority ({why})")?,
        }
        match &self.memory {
            Ok(()) => f.write_str(", memory locked"),
            Err(why) => write!(f, ", memory not locked ({why})"),
        }
    }
}

fn real_time() -> Result<(), String> {
    // SAFETY: an all-zero `sched_param` is a valid one.
    let mut param: libc::sched_param = unsafe { std::mem::zeroed() };
    param.sched_priority = PRIORITY;
    let policy = libc::SCHED_FIFO | libc::SCHED_RESET_ON_FORK;
    // SAFETY: thread 0 is the calling one; `param` outlives the call, which only reads it.
    let result = unsafe { libc::sched_setscheduler(0, policy, &raw const param) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error().to_string()) }
}

fn lock_memory() -> Result<(), String> {
    if !is_unlimited() {
        return Err("the limit for locked memory is finite".into());
    }
    let flags = MlockAllFlags::CURRENT | MlockAllFlags::FUTURE | MlockAllFlags::ONFAULT;
    mlockall(flags).map_err(|error| io::Error::from(error).to_string())
}

/// Whether any amount may be locked. Below a limit a locked process can run out of lockable
/// memory in the middle of an allocation; the capability lifts the limit, but not the one that
/// root of a user namespace has.
fn is_unlimited() -> bool {
    if getrlimit(Resource::Memlock).current.is_none() {
        return true;
    }
    let capable = rustix::thread::capabilities(None)
        .is_ok_and(|sets| sets.effective.contains(CapabilitySet::IPC_LOCK));
    let map = std::fs::read_to_string("/proc/self/uid_map").unwrap_or_default();
    capable && map.split_whitespace().eq(["0", "0", "4294967295"])
}

/// Makes the allocator keep few arenas and give large blocks back.
pub(crate) fn keep_memory_small() {
    let settings = [
        (libc::M_ARENA_MAX, 2),
        (libc::M_MMAP_THRESHOLD, RETURNED_BYTES),
        (libc::M_TRIM_THRESHOLD, RETURNED_BYTES),
    ];
    for (name, value) in settings {
        // SAFETY: sets a number of the allocator; refused ones leave the default.
        unsafe { libc::mallopt(name, value) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_refused_is_said() {
        let granted = Priority { scheduling: Ok(()), memory: Ok(()) };
        assert!(granted.is_full());
        assert_eq!(granted.to_string(), "real-time priority 5, memory locked");
        let refused = Priority { scheduling: Err("not permitted".into()), memory: Ok(()) };
        assert!(!refused.is_full());
        let said = "no real-time priority (not permitted), memory locked";
        assert_eq!(refused.to_string(), said);
    }
}
