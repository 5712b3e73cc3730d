//! All runs again as an ordinary user, who has nothing: no capability, no group, no directory but
//! one.

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use e2e::{World, program, rounds, tell};

const UID: u32 = 54_321;

#[test]
fn user_sees_what_the_lab_goes_without() {
    if rustix::process::geteuid().is_root() {
        return;
    }
    let world = World::up("without");
    let missing = world.lab().status().unwrap().missing;
    assert!(!missing.is_empty(), "an ordinary user lacks nothing?");
    missing.iter().for_each(|missing| tell(&format!("skipped for this user: {missing}")));
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let (path, to) = entry.map(|e| (e.path(), to.join(e.file_name()))).unwrap();
        if path.is_dir() {
            copy(&path, &to);
        } else {
            fs::copy(&path, &to).unwrap();
        }
    }
}

#[test]
fn user_runs_everything() {
    // What is run on demand builds another program, with tools that this user has not. Pressure has
    // a round of its own. The half minute of waiting for a forced quorum shows nothing else here.
    let without = ["--skip", "mixed", "--skip", "d6_", "--skip", "forced_quorum"];
    runs(&[&["--test-threads", "1"], without.as_slice()].concat());
}

/// Runs which of the rounds these words name, with nothing that only root has.
pub(crate) fn runs(which: &[&str]) {
    if !rustix::process::geteuid().is_root() {
        tell("this is an ordinary user already: all runs are");
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let deps = dir.path().join("deps");
    fs::create_dir(&deps).unwrap();
    let runs = deps.join("runs");
    fs::copy(std::env::current_exe().unwrap(), &runs).unwrap();
    fs::copy(program::path(), dir.path().join("stead")).unwrap();
    copy(&program::scenarios(), &dir.path().join("scenarios"));
    for path in [dir.path(), &deps] {
        fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
        chown(path, Some(UID), Some(UID)).unwrap();
    }
    let mut command = Command::new(&runs);
    command.arg("--nocapture").args(which);
    command.env("STEAD_ROUNDS", rounds().div_ceil(5).to_string());
    command.env("TMPDIR", dir.path()).env_remove("XDG_RUNTIME_DIR");
    command.env_remove(program::VARIABLE);
    let ended = command.uid(UID).gid(UID).current_dir("/").status().unwrap();
    assert!(ended.success(), "as an ordinary user: {ended}");
}
