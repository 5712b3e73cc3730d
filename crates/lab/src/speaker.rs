//! A program of ours in the client's namespaces that says what it sees, one line of JSON each.
//!
//! It is the lab's own binary (`lab-init WORD …`) and ends when its standard input does.

use std::io::{BufRead, BufReader};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use serde::de::DeserializeOwned;

use crate::cabling::Station;
use crate::clock;
use crate::init;
use crate::lab::{ExecError, Lab};
use crate::step::Step;

/// The command that runs `lab-init` with these words as the client.
pub(crate) fn command(lab: &Lab, words: &[&str]) -> Result<Command, ExecError> {
    let program = format!("{}/stead", init::PROGRAM_DIR);
    let words: Vec<&str> =
        [program.as_str(), init::SUBCOMMAND].into_iter().chain(words.iter().copied()).collect();
    lab.command(Station::Client, &words)
}

/// A running speaker, and all that it said.
#[derive(Debug)]
pub(crate) struct Speaker<T> {
    child: Child,
    /// Its end tells the program to end.
    stdin: Option<ChildStdin>,
    reader: Option<JoinHandle<()>>,
    said: Arc<Mutex<Vec<T>>>,
}

impl<T: DeserializeOwned + Send + 'static> Speaker<T> {
    /// Starts `lab-init` with these words.
    pub(crate) fn start(lab: &Lab, words: &[&str]) -> Result<Self, ExecError> {
        let mut command = command(lab, words)?;
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().step("start", words.join(" "))?;
        let said = Arc::new(Mutex::new(Vec::new()));
        let reader = child.stdout.take().map(|stdout| {
            let said = Arc::clone(&said);
            std::thread::spawn(move || {
                for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                    if let Ok(event) = serde_json::from_str(&line) {
                        said.lock().unwrap_or_else(PoisonError::into_inner).push(event);
                    }
                }
            })
        });
        Ok(Self { stdin: child.stdin.take(), child, reader, said })
    }
}

impl<T> Speaker<T> {
    /// All that it said so far.
    pub(crate) fn said(&self) -> MutexGuard<'_, Vec<T>> {
        self.said.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ends it; afterwards all that it said is there.
    pub(crate) fn end(&mut self) {
        drop(self.stdin.take());
        let ended = clock::wait_for(END_LIMIT, || self.child.try_wait().ok().flatten());
        if ended.is_none() {
            // Its own kind of end did not come; nothing it still says is wanted.
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
        if let Some(reader) = self.reader.take() {
            let _ = reader.join();
        }
    }
}

impl<T> Drop for Speaker<T> {
    fn drop(&mut self) {
        self.end();
    }
}

const END_LIMIT: Duration = Duration::from_secs(5);
