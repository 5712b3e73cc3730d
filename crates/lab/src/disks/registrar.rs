//! The socket of a path over which its node asks for reservations: one request and one answer per
//! connection, each a line of JSON.
//!
//! It shares the fate of the path: requests are delayed, kept and failed with the reads and
//! writes, and a new life of the node gets a new socket. A connection that ends without an answer
//! is a request that failed; whether it was carried out before is not known.

use std::fs;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use super::condition::Condition;
use super::path::NodePath;
use super::paths::Paths;
use super::reservation::{Answer, Outcome, Request};
use crate::control;
use crate::step::{Step, StepError};

/// Answers the one question of a connection; whoever goes away or is silent is not our trouble.
/// When `ask` comes to nothing the connection ends without an answer. Disks in no lab are asked the
/// same way.
pub fn answer(mut stream: UnixStream, ask: impl FnOnce(Request) -> Option<Outcome>) {
    let limits = stream
        .set_read_timeout(Some(control::QUESTION_LIMIT))
        .and_then(|()| stream.set_write_timeout(Some(control::QUESTION_LIMIT)));
    let Ok(question) = limits.and_then(|()| control::receive::<serde_json::Value>(&stream)) else {
        return;
    };
    let answer = match serde_json::from_value(question).map(ask) {
        Ok(Some(Outcome::Done { .. })) => Answer::Done,
        Ok(Some(Outcome::Conflict)) => Answer::Conflict,
        Ok(Some(Outcome::Keys(keys))) => Answer::Keys(keys),
        Ok(None) => return,
        Err(error) => Answer::Invalid { why: error.to_string() },
    };
    let _ = control::send(&mut stream, &answer);
}

/// Answers for one path.
#[derive(Debug)]
pub(super) struct Registrar {
    path: Arc<NodePath>,
    paths: Arc<Paths>,
    listener: UnixListener,
}

impl Registrar {
    /// Listens; a socket of the life before is replaced.
    pub(super) fn new(
        path: Arc<NodePath>,
        paths: Arc<Paths>,
        socket: PathBuf,
    ) -> Result<Self, StepError> {
        // The first life has none.
        let _ = fs::remove_file(&socket);
        let listener = UnixListener::bind(&socket).step("listen on", socket.display())?;
        Ok(Self { path, paths, listener })
    }

    /// Answers until the path's life is over.
    pub(super) fn serve(&self) {
        while self.path.condition().is_some() {
            // Waits for a limited time, so that the end of the path is seen.
            if !crate::ready::one(&self.listener, LOOK_AGAIN).unwrap_or(false) {
                continue;
            }
            if let Ok((stream, _)) = self.listener.accept() {
                answer(stream, |request| self.passes().then(|| self.ask(request)));
            }
        }
    }

    /// Whether the request gets through the path.
    fn passes(&self) -> bool {
        loop {
            match self.path.condition() {
                Some(Condition::Healthy) => return true,
                Some(Condition::Slow { delay_ms }) => {
                    thread::sleep(Duration::from_millis(delay_ms));
                    return self.path.condition().is_some();
                }
                Some(Condition::Hanging) => thread::sleep(LOOK_AGAIN),
                Some(Condition::Failing) | None => return false,
            }
        }
    }

    /// Asks the disk, and aborts the paths that the request is to abort.
    fn ask(&self, request: Request) -> Outcome {
        let outcome = self.path.disk.ask(self.path.node, request);
        if let Outcome::Done { victims } = &outcome {
            for victim in self.paths.to(&self.path.disk.name) {
                if victims.contains(&victim.node) {
                    victim.abort();
                }
            }
        }
        outcome
    }
}

const LOOK_AGAIN: Duration = Duration::from_millis(20);
