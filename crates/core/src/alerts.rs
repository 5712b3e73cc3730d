//! Which records are due to be told by a node, and by which alerts.
//!
//! A record of what a node saw or did itself is due at once, there. A record of a change of the
//! database is written by all nodes: it is due at the node of the leader. The others hold it for
//! [`HELD_MS`], so that a new leader tells what the former one may have died with. So nothing is
//! lost with a node that dies, and a change is told again only where the leader changed in that
//! time; both tellings carry the same key.
//!
//! Pure, like all of the core. Not part of [`crate::Cluster`]: nothing the cluster decides depends
//! on it, and records that are not the core's are judged, too. The node service drives it.

use std::collections::VecDeque;
use std::sync::Arc;

use stead_model::alert::Alert;
use stead_model::record::{OfEntry, Record};
use stead_model::{LogIndex, UtcMillis};

/// How long a record of a change is held by a node that does not lead: longer than it takes to
/// notice that the leader is gone and to elect another.
pub const HELD_MS: u64 = 10_000;
/// Records held at most; the oldest go first.
pub const HELD_MAX: usize = 128;
/// A change that was made so long before its record was read again from the log: old news.
const OLD_MS: u64 = 60_000;
/// Records about alerts begin so; they are never told, or a failure would tell of itself.
const OWN: &str = "alert-";

/// Whether an alert tells of a record.
#[must_use]
pub fn wants(alert: &Alert, record: &Record) -> bool {
    let is = |code: &String| match code.strip_suffix('*') {
        Some(begin) => record.code.starts_with(begin),
        None => *code == record.code,
    };
    let about = |group| alert.groups.contains(group);
    !record.code.starts_with(OWN)
        && record.level >= alert.level
        && (alert.codes.is_empty() || alert.codes.iter().any(is))
        && (alert.groups.is_empty() || record.group.as_ref().is_some_and(about))
}

/// What one node has to tell.
#[derive(Clone, Debug)]
pub struct Duty {
    /// The last change that a record told of; what is read again from the log is not told twice.
    last: Option<(LogIndex, u32)>,
    held: VecDeque<Arc<Record>>,
    leads: bool,
}

impl Duty {
    /// The duty of a node after the records that it wrote before.
    #[must_use]
    pub fn after<'a>(records: impl Iterator<Item = &'a Record>) -> Self {
        let last = records.filter_map(|record| record.entry.map(place)).max();
        Self { last, held: VecDeque::new(), leads: false }
    }

    /// A record was written on this node. Gives it back if it is due now.
    pub fn take(&mut self, now: UtcMillis, record: Arc<Record>) -> Option<Arc<Record>> {
        let Some(entry) = record.entry else { return Some(record) };
        if self.last >= Some(place(entry)) {
            return None;
        }
        self.last = Some(place(entry));
        if self.leads {
            return Some(record);
        }
        self.forget(now);
        if is_fresh(now, &record) {
            if self.held.len() == HELD_MAX {
                self.held.pop_front();
            }
            self.held.push_back(record);
        }
        None
    }

    /// This node's replica, or the quorum disk's on this node, leads or does not. Gives what is
    /// due thereby.
    pub fn lead(&mut self, now: UtcMillis, leads: bool) -> Vec<Arc<Record>> {
        self.leads = leads;
        if !leads {
            return Vec::new();
        }
        self.forget(now);
        self.held.drain(..).collect()
    }

    fn forget(&mut self, now: UtcMillis) {
        self.held.retain(|record| is_fresh(now, record));
    }
}

const fn place(entry: OfEntry) -> (LogIndex, u32) {
    (entry.index, entry.change)
}

fn is_fresh(now: UtcMillis, record: &Record) -> bool {
    let made = record.entry.map_or(record.at, |entry| entry.at);
    now.0.saturating_sub(record.at.0) <= HELD_MS && record.at.0.saturating_sub(made.0) <= OLD_MS
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use stead_model::record::Level;
    use stead_model::{CauseId, NodeId};

    use super::*;

    fn record(code: &str, at: u64, entry: Option<u64>) -> Arc<Record> {
        Arc::new(Record {
            number: 0,
            at: UtcMillis(at),
            boot_ns: 0,
            node: NodeId(1),
            level: Level::Info,
            code: code.into(),
            group: Some("web".into()),
            resource: None,
            text: String::new(),
            id: CauseId(0),
            cause: None,
            entry: entry.map(|index| OfEntry {
                index: LogIndex(index),
                change: 0,
                at: UtcMillis(at),
                decided: false,
            }),
        })
    }

    fn alert(given: &[(&str, &str)]) -> Alert {
        let mut all = BTreeMap::from([("webhook".to_owned(), "http://a/".to_owned())]);
        all.extend(given.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
        Alert::parse(&all).unwrap()
    }

    fn codes(records: &[Arc<Record>]) -> Vec<&str> {
        records.iter().map(|r| r.code.as_str()).collect()
    }

    #[test]
    fn an_alert_tells_of_what_it_names_and_never_of_alerts() {
        let record = record("group-granted", 0, None);
        let told = |given: &[(&str, &str)]| wants(&alert(given), &record);
        assert!(!told(&[]), "info is below the usual level");
        assert!(told(&[("level", "info")]));
        assert!(told(&[("codes", "lease-lost,group-*")]));
        assert!(!told(&[("codes", "group-*"), ("level", "warning")]));
        assert!(!told(&[("codes", "group-grant")]));
        assert!(told(&[("level", "info"), ("groups", "db,web")]));
        assert!(!told(&[("level", "info"), ("groups", "db")]));
        let error = Record { level: Level::Error, ..(*record).clone() };
        assert!(wants(&alert(&[]), &error));
        let of_alert = Record { code: "alert-failed".into(), ..error };
        assert!(!wants(&alert(&[("codes", "*")]), &of_alert), "it would tell of itself for ever");
    }

    #[test]
    fn what_a_node_saw_itself_is_due_there_whoever_leads() {
        let mut duty = Duty::after([].iter());
        assert!(duty.take(UtcMillis(5), record("suspected", 5, None)).is_some());
        duty.lead(UtcMillis(5), true);
        assert!(duty.take(UtcMillis(6), record("suspected", 6, None)).is_some());
    }

    #[test]
    fn a_change_is_due_at_the_leader_and_at_the_next_one_if_that_dies_at_once() {
        let mut duty = Duty::after([].iter());
        assert!(duty.take(UtcMillis(0), record("long-ago", 0, Some(1))).is_none());
        assert!(duty.take(UtcMillis(9_000), record("just-now", 9_000, Some(2))).is_none());
        let due = duty.lead(UtcMillis(12_000), true);
        assert_eq!(codes(&due), ["just-now"]);
        assert!(duty.lead(UtcMillis(12_001), true).is_empty(), "not twice");
        assert!(duty.take(UtcMillis(12_002), record("own", 12_002, Some(3))).is_some());
        duty.lead(UtcMillis(12_003), false);
        assert!(duty.take(UtcMillis(12_004), record("others", 12_004, Some(4))).is_none());
    }

    #[test]
    fn what_is_read_again_from_the_log_is_not_told_again() {
        let written = [record("a", 0, Some(7)), record("b", 0, None)];
        let mut duty = Duty::after(written.iter().map(Arc::as_ref));
        duty.lead(UtcMillis(0), true);
        assert!(duty.take(UtcMillis(1), record("again", 1, Some(6))).is_none());
        assert!(duty.take(UtcMillis(1), record("again", 1, Some(7))).is_none());
        assert!(duty.take(UtcMillis(1), record("new", 1, Some(8))).is_some());
        // A node that was away for a day reads what it missed; it may lead soon after.
        let mut duty = Duty::after([].iter());
        let mut missed = (*record("missed", 86_400_000, Some(9))).clone();
        missed.entry =
            Some(OfEntry { index: LogIndex(9), change: 0, at: UtcMillis(0), decided: false });
        assert!(duty.take(UtcMillis(86_400_000), Arc::new(missed)).is_none());
        assert!(duty.lead(UtcMillis(86_400_001), true).is_empty());
    }

    #[test]
    fn what_is_held_is_bounded() {
        let mut duty = Duty::after([].iter());
        for index in 1..=HELD_MAX as u64 + 2 {
            duty.take(UtcMillis(0), record(&format!("r{index}"), 0, Some(index)));
        }
        let due = duty.lead(UtcMillis(1), true);
        assert_eq!((due.len(), due[0].code.as_str()), (HELD_MAX, "r3"));
    }
}
