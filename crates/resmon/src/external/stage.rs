//! Puts the program of an external type into a place under the guard, and finds it there again.
//!
//! ```text
//!  monitor ──── RESOURCE.in ───► stdin                 two named pipes in /run/stead/types
//!          ◄─── RESOURCE.out ─── stdout  program
//!                                stderr ───► the resource's log, as of every program
//! ```
//!
//! An act in the place starts the program and ends: `stead type-host` opens both pipes for reading
//! and writing, so the program keeps them whatever becomes of the monitor, and a later monitor
//! opens them again. What the act left running is the program; its end is told by the guard.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};

use rustix::fs::{CWD, FileType, Mode, OFlags, mknodat};
use stead_model::ResourceId;

/// First word of the command line of the act that starts a program.
pub const SUBCOMMAND: &str = "type-host";

/// The two pipes of a resource.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Pipes {
    orders: PathBuf,
    said: PathBuf,
}

impl Pipes {
    pub(crate) fn of(root: &Path, resource: &ResourceId) -> Self {
        let folder = root.join("run/stead/types");
        Self {
            orders: folder.join(format!("{resource}.in")),
            said: folder.join(format!("{resource}.out")),
        }
    }

    /// Makes both anew.
    pub(crate) fn make(&self) -> io::Result<()> {
        if let Some(folder) = self.orders.parent() {
            DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
        }
        self.remove();
        for path in [&self.orders, &self.said] {
            mknodat(CWD, path, FileType::Fifo, Mode::from_raw_mode(0o600), 0)?;
        }
        Ok(())
    }

    /// Opens the monitor's ends.
    ///
    /// # Errors
    /// No program holds the other ends.
    pub(crate) fn open(&self) -> io::Result<(OwnedFd, OwnedFd)> {
        let nonblock = OFlags::NONBLOCK.bits().cast_signed();
        let orders = OpenOptions::new().write(true).custom_flags(nonblock).open(&self.orders)?;
        let said = OpenOptions::new().read(true).custom_flags(nonblock).open(&self.said)?;
        Ok((orders.into(), said.into()))
    }

    pub(crate) fn remove(&self) {
        for path in [&self.orders, &self.said] {
            // One that cannot be removed cannot be made anew either, which is told.
            let _ = fs::remove_file(path);
        }
    }

    /// The command of the act that starts a program with these pipes.
    pub(crate) fn command(&self, program: &Path) -> io::Result<Vec<String>> {
        let own = own_program()?;
        let words = [&own, Path::new(SUBCOMMAND), &self.orders, &self.said, program];
        Ok(words.iter().map(|word| word.to_string_lossy().into_owned()).collect())
    }
}

/// `stead type-host ORDERS SAID PROGRAM`: starts a program and leaves it.
#[must_use]
pub fn host(args: &[String]) -> ExitCode {
    let [orders, said, program] = args else {
        complain("it is started by the monitor only");
        return ExitCode::from(2);
    };
    match start(orders.as_ref(), said.as_ref(), program) {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            complain(&format!("{program} cannot be run: {why}"));
            ExitCode::FAILURE
        }
    }
}

fn start(orders: &Path, said: &Path, program: &str) -> io::Result<()> {
    let both = |path: &Path| File::options().read(true).write(true).open(path);
    let mut command = Command::new(program);
    command.process_group(0).stdin(both(orders)?).stdout(both(said)?).stderr(Stdio::inherit());
    // Whoever runs this is the init of the place, and becomes its parent.
    command.spawn().map(drop)
}

/// The path this program was started by, where that is a whole one: after an upgrade the newer one
/// lies there.
fn own_program() -> io::Result<PathBuf> {
    match std::env::args_os().next().map(PathBuf::from) {
        Some(path) if path.is_absolute() => Ok(path),
        Some(_) | None => std::env::current_exe(),
    }
}

fn complain(text: &str) {
    use io::Write;
    // There is nobody else to tell.
    drop(writeln!(io::stderr(), "stead {SUBCOMMAND}: {text}"));
}
