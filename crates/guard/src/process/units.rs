//! The systemd services of this guard: their processes are PID 1's children, so three things hold
//! instead of a clone.
//!
//! * **Nothing starts without its condition**, a file that the guard makes with the admission and
//!   removes first of all. A start that waits in PID 1 finds it gone.
//! * **The control group is frozen before it is killed and stays frozen**, so that a process that
//!   PID 1 puts in afterwards (its look at the condition was earlier) does not run an instruction
//!   of the unit. It is killed as soon as it is seen. Where PID 1 has not made the group yet, the
//!   guard does. It is watched until PID 1 removes it, which it does when the unit is inactive, or
//!   until the unit is admitted again.
//! * **A warden waits for the death of the guard** and does the same then: nobody else would, for
//!   the unit is in no control group of ours. The next guard does it again, from a record below
//!   `/run`, before it says that nothing runs.
//!
//! Neither needs PID 1, which may hang. Not here: starting and stopping it, which is the monitor's.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, PipeWriter, Read, Write};
use std::os::fd::{AsRawFd, BorrowedFd};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use stead_model::unit;
use stead_model::wire::guard::{Claim, InstanceId, UnitUndo};

use super::cgroup::{Cgroup, CgroupParcel, folder_of, own_group};
use super::handover::{Kept, Luggage};
use super::privilege::PRIORITY;
use super::written::{self, remove};
use crate::sys::{self, hand::GuardDeath};

/// All units of this guard.
#[derive(Debug)]
pub(super) struct Units {
    root: PathBuf,
    held: BTreeMap<InstanceId, Unit>,
    /// Control groups that stay frozen after the unit is gone.
    frozen: Vec<Frozen>,
}

/// A unit that is admitted.
#[derive(Debug)]
struct Unit {
    written: Written,
    folder: PathBuf,
    warden: Option<Warden>,
    ending: Ending,
}

/// What is written down of a unit.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
struct Written {
    claim: Claim,
    undo: UnitUndo,
}

/// How far the end of a unit is.
#[derive(Debug)]
enum Ending {
    /// It may run.
    No,
    /// It is to end, and its control group could not be reached.
    Wanted,
    /// Its control group is frozen and killed.
    Frozen(Cgroup, Origin),
}

/// Who made a control group.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
enum Origin {
    Systemd,
    Guard,
}

#[derive(Debug)]
struct Frozen {
    instance: InstanceId,
    group: Cgroup,
    origin: Origin,
    folder: PathBuf,
}

/// A process that waits for the death of the guard.
#[derive(Debug)]
struct Warden {
    pid: i32,
    /// Its other end is what the warden reads; a byte tells it to go.
    line: PipeWriter,
}

/// The units on their way to the program that takes over.
#[derive(Default, Debug, Serialize, Deserialize)]
pub(super) struct UnitsParcel {
    held: Vec<(InstanceId, UnitParcel)>,
    frozen: Vec<(InstanceId, FrozenParcel)>,
}

#[derive(Debug, Serialize, Deserialize)]
struct UnitParcel {
    written: Written,
    folder: PathBuf,
    warden: Option<(i32, Kept)>,
    wanted: bool,
    frozen: Option<FrozenParcel>,
}

#[derive(Debug, Serialize, Deserialize)]
struct FrozenParcel {
    folder: PathBuf,
    origin: Origin,
    group: CgroupParcel,
}

impl FrozenParcel {
    fn pack(folder: &Path, group: &Cgroup, origin: Origin, luggage: &mut Luggage) -> Self {
        Self { folder: folder.to_owned(), origin, group: group.hand_over(luggage) }
    }
}

impl Units {
    pub(super) fn hand_over(&self, luggage: &mut Luggage) -> UnitsParcel {
        let held = self.held.iter().map(|(instance, unit)| {
            let frozen = match &unit.ending {
                Ending::No | Ending::Wanted => None,
                Ending::Frozen(group, origin) => {
                    Some(FrozenParcel::pack(&unit.folder, group, *origin, luggage))
                }
            };
            let parcel = UnitParcel {
                written: unit.written.clone(),
                folder: unit.folder.clone(),
                warden: unit.warden.as_ref().map(|w| (w.pid, luggage.keep(&w.line))),
                wanted: !matches!(unit.ending, Ending::No),
                frozen,
            };
            (*instance, parcel)
        });
        let held = held.collect();
        let frozen = self
            .frozen
            .iter()
            .map(|f| (f.instance, FrozenParcel::pack(&f.folder, &f.group, f.origin, luggage)));
        UnitsParcel { held, frozen: frozen.collect() }
    }

    pub(super) fn take_over(root: &Path, parcel: UnitsParcel) -> io::Result<Self> {
        let mut units = Self { root: root.to_owned(), held: BTreeMap::new(), frozen: Vec::new() };
        for (instance, unit) in parcel.held {
            let warden = unit.warden.map(|(pid, line)| {
                Ok::<_, io::Error>(Warden { pid, line: PipeWriter::from(line.take()?) })
            });
            let ending = match unit.frozen {
                Some(frozen) => Ending::Frozen(Cgroup::take_over(frozen.group)?, frozen.origin),
                None if unit.wanted => Ending::Wanted,
                None => Ending::No,
            };
            let (written, folder) = (unit.written, unit.folder);
            let unit = Unit { written, folder, warden: warden.transpose()?, ending };
            units.held.insert(instance, unit);
        }
        for (instance, FrozenParcel { folder, origin, group }) in parcel.frozen {
            let group = Cgroup::take_over(group)?;
            units.frozen.push(Frozen { instance, group, origin, folder });
        }
        Ok(units)
    }

    /// Those that a guard before this one left, numbered from `first` on; all of them are to end.
    pub(super) fn left_in(root: &Path, first: u64) -> Self {
        let left = fs::read(record_in(root)).ok();
        let left = left.and_then(|bytes| serde_json::from_slice::<Vec<Written>>(&bytes).ok());
        let left = left.unwrap_or_default().into_iter().filter_map(|written| {
            let folder = folder_for(&written.undo).ok()?;
            Some(Unit { written, folder, warden: None, ending: Ending::Wanted })
        });
        let held = (first..).map(InstanceId).zip(left).collect();
        Self { root: root.to_owned(), held, frozen: Vec::new() }
    }

    /// Their numbers.
    pub(super) fn instances(&self) -> impl Iterator<Item = InstanceId> {
        self.held.keys().copied()
    }

    /// For whom they run.
    pub(super) fn claims(&self) -> Vec<Claim> {
        self.held.values().map(|unit| unit.written.claim.clone()).collect()
    }

    pub(super) fn contains(&self, instance: InstanceId) -> bool {
        self.held.contains_key(&instance)
    }

    /// One was admitted: from now on PID 1 may start it.
    pub(super) fn add(
        &mut self,
        instance: InstanceId,
        claim: Claim,
        undo: UnitUndo,
    ) -> io::Result<()> {
        let folder = folder_for(&undo)?;
        if let Some(other) = self.held.values().find(|unit| unit.folder == folder) {
            let Claim { group, resource, .. } = &other.written.claim;
            let text = format!("`{}` is resource `{resource}` of group `{group}`", undo.unit);
            return Err(io::Error::other(text));
        }
        self.thaw(&folder)?;
        let condition = unit::condition(&self.root, &undo.unit);
        if let Some(folder) = condition.parent() {
            fs::create_dir_all(folder)?;
        }
        let written = Written { claim, undo };
        let warden = Some(Warden::post(&condition, &folder)?);
        self.held.insert(instance, Unit { written, folder, warden, ending: Ending::No });
        // It is written down before it can run.
        let made = self.write().and_then(|()| fs::write(&condition, b""));
        made.inspect_err(|_| self.forget(instance))
    }

    /// Makes a control group ready for a unit of which nothing runs.
    fn thaw(&mut self, folder: &Path) -> io::Result<()> {
        if !folder.exists() {
            self.frozen.retain(|frozen| frozen.folder != folder);
            return Ok(());
        }
        let mut group = Cgroup::open(folder)?;
        if !group.is_empty()? {
            return Err(io::Error::other("processes of it are there already"));
        }
        self.frozen.retain(|frozen| frozen.folder != folder);
        group.thaw()
    }

    /// Ends it at once, whatever PID 1 does. What fails is tried again.
    pub(super) fn kill(&mut self, instance: InstanceId) -> io::Result<()> {
        let Some(unit) = self.held.get_mut(&instance) else { return Ok(()) };
        if matches!(unit.ending, Ending::No) {
            unit.ending = Ending::Wanted;
        }
        let condition = unit::condition(&self.root, &unit.written.undo.unit);
        let removed = remove(&condition);
        unit.freeze().and(removed)
    }

    /// Looks at those that end: gives those of which nothing is left, and keeps dead what PID 1
    /// puts into a frozen control group.
    pub(super) fn look(&mut self) -> Vec<InstanceId> {
        let ending = self.held.values_mut().filter_map(|unit| match &mut unit.ending {
            Ending::No | Ending::Wanted => None,
            Ending::Frozen(group, _) => Some(group),
        });
        let groups = ending.chain(self.frozen.iter_mut().map(|frozen| &mut frozen.group));
        for group in groups.filter(|group| !group.is_empty().unwrap_or(true)) {
            // It is frozen; that it could not be killed shows again as the same.
            drop(group.kill());
        }
        self.frozen.retain(|frozen| !frozen.group.is_removed());
        let gone: Vec<InstanceId> =
            self.held.iter().filter(|(_, unit)| self.is_over(unit)).map(|(id, _)| *id).collect();
        for instance in &gone {
            self.leave(*instance);
        }
        gone
    }

    /// Nothing of it lives and nothing of it can.
    fn is_over(&self, unit: &Unit) -> bool {
        match &unit.ending {
            Ending::No | Ending::Wanted => false,
            Ending::Frozen(group, _) => {
                let condition = unit::condition(&self.root, &unit.written.undo.unit);
                let empty = group.is_empty().unwrap_or(false) || group.is_removed();
                empty && !condition.exists()
            }
        }
    }

    /// Takes it off the list; its control group stays frozen.
    fn leave(&mut self, instance: InstanceId) {
        let Some(unit) = self.held.remove(&instance) else { return };
        if let Ending::Frozen(group, origin) = unit.ending {
            self.frozen.push(Frozen { instance, group, origin, folder: unit.folder });
        }
        unit.warden.into_iter().for_each(Warden::dismiss);
        // What stays written is ended in vain by the next guard.
        let _ = self.write();
    }

    /// PID 1 says that it is inactive: nothing can come into its control group any more. Tells
    /// whether that is empty, too; otherwise it is to be killed.
    pub(super) fn release(&mut self, instance: InstanceId) -> bool {
        if let Some(at) = self.frozen.iter().position(|frozen| frozen.instance == instance) {
            let Frozen { mut group, origin, .. } = self.frozen.swap_remove(at);
            // Both fail if PID 1 removed it.
            drop(group.thaw());
            if origin == Origin::Guard {
                drop(group.remove());
            }
            return true;
        }
        let Some(unit) = self.held.get(&instance) else { return true };
        let condition = unit::condition(&self.root, &unit.written.undo.unit);
        let empty = match Cgroup::open(&unit.folder) {
            Ok(group) => group.is_empty().unwrap_or(false) || group.is_removed(),
            Err(why) => why.kind() == io::ErrorKind::NotFound,
        };
        if remove(&condition).is_err() || !empty {
            return false;
        }
        self.forget(instance);
        true
    }

    /// Nothing of it was begun.
    fn forget(&mut self, instance: InstanceId) {
        if let Some(unit) = self.held.remove(&instance) {
            drop(remove(&unit::condition(&self.root, &unit.written.undo.unit)));
            unit.warden.into_iter().for_each(Warden::dismiss);
            let _ = self.write();
        }
    }

    /// Control groups whose changes matter: exceptional (`PRI`) when something enters or leaves.
    pub(super) fn poll_for(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        let ending = self.held.values().filter_map(|unit| match &unit.ending {
            Ending::No | Ending::Wanted => None,
            Ending::Frozen(group, _) => Some(group),
        });
        let all = ending.chain(self.frozen.iter().map(|frozen| &frozen.group));
        // One that was removed would be exceptional for ever.
        all.filter(|group| !group.is_removed()).map(Cgroup::poll_for)
    }

    /// Whether this process waits for the guard's death.
    pub(super) fn is_warden(&self, pid: i32) -> bool {
        let wardens = self.held.values().filter_map(|unit| unit.warden.as_ref());
        wardens.into_iter().any(|warden| warden.pid == pid)
    }

    /// A process ended: if it was a warden that was not told to, another takes its place.
    pub(super) fn replace_warden(&mut self, pid: i32) {
        let was = |unit: &&mut Unit| unit.warden.as_ref().is_some_and(|w| w.pid == pid);
        if let Some(unit) = self.held.values_mut().find(was) {
            let condition = unit::condition(&self.root, &unit.written.undo.unit);
            unit.warden = Warden::post(&condition, &unit.folder).ok();
        }
    }

    fn write(&self) -> io::Result<()> {
        let all: Vec<&Written> = self.held.values().map(|unit| &unit.written).collect();
        written::write(&record_in(&self.root), &all)
    }
}

impl Unit {
    /// Freezes and kills its control group.
    fn freeze(&mut self) -> io::Result<()> {
        if let Ending::Frozen(group, _) = &mut self.ending {
            // One that PID 1 removed is empty.
            return group.kill().or_else(|why| if group.is_removed() { Ok(()) } else { Err(why) });
        }
        let (group, origin) = stop(&self.folder)?;
        self.ending = Ending::Frozen(group, origin);
        Ok(())
    }
}

impl Warden {
    /// Posts one. It has the guard's priority, for it must act before PID 1 kills it as well.
    fn post(condition: &Path, folder: &Path) -> io::Result<Self> {
        let (mut gate, line) = io::pipe()?;
        let (condition, folder) = (condition.to_owned(), folder.to_owned());
        let keep = [gate.as_raw_fd()];
        let wait = move || {
            // Where that is not allowed, neither was it for the guard.
            drop(sys::real_time(PRIORITY));
            if matches!(gate.read(&mut [0]), Ok(0)) {
                drop(remove(&condition));
                drop(stop(&folder));
            }
            0
        };
        let process = sys::hand::fork(&keep, GuardDeath::Outlive, wait)?;
        Ok(Self { pid: process.pid, line })
    }

    /// Tells it to go.
    fn dismiss(mut self) {
        // One that is dead already need not be told.
        drop(self.line.write_all(b"."));
    }
}

/// Freezes and kills a control group; makes it where it is missing.
fn stop(folder: &Path) -> io::Result<(Cgroup, Origin)> {
    if let Some(slice) = folder.parent() {
        fs::create_dir_all(slice)?;
    }
    let origin = match fs::create_dir(folder) {
        Ok(()) => Origin::Guard,
        Err(why) if why.kind() == io::ErrorKind::AlreadyExists => Origin::Systemd,
        Err(why) => return Err(why),
    };
    let mut group = Cgroup::open(folder)?;
    group.kill()?;
    Ok((group, origin))
}

/// The folder of a unit's control group, if that can be one.
fn folder_for(undo: &UnitUndo) -> io::Result<PathBuf> {
    let refuse = |why: &str| Err(io::Error::other(format!("`{}`: {why}", undo.unit)));
    if let Err(why) = unit::check(&undo.unit) {
        return refuse(why);
    }
    let group = Path::new(&undo.cgroup);
    let plain = group.components().all(|part| part != std::path::Component::ParentDir);
    if !plain || !group.ends_with(&undo.unit) || Path::new(&own_group()?).starts_with(group) {
        return refuse(&format!("{} is not its control group", undo.cgroup));
    }
    folder_of(&undo.cgroup)
}

fn record_in(root: &Path) -> PathBuf {
    root.join("run/stead/units.json")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_control_group_of_the_unit_is_taken() {
        let folder = |unit: &str, cgroup: &str| {
            folder_for(&UnitUndo { unit: unit.into(), cgroup: cgroup.into() })
        };
        let own = own_group().unwrap_or_default();
        for (unit, cgroup) in [
            ("web.service", "/"),
            ("web.service", "/system.slice"),
            ("web.service", "/system.slice/other.service"),
            ("web.service", "/../web.service"),
            ("stead.service", "/system.slice/stead.service"),
            ("web", "/system.slice/web"),
            ("web.service", own.as_str()),
        ] {
            assert!(folder(unit, cgroup).is_err(), "{unit} {cgroup}");
        }
    }
}
