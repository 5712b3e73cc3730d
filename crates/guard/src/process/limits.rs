//! What a resource's programs may take together: memory and processes, held by the kernel.
//!
//! The controllers are in the one hierarchy of cgroup2 or, on hybrid hosts, each in one of its own
//! (version 1); both are looked for in mountinfo. A program that finds no controller runs without
//! the limit, which is told. A group of the memory controller also tells that the kernel killed
//! something for lack of memory, with or without a limit.
//!
//! Not here: how a program is killed (`cgroup`).

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};
use serde::{Deserialize, Serialize};
use stead_model::wire::guard::Limits;

use super::cgroup::{FOLDER_PREFIX, sweep};
use super::handover::{Kept, Luggage};

/// A program may have this share of the processes that the kernel can have, in percent, if nothing
/// else is said: what systemd gives a unit (`DefaultTasksMax`). One that forks without end leaves
/// the rest of the node alive.
const PROCESSES_PERCENT: u64 = 15;
/// Where the guard and its services go when they must leave their group for controllers.
const SERVICES: &str = "stead-services";

/// One controller.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(super) enum Controller {
    Memory,
    Processes,
}

/// How a hierarchy names its files.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
enum Version {
    One,
    Two,
}

/// Where the groups of programs are made, by controller.
#[derive(Default, Debug)]
pub(super) struct Limiters(Vec<Limiter>);

#[derive(Debug)]
struct Limiter {
    controller: Controller,
    version: Version,
    folder: PathBuf,
    /// Says that the guard lives; of version 2 it is the tree's.
    lock: Option<File>,
}

/// A limiter on its way to the program that takes over.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct LimiterParcel {
    controller: Controller,
    version: Version,
    folder: PathBuf,
    lock: Option<Kept>,
}

/// The groups of one program.
#[derive(Clone, Default, Debug, Serialize, Deserialize)]
pub(super) struct Limited {
    groups: Vec<(Controller, Version, PathBuf)>,
    limits: Limits,
    /// Processes killed for lack of memory that were told.
    told: u64,
}

impl Limiters {
    /// Finds the controllers and makes the guard's own folder in each. `tree` is the guard's
    /// folder in the hierarchy of cgroup2, where there is one.
    pub(super) fn make(name: &str, tree: Option<&Path>) -> Self {
        let read = |path| fs::read_to_string(path).unwrap_or_default();
        let (mounts, own) = (read("/proc/self/mountinfo"), read("/proc/self/cgroup"));
        let found =
            [Controller::Memory, Controller::Processes].into_iter().filter_map(|controller| {
                if let Some(tree) = tree.filter(|tree| enable(tree, controller)) {
                    let (version, folder) = (Version::Two, tree.to_owned());
                    return Some(Limiter { controller, version, folder, lock: None });
                }
                let base = base_folder(&mounts, &own, controller)?;
                sweep(&base);
                let folder = base.join(format!("{FOLDER_PREFIX}{name}"));
                fs::create_dir(&folder).ok()?;
                let lock = File::open(&folder).ok()?;
                flock(&lock, FlockOperation::NonBlockingLockExclusive).ok()?;
                Some(Limiter { controller, version: Version::One, folder, lock: Some(lock) })
            });
        Self(found.collect())
    }

    pub(super) fn hand_over(&self, luggage: &mut Luggage) -> Vec<LimiterParcel> {
        let all = self.0.iter().map(|limiter| LimiterParcel {
            controller: limiter.controller,
            version: limiter.version,
            folder: limiter.folder.clone(),
            lock: limiter.lock.as_ref().map(|lock| luggage.keep(lock)),
        });
        all.collect()
    }

    pub(super) fn take_over(parcels: Vec<LimiterParcel>) -> io::Result<Self> {
        let take = |parcel: LimiterParcel| {
            let LimiterParcel { controller, version, folder, lock } = parcel;
            let lock = lock.map(Kept::take).transpose()?.map(File::from);
            Ok(Limiter { controller, version, folder, lock })
        };
        parcels.into_iter().map(take).collect::<io::Result<_>>().map(Self)
    }

    /// What can be limited here, for people; `None`: everything.
    pub(super) fn lacks(&self) -> Option<String> {
        let has = |wanted| self.0.iter().any(|limiter| limiter.controller == wanted);
        let lacking = [(Controller::Memory, "memory"), (Controller::Processes, "processes")];
        let lacking = lacking.into_iter().filter(|(wanted, _)| !has(*wanted));
        let names: Vec<&str> = lacking.map(|(_, name)| name).collect();
        (!names.is_empty()).then(|| names.join(" and "))
    }

    /// Puts a process into groups with these limits.
    ///
    /// # Errors
    /// A limit that was asked for cannot be held.
    pub(super) fn enter(&self, name: &str, pid: i32, limits: Limits) -> io::Result<Limited> {
        let mut limited = Limited { limits, ..Limited::default() };
        for Limiter { controller, version, folder, .. } in &self.0 {
            let group = folder.join(name);
            // Of version 2 it is there: the control group by which it is killed.
            let there = fs::create_dir(&group).is_ok() || group.is_dir();
            let entered = there.then(|| controller.set(&group, *version, limits)).transpose();
            let entered =
                entered.and_then(|set| set.map(|()| put(&group, "cgroup.procs", pid)).transpose());
            match entered {
                Ok(Some(())) => limited.groups.push((*controller, *version, group)),
                Ok(None) | Err(_) if controller.asked(limits).is_none() => {}
                Ok(None) => return Err(controller.missing()),
                Err(why) => return Err(why),
            }
        }
        let has = |wanted| limited.groups.iter().any(|(controller, ..)| *controller == wanted);
        match [Controller::Memory, Controller::Processes]
            .into_iter()
            .find(|wanted| wanted.asked(limits).is_some() && !has(*wanted))
        {
            Some(controller) => Err(controller.missing()),
            None => Ok(limited),
        }
    }
}

impl Drop for Limiters {
    fn drop(&mut self) {
        // What is not empty is swept by the next guard; the tree removes its own folder.
        let own = self.0.iter().filter(|limiter| limiter.version == Version::One);
        own.for_each(|limiter| drop(fs::remove_dir(&limiter.folder)));
    }
}

impl Limited {
    /// How many of its processes the kernel killed for lack of memory.
    pub(super) fn killed_for_memory(&self) -> u64 {
        let memory =
            |(controller, ..): &&(Controller, Version, PathBuf)| *controller == Controller::Memory;
        let Some((_, version, group)) = self.groups.iter().find(memory) else { return 0 };
        let file = match version {
            Version::One => "memory.oom_control",
            Version::Two => "memory.events",
        };
        field(&fs::read_to_string(group.join(file)).unwrap_or_default(), "oom_kill").unwrap_or(0)
    }

    /// How many more there are than were told.
    pub(super) fn news_of_memory(&mut self) -> Option<u64> {
        let kills = self.killed_for_memory();
        let news = kills.saturating_sub(self.told);
        self.told = kills;
        (news > 0).then_some(news)
    }

    /// Its limit of memory, if it has one.
    pub(super) const fn memory_limit(&self) -> Option<u64> {
        self.limits.memory_bytes
    }

    /// Removes the groups, as far as they are empty.
    pub(super) fn remove(&self) {
        self.groups.iter().for_each(|(.., group)| drop(fs::remove_dir(group)));
    }
}

impl Controller {
    /// Its name in cgroup2 and as the option of a mount of version 1.
    const fn name(self) -> &'static str {
        match self {
            Self::Memory => "memory",
            Self::Processes => "pids",
        }
    }

    const fn asked(self, limits: Limits) -> Option<u64> {
        match self {
            Self::Memory => limits.memory_bytes,
            Self::Processes => limits.processes,
        }
    }

    fn set(self, group: &Path, version: Version, limits: Limits) -> io::Result<()> {
        let limit = match self {
            Self::Memory => self.asked(limits),
            Self::Processes => self.asked(limits).or_else(processes_by_default),
        };
        let Some(limit) = limit else { return Ok(()) };
        match (self, version) {
            (Self::Memory, Version::One) => put(group, "memory.limit_in_bytes", limit),
            (Self::Memory, Version::Two) => put(group, "memory.max", limit),
            (Self::Processes, Version::One | Version::Two) => put(group, "pids.max", limit),
        }
    }

    fn missing(self) -> io::Error {
        let what = match self {
            Self::Memory => "memory-limit",
            Self::Processes => "process-limit",
        };
        io::Error::other(format!(
            "`{what}` cannot be held: no controller `{}` may be used here",
            self.name()
        ))
    }
}

/// A share of the process numbers that the kernel can give.
fn processes_by_default() -> Option<u64> {
    let most = fs::read_to_string("/proc/sys/kernel/pid_max").ok()?.trim().parse::<u64>().ok()?;
    Some(most * PROCESSES_PERCENT / 100)
}

fn put(group: &Path, file: &str, value: impl std::fmt::Display) -> io::Result<()> {
    OpenOptions::new().write(true).open(group.join(file))?.write_all(value.to_string().as_bytes())
}

/// Has the groups below the guard's folder in cgroup2 get a controller. Who distributes a
/// controller has no processes of its own, so the guard makes room where it is alone: it goes into
/// a group beside that of its programs.
fn enable(tree: &Path, controller: Controller) -> bool {
    let name = controller.name();
    let has = |file: &str, folder: &Path| {
        let all = fs::read_to_string(folder.join(file)).unwrap_or_default();
        all.split_whitespace().any(|one| one == name)
    };
    let Some(base) = tree.parent().filter(|base| has("cgroup.controllers", base)) else {
        return false;
    };
    let give = |folder: &Path| put(folder, "cgroup.subtree_control", format!("+{name}"));
    let given = has("cgroup.subtree_control", base) || give(base).is_ok();
    (given || (make_room(base) && give(base).is_ok())) && give(tree).is_ok()
}

fn make_room(base: &Path) -> bool {
    let own = std::process::id().to_string();
    let procs = fs::read_to_string(base.join("cgroup.procs")).unwrap_or_default();
    if procs.lines().any(|pid| pid != own) {
        return false;
    }
    let services = base.join(SERVICES);
    let there = fs::create_dir(&services).is_ok() || services.is_dir();
    there && put(&services, "cgroup.procs", own).is_ok()
}

/// The guard's own group in the hierarchy of a controller of version 1.
fn base_folder(mounts: &str, own: &str, controller: Controller) -> Option<PathBuf> {
    let name = controller.name();
    let has = |list: &str| list.split(',').any(|one| one == name);
    let own = own.lines().find_map(|line| {
        let (controllers, path) = line.split_once(':')?.1.split_once(':')?;
        has(controllers).then_some(path)
    })?;
    mounts.lines().find_map(|line| {
        let (mount, kind) = line.split_once(" - ")?;
        let options = kind.strip_prefix("cgroup ")?.split(' ').nth(1)?;
        let mut fields = mount.split(' ').skip(3);
        let (root, point) = (fields.next()?, fields.next()?);
        let below = Path::new(own).strip_prefix(root).ok()?;
        has(options).then(|| Path::new(point).join(below))
    })
}

/// A number of a file of `NAME NUMBER` lines.
fn field(text: &str, name: &str) -> Option<u64> {
    let mut lines = text.lines().filter_map(|line| line.split_once(' '));
    lines.find(|(found, _)| *found == name)?.1.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_controller_of_version_1_is_found() {
        let mounts = "30 23 0:27 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n\
                      31 23 0:28 / /sys/fs/cgroup/pids rw - cgroup cgroup rw,pids\n\
                      32 23 0:29 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n";
        let own = "8:pids:/\n4:memory:/box/a\n0::/\n";
        let found = |controller| base_folder(mounts, own, controller).unwrap();
        assert_eq!(found(Controller::Memory), Path::new("/sys/fs/cgroup/memory/box/a"));
        assert_eq!(found(Controller::Processes), Path::new("/sys/fs/cgroup/pids/"));
        assert_eq!(base_folder(mounts, "0::/\n", Controller::Memory), None);
        assert_eq!(base_folder("", own, Controller::Memory), None);
    }

    #[test]
    fn kills_are_counted_by_both_versions() {
        let two = "low 0\nhigh 0\nmax 12\noom 3\noom_kill 2\noom_group_kill 0\n";
        assert_eq!(field(two, "oom_kill"), Some(2));
        assert_eq!(field("oom_kill_disable 0\nunder_oom 0\noom_kill 1\n", "oom_kill"), Some(1));
        assert_eq!(field("", "oom_kill"), None);
    }

    #[test]
    fn a_limit_that_nobody_holds_is_refused() {
        let none = Limiters::default();
        assert_eq!(none.lacks().as_deref(), Some("memory and processes"));
        assert!(none.enter("web", 1, Limits::default()).is_ok());
        let asked = Limits { processes: Some(9), ..Limits::default() };
        let why = none.enter("web", 1, asked).unwrap_err().to_string();
        assert!(why.starts_with("`process-limit` cannot be held"), "{why}");
    }
}
