//! Where the labs of one user live: a runtime directory per lab (control socket, record) and a
//! state directory per lab (the disks of the nodes).
//!
//! A lab lives as long as its supervisor listens on the control socket. Directories without one are
//! what a killed supervisor left; they are named by `lab list` and removed by `lab down`.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::step::{Step, StepError};

/// The directories under which all labs of one user live.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Home {
    runtime: PathBuf,
    state: PathBuf,
}

impl Home {
    /// `/run/stead-lab` and `/var/tmp/stead-lab-0` for root; for others
    /// `$XDG_RUNTIME_DIR/stead-lab` (without one `/tmp/stead-lab-UID`) and
    /// `/var/tmp/stead-lab-UID`. `STEAD_LAB_HOME=DIR` puts both under one directory.
    #[must_use]
    pub fn of_user() -> Self {
        let uid = rustix::process::getuid().as_raw();
        if let Some(dir) = std::env::var_os("STEAD_LAB_HOME") {
            return Self::at(Path::new(&dir));
        }
        let runtime = match (uid, std::env::var_os("XDG_RUNTIME_DIR")) {
            (0, _) => PathBuf::from("/run/stead-lab"),
            (_, Some(dir)) => Path::new(&dir).join("stead-lab"),
            (_, None) => PathBuf::from(format!("/tmp/stead-lab-{uid}")),
        };
        Self { runtime, state: PathBuf::from(format!("/var/tmp/stead-lab-{uid}")) }
    }

    /// Both kinds of directories under one.
    #[must_use]
    pub fn at(dir: &Path) -> Self {
        Self { runtime: dir.join("run"), state: dir.join("state") }
    }

    /// The directories of one lab.
    #[must_use]
    pub fn lab(&self, name: &str) -> LabDirs {
        LabDirs { runtime: self.runtime.join(name), state: self.state.join(name) }
    }

    /// Names of all labs that left any trace, sorted.
    pub fn names(&self) -> Result<Vec<String>, StepError> {
        let mut names = BTreeSet::new();
        for dir in [&self.runtime, &self.state] {
            let entries = match fs::read_dir(dir) {
                Ok(entries) => entries,
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(error) => return Err(StepError::new("list", dir.display(), error)),
            };
            for entry in entries {
                let entry = entry.step("list", dir.display())?;
                names.extend(entry.file_name().into_string());
            }
        }
        Ok(names.into_iter().collect())
    }

    /// Makes both directories, readable by nobody else.
    pub(crate) fn create(&self) -> Result<(), StepError> {
        for dir in [&self.runtime, &self.state] {
            if let Some(parent) = dir.parent() {
                fs::create_dir_all(parent).step("make the directory", parent.display())?;
            }
            create_private(dir)?;
        }
        Ok(())
    }
}

/// The directories of one lab.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct LabDirs {
    /// Control socket, record and log of the supervisor.
    pub runtime: PathBuf,
    /// Disks of the nodes; survives crashes of nodes, not the lab.
    pub state: PathBuf,
}

impl LabDirs {
    /// Where the supervisor listens.
    #[must_use]
    pub fn control(&self) -> PathBuf {
        self.runtime.join("control.sock")
    }

    /// What the lab was made of.
    #[must_use]
    pub fn record(&self) -> PathBuf {
        self.runtime.join("lab.json")
    }

    /// What the supervisor said.
    #[must_use]
    pub fn log(&self) -> PathBuf {
        self.runtime.join("supervisor.log")
    }

    /// The file that is the quorum disk of all nodes.
    #[must_use]
    pub fn quorum_disk(&self) -> PathBuf {
        self.state.join("quorum").join("disk")
    }

    /// The directory of one node or of the client.
    #[must_use]
    pub fn station(&self, name: &str) -> PathBuf {
        self.state.join(name)
    }

    /// Whether a supervisor answers.
    #[must_use]
    pub fn alive(&self) -> bool {
        UnixStream::connect(self.control()).is_ok()
    }

    /// Makes both directories new; refuses when one is there already.
    pub(crate) fn create(&self) -> Result<(), StepError> {
        for dir in [&self.runtime, &self.state] {
            let made = fs::DirBuilder::new().mode(0o700).create(dir);
            made.step("make the directory", dir.display())?;
        }
        Ok(())
    }

    /// Removes both directories with all that is in them; also right when they are gone.
    pub(crate) fn remove(&self) -> Result<(), StepError> {
        for dir in [&self.runtime, &self.state] {
            match fs::remove_dir_all(dir) {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(StepError::new("remove", dir.display(), error)),
            }
        }
        Ok(())
    }

    /// Whether anything of the lab is on disk.
    #[must_use]
    pub fn exists(&self) -> bool {
        self.runtime.exists() || self.state.exists()
    }
}

/// Whether a text may name a lab: 1 to 20 of `a-z 0-9 -`, beginning with a letter. Short, because
/// it becomes part of socket paths and cgroup names.
#[must_use]
pub fn is_valid_name(name: &str) -> bool {
    let allowed = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    (1..=20).contains(&name.len())
        && name.bytes().all(allowed)
        && name.as_bytes()[0].is_ascii_lowercase()
}

/// Makes a directory for this user only, or makes sure that the one there is such a directory: in
/// `/tmp` somebody else could have been first.
fn create_private(dir: &Path) -> Result<(), StepError> {
    match fs::DirBuilder::new().mode(0o700).create(dir) {
        Ok(()) => return Ok(()),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        Err(error) => return Err(StepError::new("make the directory", dir.display(), error)),
    }
    let found = fs::symlink_metadata(dir).step("look at", dir.display())?;
    let own = found.is_dir() && found.uid() == rustix::process::getuid().as_raw();
    if own && found.mode() & 0o022 == 0 {
        return Ok(());
    }
    Err(StepError::new(
        "use the directory",
        dir.display(),
        "it belongs to another user or others may write to it; remove it",
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_short_and_plain() {
        for good in ["demo", "a", "lab-2", "abcdefghijklmnopqrst"] {
            assert!(is_valid_name(good), "{good}");
        }
        for bad in ["", "Demo", "2lab", "-a", "a/b", "a.b", "abcdefghijklmnopqrstu", "ä"] {
            assert!(!is_valid_name(bad), "{bad}");
        }
    }

    #[test]
    fn a_lab_is_named_as_long_as_one_of_its_directories_is_left() {
        let dir = tempfile::tempdir().unwrap();
        let home = Home::at(dir.path());
        assert!(home.names().unwrap().is_empty());
        home.create().unwrap();
        let (one, two) = (home.lab("one"), home.lab("two"));
        one.create().unwrap();
        two.create().unwrap();
        assert!(two.create().is_err());
        fs::remove_dir(&two.runtime).unwrap();
        assert_eq!(home.names().unwrap(), ["one", "two"]);
        assert!(two.exists() && !two.alive());
        two.remove().unwrap();
        assert_eq!(home.names().unwrap(), ["one"]);
    }

    #[test]
    fn a_directory_others_may_write_to_is_refused() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().unwrap();
        let home = Home::at(dir.path());
        home.create().unwrap();
        home.create().unwrap();
        fs::set_permissions(dir.path().join("state"), fs::Permissions::from_mode(0o777)).unwrap();
        assert!(home.create().is_err());
    }
}
