//! The resource monitor as the node service sees it: a connection that comes and goes.
//!
//! ```text
//!   away ──(guard: ready, or time to try)──► greeting ──(hello answered)──► ready
//!     ▲                                          │                           │
//!     └──────────────(broken)────────────────────┴───────────────────────────┘
//! ```
//!
//! The core hears "ready" once per monitor life, after the connection stands: an order it gives
//! then has somewhere to go. Orders without an answer are given again on a new connection to the
//! same monitor; the monitor answers each number once (or repeats the answer).

use std::collections::BTreeMap;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;

use stead_model::note::{NOTE_BYTES_MAX, Note};
use stead_model::order::{Outcome, ResourceOrder, ResourceReport};
use stead_model::wire::monitor::{MonitorToNode, NodeToMonitor, VERSION};
use stead_model::{Incarnation, NodeId, OrderId, ResourceId, Span, Time};
use tokio::sync::oneshot;

use crate::frames::{FrameLink, LinkError};
use crate::inbox::{LogWish, QuestionWish};

/// Pause between two attempts to connect.
const PAUSE: Span = Span::from_millis(100);
/// A monitor is asked this often whether it works, and answers within this time.
const PING_EVERY: Span = Span::from_secs(5);

/// Resources of which a note is kept.
const NOTES_MAX: usize = 256;

/// The monitor.
#[derive(Debug)]
pub(crate) struct Monitor {
    path: PathBuf,
    service: Incarnation,
    state: State,
    /// Orders without an answer.
    open: BTreeMap<OrderId, ResourceOrder>,
    logs: BTreeMap<u64, oneshot::Sender<Result<Vec<u8>, String>>>,
    wishes: u64,
    /// What the nodes say of their interfaces.
    macs: BTreeMap<NodeId, Vec<[u8; 6]>>,
    /// The last notes of other nodes' monitors.
    notes: BTreeMap<ResourceId, Note>,
    /// Whether the core knows of this monitor life.
    told: bool,
    /// When it was asked last, or connected, and since when no answer came.
    pinged_at: Time,
    waits_since: Option<Time>,
}

#[derive(Debug)]
enum State {
    Away { again: Time },
    Greeting(FrameLink),
    Ready(FrameLink),
}

/// What came from the monitor.
#[derive(PartialEq, Eq, Debug)]
pub(crate) enum FromMonitor {
    /// A new monitor is ready for orders.
    Ready,
    /// A resource reports.
    Report(ResourceReport),
    /// It has a note for the monitors of all other nodes.
    Note(Note),
    /// Nothing more at present.
    Nothing,
}

impl Monitor {
    /// A monitor that listens, or will, at `path`.
    pub(crate) const fn new(path: PathBuf, service: Incarnation) -> Self {
        Self {
            path,
            service,
            state: State::Away { again: Time(0) },
            open: BTreeMap::new(),
            logs: BTreeMap::new(),
            wishes: 0,
            macs: BTreeMap::new(),
            notes: BTreeMap::new(),
            told: false,
            pinged_at: Time(0),
            waits_since: None,
        }
    }

    /// When to try to connect again.
    pub(crate) const fn next_deadline(&self) -> Option<Time> {
        match self.state {
            State::Away { again } => Some(again),
            State::Greeting(_) | State::Ready(_) => None,
        }
    }

    /// The guard says that a monitor is ready.
    pub(crate) fn is_ready(&mut self) {
        if let State::Away { again } = &mut self.state {
            *again = Time(0);
        }
    }

    /// The guard says that the monitor died: its orders died with it.
    pub(crate) fn has_died(&mut self) {
        self.is_gone(Time(0));
    }

    /// A hard stop kills the monitor, and the guard starts another when it is done: the core is
    /// told of that one again.
    pub(crate) fn is_killed(&mut self, now: Time) {
        self.is_gone(now + PAUSE);
    }

    fn is_gone(&mut self, again: Time) {
        self.open.clear();
        self.waits_since = None;
        self.told = false;
        self.state = State::Away { again };
        self.forget_wishes("the resource monitor died");
    }

    /// Connects if it is time; `true`: there is a new connection to wait on.
    pub(crate) fn connect(&mut self, now: Time) -> bool {
        let State::Away { again } = &mut self.state else { return false };
        if *again > now {
            return false;
        }
        *again = now + PAUSE;
        let hello = NodeToMonitor::Hello { version: VERSION, service: self.service };
        let link = UnixStream::connect(&self.path).map_err(LinkError::Io).and_then(|stream| {
            let mut link = FrameLink::new(stream)?;
            link.send(&hello)?;
            Ok(link)
        });
        match link {
            Ok(link) => {
                self.state = State::Greeting(link);
                true
            }
            Err(_) => false,
        }
    }

    /// Gives an order. One that cannot be sent now is sent on the next connection.
    pub(crate) fn order(&mut self, order: ResourceOrder, now: Time) {
        let message = NodeToMonitor::Order(order.clone());
        self.open.insert(order.order, order);
        self.send(&message, now);
    }

    /// Asks for the output of a resource's program.
    pub(crate) fn logs(&mut self, wish: LogWish, now: Time) {
        let LogWish { resource, bytes_max, answer } = wish;
        if let Some(request) = self.wish(answer) {
            self.send(&NodeToMonitor::Logs { request, resource, bytes_max }, now);
        }
    }

    /// Asks the programs of external types.
    pub(crate) fn question(&mut self, wish: QuestionWish, now: Time) {
        let QuestionWish { question, answer } = wish;
        if let Some(request) = self.wish(answer) {
            self.send(&NodeToMonitor::Ask { request, question }, now);
        }
    }

    /// Number of a request whose answer goes there; none if nobody would answer.
    fn wish(&mut self, answer: oneshot::Sender<Result<Vec<u8>, String>>) -> Option<u64> {
        if !matches!(self.state, State::Ready(_)) {
            let _ = answer.send(Err("the resource monitor does not answer".into()));
            return None;
        }
        self.logs.retain(|_, answer| !answer.is_closed());
        self.wishes += 1;
        self.logs.insert(self.wishes, answer);
        Some(self.wishes)
    }

    /// A node says which MAC addresses its interfaces have.
    pub(crate) fn macs(&mut self, node: NodeId, macs: Vec<[u8; 6]>, now: Time) {
        if self.macs.get(&node) != Some(&macs) {
            self.macs.insert(node, macs);
            self.tell_macs(now);
        }
    }

    /// Another node's monitor has a note for this one; it is kept for later lives.
    pub(crate) fn note(&mut self, note: Note, now: Time) {
        let known = self.notes.get(&note.resource);
        let has_room = known.is_some() || self.notes.len() < NOTES_MAX;
        let is_newer = known.is_none_or(|known| note.replaces(known) && note != *known);
        if is_newer && has_room && note.bytes.len() <= NOTE_BYTES_MAX {
            self.send(&NodeToMonitor::Note(note.clone()), now);
            self.notes.insert(note.resource.clone(), note);
        }
    }

    /// A node answers again on a network: neighbours there may have missed whose an address is.
    pub(crate) fn link_up(&mut self, now: Time) {
        self.tell_macs(now);
    }

    /// Asks it from time to time whether it works.
    pub(crate) fn ping(&mut self, now: Time) {
        let due = now.since(self.pinged_at) >= PING_EVERY && self.waits_since.is_none();
        if due && matches!(self.state, State::Ready(_)) {
            (self.pinged_at, self.waits_since) = (now, Some(now));
            self.send(&NodeToMonitor::Ping, now);
        }
    }

    /// How long it has not answered, if that is too long. Orders wait meanwhile, and what the
    /// checks said is old.
    pub(crate) fn silence(&self, now: Time) -> Option<Span> {
        let silence = now.since(self.waits_since?);
        (silence >= PING_EVERY).then_some(silence)
    }

    fn tell_macs(&mut self, now: Time) {
        if self.macs.is_empty() {
            return;
        }
        let all = self.macs.values().flatten().copied().collect();
        self.send(&NodeToMonitor::ClusterMacs(all), now);
    }

    fn send(&mut self, message: &NodeToMonitor, now: Time) {
        if let State::Ready(link) = &mut self.state
            && link.send(message).is_err()
        {
            self.broke(now);
        }
    }

    /// Sends what the monitor could not take before.
    pub(crate) fn flush(&mut self, now: Time) {
        if let State::Ready(link) | State::Greeting(link) = &mut self.state
            && link.flush().is_err()
        {
            self.broke(now);
        }
    }

    /// Whether something waits to be sent.
    pub(crate) const fn has_unsent(&self) -> bool {
        match &self.state {
            State::Away { .. } => false,
            State::Greeting(link) | State::Ready(link) => link.has_unsent(),
        }
    }

    /// The next thing that came.
    pub(crate) fn receive(&mut self, now: Time) -> FromMonitor {
        loop {
            let link = match &mut self.state {
                State::Away { .. } => return FromMonitor::Nothing,
                State::Greeting(link) | State::Ready(link) => link,
            };
            match link.receive() {
                Ok(None) => return FromMonitor::Nothing,
                Ok(Some(message)) => match self.take(message, now) {
                    FromMonitor::Nothing => {}
                    news @ (FromMonitor::Ready | FromMonitor::Report(_) | FromMonitor::Note(_)) => {
                        return news;
                    }
                },
                Err(_) => {
                    self.broke(now);
                    return FromMonitor::Nothing;
                }
            }
        }
    }

    fn take(&mut self, message: MonitorToNode, now: Time) -> FromMonitor {
        match message {
            MonitorToNode::Hello { .. } => self.welcome(now),
            MonitorToNode::Pong => {
                self.waits_since = None;
                FromMonitor::Nothing
            }
            MonitorToNode::Report(report) => {
                if is_last(&report.outcome) {
                    self.open.remove(&report.order);
                }
                FromMonitor::Report(report)
            }
            MonitorToNode::Note(note) => FromMonitor::Note(note),
            MonitorToNode::Logs { request, output } => {
                if let Some(answer) = self.logs.remove(&request) {
                    // Who asked may have gone.
                    let _ = answer.send(output);
                }
                FromMonitor::Nothing
            }
        }
    }

    fn welcome(&mut self, now: Time) -> FromMonitor {
        (self.pinged_at, self.waits_since) = (now, None);
        self.state = match std::mem::replace(&mut self.state, State::Away { again: now }) {
            State::Greeting(link) => State::Ready(link),
            other @ (State::Away { .. } | State::Ready(_)) => other,
        };
        self.tell_macs(now);
        for note in self.notes.values().cloned().collect::<Vec<_>>() {
            self.send(&NodeToMonitor::Note(note), now);
        }
        if self.told {
            let open: Vec<ResourceOrder> = self.open.values().cloned().collect();
            for order in open {
                self.send(&NodeToMonitor::Order(order), now);
            }
            return FromMonitor::Nothing;
        }
        self.told = true;
        self.open.clear();
        FromMonitor::Ready
    }

    fn broke(&mut self, now: Time) {
        self.state = State::Away { again: now + PAUSE };
        self.forget_wishes("the connection to the resource monitor broke");
    }

    fn forget_wishes(&mut self, why: &str) {
        for (_, answer) in std::mem::take(&mut self.logs) {
            let _ = answer.send(Err(why.into()));
        }
    }

    /// The connection to wait on, if there is one.
    pub(crate) fn link(&self) -> Option<BorrowedFd<'_>> {
        match &self.state {
            State::Away { .. } => None,
            State::Greeting(link) | State::Ready(link) => Some(link.as_fd()),
        }
    }
}

/// Whether an order is answered by this.
const fn is_last(outcome: &Outcome) -> bool {
    match outcome {
        Outcome::Online
        | Outcome::Offline
        | Outcome::Failed(_)
        | Outcome::StopFailed(_)
        | Outcome::Refused(_)
        | Outcome::Free
        | Outcome::Taken(_)
        | Outcome::Fitness(_) => true,
        Outcome::Health(..) | Outcome::Notice(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::net::UnixListener;
    use stead_model::Epoch;
    use stead_model::order::Action;

    fn order(number: u64) -> ResourceOrder {
        ResourceOrder {
            order: OrderId(number),
            group: "web".into(),
            resource: "ip".into(),
            epoch: Epoch(1),
            lease: stead_model::LeaseNumber(1),
            action: Action::Offline,
        }
    }

    fn report(number: u64) -> ResourceReport {
        let (order, epoch) = (OrderId(number), Epoch(1));
        let outcome = Outcome::Offline;
        ResourceReport { order, group: "web".into(), resource: "ip".into(), epoch, outcome }
    }

    fn accept(listener: &UnixListener) -> FrameLink {
        let mut link = FrameLink::new(listener.accept().unwrap().0).unwrap();
        let hello: NodeToMonitor = link.receive().unwrap().unwrap();
        assert!(matches!(hello, NodeToMonitor::Hello { service: Incarnation(5), .. }));
        link.send(&MonitorToNode::Hello { version: VERSION }).unwrap();
        link
    }

    #[test]
    fn open_orders_survive_a_connection_and_die_with_the_monitor() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("monitor.sock");
        let mut monitor = Monitor::new(path.clone(), Incarnation(5));
        assert!(!monitor.connect(Time(0)), "nobody listens");
        assert_eq!(monitor.next_deadline(), Some(Time(0) + PAUSE));
        let listener = UnixListener::bind(path).unwrap();
        monitor.is_ready();
        assert!(monitor.connect(Time(1)));
        let mut first = accept(&listener);
        assert_eq!(monitor.receive(Time(1)), FromMonitor::Ready);
        monitor.order(order(1), Time(1));
        monitor.order(order(2), Time(1));
        assert_eq!(first.receive().unwrap(), Some(NodeToMonitor::Order(order(1))));
        first.send(&MonitorToNode::Report(report(1))).unwrap();
        assert_eq!(monitor.receive(Time(1)), FromMonitor::Report(report(1)));

        drop(first);
        assert_eq!(monitor.receive(Time(1)), FromMonitor::Nothing);
        assert!(!monitor.connect(Time(2)) && monitor.connect(Time(1) + PAUSE));
        let mut second = accept(&listener);
        assert_eq!(monitor.receive(Time(1)), FromMonitor::Nothing, "the core knows it");
        assert_eq!(second.receive().unwrap(), Some(NodeToMonitor::Order(order(2))));

        monitor.has_died();
        assert!(monitor.connect(Time(3)));
        let mut third = accept(&listener);
        assert_eq!(monitor.receive(Time(3)), FromMonitor::Ready);
        assert_eq!(third.receive::<NodeToMonitor>().unwrap(), None);

        // After a hard stop the next monitor is told of, like the first one.
        monitor.is_killed(Time(4));
        assert!(!monitor.connect(Time(5)));
        monitor.is_ready();
        assert!(monitor.connect(Time(5)));
        let _fourth = accept(&listener);
        assert_eq!(monitor.receive(Time(5)), FromMonitor::Ready);
    }

    #[test]
    fn notes_of_other_nodes_reach_every_life_of_the_monitor() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("monitor.sock");
        let mut monitor = Monitor::new(path.clone(), Incarnation(5));
        let note = |epoch, byte| Note {
            resource: "ip".into(),
            epoch: Epoch(epoch),
            bytes: vec![byte; usize::from(byte)],
        };
        monitor.note(note(3, 1), Time(1));
        let listener = UnixListener::bind(path).unwrap();
        monitor.is_ready();
        assert!(monitor.connect(Time(1)));
        let mut first = accept(&listener);
        assert_eq!(monitor.receive(Time(1)), FromMonitor::Ready);
        assert_eq!(first.receive().unwrap(), Some(NodeToMonitor::Note(note(3, 1))));
        monitor.note(note(4, 2), Time(1));
        assert_eq!(first.receive().unwrap(), Some(NodeToMonitor::Note(note(4, 2))));
        monitor.note(note(4, 2), Time(1));
        monitor.note(note(3, 3), Time(1));
        monitor.note(Note { bytes: vec![0; NOTE_BYTES_MAX + 1], ..note(9, 0) }, Time(1));
        assert_eq!(first.receive::<NodeToMonitor>().unwrap(), None, "known, older, too long");
        first.send(&MonitorToNode::Note(note(5, 4))).unwrap();
        assert_eq!(monitor.receive(Time(1)), FromMonitor::Note(note(5, 4)));
        monitor.has_died();
        assert!(monitor.connect(Time(2)));
        let mut second = accept(&listener);
        assert_eq!(monitor.receive(Time(2)), FromMonitor::Ready);
        assert_eq!(second.receive().unwrap(), Some(NodeToMonitor::Note(note(4, 2))));
    }

    #[test]
    fn a_monitor_that_does_not_answer_is_noticed_until_it_does() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("monitor.sock");
        let mut monitor = Monitor::new(path.clone(), Incarnation(5));
        let listener = UnixListener::bind(path).unwrap();
        let mut now = Time(1);
        assert!(monitor.connect(now));
        let mut other = accept(&listener);
        assert_eq!(monitor.receive(now), FromMonitor::Ready);
        monitor.ping(now);
        assert_eq!(other.receive::<NodeToMonitor>().unwrap(), None, "it has just answered");
        now += PING_EVERY;
        monitor.ping(now);
        assert_eq!(other.receive().unwrap(), Some(NodeToMonitor::Ping));
        assert_eq!(monitor.silence(now), None);
        now += PING_EVERY;
        monitor.ping(now);
        assert_eq!(other.receive::<NodeToMonitor>().unwrap(), None, "one question at a time");
        assert_eq!(monitor.silence(now), Some(PING_EVERY));
        other.send(&MonitorToNode::Pong).unwrap();
        assert_eq!(monitor.receive(now), FromMonitor::Nothing);
        assert_eq!(monitor.silence(now), None);
    }

    #[test]
    fn every_monitor_is_told_the_macs_of_all_nodes() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("monitor.sock");
        let mut monitor = Monitor::new(path.clone(), Incarnation(5));
        monitor.macs(NodeId(1), vec![[1; 6]], Time(0));
        let listener = UnixListener::bind(path).unwrap();
        for now in [Time(1), Time(2)] {
            assert!(monitor.connect(now));
            let mut other = accept(&listener);
            assert_eq!(monitor.receive(now), FromMonitor::Ready);
            let told = |macs: &[[u8; 6]]| Some(NodeToMonitor::ClusterMacs(macs.to_vec()));
            let before: &[[u8; 6]] = if now == Time(1) { &[[1; 6]] } else { &[[1; 6], [3; 6]] };
            assert_eq!(other.receive().unwrap(), told(before));
            monitor.macs(NodeId(2), vec![[2; 6]], now);
            assert_eq!(other.receive().unwrap(), told(&[[1; 6], [2; 6]]));
            monitor.macs(NodeId(2), vec![[2; 6]], now);
            assert_eq!(other.receive::<NodeToMonitor>().unwrap(), None, "nothing new");
            monitor.link_up(now);
            assert_eq!(other.receive().unwrap(), told(&[[1; 6], [2; 6]]), "said again");
            monitor.macs(NodeId(2), vec![[3; 6]], now);
            assert_eq!(other.receive().unwrap(), told(&[[1; 6], [3; 6]]), "it has other ones");
            monitor.has_died();
        }
    }

    #[test]
    fn logs_are_answered_or_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("monitor.sock");
        let mut monitor = Monitor::new(path.clone(), Incarnation(5));
        let wish = |monitor: &mut Monitor| {
            let (answer, receiver) = oneshot::channel();
            let wish = LogWish { resource: "ip".into(), bytes_max: 9, answer };
            monitor.logs(wish, Time(1));
            receiver
        };
        assert!(wish(&mut monitor).try_recv().unwrap().is_err());
        let listener = UnixListener::bind(path).unwrap();
        assert!(monitor.connect(Time(1)));
        let mut other = accept(&listener);
        assert_eq!(monitor.receive(Time(1)), FromMonitor::Ready);
        let mut asked = wish(&mut monitor);
        let Some(NodeToMonitor::Logs { request, .. }) = other.receive().unwrap() else {
            panic!("nothing was asked")
        };
        other.send(&MonitorToNode::Logs { request, output: Ok(b"line".to_vec()) }).unwrap();
        assert_eq!(monitor.receive(Time(1)), FromMonitor::Nothing);
        assert_eq!(asked.try_recv().unwrap(), Ok(b"line".to_vec()));
        let mut lost = wish(&mut monitor);
        monitor.has_died();
        assert!(lost.try_recv().unwrap().is_err());
    }
}
