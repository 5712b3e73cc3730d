//! The conversation with one monitor: a connection that comes and goes.
//!
//! ```text
//!   away ──(guard: ready, or time to try)──► greeting ──(hello answered)──► ready
//!     ▲                                          │                           │
//!     └──────────────(broken)────────────────────┴───────────────────────────┘
//! ```
//!
//! Orders without an answer are given again on a new connection to the same monitor; the monitor
//! answers each number once (or repeats the answer).

use std::collections::BTreeMap;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;

use stead_model::note::Note;
use stead_model::order::{Outcome, ResourceOrder, ResourceReport};
use stead_model::wire::monitor::{MonitorToNode, NodeToMonitor, VERSION};
use stead_model::{Incarnation, OrderId, Span, Time};
use tokio::sync::oneshot;

use super::silence::Silence;
use crate::frames::{FrameLink, LinkError};
use crate::inbox::{LogWish, QuestionWish};

/// Pause between two attempts to connect.
pub(super) const PAUSE: Span = Span::from_millis(100);

/// One monitor.
#[derive(Debug)]
pub(super) struct Line {
    /// Where it listens, once that is known.
    path: Option<PathBuf>,
    service: Incarnation,
    state: State,
    /// Orders without an answer.
    open: BTreeMap<OrderId, ResourceOrder>,
    logs: BTreeMap<u64, oneshot::Sender<Result<Vec<u8>, String>>>,
    wishes: u64,
    /// Whether this life of it said hello before.
    greeted: bool,
    silence: Silence,
}

#[derive(Debug)]
enum State {
    Away { again: Time },
    Greeting(FrameLink),
    Ready(FrameLink),
}

/// What came.
#[derive(PartialEq, Eq, Debug)]
pub(super) enum Said {
    /// It answers the hello: it is to be welcomed.
    Hello,
    /// A resource reports.
    Report(ResourceReport),
    /// It has a note for the monitors of all other nodes.
    Note(Note),
    /// Nothing more at present.
    Nothing,
}

impl Line {
    /// A monitor that listens, or will, at `path`.
    pub(super) fn new(path: Option<PathBuf>, service: Incarnation) -> Self {
        Self {
            path,
            service,
            state: State::Away { again: Time(0) },
            open: BTreeMap::new(),
            logs: BTreeMap::new(),
            wishes: 0,
            greeted: false,
            silence: Silence::default(),
        }
    }

    /// When to try to connect again.
    pub(super) fn next_deadline(&self) -> Option<Time> {
        match self.state {
            State::Away { again } => self.path.as_ref().map(|_| again),
            State::Greeting(_) | State::Ready(_) => None,
        }
    }

    /// The guard says that it is ready.
    pub(super) fn is_ready(&mut self) {
        if let State::Away { again } = &mut self.state {
            *again = Time(0);
        }
    }

    /// The guard says that it is ready, and where.
    pub(super) fn listens_at(&mut self, path: PathBuf) {
        self.path = Some(path);
        self.is_ready();
    }

    /// The guard says that it died: its orders died with it.
    pub(super) fn has_died(&mut self, now: Time) {
        self.silence.ended(now);
        self.is_gone(Time(0));
    }

    /// A hard stop kills it; nothing is expected of it until another one comes.
    pub(super) fn is_killed(&mut self, now: Time) {
        self.silence.excused();
        self.is_gone(now + PAUSE);
    }

    fn is_gone(&mut self, again: Time) {
        self.open.clear();
        self.greeted = false;
        self.state = State::Away { again };
        self.forget_wishes("the resource monitor died");
    }

    /// Connects if it is time; `true`: there is a new connection to wait on.
    pub(super) fn connect(&mut self, now: Time) -> bool {
        let State::Away { again } = &mut self.state else { return false };
        let Some(path) = self.path.as_ref().filter(|_| *again <= now) else { return false };
        *again = now + PAUSE;
        let hello = NodeToMonitor::Hello { version: VERSION, service: self.service };
        let link = UnixStream::connect(path).map_err(LinkError::Io).and_then(|stream| {
            let mut link = FrameLink::new(stream)?;
            link.send(&hello)?;
            Ok(link)
        });
        match link {
            Ok(link) => {
                self.state = State::Greeting(link);
                self.silence.expects(now);
                true
            }
            Err(_) => false,
        }
    }

    /// Gives an order. One that cannot be sent now is sent on the next connection.
    pub(super) fn order(&mut self, order: ResourceOrder, now: Time) {
        let message = NodeToMonitor::Order(order.clone());
        self.open.insert(order.order, order);
        self.send(&message, now);
    }

    /// Whether orders wait for an answer.
    pub(super) fn has_orders(&self) -> bool {
        !self.open.is_empty()
    }

    /// Whether such orders wait for an answer that are about what runs here.
    pub(super) fn has_orders_to_run(&self) -> bool {
        self.open.values().any(|order| !super::forgets(&order.action))
    }

    /// Whether an order would be sent at once.
    pub(super) const fn is_ready_for_orders(&self) -> bool {
        matches!(self.state, State::Ready(_))
    }

    /// The orders that nobody takes any more.
    pub(super) fn into_orders(self) -> impl Iterator<Item = ResourceOrder> {
        self.open.into_values()
    }

    /// Asks for the output of a resource's program.
    pub(super) fn logs(&mut self, wish: LogWish, now: Time) {
        let LogWish { resource, bytes_max, answer } = wish;
        if let Some(request) = self.wish(answer) {
            self.send(&NodeToMonitor::Logs { request, resource, bytes_max }, now);
        }
    }

    /// Asks the programs of external types.
    pub(super) fn question(&mut self, wish: QuestionWish, now: Time) {
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

    /// Something shall come from it: it is being started, or was asked to.
    pub(super) fn expects(&mut self, now: Time) {
        if !matches!(self.state, State::Ready(_)) {
            self.silence.expects(now);
        }
    }

    /// Asks it from time to time whether it works; how long it has not answered, if it is to be
    /// replaced now.
    pub(super) fn due(&mut self, now: Time) -> Option<Span> {
        if matches!(self.state, State::Ready(_)) && self.silence.ask(now) {
            self.send(&NodeToMonitor::Ping, now);
        }
        self.silence.is_over(now)
    }

    /// How long it has not answered, if that is too long.
    pub(super) fn silence(&self, now: Time) -> Option<Span> {
        self.silence.lasts(now)
    }

    /// How often it ended within an hour, if that is too often.
    pub(super) fn is_unsteady(&self, now: Time) -> Option<usize> {
        self.silence.is_unsteady(now)
    }

    /// Sends something, if it can be sent now.
    pub(super) fn send(&mut self, message: &NodeToMonitor, now: Time) {
        if let State::Ready(link) = &mut self.state
            && link.send(message).is_err()
        {
            self.broke(now);
        }
    }

    /// Sends what the monitor could not take before.
    pub(super) fn flush(&mut self, now: Time) {
        if let State::Ready(link) | State::Greeting(link) = &mut self.state
            && link.flush().is_err()
        {
            self.broke(now);
        }
    }

    /// Whether something waits to be sent.
    pub(super) const fn has_unsent(&self) -> bool {
        match &self.state {
            State::Away { .. } => false,
            State::Greeting(link) | State::Ready(link) => link.has_unsent(),
        }
    }

    /// The next thing that came.
    pub(super) fn receive(&mut self, now: Time) -> Said {
        loop {
            let link = match &mut self.state {
                State::Away { .. } => return Said::Nothing,
                State::Greeting(link) | State::Ready(link) => link,
            };
            match link.receive() {
                Ok(None) => return Said::Nothing,
                Ok(Some(message)) => match self.take(message, now) {
                    Said::Nothing => {}
                    said @ (Said::Hello | Said::Report(_) | Said::Note(_)) => return said,
                },
                Err(_) => {
                    self.broke(now);
                    return Said::Nothing;
                }
            }
        }
    }

    fn take(&mut self, message: MonitorToNode, now: Time) -> Said {
        match message {
            MonitorToNode::Hello { .. } => Said::Hello,
            MonitorToNode::Pong => {
                self.silence.answered(now);
                Said::Nothing
            }
            MonitorToNode::Report(report) => {
                if is_last(&report.outcome) {
                    self.open.remove(&report.order);
                }
                Said::Report(report)
            }
            MonitorToNode::Note(note) => Said::Note(note),
            MonitorToNode::Logs { request, output } => {
                if let Some(answer) = self.logs.remove(&request) {
                    // Who asked may have gone.
                    let _ = answer.send(output);
                }
                Said::Nothing
            }
        }
    }

    /// It said hello and takes orders from now on.
    pub(super) fn welcome(&mut self, now: Time) {
        self.silence.answered(now);
        self.state = match std::mem::replace(&mut self.state, State::Away { again: now }) {
            State::Greeting(link) => State::Ready(link),
            other @ (State::Away { .. } | State::Ready(_)) => other,
        };
    }

    /// Whether this life of it is new since the last time this was asked.
    pub(super) const fn is_new(&mut self) -> bool {
        !std::mem::replace(&mut self.greeted, true)
    }

    /// What was ordered will be ordered anew.
    pub(super) fn forget_orders(&mut self) {
        self.open.clear();
    }

    /// Gives all orders without an answer again.
    pub(super) fn repeat_orders(&mut self, now: Time) {
        for order in self.open.values().cloned().collect::<Vec<_>>() {
            self.send(&NodeToMonitor::Order(order), now);
        }
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
    pub(super) fn link(&self) -> Option<BorrowedFd<'_>> {
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
        | Outcome::Forgotten(_)
        | Outcome::Remains(_)
        | Outcome::Fitness(_) => true,
        Outcome::Health(..) | Outcome::Notice(_) | Outcome::Used(_) => false,
    }
}
