//! The devices of a node: its own log and the quorum disk.

use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use stead_core::{Device, Event, Io, IoOp, IoResult};

use super::{BlockDev, DiskThread, Medium};
use crate::inbox::{Inbox, Item};

/// All devices.
#[derive(Debug)]
pub(crate) struct Disks {
    node_log: DiskThread,
    quorum: Option<DiskThread>,
    /// Where the node's log is.
    folder: PathBuf,
    inbox: Arc<Inbox>,
    /// Keeps other processes of this node off the log.
    _locked: File,
}

/// The node's own log, open and locked.
#[derive(Debug)]
pub(crate) struct OwnLog {
    pub(crate) folder: PathBuf,
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
    /// Starts the threads.
    pub(crate) fn start(
        log: OwnLog,
        quorum: Option<QuorumPlace>,
        inbox: Arc<Inbox>,
    ) -> io::Result<Self> {
        let OwnLog { folder, device, locked } = log;
        let node_log = DiskThread::start("node-log", Medium::Open(device), Arc::clone(&inbox))?;
        let quorum = quorum.map(|QuorumPlace { path, lock }| {
            DiskThread::start("quorum", Medium::Shared { path, lock }, Arc::clone(&inbox))
        });
        Ok(Self { node_log, quorum: quorum.transpose()?, folder, inbox, _locked: locked })
    }

    /// Hands a read or write to its device. It is answered when it has ended, however long that
    /// takes: a slot with a write that may still land is in doubt (R3).
    pub(crate) fn begin(&self, io: Io) {
        match (io.device, &self.quorum) {
            (Device::NodeLog, _) => self.node_log.push(io),
            (Device::QuorumDisk, Some(disk)) => disk.push(io),
            (Device::Aside(generation), _) => {
                let result = match keep_aside(&self.folder, generation, &io.op) {
                    Ok(()) => IoResult::Written,
                    Err(error) => IoResult::Failed(error.to_string()),
                };
                self.inbox.push(Item::Event(Event::Io { ticket: io.ticket, result }));
            }
            (Device::QuorumDisk, None) => {
                let result = IoResult::Failed("the configuration names no quorum disk".into());
                self.inbox.push(Item::Event(Event::Io { ticket: io.ticket, result }));
            }
        }
    }
}

/// Writes what this node gives up for the history of that generation into a file of its own. It is
/// small, and written once in the life of a node, if ever.
fn keep_aside(folder: &Path, generation: u32, op: &IoOp) -> io::Result<()> {
    let IoOp::Write { data, .. } = op else {
        return Err(io::Error::other("what is put aside can only be written"));
    };
    let path = folder.join(format!("given-up-{generation}.txt"));
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).open(path)?;
    file.write_all(data)?;
    file.sync_all()?;
    File::open(folder)?.sync_all()
}
