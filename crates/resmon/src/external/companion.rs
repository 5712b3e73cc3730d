//! Runs the program of an external type without a place under the guard: to hear what it is, and
//! for the conformance test.
//!
//! It acts for nobody, so the guard admits nothing: on a node it is asked `describe` and `open`
//! alone, which touch nothing. It is killed with all of its process group when it is let go, and
//! by the kernel with the thread that began it.

use std::io;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

use rustix::process::{Pid, Signal, kill_process_group};

use super::session::{Past, Session, Tell};
use crate::bell::Bell;
use crate::host::check::die_along;
use crate::types::PATH;

/// A program that runs, and the conversation with it.
pub(crate) struct Companion {
    child: Child,
    pub(crate) session: Arc<Session>,
}

impl Companion {
    /// Starts a program.
    ///
    /// # Errors
    /// It cannot be run.
    pub(crate) fn start(program: &Path, bell: Arc<Bell>, tell: Tell) -> io::Result<Self> {
        let mut command = Command::new(program);
        let (name, value) = PATH.split_once('=').unwrap_or_default();
        command.env_clear().env(name, value).current_dir("/").process_group(0);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::inherit());
        die_along(&mut command);
        let mut child = command.spawn()?;
        let ends = child.stdin.take().zip(child.stdout.take());
        let (orders, said) = ends.ok_or(io::ErrorKind::BrokenPipe)?;
        let session = Session::begin((orders.into(), said.into()), Past::None, bell, tell);
        let session = session.inspect_err(|_| end(&mut child))?;
        Ok(Self { child, session })
    }

    /// Whether its process is there.
    pub(crate) fn runs(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// Number of its process.
    pub(crate) fn pid(&self) -> i32 {
        self.child.id().cast_signed()
    }
}

impl Drop for Companion {
    fn drop(&mut self) {
        self.session.end();
        end(&mut self.child);
    }
}

fn end(child: &mut Child) {
    // It may have ended, and with it its group.
    let _ = kill_process_group(Pid::from_child(child), Signal::KILL);
    let _ = child.wait();
}
