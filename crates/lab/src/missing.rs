//! What a lab of this user on this machine goes without, said once by `lab up`.

use std::fmt;

use rustix::process::Resource;
use serde::{Deserialize, Serialize};

/// Something a lab goes without.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Missing {
    /// No writable cgroup2.
    Cgroups,
    /// No real-time priority.
    RealTime,
    /// Little memory may be locked.
    LockedMemory,
    /// No other user exists in the lab.
    OtherUsers,
    /// No file system may be mounted from a disk.
    MountedDisks,
}

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Cgroups => {
                "no cgroups: `freeze` stops processes by signal, a node is killed through its PID 1"
            }
            Self::RealTime => "no real-time priority: profile `fast` is not dependable",
            Self::LockedMemory => "no locked memory: a guard may wait for its pages",
            Self::OtherUsers => "no other users: applications run as you, `user=` is refused",
            Self::MountedDisks => "no mounted disks: groups have no file systems of their own",
        })
    }
}

/// What this process, the lab's supervisor, can see is missing.
pub(crate) fn find(ordinary_user: bool, cgroups: bool) -> Vec<Missing> {
    let limit = |resource| rustix::process::getrlimit(resource).current;
    let mut missing = Vec::new();
    if !cgroups {
        missing.push(Missing::Cgroups);
    }
    if ordinary_user {
        if limit(Resource::Rtprio) == Some(0) {
            missing.push(Missing::RealTime);
        }
        if limit(Resource::Memlock).is_some_and(|bytes| bytes < MEMLOCK_BYTES) {
            missing.push(Missing::LockedMemory);
        }
        missing.extend([Missing::OtherUsers, Missing::MountedDisks]);
    }
    missing
}

/// What guard and node service of one node lock at most.
const MEMLOCK_BYTES: u64 = 64 << 20;
