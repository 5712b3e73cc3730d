//! The measuring client: what somebody outside sees of a virtual server.
//!
//! Every 5 ms a fresh TCP connection and a GET, without waiting for earlier ones, each with 250 ms.
//! A process of its own in the client's namespaces (`lab-init prober ADDRESS PORT`) does the asking
//! and prints one line of JSON per attempt; it ends when its standard input does. The MAC of an
//! answer is read from the frames themselves, not from a cache.

mod asking;
mod outage;

use std::ffi::OsString;
use std::io::{BufRead, BufReader};
use std::net::SocketAddrV4;
use std::process::{Child, ChildStdin, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::cabling::Station;
use crate::clock;
use crate::init;
use crate::lab::{ExecError, Lab};
use crate::step::{Step, StepError};

pub use outage::{GAP_NS, Outage};

/// One attempt of the client, on CLOCK_BOOTTIME.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Attempt {
    /// When the connection was begun, nanoseconds.
    pub sent_ns: u64,
    /// When the answer, the refusal or the end of patience came, nanoseconds.
    pub done_ns: u64,
    /// What came of it.
    pub result: Outcome,
    /// Whose network card sent the last frame of this connection, if any came.
    pub from: Option<Station>,
}

/// What came of an attempt.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// A page with status 200.
    Good,
    /// Something else than that.
    BadAnswer,
    /// The address answers, the service does not.
    Refused,
    /// Nobody has the address.
    Unreachable,
    /// Nothing in 250 ms.
    Timeout,
}

/// A running prober.
#[derive(Debug)]
pub struct Prober {
    child: Child,
    /// Its end tells the prober to end.
    stdin: Option<ChildStdin>,
    reader: Option<JoinHandle<()>>,
    attempts: Arc<Mutex<Vec<Attempt>>>,
}

impl Prober {
    /// Begins to ask.
    pub fn start(lab: &Lab, target: SocketAddrV4) -> Result<Self, ExecError> {
        let program = format!("{}/stead", init::PROGRAM_DIR);
        let (address, port) = (target.ip().to_string(), target.port().to_string());
        let words = [program.as_str(), init::SUBCOMMAND, "prober", &address, &port];
        let mut command = lab.command(Station::Client, &words)?;
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().step("start", "the prober")?;
        let attempts = Arc::new(Mutex::new(Vec::new()));
        let reader = child.stdout.take().map(|stdout| {
            let attempts = Arc::clone(&attempts);
            std::thread::spawn(move || {
                for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                    if let Ok(attempt) = serde_json::from_str(&line) {
                        attempts.lock().unwrap_or_else(PoisonError::into_inner).push(attempt);
                    }
                }
            })
        });
        Ok(Self { stdin: child.stdin.take(), child, reader, attempts })
    }

    /// All attempts that are over, in the order of their ends.
    #[must_use]
    pub fn attempts(&self) -> Vec<Attempt> {
        self.attempts.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Waits for a good answer to a question asked after a moment, by anybody or by one station.
    pub fn wait_good(
        &self,
        after_ns: u64,
        by: Option<Station>,
        limit: Duration,
    ) -> Option<Attempt> {
        clock::wait_for(limit, || {
            let attempts = self.attempts.lock().unwrap_or_else(PoisonError::into_inner);
            let good = |a: &&Attempt| {
                a.result == Outcome::Good && a.sent_ns > after_ns && (by.is_none() || a.from == by)
            };
            attempts.iter().rev().find(good).copied()
        })
    }

    /// The longest time without a good answer that ended after a moment.
    #[must_use]
    pub fn outage_after(&self, moment_ns: u64) -> Option<Outage> {
        outage::longest_after(&self.attempts(), moment_ns)
    }

    /// Ends the asking and returns all attempts.
    #[must_use]
    pub fn stop(mut self) -> Vec<Attempt> {
        self.end();
        self.attempts()
    }

    fn end(&mut self) {
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

impl Drop for Prober {
    fn drop(&mut self) {
        self.end();
    }
}

/// `lab-init prober ADDRESS PORT`.
pub(crate) fn main(arguments: impl Iterator<Item = OsString>) -> Result<u8, StepError> {
    let words: Vec<String> = arguments.filter_map(|word| word.into_string().ok()).collect();
    let target = words.join(":").parse::<SocketAddrV4>().step("understand", words.join(" "))?;
    asking::run(target).step("ask", target)?;
    Ok(0)
}

const END_LIMIT: Duration = Duration::from_secs(5);
