//! The measuring client: what somebody outside sees of a virtual server.
//!
//! Every 5 ms a fresh TCP connection and a GET, without waiting for earlier ones, each with 250 ms.
//! A process of its own in the client's namespaces (`lab-init prober ADDRESS PORT`) does the asking
//! and prints one line of JSON per attempt; it ends when its standard input does. The MAC of an
//! answer is read from the frames themselves, not from a cache.

mod asking;
mod outage;

use std::ffi::OsString;
use std::net::SocketAddrV4;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::cabling::Station;
use crate::clock;
use crate::lab::{ExecError, Lab};
use crate::speaker::Speaker;
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
pub struct Prober(Speaker<Attempt>);

impl Prober {
    /// Begins to ask.
    pub fn start(lab: &Lab, target: SocketAddrV4) -> Result<Self, ExecError> {
        let (address, port) = (target.ip().to_string(), target.port().to_string());
        Speaker::start(lab, &["prober", &address, &port]).map(Self)
    }

    /// All attempts that are over, in the order of their ends.
    #[must_use]
    pub fn attempts(&self) -> Vec<Attempt> {
        self.0.said().clone()
    }

    /// Waits for a good answer to a question asked after a moment, by anybody or by one station.
    pub fn wait_good(
        &self,
        after_ns: u64,
        by: Option<Station>,
        limit: Duration,
    ) -> Option<Attempt> {
        clock::wait_for(limit, || {
            let attempts = self.0.said();
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
        self.0.end();
        self.attempts()
    }
}

/// `lab-init prober ADDRESS PORT`.
pub(crate) fn main(arguments: impl Iterator<Item = OsString>) -> Result<u8, StepError> {
    let words: Vec<String> = arguments.filter_map(|word| word.into_string().ok()).collect();
    let target = words.join(":").parse::<SocketAddrV4>().step("understand", words.join(" "))?;
    asking::run(target).step("ask", target)?;
    Ok(0)
}
