//! The writing client: what somebody outside was promised by a database, and what is there.
//!
//! It commits one row after the other into the table `ledger` of a PostgreSQL server and says of
//! each whether it was acknowledged, by which node, in which epoch. A process of its own in the
//! client's namespaces does it (`lab-init ledger ADDRESS PORT FIRST`); it ends when its standard
//! input does. The server must tell its epoch and node as its settings `stead.epoch` and
//! `cluster_name`, and let the client in as user `postgres` without a password.
//!
//! A row that is not acknowledged is not written again: it may be there or not, and the next one
//! has another number.

mod pen;
mod wire;

use std::ffi::OsString;
use std::io::{BufRead, BufReader};
use std::net::SocketAddrV4;
use std::process::{Child, ChildStdin, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::cabling::Station;
use crate::clock;
use crate::init;
use crate::lab::{ExecError, Lab};
use crate::step::{Step, StepError};

/// What the server told with a row.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Told {
    /// The epoch it was started in.
    pub epoch: u64,
    /// The name of its node.
    pub node: String,
}

/// One row that the client tried to write, on CLOCK_BOOTTIME.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Entry {
    /// Its number; they grow.
    pub seq: u64,
    /// When it was sent, nanoseconds.
    pub sent_ns: u64,
    /// When it was acknowledged or given up, nanoseconds.
    pub done_ns: u64,
    /// What the acknowledgement said; `None`: none came, the row may be there or not.
    pub told: Option<Told>,
}

/// A row that is in the table.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Row {
    /// Its number.
    pub seq: u64,
    /// Who wrote it.
    #[serde(flatten)]
    pub told: Told,
}

/// A client at work.
#[derive(Debug)]
pub struct Ledger {
    child: Child,
    /// Its end tells the client to end.
    stdin: Option<ChildStdin>,
    reader: Option<JoinHandle<()>>,
    entries: Arc<Mutex<Vec<Entry>>>,
}

impl Ledger {
    /// Begins to write, with this number.
    pub fn start(lab: &Lab, target: SocketAddrV4, first: u64) -> Result<Self, ExecError> {
        let mut command = lab.command(Station::Client, &words(target, &first.to_string()))?;
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().step("start", "the ledger")?;
        let entries = Arc::new(Mutex::new(Vec::new()));
        let reader = child.stdout.take().map(|stdout| {
            let entries = Arc::clone(&entries);
            std::thread::spawn(move || {
                for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                    if let Ok(entry) = serde_json::from_str(&line) {
                        entries.lock().unwrap_or_else(PoisonError::into_inner).push(entry);
                    }
                }
            })
        });
        Ok(Self { stdin: child.stdin.take(), child, reader, entries })
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Entry>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// All rows that it tried, in the order of their numbers.
    #[must_use]
    pub fn entries(&self) -> Vec<Entry> {
        self.lock().clone()
    }

    /// Waits for the acknowledgement of a row that was sent after a moment.
    pub fn wait_acknowledged(&self, after_ns: u64, limit: Duration) -> Option<Entry> {
        clock::wait_for(limit, || {
            let entries = self.lock();
            let late = |entry: &&Entry| entry.told.is_some() && entry.sent_ns > after_ns;
            entries.iter().rev().find(late).cloned()
        })
    }

    /// The last row that was acknowledged.
    #[must_use]
    pub fn last_acknowledged(&self) -> Option<Entry> {
        self.lock().iter().rev().find(|entry| entry.told.is_some()).cloned()
    }

    /// The longest time between two acknowledgements, the later of which came after a moment,
    /// nanoseconds.
    #[must_use]
    pub fn outage_ns(&self, after_ns: u64) -> Option<u64> {
        let entries = self.lock();
        let moments: Vec<u64> =
            entries.iter().filter(|e| e.told.is_some()).map(|e| e.done_ns).collect();
        let pairs = moments.windows(2).filter(|pair| pair[1] > after_ns);
        pairs.map(|pair| pair[1] - pair[0]).max()
    }

    /// Ends the writing and returns all entries.
    #[must_use]
    pub fn stop(mut self) -> Vec<Entry> {
        self.end();
        self.entries()
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

impl Drop for Ledger {
    fn drop(&mut self) {
        self.end();
    }
}

/// What is in the table now, in the order of the numbers.
pub fn rows(lab: &Lab, target: SocketAddrV4) -> Result<Vec<Row>, ExecError> {
    let mut command = lab.command(Station::Client, &words(target, READ))?;
    let output = command.stdin(Stdio::null()).output().step("read", "the ledger")?;
    if !output.status.success() {
        let why = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        return Err(StepError::new("read the ledger of", target, why).into());
    }
    let text = String::from_utf8_lossy(&output.stdout);
    let rows = text.lines().map(serde_json::from_str).collect::<Result<_, _>>();
    Ok(rows.step("understand", "the ledger")?)
}

fn words(target: SocketAddrV4, what: &str) -> [String; 6] {
    let program = format!("{}/stead", init::PROGRAM_DIR);
    let (address, port) = (target.ip().to_string(), target.port().to_string());
    [program, init::SUBCOMMAND.into(), "ledger".into(), address, port, what.into()]
}

/// In the place of the first number: read instead.
const READ: &str = "read";

/// `lab-init ledger ADDRESS PORT FIRST|read`.
pub(crate) fn main(arguments: impl Iterator<Item = OsString>) -> Result<u8, StepError> {
    let words: Vec<String> = arguments.filter_map(|word| word.into_string().ok()).collect();
    let [address, port, what] = &words[..] else {
        return Err(StepError::new("understand", words.join(" "), "ADDRESS PORT FIRST|read"));
    };
    let target = format!("{address}:{port}").parse::<SocketAddrV4>().step("understand", address)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.step("begin with", target)?;
    if what == READ {
        runtime.block_on(pen::read(target)).step("read", target)?;
        return Ok(0);
    }
    let first = what.parse::<u64>().step("understand", what)?;
    let ended = runtime.block_on(pen::write(target, first));
    // The read of standard input has a thread that need not be waited for.
    runtime.shutdown_background();
    ended.step("write to", target).map(|()| 0)
}

const END_LIMIT: Duration = Duration::from_secs(5);
