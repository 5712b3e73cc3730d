//! `cargo xtask kept`: the program of a former version, to be one cluster with the present one.
//!
//! The file `e2e/kept` names the commit. It is built from this repository's own history into
//! `target/kept/COMMIT/release/stead`, once; what other crates it takes is shared with the present
//! build. A clone that lacks the commit is told so, and nothing is skipped: a round that finds no
//! kept program fails.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::debian::bounded;
use crate::metadata::{Metadata, cargo, cargo_words};
use crate::part::Part;
use crate::{Failure, no_arguments};

/// Names the commit, below the root.
const PIN: &str = "e2e/kept";
/// For the build, in seconds.
const LIMIT_S: u32 = 1_200;

/// Builds it where it is missing.
pub(crate) fn run(metadata: &Metadata, arguments: &[String]) -> Result<(), Failure> {
    no_arguments("kept", arguments)?;
    let failed = |error: io::Error| Failure::Failed(format!("no kept program: {error}"));
    let program = make(&metadata.root, &metadata.target).map_err(failed)?;
    println!("{}", program.display());
    Ok(())
}

/// The same as a part of a longer run.
pub(crate) fn part() -> Part {
    Part {
        name: "kept",
        about: "the program of a former version, for the rounds",
        commands: vec![cargo_words(&["xtask", "kept"])],
        limit: std::time::Duration::from_secs(u64::from(LIMIT_S) + 60),
    }
}

fn make(root: &Path, target: &Path) -> io::Result<PathBuf> {
    let commit = pin(&fs::read_to_string(root.join(PIN))?)?;
    let folder = target.join("kept").join(&commit);
    let program = folder.join("release/stead");
    if program.is_file() {
        return Ok(program);
    }
    there(root, &commit)?;
    let source = folder.join("source");
    if source.exists() {
        fs::remove_dir_all(&source)?;
    }
    fs::create_dir_all(&source)?;
    let packed = folder.join("source.tar");
    let packed_text = packed.to_string_lossy();
    bounded(60, "git", &["archive", "--output", &packed_text, &commit], root)?;
    bounded(60, "tar", &["-xf", &packed_text, "-C", &source.to_string_lossy()], root)?;
    fs::remove_file(packed)?;
    build(&source, &folder)?;
    fs::remove_dir_all(source)?;
    Ok(program)
}

/// The commit in the text of the pin: all of its name, whatever else there will be.
fn pin(text: &str) -> io::Result<String> {
    let named = text.trim();
    let whole = named.len() == 40 && named.bytes().all(|byte| byte.is_ascii_hexdigit());
    let wrong = || io::Error::other(format!("`{PIN}` names no commit: `{named}`"));
    if whole { Ok(named.to_owned()) } else { Err(wrong()) }
}

fn there(root: &Path, commit: &str) -> io::Result<()> {
    let object = format!("{commit}^{{commit}}");
    bounded(60, "git", &["cat-file", "-e", &object], root).map_err(|_| {
        io::Error::other(format!(
            "this clone lacks the commit {commit} that `{PIN}` names; fetch it: `git fetch \
             --unshallow`, or pin another one of the history whose program has levels"
        ))
    })
}

/// All is built anew: by its path and its age cargo would take a crate of the present build for
/// the former one of that name.
fn build(source: &Path, folder: &Path) -> io::Result<()> {
    let mut started = Command::new("timeout");
    started
        .args(["--kill-after=10", &LIMIT_S.to_string(), &cargo()])
        .args(["build", "--release", "--locked", "--package", "stead-cli", "--target-dir"])
        .arg(folder)
        .env_remove("CARGO_BUILD_BUILD_DIR")
        .current_dir(source)
        .stdin(Stdio::null());
    let status = started.status()?;
    if status.success() {
        return Ok(());
    }
    Err(io::Error::other(format!("it does not build: {status}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pin_is_all_of_a_commit() {
        let whole = "0123456789abcdef0123456789abcdef01234567";
        assert_eq!(pin(&format!("{whole}\n")).unwrap(), whole);
        for bad in ["", "main", "0123456", &format!("{whole}0")] {
            assert!(pin(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_clone_without_the_commit_is_told_what_to_fetch() {
        let folder = std::env::temp_dir();
        let why = there(&folder, &"0".repeat(40)).unwrap_err().to_string();
        assert!(why.contains("git fetch --unshallow"), "{why}");
    }

    #[test]
    fn the_pin_of_this_tree_can_be_read() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        pin(&fs::read_to_string(root.join(PIN)).unwrap()).unwrap();
    }
}
