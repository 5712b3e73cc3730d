//! The node's audit log: who asked this node for which changes, and how they ended.
//!
//! Apart from the event log, so that a busy cluster does not push it out. Nobody can push it out
//! by asking for what it may not: such requests are told up to a number per minute, then counted.

use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use stead_api::contract::{AuditLog, Audited, Outcome};
use stead_model::{NodeId, Span, Time, UtcMillis};
use tokio::sync::watch;

use crate::inbox::Inbox;
use crate::lines::{Lines, Numbered, Place};

/// The file is put aside at this size; one earlier file is kept.
const FILE_BYTES_MAX: u64 = 8 << 20;
/// So many denials are told within a minute.
const DENIALS_MAX: u32 = 20;
const MINUTE: Span = Span::from_secs(60);

/// The audit log of one node.
#[derive(Debug)]
pub(crate) struct Audit {
    node: NodeId,
    lines: Lines<Audited>,
    denials: Mutex<Denials>,
}

#[derive(Default, Debug)]
struct Denials {
    minute_began: Option<Time>,
    told: u32,
    left_out: u64,
}

impl Numbered for Audited {
    fn number(&self) -> u64 {
        self.number
    }

    fn set_number(&mut self, number: u64) {
        self.number = number;
    }
}

impl Audit {
    /// Goes on with the log at `path`; its writer runs until the service ends.
    pub(crate) fn open(node: NodeId, path: &Path, inbox: Arc<Inbox>) -> io::Result<Self> {
        let place = Place { thread: "audit", path, bytes_max: FILE_BYTES_MAX, mode: 0o600 };
        let lines = Lines::open(place, inbox, |_| {})?;
        Ok(Self { node, lines, denials: Mutex::default() })
    }

    /// A log without a file.
    #[cfg(test)]
    pub(crate) fn in_memory(node: NodeId) -> Self {
        Self { node, lines: Lines::in_memory(), denials: Mutex::default() }
    }

    /// Adds a line, which was answered at this moment.
    pub(crate) fn add(&self, entry: Audited, (now, at): (Time, UtcMillis)) {
        let mut denials = self.denials.lock().unwrap_or_else(PoisonError::into_inner);
        if entry.outcome == Outcome::Denied && !denials.may_be_told(now) {
            denials.left_out += 1;
            return;
        }
        let left_out = std::mem::take(&mut denials.left_out);
        drop(denials);
        self.lines.add(Audited { at, node: self.node, left_out, ..entry });
    }

    /// Lines from number `since` on, at most `limit`.
    pub(crate) fn since(&self, since: u64, limit: usize) -> AuditLog {
        let (entries, next) = self.lines.since(since, limit);
        AuditLog { entries, next }
    }

    /// Tells the number of the last line.
    pub(crate) fn watch(&self) -> watch::Receiver<u64> {
        self.lines.watch()
    }

    /// Waits until everything is in the file, but not for ever.
    pub(crate) fn flush(&self, limit: Duration) {
        self.lines.flush(limit);
    }

    /// Why the file does not get the lines, if it does not.
    pub(crate) fn trouble(&self) -> Option<String> {
        self.lines.trouble()
    }
}

impl Denials {
    fn may_be_told(&mut self, now: Time) -> bool {
        if self.minute_began.is_none_or(|began| now.since(began) >= MINUTE) {
            (self.minute_began, self.told) = (Some(now), 0);
        }
        self.told += 1;
        self.told <= DENIALS_MAX
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(outcome: Outcome) -> Audited {
        Audited {
            number: 0,
            at: UtcMillis(0),
            node: NodeId(0),
            who: "somebody".into(),
            role: None,
            request: None,
            what: "delete group `web`".into(),
            outcome,
            answer: "no".into(),
            left_out: 0,
        }
    }

    #[test]
    fn denials_are_told_up_to_a_number_and_then_counted() {
        let audit = Audit::in_memory(NodeId(3));
        let at = |s| (Time(Span::from_secs(s).0), UtcMillis(s));
        for _ in 0..100 {
            audit.add(entry(Outcome::Denied), at(1));
        }
        audit.add(entry(Outcome::Done), at(2));
        for _ in 0..3 {
            audit.add(entry(Outcome::Denied), at(61));
        }
        let entries = audit.since(0, 99).entries;
        assert_eq!(entries.len(), DENIALS_MAX as usize + 4);
        let left_out: Vec<u64> =
            entries[DENIALS_MAX as usize..].iter().map(|entry| entry.left_out).collect();
        assert_eq!(left_out, [80, 0, 0, 0], "what was done is always told");
        assert_eq!(
            (entries[0].node, entries[0].at, entries[0].number),
            (NodeId(3), UtcMillis(1), 1)
        );
    }

    #[test]
    fn the_log_goes_on_over_restarts_and_is_its_owners() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("audit.jsonl");
        let open = || Audit::open(NodeId(1), &path, Arc::new(Inbox::new().unwrap())).unwrap();
        for number in 1..=3 {
            let audit = open();
            audit.add(entry(Outcome::Done), (Time(0), UtcMillis(0)));
            audit.flush(Duration::from_secs(20));
            assert_eq!(audit.since(0, 9).next, number + 1);
        }
        let mode = std::fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }
}
