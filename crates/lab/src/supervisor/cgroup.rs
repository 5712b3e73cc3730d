//! The cgroups of a lab: `stead-lab-NAME-HOME/nodeN` in the cgroup2 hierarchy, where one is found
//! and may be written to. Hybrid hosts have it beside the old hierarchies, not at `/sys/fs/cgroup`.
//!
//! HOME is derived from the lab's directory: labs of one name in two homes stay apart.

use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::clock;
use crate::home::LabDirs;
use crate::step::{Step, StepError};

/// The cgroup of one lab.
#[derive(Debug)]
pub(crate) struct LabCgroup(PathBuf);

impl LabCgroup {
    /// Makes it; `None` where there is no cgroup2 that this process may write to.
    pub(crate) fn create(lab: &str, dirs: &LabDirs) -> Option<Self> {
        let dir = directory_of(lab, dirs)?;
        // Whoever owned one that is there is dead: no two labs have the same directories.
        remove_tree(&dir).ok()?;
        fs::create_dir(&dir).is_ok_and(|()| dir.join("cgroup.procs").exists()).then_some(Self(dir))
    }

    /// Makes the cgroup of one machine, empty and not frozen.
    pub(crate) fn machine(&self, name: &str) -> Result<PathBuf, StepError> {
        let dir = self.0.join(name);
        remove_tree(&dir)?;
        fs::create_dir(&dir).step("make the cgroup", dir.display())?;
        Ok(dir)
    }

    /// Removes it; its processes are gone.
    pub(crate) fn remove(&self) -> Result<(), StepError> {
        remove_tree(&self.0)
    }
}

/// Removes what a supervisor that was killed left.
pub(crate) fn remove_left_by(lab: &str, dirs: &LabDirs) -> Result<(), StepError> {
    directory_of(lab, dirs).map_or(Ok(()), |dir| remove_tree(&dir))
}

/// Freezes or thaws a cgroup with all below it and waits until it is done.
pub(crate) fn set_frozen(dir: &Path, frozen: bool) -> Result<(), StepError> {
    let step = if frozen { "freeze" } else { "thaw" };
    let (order, wanted) = if frozen { ("1", "frozen 1") } else { ("0", "frozen 0") };
    fs::write(dir.join("cgroup.freeze"), order).step(step, dir.display())?;
    let events = dir.join("cgroup.events");
    let done = || {
        let text = fs::read_to_string(&events).ok()?;
        text.lines().any(|line| line == wanted).then_some(())
    };
    clock::wait_for(FREEZE_LIMIT, done)
        .ok_or_else(|| io::Error::from(io::ErrorKind::TimedOut))
        .step(step, dir.display())
}

/// Removes a cgroup and all below it. Processes that were killed leave a moment later.
fn remove_tree(dir: &Path) -> Result<(), StepError> {
    let mut last = io::Error::from(io::ErrorKind::TimedOut);
    let removed = || match remove_once(dir) {
        Ok(()) => Some(()),
        Err(error) => {
            last = error;
            None
        }
    };
    clock::wait_for(REMOVE_LIMIT, removed).ok_or(last).step("remove the cgroup", dir.display())
}

fn remove_once(dir: &Path) -> io::Result<()> {
    let entries = match fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    for entry in entries {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            remove_once(&entry.path())?;
        }
    }
    fs::remove_dir(dir)
}

fn directory_of(lab: &str, dirs: &LabDirs) -> Option<PathBuf> {
    let mounts = fs::read_to_string("/proc/self/mountinfo").ok()?;
    let home = fingerprint(&dirs.runtime);
    Some(hierarchy(&mounts)?.join(format!("stead-lab-{lab}-{home:08x}")))
}

/// FNV-1a of a path: the same in every version of the program.
pub(crate) fn fingerprint(path: &Path) -> u32 {
    let mix = |hash: u32, byte: &u8| (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193);
    path.as_os_str().as_bytes().iter().fold(0x811c_9dc5, mix)
}

/// Where the cgroup2 hierarchy is mounted, as `mountinfo` tells: `... root place ... - type ...`.
fn hierarchy(mountinfo: &str) -> Option<PathBuf> {
    let place = |line: &str| {
        let (mount, kind) = line.split_once(" - ")?;
        let cgroup2 = kind.split(' ').next() == Some("cgroup2");
        cgroup2.then(|| mount.split(' ').nth(4)).flatten().map(PathBuf::from)
    };
    mountinfo.lines().find_map(place)
}

const FREEZE_LIMIT: Duration = Duration::from_secs(10);
const REMOVE_LIMIT: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labs_of_one_name_in_two_homes_have_cgroups_of_their_own() {
        let of = |runtime: &str| fingerprint(Path::new(runtime));
        assert_eq!(of("/run/stead-lab/demo"), of("/run/stead-lab/demo"));
        assert_ne!(of("/run/stead-lab/demo"), of("/tmp/other/run/demo"));
    }

    #[test]
    fn the_hierarchy_is_found_beside_the_old_ones() {
        let mountinfo = "\
            36 31 0:34 / /sys/fs/cgroup/freezer rw,relatime - cgroup cgroup rw,freezer\n\
            41 31 0:38 / /sys/fs/cgroup/unified rw,relatime shared:9 - cgroup2 cgroup2 rw\n";
        assert_eq!(hierarchy(mountinfo), Some(PathBuf::from("/sys/fs/cgroup/unified")));
        assert_eq!(hierarchy("22 27 0:21 / /proc rw,relatime - proc proc rw\n"), None);
    }
}
