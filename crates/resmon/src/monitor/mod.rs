//! The monitor process: connects the guard, the node service and the threads of the types.
//!
//! ```text
//!  node service ── monitor.sock ──► main thread ──► threads that call the types (crew)
//!  guard ───────── socket pair ───►  (slots)   ◄── what calls return, what types push
//! ```
//!
//! The main thread decides nothing itself ([`crate::slot`] does) and waits for nobody: it never
//! writes to a socket that might be full and never calls a type.

mod crew;
mod duty;
mod forget;
mod inspector;
mod node_port;
mod output;
mod probe;
mod question;
mod seat;

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::Duration;

use stead_model::note::Note;
use stead_model::order::Action;
use stead_model::usage::Usage;
use stead_model::wire::monitor::{MonitorToNode, NodeToMonitor, Question, VERSION};
use stead_model::{Epoch, Incarnation, ResourceId, Time};
use stead_netlink::Mac;

use crate::guard_port::{GuardNews, GuardPort};
use crate::host::{clock::boot_time, descriptor};
use crate::prober::{Found, Prober};
use crate::resource_type::Pushed;
use crate::slot::{CallNumber, Input, Returned, Slot};
use crate::types;
use crew::Crew;
use duty::Duty;
use inspector::Inspector;
use node_port::{NodeEvent, NodeLink};
use seat::{Desk, Seat};

/// Stack of the monitor's own threads; only what is touched costs memory.
pub(crate) const STACK_BYTES: usize = 256 << 10;

/// Runs the monitor until the guard is gone: `stead monitor`. The guard has more words for it, see
/// [`Duty`].
#[must_use]
pub fn run(args: &[String]) -> ExitCode {
    let socket = match Duty::parse(args) {
        Ok(Duty::Describe(pid)) => return duty::describe(pid),
        Ok(Duty::Host { socket }) => socket,
        Err(why) => {
            say(&why);
            return ExitCode::from(2);
        }
    };
    let root = std::env::var_os("STEAD_ROOT").map_or_else(|| "/".into(), PathBuf::from);
    match start(root, &socket) {
        Ok(mut monitor) => monitor.serve(),
        Err(why) => {
            say(&why.to_string());
            ExitCode::FAILURE
        }
    }
}

/// What the main thread hears.
#[derive(Debug)]
pub(crate) enum Heard {
    /// From or about the node service.
    Node(NodeEvent),
    /// From the guard.
    Guard(GuardNews),
    /// The guard is gone.
    GuardGone,
    /// A call returned.
    Returned { resource: ResourceId, call: CallNumber, result: Returned },
    /// A terminate ended.
    Terminated { resource: ResourceId, result: Result<(), String> },
    /// A time limit passed: what was being done then.
    Captured { resource: ResourceId, text: String },
    /// What its programs use.
    Used { resource: ResourceId, used: Usage },
    /// A type noticed something; `opening` tells an old one from the present one.
    Pushed { resource: ResourceId, opening: u64, pushed: Pushed },
    /// A health probe found something new.
    Probed(Found),
}

struct Monitor {
    seats: BTreeMap<ResourceId, Seat>,
    /// When each seat has something to do by time alone.
    times: BTreeSet<(Time, ResourceId)>,
    desk: Desk,
    inspector: Inspector,
    heard: Receiver<Heard>,
    node: Option<NodeLink>,
    service: Option<Incarnation>,
    /// Whether the guard has said what runs; before that no node service is welcome, for it might
    /// ask to adopt what is not known yet.
    inventory: Inventory,
}

/// What is known of what the guard runs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Inventory {
    /// Nothing yet; this node service has said hello meanwhile.
    Awaited(Option<Incarnation>),
    Known,
}

fn start(root: PathBuf, socket: &str) -> io::Result<Monitor> {
    let connection = descriptor::guard_connection()?;
    let (sender, heard) = channel();
    node_port::listen(&root.join("run/stead"), socket, sender.clone())?;
    let guard = Arc::new(GuardPort::new(connection.try_clone()?));
    let (port, news) = (Arc::clone(&guard), sender.clone());
    thread::Builder::new().stack_size(STACK_BYTES).spawn(move || {
        let tell = |told| drop(news.send(Heard::Guard(told)));
        drop(port.listen(connection, tell));
        drop(news.send(Heard::GuardGone));
    })?;
    guard.hello()?;
    let (nodes, notes, lines) = (Arc::default(), Arc::default(), Arc::default());
    let found = sender.clone();
    let prober = Prober::new(Arc::new(move |it| drop(found.send(Heard::Probed(it)))));
    let crew = Crew::new(None);
    let desk = Desk { guard, nodes, notes, lines, root, crew, sender, prober };
    Ok(Monitor {
        seats: BTreeMap::new(),
        times: BTreeSet::new(),
        desk,
        inspector: Inspector::default(),
        heard,
        node: None,
        service: None,
        inventory: Inventory::Awaited(None),
    })
}

impl Monitor {
    fn serve(&mut self) -> ExitCode {
        loop {
            let heard = match self.time_left() {
                None => self.heard.recv().map_err(|_| RecvTimeoutError::Disconnected),
                Some(left) => self.heard.recv_timeout(left),
            };
            match heard {
                Ok(Heard::GuardGone) | Err(RecvTimeoutError::Disconnected) => {
                    say("the guard is gone");
                    return ExitCode::FAILURE;
                }
                Ok(heard) => self.hear(heard),
                Err(RecvTimeoutError::Timeout) => {}
            }
            self.hand_in_deadlines();
        }
    }

    fn time_left(&self) -> Option<Duration> {
        let seat = self.times.first().map(|(at, _)| *at);
        let next = seat.into_iter().chain(self.desk.crew.next_deadline()).min()?;
        Some(Duration::from_nanos(next.since(boot_time()).0))
    }

    fn hand_in_deadlines(&mut self) {
        let now = boot_time();
        self.desk.crew.look();
        let due = self.times.iter().take_while(|(at, _)| *at <= now);
        for resource in due.map(|(_, resource)| resource.clone()).collect::<Vec<_>>() {
            self.feed(&resource, Input::Deadline);
        }
    }

    fn hear(&mut self, heard: Heard) {
        match heard {
            Heard::Node(event) => self.hear_node(event),
            Heard::Guard(GuardNews::Inventory) => self.take_inventory(),
            Heard::Guard(GuardNews::Ended(ended)) => {
                let how = types::sentence(&ended.status);
                if let Some(seat) = self.seats.get(&ended.resource) {
                    let input = seat.end_means(how);
                    self.feed(&ended.resource, input);
                }
                self.look_at_the_rest(&ended.resource);
            }
            Heard::Guard(GuardNews::Stirred(resource)) => {
                if let Some(seat) = self.seats.get(&resource) {
                    seat.stirred();
                }
                self.feed(&resource, Input::Look);
            }
            Heard::GuardGone => {}
            Heard::Returned { resource, call, result } => {
                if let Some(seat) = self.seats.get_mut(&resource) {
                    seat.call_returned(call);
                }
                self.feed(&resource, Input::Returned { call, result });
            }
            Heard::Terminated { resource, result } => {
                self.feed(&resource, Input::Terminated(result));
            }
            Heard::Captured { resource, text } => {
                let text = format!("what it did when its time was over: {text}");
                self.feed(&resource, Input::Notice(text));
            }
            Heard::Used { resource, used } => self.feed(&resource, Input::Used(used)),
            Heard::Pushed { resource, opening, pushed } => {
                let seat = self.seats.get(&resource).filter(|seat| seat.opening == opening);
                if let Some(epoch) = seat.map(Seat::epoch) {
                    self.pushed(resource, epoch, pushed);
                }
            }
            Heard::Probed(Found { resource, token, health, detail }) => {
                if self.seats.get(&resource).is_some_and(|seat| seat.probing == token) {
                    self.feed(&resource, Input::Probed(health, detail));
                }
            }
        }
    }

    fn pushed(&mut self, resource: ResourceId, epoch: Option<Epoch>, pushed: Pushed) {
        match pushed {
            Pushed::Failed(why) => self.feed(&resource, Input::Failed(why)),
            Pushed::Notice(text) => self.feed(&resource, Input::Notice(text)),
            Pushed::Look => self.feed(&resource, Input::Look),
            Pushed::Note(bytes) => {
                if let Some(epoch) = epoch {
                    self.tell_node(MonitorToNode::Note(Note { resource, epoch, bytes }));
                }
            }
        }
    }

    /// A program that ended may have lost what it stands on: a disk is found at fault long before
    /// its check is due.
    fn look_at_the_rest(&mut self, ended: &ResourceId) {
        let Some(group) = self.seats.get(ended).map(|seat| seat.slot.group().clone()) else {
            return;
        };
        let others =
            self.seats.iter().filter(|(id, seat)| *id != ended && *seat.slot.group() == group);
        for resource in others.map(|(id, _)| id.clone()).collect::<Vec<_>>() {
            self.feed(&resource, Input::Look);
        }
    }

    /// What the guard runs since before this monitor is there, unwatched until it is adopted.
    fn take_inventory(&mut self) {
        for held in self.desk.guard.all_running() {
            let claim = held.claim;
            let slot = Slot::running(claim.group, claim.resource.clone(), claim.epoch);
            let guard = &self.desk.guard;
            self.seats.entry(claim.resource).or_insert_with(|| Seat::new(slot, guard));
        }
        match std::mem::replace(&mut self.inventory, Inventory::Known) {
            Inventory::Awaited(Some(service)) => self.welcome(service),
            Inventory::Awaited(None) | Inventory::Known => {}
        }
    }

    fn welcome(&mut self, service: Incarnation) {
        let same = self.service.replace(service) == Some(service);
        self.tell_node(MonitorToNode::Hello { version: VERSION });
        for resource in self.seats.keys().cloned().collect::<Vec<_>>() {
            let input = if same { Input::Reconnected } else { Input::NewService };
            self.feed(&resource, input);
        }
    }

    fn hear_node(&mut self, event: NodeEvent) {
        match event {
            NodeEvent::Connected(link) => {
                self.node = Some(link);
                if let Inventory::Awaited(hello) = &mut self.inventory {
                    *hello = None;
                }
            }
            NodeEvent::Gone(connection) => {
                self.node = self.node.take().filter(|link| link.connection != connection);
            }
            NodeEvent::Said(connection, message) => {
                if self.node.as_ref().is_some_and(|link| link.connection == connection) {
                    self.node_said(message);
                }
            }
        }
    }

    fn node_said(&mut self, message: NodeToMonitor) {
        match message {
            NodeToMonitor::Hello { service, .. } => match &mut self.inventory {
                Inventory::Awaited(hello) => *hello = Some(service),
                Inventory::Known => self.welcome(service),
            },
            NodeToMonitor::Order(order) if matches!(order.action, Action::Probe(_)) => {
                if let Some(link) = &self.node {
                    probe::begin(&self.desk, order, link.clone());
                }
            }
            NodeToMonitor::Order(order) if matches!(order.action, Action::Fit(_)) => {
                if let Some(link) = &self.node {
                    self.inspector.take(&self.desk, order, link.clone());
                }
            }
            NodeToMonitor::Order(order) if matches!(order.action, Action::Forget(_)) => {
                if let Some(link) = &self.node {
                    forget::begin(&self.desk, order, link.clone());
                }
            }
            NodeToMonitor::Order(order) => {
                let resource = order.resource.clone();
                let guard = &self.desk.guard;
                let seat = self.seats.entry(resource.clone()).or_insert_with(|| {
                    Seat::new(Slot::new(order.group.clone(), order.resource.clone()), guard)
                });
                seat.ordered_again(&order);
                self.feed(&resource, Input::Order(order));
            }
            NodeToMonitor::ClusterMacs(macs) => {
                self.desk.nodes.tell(macs.into_iter().map(Mac));
            }
            NodeToMonitor::Note(note) => self.desk.notes.take(note),
            NodeToMonitor::Ask { request, question } => {
                let seat = match &question {
                    Question::Types | Question::Agent { .. } => None,
                    Question::Control { resource, .. } => self.seats.get(resource),
                };
                if let Some(link) = &self.node {
                    question::begin(&self.desk, seat, (request, question), link.clone());
                }
            }
            NodeToMonitor::Ping => self.tell_node(MonitorToNode::Pong),
            NodeToMonitor::Logs { request, resource, bytes_max } => {
                if let Some(link) = &self.node {
                    output::read(&self.desk.root, &resource, bytes_max, request, link.clone());
                }
            }
        }
    }

    fn feed(&mut self, resource: &ResourceId, input: Input) {
        let Some(seat) = self.seats.get_mut(resource) else { return };
        let was = seat.slot.next_deadline();
        let reports = seat.feed(&self.desk, resource, input);
        let is = seat.slot.next_deadline();
        if was != is {
            was.map(|was| self.times.remove(&(was, resource.clone())));
            self.times.extend(is.map(|is| (is, resource.clone())));
        }
        for report in reports {
            self.tell_node(MonitorToNode::Report(report));
        }
    }

    /// A report that nobody hears is lost: whoever connects asks again what it needs to know.
    fn tell_node(&self, message: MonitorToNode) {
        if let Some(link) = &self.node {
            link.send(message);
        }
    }
}

/// What all seats share; see [`Desk`].
type HeardSender = Sender<Heard>;

fn say(text: &str) {
    // There is nobody else to tell.
    drop(writeln!(io::stderr(), "stead monitor: {text}"));
}
