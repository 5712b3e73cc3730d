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
use std::net::SocketAddrV4;
use std::process::Stdio;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::clock;
use crate::lab::{ExecError, Lab};
use crate::speaker::{self, Speaker};
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
pub struct Ledger(Speaker<Entry>);

impl Ledger {
    /// Begins to write, with this number.
    pub fn start(lab: &Lab, target: SocketAddrV4, first: u64) -> Result<Self, ExecError> {
        Speaker::start(lab, &words(target, &first.to_string()).each_ref().map(String::as_str))
            .map(Self)
    }

    /// All rows that it tried, in the order of their numbers.
    #[must_use]
    pub fn entries(&self) -> Vec<Entry> {
        self.0.said().clone()
    }

    /// Waits for the acknowledgement of a row that was sent after a moment.
    pub fn wait_acknowledged(&self, after_ns: u64, limit: Duration) -> Option<Entry> {
        clock::wait_for(limit, || {
            let entries = self.0.said();
            let late = |entry: &&Entry| entry.told.is_some() && entry.sent_ns > after_ns;
            entries.iter().rev().find(late).cloned()
        })
    }

    /// The last row that was acknowledged.
    #[must_use]
    pub fn last_acknowledged(&self) -> Option<Entry> {
        self.0.said().iter().rev().find(|entry| entry.told.is_some()).cloned()
    }

    /// The longest time between two acknowledgements, the later of which came after a moment,
    /// nanoseconds.
    #[must_use]
    pub fn outage_ns(&self, after_ns: u64) -> Option<u64> {
        let entries = self.0.said();
        let moments: Vec<u64> =
            entries.iter().filter(|e| e.told.is_some()).map(|e| e.done_ns).collect();
        let pairs = moments.windows(2).filter(|pair| pair[1] > after_ns);
        pairs.map(|pair| pair[1] - pair[0]).max()
    }

    /// Ends the writing and returns all entries.
    #[must_use]
    pub fn stop(mut self) -> Vec<Entry> {
        self.0.end();
        self.entries()
    }
}

/// What is in the table now, in the order of the numbers.
pub fn rows(lab: &Lab, target: SocketAddrV4) -> Result<Vec<Row>, ExecError> {
    let mut command = speaker::command(lab, &words(target, READ).each_ref().map(String::as_str))?;
    let output = command.stdin(Stdio::null()).output().step("read", "the ledger")?;
    if !output.status.success() {
        let why = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        return Err(StepError::new("read the ledger of", target, why).into());
    }
    let text = String::from_utf8_lossy(&output.stdout);
    let rows = text.lines().map(serde_json::from_str).collect::<Result<_, _>>();
    Ok(rows.step("understand", "the ledger")?)
}

fn words(target: SocketAddrV4, what: &str) -> [String; 4] {
    ["ledger".into(), target.ip().to_string(), target.port().to_string(), what.into()]
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
