//! Who calls and has not proved itself yet: bounded per address, so that nobody who only opens
//! connections takes the place of a node, and told at a bounded rate.

use std::collections::{BTreeMap, VecDeque};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use stead_model::record::Level;
use tokio::task::AbortHandle;

use crate::records::Records;

/// Connections of one address that have not proved themselves, at most; the oldest gives way to a
/// new one. A node needs one at a time, for a few milliseconds.
const WAITING_MAX: usize = 16;
/// A record of refused callers is written at most this often.
const PAUSE: Duration = Duration::from_secs(60);

/// All callers of one node.
#[derive(Debug)]
pub(crate) struct Callers {
    records: Arc<Records>,
    /// What somebody is counted as who does not prove who it is.
    unproved: Kind,
    state: Mutex<State>,
}

#[derive(Default, Debug)]
struct State {
    waiting: BTreeMap<IpAddr, VecDeque<(u64, AbortHandle)>>,
    numbers: u64,
    strangers: Tally,
    refused: Tally,
    without_role: Tally,
    hosts: Tally,
}

/// What was closed and is not told yet.
#[derive(Default, Debug)]
struct Tally {
    count: u64,
    last: String,
    /// Something was told a moment ago; the rest is told later.
    is_quiet: bool,
}

/// Which callers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Kind {
    /// At an address of no node.
    Stranger,
    /// At the address of a node.
    Refused,
    /// Somebody who asks this node and has no role.
    WithoutRole,
    /// A host that would join, or something in its place.
    Host,
}

impl Callers {
    /// Those who call as nodes.
    pub(crate) fn new(records: Arc<Records>) -> Self {
        Self { records, unproved: Kind::Refused, state: Mutex::default() }
    }

    /// Those who ask.
    pub(crate) fn of_askers(records: Arc<Records>) -> Self {
        Self { records, unproved: Kind::WithoutRole, state: Mutex::default() }
    }

    /// A number for a caller that comes now.
    pub(crate) fn number(&self) -> u64 {
        let mut state = self.state();
        state.numbers += 1;
        state.numbers
    }

    /// A caller waits. Too many of its address: the oldest one is given up.
    pub(crate) fn wait(self: &Arc<Self>, from: IpAddr, number: u64, task: AbortHandle) {
        if task.is_finished() {
            return;
        }
        let mut state = self.state();
        let waiting = state.waiting.entry(from).or_default();
        waiting.push_back((number, task));
        let oldest = if waiting.len() > WAITING_MAX { waiting.pop_front() } else { None };
        drop(state);
        if let Some((_, oldest)) = oldest {
            oldest.abort();
            let why = "too many connections that do not prove who they are";
            self.count(self.unproved, format!("{from}: {why}"));
        }
    }

    /// A caller proved itself or is gone.
    pub(crate) fn done(&self, from: IpAddr, number: u64) {
        let mut state = self.state();
        if let Some(waiting) = state.waiting.get_mut(&from) {
            waiting.retain(|(known, _)| *known != number);
            if waiting.is_empty() {
                state.waiting.remove(&from);
            }
        }
    }

    /// A caller from an address of no node.
    pub(super) fn stranger(self: &Arc<Self>, from: IpAddr) {
        self.count(Kind::Stranger, from.to_string());
    }

    /// Somebody who asks this node and has no role.
    pub(super) fn without_role(self: &Arc<Self>, who: &str) {
        let who = who.chars().take(200).filter(|c| !c.is_control()).collect();
        self.count(Kind::WithoutRole, who);
    }

    /// A caller at the address of a node that is not to be believed.
    pub(super) fn refuse(self: &Arc<Self>, from: IpAddr, why: &str) {
        self.count(Kind::Refused, told(from, why));
    }

    /// A host that was not let in.
    pub(crate) fn host(self: &Arc<Self>, from: IpAddr, why: &str) {
        self.count(Kind::Host, told(from, why));
    }

    fn count(self: &Arc<Self>, kind: Kind, last: String) {
        let mut state = self.state();
        let tally = state.tally(kind);
        (tally.count, tally.last) = (tally.count + 1, last);
        if std::mem::replace(&mut tally.is_quiet, true) {
            return;
        }
        drop(state);
        self.tell(kind);
        let own = Arc::clone(self);
        tokio::spawn(async move {
            loop {
                tokio::time::sleep(PAUSE).await;
                if !own.tell(kind) {
                    own.state().tally(kind).is_quiet = false;
                    return;
                }
            }
        });
    }

    /// Tells what is not told yet; `false`: nothing.
    fn tell(&self, kind: Kind) -> bool {
        let mut state = self.state();
        let tally = state.tally(kind);
        let (count, last) = (std::mem::take(&mut tally.count), std::mem::take(&mut tally.last));
        drop(state);
        if count == 0 {
            return false;
        }
        let (level, code, whose) = match kind {
            Kind::Stranger => (Level::Info, "callers-dropped", "from addresses of no node"),
            Kind::Refused => (Level::Warning, "callers-refused", "from addresses of nodes"),
            Kind::WithoutRole => (Level::Info, "askers-denied", "of whoever has no role"),
            Kind::Host => (Level::Warning, "hosts-refused", "of hosts that would join"),
        };
        let text = format!("connections {whose} were closed: {count}; the last one from {last}");
        self.records.note(level, code, &text);
        true
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    const fn tally(&mut self, kind: Kind) -> &mut Tally {
        match kind {
            Kind::Stranger => &mut self.strangers,
            Kind::Refused => &mut self.refused,
            Kind::WithoutRole => &mut self.without_role,
            Kind::Host => &mut self.hosts,
        }
    }
}

fn told(from: IpAddr, why: &str) -> String {
    let why: String = why.chars().take(200).filter(|c| !c.is_control()).collect();
    format!("{from}: {why}")
}
