//! The thread `interfaces`: the kernel says when an interface changes, and the core is told; and
//! who answers for the addresses of other nodes.
//!
//! A thread of its own, because the kernel answers about interfaces only when no driver keeps it:
//! nothing that waits for it may stand between the core and its heartbeats. It sleeps until the
//! kernel says something.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use stead_core::Event;
use stead_model::config::NodeAddress;
use stead_model::network::Interface;
use stead_model::record::Level;
use stead_netlink::{Event as Seen, Monitor, NeighbourEntry, RouteError};

use super::doubles::Neighbour;
use super::interfaces;
use super::peers::{OwnEnd, Peers};
use crate::inbox::{Inbox, Item};
use crate::records::Records;
use crate::threads;

/// After a failure the kernel is asked again.
const PAUSE: Timespec = Timespec { tv_sec: 5, tv_nsec: 0 };

/// The thread; it ends when this is dropped.
#[derive(Debug)]
pub(crate) struct Watch {
    /// Nothing is sent: that it is closed is the word.
    running: Option<OwnedFd>,
    thread: Option<JoinHandle<()>>,
    peers: Arc<Mutex<Arc<Peers>>>,
}

struct Watcher {
    inbox: Arc<Inbox>,
    records: Arc<Records>,
    running: OwnedFd,
    /// Whose neighbours are looked at.
    peers: Arc<Mutex<Arc<Peers>>>,
}

/// Whether the service goes on.
#[derive(PartialEq, Eq)]
enum Goes {
    On,
    Ends,
}

impl Watch {
    /// Starts the thread.
    pub(crate) fn start(
        peers: Arc<Peers>,
        (records, inbox): (Arc<Records>, Arc<Inbox>),
    ) -> io::Result<Self> {
        let (running, held) = io::pipe()?;
        let peers = Arc::new(Mutex::new(peers));
        let shared = Arc::clone(&peers);
        let watcher = Watcher { inbox, records, running: running.into(), peers: shared };
        let inbox = Arc::clone(&watcher.inbox);
        let thread = threads::start("interfaces", inbox, move || watcher.run())?;
        Ok(Self { running: Some(held.into()), thread: Some(thread), peers })
    }

    /// Nodes joined or left.
    pub(crate) fn meet(&self, peers: Arc<Peers>) {
        *self.peers.lock().unwrap_or_else(PoisonError::into_inner) = peers;
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.running = None;
        // A panic was told when it happened.
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

impl Watcher {
    fn run(self) {
        let (mut known, mut said) = (Vec::new(), false);
        loop {
            match self.follow(&mut known) {
                Ok(()) => return,
                // Said once: what the core knows stays as it is meanwhile.
                Err(why) if !std::mem::replace(&mut said, true) => {
                    let text = format!("cannot see how the interfaces of this node are: {why}");
                    self.records.note(Level::Warning, "interfaces-unseen", &text);
                }
                Err(_) => {}
            }
            if self.wait(None) == Ok(Goes::Ends) {
                return;
            }
        }
    }

    /// Until the service ends. Subscribes first and looks then, so that nothing is missed.
    fn follow(&self, known: &mut Vec<Interface>) -> Result<(), String> {
        let text = |error: RouteError| error.to_string();
        let monitor = Monitor::open().map_err(text)?;
        let mut changed = true;
        loop {
            if std::mem::take(&mut changed) {
                let now = interfaces::on_networks(self.own(), known).map_err(text)?;
                if now != *known {
                    known.clone_from(&now);
                    self.inbox.push(Item::Event(Event::Interfaces(now)));
                }
            }
            if self.wait(Some(monitor.as_fd()))? == Goes::Ends {
                return Ok(());
            }
            // What changes within a moment is looked at once.
            while let Some(event) = monitor.next(Duration::ZERO).map_err(text)? {
                match event {
                    Seen::NeighbourChanged(entry) => self.neighbour(&entry),
                    Seen::NeighbourRemoved(_) => {}
                    Seen::LinkChanged(_)
                    | Seen::LinkRemoved(_)
                    | Seen::AddressChanged(_)
                    | Seen::AddressRemoved(_)
                    | Seen::Overrun => changed = true,
                }
            }
        }
    }

    /// Where this node is, as it was told last.
    fn own(&self) -> Vec<NodeAddress> {
        let peers = self.peers.lock().unwrap_or_else(PoisonError::into_inner);
        peers.networks.iter().map(OwnEnd::address).collect()
    }

    /// Who answers for the address of another node is told to the service.
    fn neighbour(&self, entry: &NeighbourEntry) {
        let (Some(mac), address) = (entry.mac, entry.address) else { return };
        let peers = self.peers.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(node) = peers.node_at(address) {
            self.inbox.push(Item::Neighbour(Neighbour { node, address, mac }));
        }
    }

    /// Waits for word of the kernel or, without, for a pause; and for the end of the service.
    fn wait(&self, kernel: Option<BorrowedFd<'_>>) -> Result<Goes, String> {
        let pause = kernel.is_none().then_some(&PAUSE);
        let mut fds = vec![PollFd::new(&self.running, PollFlags::IN)];
        fds.extend(kernel.as_ref().map(|fd| PollFd::new(fd, PollFlags::IN)));
        match poll(&mut fds, pause) {
            Ok(_) if fds[0].revents().is_empty() => Ok(Goes::On),
            Ok(_) => Ok(Goes::Ends),
            Err(rustix::io::Errno::INTR) => Ok(Goes::On),
            Err(error) => Err(error.to_string()),
        }
    }
}
