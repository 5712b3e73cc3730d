//! What this node tells the others of its groups, and what it keeps of what they tell (decision
//! 0007).

use stead_model::Time;
use stead_model::group::{GroupState, Ownership};
use stead_model::profile::Timing;
use stead_model::program::fits;
use stead_model::record::Level;
use stead_model::wire::peer::{PeerMessage, Report};

use super::{Cluster, Own, Reporting};
use crate::effect::Channel;
use crate::groups;
use crate::leading::Mail;
use crate::resources::Urgency;

/// When there is something new to tell.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Debug)]
pub(super) enum Next {
    /// Nothing is new.
    #[default]
    Nothing,
    /// Together with what changes within a moment.
    Soon,
    /// At once: the leader decides by it, or somebody new listens.
    Now,
}

impl Next {
    /// It is to tell of a change, too.
    pub(super) fn raise(&mut self, urgency: Urgency) {
        let next = match urgency {
            Urgency::Resources => Self::Soon,
            Urgency::Standing => Self::Now,
        };
        *self = (*self).max(next);
    }
}

impl Reporting {
    /// When a report is to be sent by time alone.
    pub(super) fn deadline(&self) -> Option<Time> {
        let soon = (self.next == Next::Soon).then_some(self.burst.0);
        let again = (self.seen < self.number).then_some(self.send_at);
        soon.into_iter().chain(again).min()
    }

    fn is_due(&self, now: Time, timing: &Timing) -> bool {
        let unseen = self.seen < self.number && now >= self.send_at;
        let stale = now >= self.send_at + timing.renewal * REPORT_RENEWALS;
        let (end, reports) = self.burst;
        let new = match self.next {
            Next::Nothing => false,
            Next::Soon => reports < BURST_MAX || now >= end,
            Next::Now => true,
        };
        new || unseen || stale
    }

    fn sent(&mut self, now: Time, timing: &Timing) {
        if self.next != Next::Nothing {
            self.number += 1;
        }
        self.next = Next::Nothing;
        self.send_at = now + timing.renewal;
        if self.burst.0 <= now {
            self.burst = (now + timing.heartbeat, 0);
        }
        self.burst.1 += 1;
    }

    /// Keeps what a node tells, unless its guard has told something later. Says whether views
    /// show it, or nothing of what is older.
    fn keep(&mut self, report: &Report) -> Option<bool> {
        let was = self.latest.get(&report.node);
        if was.is_some_and(|w| w.guard == report.guard && w.number > report.number) {
            return None;
        }
        let is_shown = was.is_none_or(|w| {
            (&w.groups, &w.interfaces, w.program)
                != (&report.groups, &report.interfaces, report.program)
        });
        if was != Some(report) {
            self.news += 1;
            self.latest.insert(report.node, report.clone());
        }
        Some(is_shown)
    }
}

impl Cluster {
    /// Tells the leader (and, for their views, the others) what runs here: on every change, and
    /// again until the leader has seen it. Many changes within a heartbeat are told together.
    pub(super) fn send_report(&mut self, now: Time) -> bool {
        if !self.reporting.is_due(now, &self.timing) {
            return false;
        }
        self.reporting.sent(now, &self.timing);
        let report = Report {
            node: self.node,
            guard: self.guard,
            number: self.reporting.number,
            groups: self.running().map(|o| o.holdings.report(now)).unwrap_or_default(),
            machine: self.machine,
            interfaces: self.interfaces.reports(),
            seals: Box::new(self.seals()),
            program: self.program,
        };
        self.reporting.keep(&report);
        if self.leader_node(now) == Some(self.node) {
            let message = PeerMessage::Report(report.clone());
            self.mail(Mail { to: self.node, channel: Channel::Stream, message });
        }
        self.broadcast(Channel::Stream, &PeerMessage::Report(report));
        true
    }

    /// Another node, or this one to its leader, tells everything.
    pub(super) fn reported(&mut self, now: Time, report: &Report) {
        let before = self.reporting.latest.get(&report.node).map(|was| was.program);
        let Some(is_shown) = self.reporting.keep(report) else { return };
        self.sights += u64::from(is_shown);
        if before != Some(report.program) {
            self.note_program(now, report);
        }
        self.with_leader(now, |leading, replica, around| leading.report(replica, report, around));
    }

    /// A record when a node has got a program that does not know the level: its own last line may
    /// be read by nobody.
    fn note_program(&mut self, now: Time, report: &Report) {
        let mark = self.running().map(|own| own.replica.db.mark()).unwrap_or_default();
        if let Err(why) = fits(&report.node.to_string(), report.program, mark) {
            self.record(now, Level::Warning, "level-unknown", why);
        }
    }

    /// A record when all of a group is online in its epoch here.
    pub(super) fn note_online(&mut self, now: Time) {
        let Own::Running(own) = &mut self.own else { return };
        let db = &own.replica.db;
        let mut online = Vec::new();
        for id in own.holdings.take_changed() {
            let Some(holding) = own.holdings.groups().get(&id) else { continue };
            let known = (id.clone(), holding.epoch());
            if !holding.may_be_online() || self.online_seen.contains(&known) {
                continue;
            }
            let owner = |o: &Ownership| o.node == self.node;
            let group = db.group(&id).filter(|g| g.ownership.as_ref().is_some_and(owner));
            let report = Some(holding.report(now));
            let state = group.map(|group| groups::group_state(group, report.as_ref()));
            if state == Some(GroupState::Online) {
                online.push(known);
            }
        }
        for (group, epoch) in online {
            self.online_seen.insert((group.clone(), epoch));
            let text = format!("group {group} is online in {epoch}");
            self.record_about(now, (Level::Info, "group-online"), text, (Some(group), None));
        }
        while self.online_seen.len() > ONLINE_SEEN_MAX {
            self.online_seen.pop_first();
        }
    }
}

/// Reports within a heartbeat at most, of what the leader does not decide by.
const BURST_MAX: u32 = 20;
/// A report that was seen is repeated after this many lease renewals: a copy of an older one that
/// arrived late does not stay.
const REPORT_RENEWALS: u64 = 10;
/// Groups in their epochs that are known to have been online.
const ONLINE_SEEN_MAX: usize = 10_000;
