//! What keeps an address in service: announcements, and an eye on who else claims it.
//!
//! Announced at once, after 50, 200 and 1000 ms, then every minute: a neighbour that missed one
//! hears the next. When a node answers again on a network all of that begins anew: whoever was cut
//! off from this owner meanwhile heard nothing and still asks another; and so it does when its own
//! interface is back. From the second on the wire
//! is asked, too, who else has it. A conflict is judged by the MAC: a node of the cluster is a
//! stale owner whose kernel still answers (its stop is under way, or nothing ties its addresses to
//! its lease), so the address stays and is announced again; a stranger makes the resource fail.
//!
//! With each of the first announcements those who wait for the former owner are tickled, too: the
//! kernel of a client answers two in a second at most, and any of them may be lost.

use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use stead_netlink::{Claim, ClaimError, ConflictWatch, Event, Mac, Monitor, Route, addresses_pass};

use super::tickle::{Sharing, Waiting};
use crate::host::interface;
use crate::resource_type::Context;

const FIRST_ANNOUNCEMENTS_MS: [u64; 3] = [50, 200, 1000];
const ANNOUNCE_EVERY: Duration = Duration::from_secs(60);
/// A stale owner may answer every question of every client: told and outshouted no more often.
const NOTICE_EVERY: Duration = Duration::from_secs(10);
const ANSWER_EVERY: Duration = Duration::from_millis(50);

/// The clients of the address, before and after a takeover.
#[derive(Debug)]
pub(super) struct Clients {
    /// Those that may wait for the former owner.
    pub(super) waiting: Waiting,
    /// Those of this owner; `None`: not shared.
    pub(super) sharing: Option<Sharing>,
}

/// A thread that keeps an address; it ends when this is dropped.
#[derive(Debug)]
pub(super) struct Keeper {
    _stop: OwnedFd,
}

struct Keeping {
    wire: Claim,
    context: Context,
    watch: ConflictWatch,
    monitor: Monitor,
    stopped: OwnedFd,
    /// Readable when the nodes said something.
    nodes: Arc<OwnedFd>,
    started: Instant,
    announcements: usize,
    tickled: usize,
    noticed: Option<Instant>,
    answered: Option<Instant>,
    clients: Clients,
}

impl Keeper {
    /// Announces the address and keeps it.
    pub(super) fn start(wire: Claim, context: Context, clients: Clients) -> io::Result<Self> {
        let watch = ConflictWatch::open(wire).map_err(io::Error::other)?;
        let monitor = Monitor::open().map_err(io::Error::other)?;
        let (stopped, stop) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)?;
        let nodes = context.nodes.listen()?;
        announce(&wire).map_err(io::Error::other)?;
        let keeping = Keeping {
            wire,
            context,
            watch,
            monitor,
            stopped,
            nodes,
            started: Instant::now(),
            announcements: 0,
            tickled: 0,
            noticed: None,
            answered: None,
            clients,
        };
        let builder = thread::Builder::new().stack_size(128 << 10);
        builder.spawn(move || keeping.keep())?;
        Ok(Self { _stop: stop })
    }
}

/// Whose a MAC is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Whose {
    /// Another interface of this node: its kernel answers there, too.
    Ours,
    /// A node of the cluster: told by the node service, or seen as neighbour.
    Node,
    /// Nobody knows.
    Stranger,
}

/// Judges a station by its MAC.
pub(super) fn whose(context: &Context, route: &Route, mac: Mac) -> Whose {
    let links = route.links().unwrap_or_default();
    if links.iter().any(|link| link.mac == Some(mac)) {
        return Whose::Ours;
    }
    if !context.nodes.contains(mac) {
        context.nodes.learn(interface::node_macs(route, &context.root));
    }
    if context.nodes.contains(mac) { Whose::Node } else { Whose::Stranger }
}

/// Tells everybody, unless the lease is over: a monitor that was frozen would speak for an address
/// that another node has by now. What the kernel says itself is held back by the guard.
fn announce(wire: &Claim) -> Result<(), ClaimError> {
    if addresses_pass() { wire.announce() } else { Ok(()) }
}

impl Keeping {
    fn keep(mut self) {
        if let Ok(route) = Route::open() {
            self.context.nodes.learn(interface::node_macs(&route, &self.context.root));
        }
        self.clients.waiting.tickle(&self.context);
        while self.wait() {
            if Instant::now() >= self.next_announcement() {
                self.announcements += 1;
                self.announce_and_ask();
                if self.tickled < FIRST_ANNOUNCEMENTS_MS.len() {
                    self.tickled += 1;
                    self.clients.waiting.tickle(&self.context);
                }
            }
            if let Some(sharing) = &mut self.clients.sharing
                && Instant::now() >= sharing.next()
            {
                sharing.look();
            }
            if self.heard_again() {
                (self.started, self.announcements) = (Instant::now(), 0);
                self.announce();
            }
            if !self.look_for_conflicts() || !self.look_for_changes() {
                return;
            }
        }
    }

    /// Waits for something to do; false when the keeper shall end.
    fn wait(&self) -> bool {
        let look = self.clients.sharing.as_ref().map(Sharing::next);
        let next = look.into_iter().chain([self.next_announcement()]).min();
        let next = next.unwrap_or_else(Instant::now);
        let left = next.saturating_duration_since(Instant::now());
        let nanos = i64::from(left.subsec_nanos());
        let limit = Timespec { tv_sec: left.as_secs().cast_signed(), tv_nsec: nanos };
        let mut fds = [
            PollFd::new(&self.stopped, PollFlags::IN),
            PollFd::new(&self.watch, PollFlags::IN),
            PollFd::new(&self.monitor, PollFlags::IN),
            PollFd::new(&self.nodes, PollFlags::IN),
        ];
        // An interrupted wait only means to look earlier.
        let _ = poll(&mut fds, Some(&limit));
        fds[0].revents().is_empty()
    }

    /// Whether a node was heard again, or told its addresses for the first time.
    fn heard_again(&self) -> bool {
        rustix::io::read(&self.nodes, &mut [0; 8]).is_ok()
    }

    fn next_announcement(&self) -> Instant {
        let first = FIRST_ANNOUNCEMENTS_MS;
        match first.get(self.announcements) {
            Some(ms) => self.started + Duration::from_millis(*ms),
            None => {
                let minutes = (self.announcements - first.len() + 1) as u32;
                self.started + ANNOUNCE_EVERY * minutes
            }
        }
    }

    /// Tells everybody, and asks who else has it: a stale owner or a stranger whose kernel only
    /// answers is found by that, and this is no part of the outage.
    fn announce_and_ask(&self) {
        self.announce();
        // What keeps the question from being sent keeps the announcement, which is told.
        drop(self.wire.ask());
    }

    fn announce(&self) {
        if let Err(error) = announce(&self.wire) {
            self.context.push.notice(format!("not announced: {error}"));
        }
    }

    /// False when the address cannot stay.
    fn look_for_conflicts(&mut self) -> bool {
        while let Ok(Some(mac)) = self.watch.next(Duration::ZERO) {
            let whose = Route::open().map(|route| whose(&self.context, &route, mac));
            match whose.unwrap_or(Whose::Stranger) {
                Whose::Ours => continue,
                Whose::Node => {}
                Whose::Stranger => {
                    let address = self.wire.address;
                    let why = format!("{address} is also claimed by a stranger with MAC {mac}");
                    self.context.push.failed(why);
                    return false;
                }
            }
            if over(&mut self.answered, ANSWER_EVERY) {
                self.announce();
            }
            if over(&mut self.noticed, NOTICE_EVERY) {
                self.context.push.notice(format!("stale owner {mac} still answers"));
            }
        }
        true
    }

    /// False when the address is gone. One that is lost with its interface is no failure that a
    /// restart helps: the check says so, and the core knows it of the interface.
    fn look_for_changes(&mut self) -> bool {
        while let Ok(Some(event)) = self.monitor.next(Duration::ZERO) {
            let why = match event {
                Event::AddressRemoved(entry)
                    if entry.address == self.wire.address && !self.is_off() =>
                {
                    "somebody removed it from the interface"
                }
                Event::LinkRemoved(link) if link.index == self.wire.ifindex => {
                    "its interface was removed"
                }
                Event::LinkChanged(link) if link.index == self.wire.ifindex && link.carrier => {
                    (self.started, self.announcements) = (Instant::now(), 0);
                    continue;
                }
                Event::LinkChanged(_)
                | Event::LinkRemoved(_)
                | Event::AddressChanged(_)
                | Event::AddressRemoved(_)
                | Event::NeighbourChanged(_)
                | Event::NeighbourRemoved(_)
                | Event::Overrun => continue,
            };
            self.context.push.failed(why);
            return false;
        }
        true
    }

    /// Whether the interface is switched off: its kernel takes IPv6 addresses away from it then.
    fn is_off(&self) -> bool {
        let link = Route::open().and_then(|route| route.link(self.wire.ifindex));
        link.is_ok_and(|link| !link.up)
    }
}

/// Whether enough time passed since the last time this was true.
fn over(last: &mut Option<Instant>, every: Duration) -> bool {
    let due = last.is_none_or(|last| last.elapsed() >= every);
    if due {
        *last = Some(Instant::now());
    }
    due
}
