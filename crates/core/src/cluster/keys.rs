//! The keys of this node: what the log and its own set ask of it (decision 0037).
//!
//! One order is under way at a time and is told when it is done; what a node has goes into its
//! reports, by which the leader goes on. A set that follows is asked of a node that has it, on a
//! stream, until it is there. What the log says may be old right after a start: a set whose
//! rotation it does not tell of yet is left alone.

use stead_journal::ClusterKey;
use stead_model::keys::{KeyOrder, KeyReport, Keys, NewKeys, Other, Phase, Print, Rotation, Seals};
use stead_model::record::Level;
use stead_model::view::{AwaitedView, RotationView};
use stead_model::wire::peer::PeerMessage;
use stead_model::{LogIndex, NodeId, Span, Time};

use super::Cluster;
use super::reporting::Next;
use crate::db::rotation::{self, Member};
use crate::effect::{Channel, Effect};
use crate::quorum::SeatKeys;

/// What this node has, and what it does about it.
#[derive(Debug)]
pub(super) struct Ring {
    keys: Keys,
    /// What an executor does now.
    ordered: bool,
    /// Nothing is ordered or asked for again before this.
    next_at: Time,
    /// Why the last order failed, as it was recorded.
    failed: Option<String>,
    /// A set that was asked for and came.
    came: Option<Box<NewKeys>>,
    /// There is something to do at `next_at`.
    waits: bool,
    /// What was told last of the quorum disk.
    disk: Option<Print>,
    /// The rotation and the nodes that it waits for, since when, and whether that was recorded.
    awaits: Option<(Awaited, Time, bool)>,
    /// The last rotation that was seen to be over.
    over: Option<u64>,
    /// The log was empty, for its history was given up: what it says when it is filled again is
    /// not old, and a set that followed in the former history follows nothing (R13).
    refills: bool,
}

/// A rotation, and the nodes that it waits for.
type Awaited = (Rotation, Vec<(NodeId, &'static str)>);

impl Ring {
    pub(super) const fn new(keys: Keys) -> Self {
        let (ordered, waits, next_at) = (false, false, Time(0));
        let (failed, came, disk, awaits, over, refills) = (None, None, None, None, None, false);
        Self { keys, ordered, next_at, failed, came, waits, disk, awaits, over, refills }
    }

    pub(super) fn deadline(&self) -> Option<Time> {
        let untold = self.awaits.as_ref().filter(|(_, _, told)| !told);
        let tell = untold.map(|(_, since, _)| *since + AWAITED_TOLD);
        self.waits.then_some(self.next_at).into_iter().chain(tell).min()
    }
}

/// What is to be done about the keys of a node.
#[derive(PartialEq, Eq, Debug)]
enum Step {
    Rest,
    Order(KeyOrder),
    /// It has not got the set that follows.
    Fetch(Print),
}

/// What the log asks of a node.
fn step(node: NodeId, (rotation, rotations): (Option<Rotation>, u64), keys: &Keys) -> Step {
    let own = keys.own.print;
    let other = keys.other.map(|key| key.print);
    let Some(Rotation { number, phase, maker, print }) = rotation else {
        return match other {
            Other::Next(of, _) if of <= rotations => Step::Order(KeyOrder::Forget(of)),
            Other::Next(..) | Other::Former(..) | Other::None => Step::Rest,
        };
    };
    match (print, other) {
        (_, Other::Next(of, _)) if of < number => Step::Order(KeyOrder::Forget(of)),
        (_, Other::Next(of, _)) if of > number => Step::Rest,
        (None, Other::None) if node == maker => Step::Order(KeyOrder::Make(number)),
        (None, Other::Next(of, _)) if node != maker => Step::Order(KeyOrder::Forget(of)),
        (None, _) => Step::Rest,
        (Some(print), Other::Former(..)) if own == print && phase == Phase::Ended => {
            Step::Order(KeyOrder::End(print))
        }
        (Some(print), _) if own == print => Step::Rest,
        (Some(print), Other::Next(_, next)) if next == print => match phase {
            Phase::Known => Step::Rest,
            Phase::Used | Phase::Ended => Step::Order(KeyOrder::Use(print)),
        },
        (Some(_), Other::Next(of, _)) => Step::Order(KeyOrder::Forget(of)),
        (Some(print), Other::None) => Step::Fetch(print),
        // The log is older than what this node has done.
        (Some(_), Other::Former(..)) => Step::Rest,
    }
}

/// What the quorum disk is sealed with, and read with.
pub(super) fn seat_keys(keys: &Keys) -> SeatKeys {
    let other = keys.other.map(|key| (key.print, ClusterKey::new(key.bytes)));
    SeatKeys { print: keys.own.print, seal: ClusterKey::new(keys.own.bytes), other }
}

impl Cluster {
    /// What this node tells of its keys.
    pub(super) fn seals(&self) -> Seals {
        let keys = &self.keys.keys;
        let disk = self.seat.as_ref().and_then(|seat| seat.sealed_with());
        Seals { own: keys.own.print, other: keys.other.map(|key| key.print), disk }
    }

    /// An order was carried out, or was not.
    pub(super) fn keys_are(&mut self, now: Time, report: KeyReport) {
        self.keys.ordered = false;
        match report {
            KeyReport::Has(keys) => {
                self.keys.failed = None;
                let text = has(self.node, &keys);
                self.record(now, Level::Info, "keys-changed", text);
                if let Some(seat) = &mut self.seat {
                    seat.rekey(seat_keys(&keys));
                }
                self.keys.keys = *keys;
                self.reporting.next = Next::Now;
            }
            KeyReport::Failed(why) => {
                self.keys.next_at = now + AFTER_FAILURE;
                if self.keys.failed.as_ref() != Some(&why) {
                    self.record(now, Level::Error, "keys-failed", why.clone());
                    self.keys.failed = Some(why);
                }
            }
        }
    }

    /// Takes the keys of this node to where the log is.
    pub(super) fn follow_keys(&mut self, now: Time) -> bool {
        let sealed = self.seat.as_ref().and_then(|seat| seat.sealed_with());
        let is_news = sealed != self.keys.disk;
        if is_news {
            self.keys.disk = sealed;
            self.reporting.next = Next::Now;
        }
        self.note_awaited(now);
        let Some(own) = self.running() else { return false };
        let log = (own.replica.db.rotation(), own.replica.db.rotations());
        let refilled = own.remaking.is_none() && own.replica.db.applied() > LogIndex(0);
        let wanted = match self.keys.keys.other {
            Other::Next(of, _) if self.keys.refills && refilled && of > log.1 => {
                Step::Order(KeyOrder::Forget(of))
            }
            _ if refilled => step(self.node, log, &self.keys.keys),
            _ => Step::Rest,
        };
        self.keys.refills = !refilled || self.keys.refills && wanted != Step::Rest;
        self.keys.waits = wanted != Step::Rest && !self.keys.ordered;
        if !self.keys.waits || now < self.keys.next_at {
            return is_news;
        }
        match wanted {
            Step::Rest => {}
            Step::Order(order) => {
                self.keys.ordered = true;
                self.out.push(Effect::Keys(order));
            }
            Step::Fetch(print) => match self.keys.came.take().filter(|new| new.print == print) {
                Some(new) => {
                    self.keys.ordered = true;
                    self.out.push(Effect::Keys(KeyOrder::Keep(new)));
                }
                None => {
                    self.keys.next_at = now + self.timing.heartbeat * BETWEEN_ASKING_BEATS;
                    self.fetch(print);
                }
            },
        }
        true
    }

    /// The leader records for whom a rotation waits, once that has lasted.
    fn note_awaited(&mut self, now: Time) {
        let leads = self.running().is_some_and(|own| own.leading.is_some());
        let rotation = self.running().and_then(|own| own.replica.db.rotation());
        if !leads || rotation.is_none() || rotation.map(|r| r.number) == self.keys.over {
            self.keys.awaits = None;
            return;
        }
        let awaited = self.awaited();
        if let Some((rotation, nodes)) = &awaited
            && nodes.is_empty()
            && rotation.phase == Phase::Ended
        {
            self.keys.over = Some(rotation.number);
        }
        let awaited = awaited.filter(|(_, nodes)| !nodes.is_empty());
        let known = self.keys.awaits.take();
        self.keys.awaits = match (awaited, known) {
            (None, _) => None,
            (Some(is), Some((was, since, told))) if is == was => Some((was, since, told)),
            (Some(is), _) => Some((is, now, false)),
        };
        let Some(((rotation, nodes), since, told @ false)) = &mut self.keys.awaits else { return };
        if now.since(*since) >= AWAITED_TOLD {
            *told = true;
            let nodes: Vec<_> = nodes.iter().map(|(node, why)| format!("{node} {why}")).collect();
            let text = format!("{rotation}: it waits, {}", nodes.join(", "));
            self.record(now, Level::Warning, "keys-awaited", text);
        }
    }

    fn fetch(&mut self, print: Print) {
        let maker = self.running().and_then(|own| own.replica.db.rotation()).map(|r| r.maker);
        let reports = self.reporting.latest.iter();
        let has = reports.filter(|(node, report)| {
            self.links.is_heard(**node) && rotation::knows(&report.seals, print)
        });
        let mut has: Vec<NodeId> = has.map(|(node, _)| *node).collect();
        has.sort_by_key(|node| Some(*node) != maker);
        if let Some(to) = has.first().copied() {
            let message = PeerMessage::KeysWanted { print };
            self.out.push(Effect::Send { to, channel: Channel::Stream, message });
        }
    }

    /// Another node has not got a set that follows.
    pub(super) fn hand_keys_on(&mut self, to: NodeId, print: Print) {
        let Some(new) = self.keys.keys.new.as_ref().filter(|new| new.print == print) else {
            return;
        };
        if self.config.node_entry(to).is_some() && to != self.node {
            let message = PeerMessage::NewKeys(Box::new(new.clone()));
            self.out.push(Effect::Send { to, channel: Channel::Stream, message });
        }
    }

    /// A set that follows came: it is kept if it is the one that the log names.
    pub(super) fn take_keys(&mut self, new: Box<NewKeys>) {
        let rotation = self.running().and_then(|own| own.replica.db.rotation());
        if rotation.is_some_and(|r| r.print == Some(new.print) && r.number == new.number) {
            self.keys.came = Some(new);
            self.keys.next_at = Time(0);
        }
    }

    fn awaited(&self) -> Option<Awaited> {
        let rotation = self.running()?.replica.db.rotation()?;
        let member = |entry: &stead_model::config::NodeEntry| Member {
            node: entry.id,
            heard: entry.id == self.node || self.links.is_heard(entry.id),
            seals: self.reporting.latest.get(&entry.id).map(|report| &*report.seals),
        };
        let members: Vec<_> = self.config.nodes.iter().map(member).collect();
        Some((rotation, rotation::awaited(&rotation, self.seat.is_some(), &members)))
    }

    /// The rotation for people.
    pub(super) fn rotation_view(&self) -> Option<RotationView> {
        let (rotation, awaited) = self.awaited()?;
        let awaited = awaited.into_iter().map(|(node, why)| AwaitedView { node, why: why.into() });
        let Rotation { number, phase, maker, .. } = rotation;
        Some(RotationView { number, phase, maker, awaited: awaited.collect() })
    }
}

/// What a node has now, for people.
fn has(node: NodeId, keys: &Keys) -> String {
    let besides = match &keys.other {
        Other::None => "and believes no others".to_owned(),
        Other::Next(_, key) => format!("and believes those that follow, {}", key.print),
        Other::Former(_, key) => format!("and still believes those of before, {}", key.print),
    };
    format!("{node} seals and signs with keys {} {besides}", keys.own.print)
}

/// For whom a rotation waits is recorded when it has waited so long.
const AWAITED_TOLD: Span = Span::from_secs(10);
/// Heartbeats between two questions for a set that follows.
const BETWEEN_ASKING_BEATS: u64 = 5;
/// An order that failed is tried again after this.
const AFTER_FAILURE: Span = Span::from_secs(10);

#[cfg(test)]
mod tests;
