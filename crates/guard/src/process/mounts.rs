//! The mounted file systems of cluster disks: known from their admission to the proof that no
//! mount of them is left in any namespace.
//!
//! The guard holds a descriptor of each, so that it can shut the file system down whatever became
//! of the mount point. It never closes one itself: the last to let go of a file system waits for
//! its device, so a hand does ([`super::hand`]).
//!
//! What is mounted is written down below `/run`, for the guard that follows one that was killed:
//! it takes these mounts away before it says that nothing runs.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use stead_model::wire::guard::{Claim, InstanceId, MountUndo};

use super::hand::{self, Task};
use super::handover::{Kept, Luggage};
use super::written;
use crate::sys::{self, hand::GuardDeath};

/// All mounts of this guard.
#[derive(Debug)]
pub(super) struct Mounts {
    record: PathBuf,
    held: BTreeMap<InstanceId, Mount>,
    hands: Vec<Hand>,
}

#[derive(Debug)]
struct Mount {
    written: Written,
    root: Option<OwnedFd>,
}

/// What is written down of a mount.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
struct Written {
    claim: Claim,
    undo: MountUndo,
}

#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
struct Hand {
    /// Its number, which stays its own until it was waited for.
    pid: i32,
    instance: InstanceId,
    task: Task,
}

/// The mounts on their way to the program that takes over.
#[derive(Default, Debug, Serialize, Deserialize)]
pub(super) struct MountsParcel {
    held: Vec<(InstanceId, Written, Option<Kept>)>,
    hands: Vec<Hand>,
}

impl Mounts {
    pub(super) fn hand_over(&self, luggage: &mut Luggage) -> MountsParcel {
        let held = self.held.iter().map(|(instance, mount)| {
            let root = mount.root.as_ref().map(|root| luggage.keep(root));
            (*instance, mount.written.clone(), root)
        });
        MountsParcel { held: held.collect(), hands: self.hands.clone() }
    }

    pub(super) fn take_over(root: &Path, parcel: MountsParcel) -> io::Result<Self> {
        let held = parcel.held.into_iter().map(|(instance, written, root)| {
            Ok((instance, Mount { written, root: root.map(Kept::take).transpose()? }))
        });
        let held = held.collect::<io::Result<_>>()?;
        Ok(Self { record: record_in(root), held, hands: parcel.hands })
    }

    /// Those that a guard before this one left, numbered from 1 on.
    pub(super) fn left_in(root: &Path) -> Self {
        let record = record_in(root);
        let left = std::fs::read(&record).ok();
        let left = left.and_then(|bytes| serde_json::from_slice::<Vec<Written>>(&bytes).ok());
        let left = left.unwrap_or_default().into_iter();
        let held = left.map(|written| Mount { written, root: None });
        let held = (1..).map(InstanceId).zip(held).collect();
        Self { record, held, hands: Vec::new() }
    }

    /// For whom they were mounted.
    pub(super) fn claims(&self) -> Vec<Claim> {
        self.held.values().map(|mount| mount.written.claim.clone()).collect()
    }

    /// One was admitted. It is written down before it is made.
    pub(super) fn add(
        &mut self,
        instance: InstanceId,
        claim: Claim,
        undo: MountUndo,
    ) -> io::Result<()> {
        self.held.insert(instance, Mount { written: Written { claim, undo }, root: None });
        self.write().inspect_err(|_| drop(self.held.remove(&instance)))
    }

    /// It was made.
    pub(super) fn made(&mut self, instance: InstanceId, root: OwnedFd) {
        if let Some(mount) = self.held.get_mut(&instance) {
            mount.root = Some(root);
        }
    }

    pub(super) fn contains(&self, instance: InstanceId) -> bool {
        self.held.contains_key(&instance)
    }

    /// What it is, for people.
    pub(super) fn what(&self, instance: InstanceId) -> Option<&str> {
        self.held.get(&instance).map(|mount| mount.written.undo.what.as_str())
    }

    /// Puts a hand to a mount; one that is detached already needs no other. Tells whether there is
    /// a hand for it now.
    pub(super) fn put_hand(&mut self, instance: InstanceId, task: Task) -> io::Result<()> {
        let Some(mount) = self.held.get_mut(&instance) else { return Ok(()) };
        let detaches = |hand: &Hand| hand.instance == instance && hand.task == Task::Detach;
        if self.hands.iter().any(detaches) || task == Task::LetGo && mount.root.is_none() {
            return Ok(());
        }
        let (gate, opens) = io::pipe()?;
        let root = mount.root.as_ref().map(OwnedFd::try_clone).transpose()?;
        let keep = [Some(gate.as_raw_fd()), root.as_ref().map(AsRawFd::as_raw_fd)];
        let keep: Vec<i32> = keep.into_iter().flatten().collect();
        let undo = &mount.written.undo;
        let act = move || hand::act(task, undo, root, gate);
        let process = sys::hand::fork(&keep, GuardDeath::Follow, act)?;
        match task {
            Task::ShutDown => {}
            // The hand has a copy: this one is not the last.
            Task::Detach | Task::LetGo => mount.root = None,
        }
        drop(opens);
        self.hands.push(Hand { pid: process.pid, instance, task });
        Ok(())
    }

    /// Whether this is a hand.
    pub(super) fn is_hand(&self, pid: i32) -> bool {
        self.hands.iter().any(|hand| hand.pid == pid)
    }

    /// A hand ended; tells of which mount nothing is left by that, or which needs another hand.
    pub(super) fn hand_ended(&mut self, pid: i32, code: Option<i32>) -> Option<HandEnd> {
        let at = self.hands.iter().position(|hand| hand.pid == pid)?;
        let Hand { instance, task, .. } = self.hands.swap_remove(at);
        match (task, code) {
            (Task::Detach, Some(0)) => Some(HandEnd::Gone(instance)),
            (Task::Detach, _) => Some(HandEnd::Failed(instance)),
            (Task::ShutDown | Task::LetGo, _) => None,
        }
    }

    /// Nothing is left of it.
    pub(super) fn forget(&mut self, instance: InstanceId) {
        // One that made itself unnecessary before it was let go of.
        let _ = self.put_hand(instance, Task::LetGo);
        if self.held.remove(&instance).is_some() {
            // What stays written is looked at in vain by the next guard.
            let _ = self.write();
        }
    }

    fn write(&self) -> io::Result<()> {
        let all: Vec<&Written> = self.held.values().map(|mount| &mount.written).collect();
        written::write(&self.record, &all)
    }
}

fn record_in(root: &Path) -> PathBuf {
    root.join("run/stead/mounts.json")
}

/// How a hand that detaches a mount ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum HandEnd {
    /// Nothing of the mount is left.
    Gone(InstanceId),
    /// It did not do its work.
    Failed(InstanceId),
}
