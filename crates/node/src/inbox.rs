//! What other threads have for the core thread: one queue and a descriptor that wakes it.

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::{Mutex, PoisonError};

use rustix::event::{EventfdFlags, eventfd};
use stead_core::Event;
use stead_model::config::NodeConfig;
use stead_model::note::Note;
use stead_model::program::Mark;
use stead_model::reason::Reason;
use stead_model::token::Shown;
use stead_model::wire::monitor::Question;
use stead_model::wire::peer::PeerMessage;
use stead_model::{GroupId, NodeId, ResourceId};
use tokio::sync::oneshot;

use crate::admission::wire::GroupDisk;
use crate::keys::Done;
use crate::net::Neighbour;

/// Something for the core thread.
#[derive(Debug)]
pub(crate) enum Item {
    /// An event for the core.
    Event(Event),
    /// Another node says which MAC addresses its interfaces have.
    Macs(NodeId, Vec<[u8; 6]>),
    /// The kernel says who answers for an address of another node.
    Neighbour(Neighbour),
    /// The monitor of another node has a note for this node's.
    Note(Note),
    /// Something for another node, with which no core has to do.
    Mail(NodeId, PeerMessage),
    /// Somebody wants the output of a resource's program.
    Logs(LogWish),
    /// Somebody asks the programs of external types.
    Question(QuestionWish),
    /// Somebody wants to know where a group may run.
    Explain(ExplainWish),
    /// A host that would join shows a token.
    Welcome(WelcomeWish),
    /// The files of this node's keys say something else, or do not.
    Keys(Box<Done>),
    /// The service shall end in order.
    Stop,
    /// A thread cannot go on, and so cannot the service.
    Fatal(String),
}

/// A wish for the output of a resource's program.
#[derive(Debug)]
pub(crate) struct LogWish {
    /// The resource.
    pub(crate) resource: ResourceId,
    /// At most this many bytes from the end.
    pub(crate) bytes_max: u32,
    /// Where the output goes, or why there is none.
    pub(crate) answer: oneshot::Sender<Result<Vec<u8>, String>>,
}

/// A question to the programs of external types.
#[derive(Debug)]
pub(crate) struct QuestionWish {
    /// What.
    pub(crate) question: Question,
    /// Where the answer goes, or why there is none.
    pub(crate) answer: oneshot::Sender<Result<Vec<u8>, String>>,
}

/// A wish to know where a group may run. The core answers between two events, as it is.
#[derive(Debug)]
pub(crate) struct ExplainWish {
    /// The group.
    pub(crate) group: GroupId,
    /// Where the answer goes; `None`: there is no such group, or the log is being read.
    pub(crate) answer: oneshot::Sender<Option<stead_core::groups::Explanation>>,
}

/// A token that a host shows. The core answers between two events, as it is.
#[derive(Debug)]
pub(crate) struct WelcomeWish {
    /// The token.
    pub(crate) shown: Shown,
    /// Where the answer goes.
    pub(crate) answer: oneshot::Sender<Result<Welcomed, Reason>>,
}

/// The cluster, for a host whose token is good.
#[derive(Debug)]
pub(crate) struct Welcomed {
    pub(crate) config: NodeConfig,
    /// The node that the host is already.
    pub(crate) known_as: Option<NodeId>,
    /// The level that it must know.
    pub(crate) mark: Mark,
    /// The disks of the groups that it may own.
    pub(crate) disks: Vec<GroupDisk>,
}

/// Items that senders from the network may have waiting before they are made to wait.
const CROWDED: usize = 1024;

/// The queue.
#[derive(Debug)]
pub(crate) struct Inbox {
    items: Mutex<VecDeque<Item>>,
    wake: OwnedFd,
}

impl Inbox {
    /// An empty queue.
    ///
    /// # Errors
    /// The system gives no descriptor.
    pub(crate) fn new() -> io::Result<Self> {
        let wake = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        Ok(Self { items: Mutex::default(), wake })
    }

    /// Adds an item and wakes the core thread.
    pub(crate) fn push(&self, item: Item) {
        let mut items = self.items.lock().unwrap_or_else(PoisonError::into_inner);
        items.push_back(item);
        let first = items.len() == 1;
        // Whoever is woken wants the lock at once.
        drop(items);
        if first {
            self.wake();
        }
    }

    fn wake(&self) {
        // A full counter means that it is awake anyway.
        let _ = rustix::io::write(&self.wake, &1_u64.to_ne_bytes());
    }

    /// Whether a sender that can wait should.
    pub(crate) fn is_crowded(&self) -> bool {
        self.items.lock().unwrap_or_else(PoisonError::into_inner).len() >= CROWDED
    }

    /// The oldest items, at most `max`. The descriptor is silent until there is more.
    pub(crate) fn take(&self, max: usize) -> VecDeque<Item> {
        let _ = rustix::io::read(&self.wake, &mut [0; 8]);
        let mut items = self.items.lock().unwrap_or_else(PoisonError::into_inner);
        if items.len() <= max {
            return std::mem::take(&mut items);
        }
        let taken = items.drain(..max).collect();
        drop(items);
        self.wake();
        taken
    }

    /// The oldest item.
    #[cfg(test)]
    pub(crate) fn pop(&self) -> Option<Item> {
        self.take(1).pop_front()
    }
}

impl AsFd for Inbox {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.wake.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_awake(inbox: &Inbox) -> bool {
        use rustix::event::{PollFd, PollFlags, Timespec, poll};
        let mut fds = [PollFd::new(inbox, PollFlags::IN)];
        poll(&mut fds, Some(&Timespec { tv_sec: 0, tv_nsec: 0 })).unwrap() == 1
    }

    #[test]
    fn it_wakes_while_and_only_while_it_holds_something() {
        let inbox = Inbox::new().unwrap();
        assert!(!is_awake(&inbox));
        inbox.push(Item::Stop);
        inbox.push(Item::Fatal("x".into()));
        assert!(is_awake(&inbox));
        assert!(matches!(inbox.pop(), Some(Item::Stop)));
        assert!(is_awake(&inbox));
        assert!(matches!(inbox.pop(), Some(Item::Fatal(_))));
        assert!(!is_awake(&inbox));
        assert!(inbox.pop().is_none());
    }
}
