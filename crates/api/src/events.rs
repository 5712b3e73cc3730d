//! The event log of the cluster: the records of all nodes as one list, causes before effects.
//!
//! Every node records what it saw and did, and every one of them records a change of the database
//! when it has it: those records are one event, told by several nodes, and they join the nodes.
//!
//! ```text
//!   n1   suspected ──► change, as n1 tells it ─┐
//!                                              ├─ one event
//!   n2                 change, as n2 tells it ─┘ ──► group online
//! ```
//!
//! Certain is: what one node saw, in the order in which it did; changes in the order of the log;
//! what a node saw after it had a change comes after that change; a cause comes before what it
//! caused. The rest is ordered by the clocks: cluster time of changes, wall clocks of the nodes.
//! A clock that is wrong thus moves what is certain by nothing.
//!
//! Pure functions over what the nodes told.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};

use stead_model::record::{OfEntry, Record};
use stead_model::{CauseId, GroupId, LogIndex, NodeId, UtcMillis};

use crate::contract::{ClusterEvent, ClusterEvents, NodeAsked, NodeRecords, RecordName};

/// All that nodes told as one list.
#[must_use]
pub fn joined(told: Vec<NodeRecords>) -> ClusterEvents {
    let mut found = Found::default();
    let nodes = told.iter().map(asked).collect();
    for node in told {
        found.node(node.records.unwrap_or_default());
    }
    found.find_causes();
    let order = found.order();
    ClusterEvents { events: found.named(&order), left_out: 0, nodes }
}

/// The last ones of a list.
#[must_use]
pub fn last(mut all: ClusterEvents, count: usize) -> ClusterEvents {
    let over = all.events.len().saturating_sub(count);
    all.events.drain(..over);
    all.left_out += over;
    all
}

/// What is about a group and what caused it, directly or not.
#[must_use]
pub fn about(mut all: ClusterEvents, group: &GroupId) -> ClusterEvents {
    let mut wanted: BTreeSet<RecordName> = BTreeSet::new();
    let mut kept: Vec<ClusterEvent> = Vec::new();
    for event in all.events.into_iter().rev() {
        let is_about = event.record.group.as_ref() == Some(group);
        if is_about || event.told.iter().any(|name| wanted.contains(name)) {
            wanted.extend(event.cause);
            kept.push(event);
        }
    }
    kept.reverse();
    all.events = kept;
    all
}

fn asked(told: &NodeRecords) -> NodeAsked {
    let (kept, missing) = match &told.records {
        Ok(records) => (records.len(), None),
        Err(why) => (0, Some(why.clone())),
    };
    NodeAsked { node: told.node, name: told.name.clone(), kept, missing }
}

/// A change of the database; in the order of the log, also of one that goes on by force.
type Place = (UtcMillis, LogIndex, u32);

const fn place(OfEntry { index, change, at, .. }: OfEntry) -> Place {
    (at, index, change)
}

/// Events as they are found, by number.
#[derive(Default)]
struct Found {
    events: Vec<Event>,
    /// Those that are changes.
    changes: BTreeMap<Place, usize>,
    /// Whose records have which cause numbers.
    causes: BTreeMap<(NodeId, CauseId), usize>,
}

struct Event {
    /// One of each node that tells of it.
    records: Vec<Record>,
    /// Events that come before it.
    after: Vec<usize>,
    /// Which of its records names the event that caused it.
    cause: Option<(usize, usize)>,
}

impl Event {
    /// By which it is ordered where nothing is certain: time, node and number.
    fn key(&self) -> (UtcMillis, NodeId, u64) {
        let first = &self.records[0];
        let at = first.entry.map_or(first.at, |entry| entry.at);
        (at, first.node, first.number)
    }
}

impl Found {
    /// Takes the records of a node, in the order of their numbers.
    fn node(&mut self, records: Vec<Record>) {
        let (mut seen, mut change): (Option<usize>, Option<Place>) = (None, None);
        for record in records {
            let (name, cause) = ((record.node, record.id), record.id != CauseId(0));
            let event = match record.entry.map(place) {
                Some(at) => {
                    change = change.max(Some(at));
                    self.change(at, record)
                }
                None => {
                    let change = change.and_then(|at| self.changes.get(&at).copied());
                    let after = seen.into_iter().chain(change).collect();
                    seen = Some(self.add(record, after));
                    self.events.len() - 1
                }
            };
            if cause {
                self.causes.insert(name, event);
            }
        }
    }

    fn add(&mut self, record: Record, after: Vec<usize>) -> usize {
        self.events.push(Event { records: vec![record], after, cause: None });
        self.events.len() - 1
    }

    /// A node tells of a change; again, when its service was restarted.
    fn change(&mut self, at: Place, record: Record) -> usize {
        let Some(&event) = self.changes.get(&at) else {
            let event = self.add(record, Vec::new());
            self.changes.insert(at, event);
            return event;
        };
        let records = &mut self.events[event].records;
        if records.iter().all(|other| other.node != record.node) {
            records.push(record);
        }
        event
    }

    /// Several nodes may name a cause of one change. The failure of the group itself is one,
    /// whoever saw it; then what the leader names, who decided; then the last thing seen.
    fn find_causes(&mut self) {
        let mut before: Option<usize> = None;
        for &event in self.changes.values() {
            self.events[event].after.extend(before);
            before = Some(event);
        }
        for number in 0..self.events.len() {
            let of = self.events[number].records.iter().enumerate();
            let causes = of.filter_map(|(which, record)| {
                let event = *self.causes.get(&(record.node, record.cause?))?;
                let cause = &self.events[event].records[0];
                let same = record.group.is_some() && cause.group == record.group;
                let decided = record.entry.is_none_or(|entry| entry.decided);
                let rank = (same && cause.entry.is_none(), decided, self.events[event].key().0);
                (event != number).then_some((rank, (which, event)))
            });
            let best = causes.max_by_key(|(rank, _)| *rank).map(|(_, found)| found);
            self.events[number].cause = best;
            self.events[number].after.extend(best.map(|(_, event)| event));
        }
    }

    /// Every event after those that come before it. Where nodes contradict each other, as those of
    /// two histories may, the clocks decide.
    fn order(&self) -> Vec<usize> {
        let mut waits: Vec<usize> = self.events.iter().map(|event| event.after.len()).collect();
        let mut followers: Vec<Vec<usize>> = vec![Vec::new(); self.events.len()];
        for (number, event) in self.events.iter().enumerate() {
            event.after.iter().for_each(|&before| followers[before].push(number));
        }
        let key = |number: usize| Reverse((self.events[number].key(), number));
        let free = (0..self.events.len()).filter(|number| waits[*number] == 0);
        let mut free: BinaryHeap<_> = free.map(key).collect();
        let mut bound: BinaryHeap<_> = (0..self.events.len()).map(key).collect();
        let mut is_done = vec![false; self.events.len()];
        let mut order = Vec::with_capacity(self.events.len());
        while let Some(Reverse((_, number))) = free.pop().or_else(|| bound.pop()) {
            if std::mem::replace(&mut is_done[number], true) {
                continue;
            }
            order.push(number);
            for &follower in &followers[number] {
                waits[follower] = waits[follower].saturating_sub(1);
                if waits[follower] == 0 {
                    free.push(key(follower));
                }
            }
        }
        order
    }

    /// Events as they are shown: by the record that names the cause, or by the first one.
    fn named(mut self, order: &[usize]) -> Vec<ClusterEvent> {
        let names: Vec<Vec<RecordName>> = self.events.iter_mut().map(names).collect();
        let events = order.iter().map(|&number| {
            let event = &mut self.events[number];
            ClusterEvent {
                record: event.records.swap_remove(0),
                told: names[number].clone(),
                cause: event.cause.map(|(_, cause)| names[cause][0]),
            }
        });
        events.collect()
    }
}

/// The names of an event's records; the one that names the cause becomes the first.
fn names(event: &mut Event) -> Vec<RecordName> {
    let first = event.cause.map_or(0, |(which, _)| which);
    event.records[..=first].rotate_right(1);
    let name = |record: &Record| RecordName { node: record.node, number: record.number };
    event.records.iter().map(name).collect()
}

#[cfg(test)]
mod tests;
