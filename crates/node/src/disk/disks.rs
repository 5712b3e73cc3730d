//! The devices of a node: its own log and the quorum disk.

use std::fs::File;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use stead_core::{Device, Event, Io, IoResult, Ticket};
use stead_model::{Span, Time};

use super::{BlockDev, DiskThread, Medium, Pending};
use crate::inbox::{Inbox, Item};

/// All devices and what is under way on them.
#[derive(Debug)]
pub(crate) struct Disks {
    node_log: DiskThread,
    quorum: Option<DiskThread>,
    pending: Pending,
    /// A read or write of the quorum disk that takes longer has failed (R3): well below the
    /// longer lease, so that a host that hangs is replaced before the leases end.
    patience: Span,
    inbox: Arc<Inbox>,
    /// Keeps other processes of this node off the log.
    _locked: File,
}

/// The node's own log, open and locked.
#[derive(Debug)]
pub(crate) struct OwnLog {
    pub(crate) device: BlockDev,
    pub(crate) locked: File,
}

/// Where the quorum disk and its lock are.
#[derive(Debug)]
pub(crate) struct QuorumPlace {
    pub(crate) path: PathBuf,
    pub(crate) lock: PathBuf,
}

impl Disks {
    /// Starts the threads. `lease_long`: the longer lease of the profile.
    pub(crate) fn start(
        log: OwnLog,
        quorum: Option<QuorumPlace>,
        lease_long: Span,
        inbox: Arc<Inbox>,
    ) -> io::Result<Self> {
        let OwnLog { device, locked } = log;
        let node_log = DiskThread::start("node-log", Medium::Open(device), Arc::clone(&inbox))?;
        let quorum = quorum.map(|QuorumPlace { path, lock }| {
            DiskThread::start("quorum", Medium::Shared { path, lock }, Arc::clone(&inbox))
        });
        Ok(Self {
            node_log,
            quorum: quorum.transpose()?,
            pending: Pending::default(),
            patience: Span(lease_long.0 * 2 / 5),
            inbox,
            _locked: locked,
        })
    }

    /// Hands a read or write to its device.
    pub(crate) fn begin(&mut self, now: Time, io: Io) {
        let ticket = io.ticket;
        match (io.device, &self.quorum) {
            (Device::NodeLog, _) => {
                self.pending.began(ticket, None);
                self.node_log.push(io);
            }
            (Device::QuorumDisk, Some(disk)) => {
                self.pending.began(ticket, Some(now + self.patience));
                disk.push(io);
            }
            (Device::QuorumDisk, None) => {
                self.pending.began(ticket, None);
                let result = IoResult::Failed("the configuration names no quorum disk".into());
                self.inbox.push(Item::Event(Event::Io { ticket, result }));
            }
        }
    }

    /// Whether a completion still means something.
    pub(crate) fn ended(&mut self, ticket: Ticket) -> bool {
        self.pending.ended(ticket)
    }

    /// When the next read or write is given up.
    pub(crate) fn next_deadline(&self) -> Option<Time> {
        self.pending.next_deadline()
    }

    /// A read or write that took too long, as the event that says so.
    pub(crate) fn give_up(&mut self, now: Time) -> Option<Event> {
        let ticket = self.pending.give_up(now)?;
        let why = format!("the quorum disk did not answer within {}", self.patience);
        Some(Event::Io { ticket, result: IoResult::Failed(why) })
    }
}
