//! The resource monitors as the node service sees them: who hosts which resource, and the
//! conversations with all of them.
//!
//! One monitor is shared; a resource with `separate-monitor` has one of its own, which the guard
//! starts when the first order for the resource is given and which is ended a while after the
//! resource is known stopped. A resource changes its host only while nothing of it runs: a monitor
//! that never had it would say "offline" of something that runs.
//!
//! `line` is one conversation, `silence` when a monitor that does not answer is replaced.

mod line;
mod silence;

use std::collections::{BTreeMap, BTreeSet};
use std::os::fd::BorrowedFd;
use std::path::PathBuf;

use stead_model::note::{NOTE_BYTES_MAX, Note};
use stead_model::order::{
    Action, GuardStatus, MonitorName, OnlineSpec, Outcome, OwnMonitor, ResourceOrder,
    ResourceReport,
};
use stead_model::wire::guard::NodeToGuard;
use stead_model::wire::monitor::{NodeToMonitor, Question, socket_name};
use stead_model::{Incarnation, NodeId, ResourceId, Span, Time};

use crate::inbox::{LogWish, QuestionWish};
use line::{Line, Said};

/// Resources of which a note is kept.
const NOTES_MAX: usize = 256;
/// A monitor of its own is ended this long after its resource is known stopped: a restart in
/// place follows much sooner.
const LINGER: Span = Span::from_secs(5);

/// Number of a conversation: that of its socket, 0 is the shared monitor's.
pub(crate) type Slot = u8;
/// The shared monitor.
pub(crate) const SHARED: Slot = 0;

/// All monitors of this node.
#[derive(Debug)]
pub(crate) struct Monitors {
    /// Where the sockets are.
    folder: PathBuf,
    service: Incarnation,
    shared: Line,
    own: BTreeMap<ResourceId, Own>,
    /// Resources that the shared monitor may host: given to it, and not known stopped.
    hosted: BTreeSet<ResourceId>,
    stop: Stop,
    /// What the nodes say of their interfaces.
    macs: BTreeMap<NodeId, Vec<[u8; 6]>>,
    /// The last notes of other nodes' monitors.
    notes: BTreeMap<ResourceId, Note>,
    /// What the guard is to be told.
    to_guard: Vec<NodeToGuard>,
}

/// Whether the guard is stopping everything: then there are no monitors.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Stop {
    None,
    UnderWay,
}

/// The own monitor of a resource.
#[derive(Debug)]
struct Own {
    /// As the guard said.
    slot: Option<Slot>,
    line: Line,
    /// Since when the resource is known stopped, with no order given since.
    idle: Option<Time>,
}

impl Own {
    /// When it is not needed any more. What its resource left elsewhere is removed first.
    fn ends(&self) -> Option<Time> {
        self.idle.filter(|_| !self.line.has_orders()).map(|since| since + LINGER)
    }
}

/// What came from a monitor.
#[derive(PartialEq, Eq, Debug)]
pub(crate) enum FromMonitor {
    /// A new shared monitor is ready for orders.
    Ready,
    /// A resource reports.
    Report(ResourceReport),
    /// It has a note for the monitors of all other nodes.
    Note(Note),
    /// Nothing more at present.
    Nothing,
}

impl Monitors {
    /// The monitors of a guard with that status, which listen, or will, in `folder`.
    pub(crate) fn new(
        folder: PathBuf,
        service: Incarnation,
        guard: &GuardStatus,
        now: Time,
    ) -> Self {
        let running = || guard.admitted.iter().map(|admitted| &admitted.resource);
        let path = |slot: Slot| Some(folder.join(socket_name(Some(slot))));
        let own = guard.own_monitors.iter().map(|own| {
            let runs = running().any(|resource| *resource == own.resource);
            let (slot, idle) = (Some(own.slot), (!runs).then_some(now));
            (own.resource.clone(), Own { slot, line: Line::new(path(own.slot), service), idle })
        });
        let own: BTreeMap<ResourceId, Own> = own.collect();
        let hosted = running().filter(|resource| !own.contains_key(*resource)).cloned();
        Self {
            hosted: hosted.collect(),
            shared: Line::new(Some(folder.join(socket_name(None))), service),
            own,
            stop: if guard.stopping { Stop::UnderWay } else { Stop::None },
            macs: BTreeMap::new(),
            notes: BTreeMap::new(),
            to_guard: Vec::new(),
            folder,
            service,
        }
    }

    /// When something is to be done.
    pub(crate) fn next_deadline(&self) -> Option<Time> {
        let own = self.own.values();
        let own = own.flat_map(|own| [own.line.next_deadline(), own.ends()]);
        own.chain([self.shared.next_deadline()]).flatten().min()
    }

    /// The guard says that the shared monitor is ready.
    pub(crate) fn is_ready(&mut self) {
        self.shared.is_ready();
    }

    /// The guard says that the shared monitor died: its orders died with it.
    pub(crate) fn has_died(&mut self, now: Time) {
        self.shared.has_died(now);
    }

    /// The guard says that a resource's own monitor is ready.
    pub(crate) fn own_is_ready(&mut self, ready: OwnMonitor) {
        let path = self.folder.join(socket_name(Some(ready.slot)));
        if let Some(own) = self.own.get_mut(&ready.resource) {
            own.slot = Some(ready.slot);
            own.line.listens_at(path);
        }
    }

    /// The guard says that a resource's own monitor died.
    pub(crate) fn own_has_died(&mut self, resource: &ResourceId, now: Time) {
        if let Some(own) = self.own.get_mut(resource) {
            own.line.has_died(now);
        }
    }

    /// The guard starts no monitor for a resource: what its orders come to.
    pub(crate) fn own_is_refused(
        &mut self,
        resource: &ResourceId,
        why: &str,
    ) -> Vec<ResourceReport> {
        let Some(own) = self.own.remove(resource) else { return Vec::new() };
        let why = format!("it gets no monitor of its own: {why}");
        let failed = own.line.into_orders().map(|order| ResourceReport {
            order: order.order,
            group: order.group,
            resource: order.resource,
            epoch: order.epoch,
            outcome: match forgets(&order.action) {
                true => Outcome::Remains(why.clone()),
                false => Outcome::Failed(why.clone()),
            },
        });
        failed.collect()
    }

    /// A hard stop kills all monitors, and the guard starts the shared one when it is done: the
    /// core is told of that one again.
    pub(crate) fn are_killed(&mut self, now: Time) {
        self.stop = Stop::UnderWay;
        self.shared.is_killed(now);
        self.own.clear();
    }

    /// The hard stop is done: nothing is hosted any more.
    pub(crate) fn may_come_back(&mut self) {
        self.stop = Stop::None;
        self.own.clear();
        self.hosted.clear();
    }

    /// What is due: monitors are asked whether they work, those that do not answer are replaced,
    /// those that are not needed any more are ended. Gives the conversations that began.
    pub(crate) fn due(&mut self, now: Time) -> Vec<Slot> {
        let mut begun = Vec::new();
        if self.stop == Stop::None {
            self.shared.expects(now);
        }
        if let Some(silent) = self.shared.due(now) {
            self.to_guard.push(NodeToGuard::Replace { monitor: MonitorName::Shared, silent });
        }
        if self.shared.connect(now) {
            begun.push(SHARED);
        }
        self.end_idle(now);
        for (resource, own) in &mut self.own {
            if let Some(silent) = own.line.due(now) {
                let monitor = MonitorName::Own(resource.clone());
                self.to_guard.push(NodeToGuard::Replace { monitor, silent });
            }
            if own.line.connect(now) {
                begun.extend(own.slot);
            }
        }
        begun
    }

    fn end_idle(&mut self, now: Time) {
        let over = |own: &Own| own.ends().is_some_and(|end| end <= now);
        let idle = self.own.iter().filter(|(_, own)| over(own));
        for resource in idle.map(|(resource, _)| resource.clone()).collect::<Vec<_>>() {
            self.own.remove(&resource);
            self.to_guard.push(NodeToGuard::EndOwnMonitor(resource));
        }
    }

    /// What the guard is to be told now.
    pub(crate) fn for_guard(&mut self) -> Vec<NodeToGuard> {
        std::mem::take(&mut self.to_guard)
    }

    /// Gives an order to whoever hosts its resource; one that cannot be sent now is sent on the
    /// next connection. Tells whom.
    pub(crate) fn order(&mut self, order: ResourceOrder, now: Time) -> Option<Slot> {
        let resource = order.resource.clone();
        if !self.has_own(&order) {
            if starts(&order.action) {
                self.hosted.insert(resource);
            }
            self.shared.order(order, now);
            return Some(SHARED);
        }
        let service = self.service;
        let own = self.own.entry(resource.clone());
        // One that only removes what its resource left elsewhere hosts nothing.
        let idle = forgets(&order.action).then_some(now);
        let line = || Line::new(None, service);
        let own = own.or_insert_with(|| Own { slot: None, line: line(), idle });
        own.idle = own.idle.and(idle);
        if !own.line.is_ready_for_orders() {
            own.line.expects(now);
            self.to_guard.push(NodeToGuard::OwnMonitor(resource));
        }
        own.line.order(order, now);
        own.slot
    }

    /// Whether an order is for a resource's own monitor. A look before a move or a change touches
    /// nothing, so the shared one makes it. What a resource left elsewhere is removed by the
    /// monitor that put it there and would again: of two that are about one name the later has
    /// the last word, and only one process knows which that is.
    fn has_own(&self, order: &ResourceOrder) -> bool {
        let wants = |spec: &OnlineSpec| spec.separate && !self.hosted.contains(&order.resource);
        match &order.action {
            Action::Probe(_) | Action::Fit(_) => false,
            Action::Online(spec) | Action::Adopt(spec) | Action::Forget(spec) => {
                self.own.contains_key(&order.resource) || wants(spec)
            }
            Action::Offline | Action::Terminate => self.own.contains_key(&order.resource),
        }
    }

    /// Asks for the output of a resource's program; any monitor can read it.
    pub(crate) fn logs(&mut self, wish: LogWish, now: Time) {
        self.shared.logs(wish, now);
    }

    /// Asks what is installed, or the program of a resource where the resource is.
    pub(crate) fn question(&mut self, wish: QuestionWish, now: Time) -> Slot {
        let own = match &wish.question {
            Question::Types | Question::Agent { .. } => None,
            Question::Control { resource, .. } => self.own.get_mut(resource),
        };
        let (line, slot) = match own {
            Some(own) => (&mut own.line, own.slot.unwrap_or(SHARED)),
            None => (&mut self.shared, SHARED),
        };
        line.question(wish, now);
        slot
    }

    /// A node says which MAC addresses its interfaces have.
    pub(crate) fn macs(&mut self, node: NodeId, macs: Vec<[u8; 6]>, now: Time) {
        if self.macs.get(&node) != Some(&macs) {
            self.macs.insert(node, macs);
            self.link_up(now);
        }
    }

    /// The MAC addresses that a node told.
    pub(crate) fn macs_of(&self, node: NodeId) -> Option<&[[u8; 6]]> {
        self.macs.get(&node).map(Vec::as_slice)
    }

    /// Another node's monitor has a note for this one's; it is kept for later lives.
    pub(crate) fn note(&mut self, note: Note, now: Time) {
        let known = self.notes.get(&note.resource);
        let has_room = known.is_some() || self.notes.len() < NOTES_MAX;
        let is_newer = known.is_none_or(|known| note.replaces(known) && note != *known);
        if is_newer && has_room && note.bytes.len() <= NOTE_BYTES_MAX {
            let host = match self.own.get_mut(&note.resource) {
                Some(own) => &mut own.line,
                None => &mut self.shared,
            };
            host.send(&NodeToMonitor::Note(note.clone()), now);
            self.notes.insert(note.resource.clone(), note);
        }
    }

    /// A node answers again on a network: neighbours there may have missed whose an address is.
    pub(crate) fn link_up(&mut self, now: Time) {
        let Some(macs) = self.all_macs() else { return };
        for line in self.lines_mut() {
            line.send(&macs, now);
        }
    }

    fn all_macs(&self) -> Option<NodeToMonitor> {
        let all = || self.macs.values().flatten().copied().collect();
        (!self.macs.is_empty()).then(|| NodeToMonitor::ClusterMacs(all()))
    }

    /// Names of the monitors that have not answered for too long. Their orders wait meanwhile,
    /// and what the checks said is old.
    pub(crate) fn silent(&self, now: Time) -> Vec<MonitorName> {
        let silent = self.named().filter(|(_, line)| line.silence(now).is_some());
        silent.map(|(name, _)| name).collect()
    }

    /// The monitors that ended again and again, and how often within an hour.
    pub(crate) fn unsteady(&self, now: Time) -> Vec<(MonitorName, usize)> {
        let unsteady = self.named().filter_map(|(name, line)| Some((name, line.is_unsteady(now)?)));
        unsteady.collect()
    }

    fn named(&self) -> impl Iterator<Item = (MonitorName, &Line)> {
        let own = self.own.iter();
        let own = own.map(|(resource, own)| (MonitorName::Own(resource.clone()), &own.line));
        std::iter::once((MonitorName::Shared, &self.shared)).chain(own)
    }

    fn lines_mut(&mut self) -> impl Iterator<Item = &mut Line> {
        std::iter::once(&mut self.shared).chain(self.own.values_mut().map(|own| &mut own.line))
    }

    fn line(&self, slot: Slot) -> Option<&Line> {
        if slot == SHARED {
            return Some(&self.shared);
        }
        self.own.values().find(|own| own.slot == Some(slot)).map(|own| &own.line)
    }

    fn line_mut(&mut self, slot: Slot) -> Option<(&mut Line, Option<&ResourceId>)> {
        if slot == SHARED {
            return Some((&mut self.shared, None));
        }
        let mut own = self.own.iter_mut();
        let (resource, own) = own.find(|(_, own)| own.slot == Some(slot))?;
        Some((&mut own.line, Some(resource)))
    }

    /// Conversations to wait on.
    pub(crate) fn slots(&self) -> impl Iterator<Item = Slot> {
        std::iter::once(SHARED).chain(self.own.values().filter_map(|own| own.slot))
    }

    /// Sends what a monitor could not take before.
    pub(crate) fn flush(&mut self, slot: Slot, now: Time) {
        if let Some((line, _)) = self.line_mut(slot) {
            line.flush(now);
        }
    }

    /// Whether something waits to be sent.
    pub(crate) fn has_unsent(&self, slot: Slot) -> bool {
        self.line(slot).is_some_and(Line::has_unsent)
    }

    /// The connection to wait on, if there is one.
    pub(crate) fn link(&self, slot: Slot) -> Option<BorrowedFd<'_>> {
        self.line(slot)?.link()
    }

    /// The next thing that came.
    pub(crate) fn receive(&mut self, slot: Slot, now: Time) -> FromMonitor {
        loop {
            let Some((line, only)) = self.line_mut(slot) else { return FromMonitor::Nothing };
            let only = only.cloned();
            match line.receive(now) {
                Said::Nothing => return FromMonitor::Nothing,
                Said::Note(note) => return FromMonitor::Note(note),
                Said::Report(report) => {
                    self.heard(&report, only.as_ref(), now);
                    return FromMonitor::Report(report);
                }
                Said::Hello => {
                    if self.welcome(slot, only.as_ref(), now) {
                        return FromMonitor::Ready;
                    }
                }
            }
        }
    }

    /// A resource of which nothing runs may be hosted elsewhere next.
    fn heard(&mut self, report: &ResourceReport, only: Option<&ResourceId>, now: Time) {
        if !is_down(&report.outcome) {
            return;
        }
        match only.and_then(|resource| self.own.get_mut(resource)) {
            Some(own) if !own.line.has_orders_to_run() => own.idle = Some(now),
            Some(_) => {}
            None => drop(self.hosted.remove(&report.resource)),
        }
    }

    /// Tells a monitor that says hello what it needs to know, and what was ordered; whether it is
    /// a new shared one.
    fn welcome(&mut self, slot: Slot, only: Option<&ResourceId>, now: Time) -> bool {
        let macs = self.all_macs();
        let wanted = |note: &&Note| only.is_none_or(|resource| *resource == note.resource);
        let notes: Vec<Note> = self.notes.values().filter(wanted).cloned().collect();
        let Some((line, only)) = self.line_mut(slot) else { return false };
        let shared = only.is_none();
        line.welcome(now);
        for message in macs.into_iter().chain(notes.into_iter().map(NodeToMonitor::Note)) {
            line.send(&message, now);
        }
        // What was ordered before the core knows of a shared monitor it orders again.
        let new = line.is_new();
        if new && shared {
            line.forget_orders();
        } else {
            line.repeat_orders(now);
        }
        new && shared
    }
}

/// Whether an action starts something.
const fn starts(action: &Action) -> bool {
    matches!(action, Action::Online(_) | Action::Adopt(_))
}

/// Whether an action removes what a resource left elsewhere; nothing runs for that.
const fn forgets(action: &Action) -> bool {
    matches!(action, Action::Forget(_))
}

/// Whether nothing of the resource acts after this.
const fn is_down(outcome: &Outcome) -> bool {
    match outcome {
        Outcome::Offline | Outcome::Failed(_) => true,
        Outcome::Online
        | Outcome::StopFailed(_)
        | Outcome::Refused(_)
        | Outcome::Health(..)
        | Outcome::Notice(_)
        | Outcome::Used(_)
        | Outcome::Free
        | Outcome::Taken(_)
        | Outcome::Forgotten(_)
        | Outcome::Remains(_)
        | Outcome::Fitness(_) => false,
    }
}

#[cfg(test)]
mod tests;
