//! One node's path to a disk, served: the kernel's requests taken in, judged and answered.
//!
//! Each path has a FUSE connection and a thread of its own, so that one that hangs holds up no
//! other. Whoever ends or aborts a path waits until the request under way is answered: afterwards
//! nothing of it reaches the media.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rustix::event::EventfdFlags;
use rustix::io::Errno;
use stead_model::NodeId;

use super::condition::{Arrival, Condition, PathState};
use super::fuse::{self, Operation, Request};
use super::media::Disk;
use crate::ready;

/// One node's path to a disk, in one life of the node.
#[derive(Debug)]
pub(super) struct NodePath {
    pub(super) node: NodeId,
    pub(super) disk: Arc<Disk>,
    device: OwnedFd,
    wake: OwnedFd,
    state: Mutex<PathState<Request>>,
}

impl NodePath {
    pub(super) fn new(node: NodeId, disk: Arc<Disk>, device: OwnedFd) -> io::Result<Self> {
        let wake = rustix::event::eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        Ok(Self { node, disk, device, wake, state: Mutex::new(PathState::default()) })
    }

    /// How many requests are kept.
    pub(super) fn kept(&self) -> usize {
        self.state().kept()
    }

    /// What is wrong with it; `None` when its node's life is over.
    pub(super) fn condition(&self) -> Option<Condition> {
        self.state().condition()
    }

    pub(super) fn set(&self, condition: Condition) {
        self.fail_all(self.state().set(condition, Instant::now()));
        self.wake();
    }

    /// Holds everything, or lets go of it.
    pub(super) fn stall(&self, stalled: bool) {
        self.state().stall(stalled);
        self.wake();
    }

    /// Fails all that is kept.
    pub(super) fn abort(&self) {
        self.fail_all(self.state().abort());
    }

    /// Fails all that is kept and whatever comes, for ever.
    pub(super) fn end(&self) {
        self.fail_all(self.state().end());
        self.wake();
    }

    /// Answers the kernel until it has forgotten the file.
    pub(super) fn serve(&self) -> io::Result<()> {
        let mut buffer = vec![0; fuse::REQUEST_BYTES_MAX];
        loop {
            let wakes = self.state().wakes();
            let limit = wakes.map_or(IDLE_LIMIT, |due| due.duration_since(Instant::now()));
            ready::any(&[self.device.as_fd(), self.wake.as_fd()], limit)?;
            let mut count = [0; 8];
            // Empty when it was the device.
            let _ = rustix::io::read(&self.wake, &mut count);
            loop {
                match rustix::io::read(&self.device, &mut buffer) {
                    Ok(length) => self.take(&buffer[..length]),
                    Err(Errno::AGAIN) => break,
                    // The request was taken back.
                    Err(Errno::INTR | Errno::NOENT) => {}
                    Err(Errno::NODEV) => return Ok(()),
                    Err(errno) => return Err(errno.into()),
                }
            }
            self.perform_due();
        }
    }

    fn take(&self, packet: &[u8]) {
        let Some(request) = Request::parse(packet) else { return };
        if !request.operation.is_io() {
            return self.perform(&request);
        }
        let mut state = self.state();
        match state.arrive(Instant::now(), request) {
            // Under the lock: whoever ends the path waits for it.
            (Arrival::Now, Some(request)) => self.perform(&request),
            (Arrival::Fails, Some(request)) => self.fail(&request),
            (Arrival::Kept, _) | (Arrival::Now | Arrival::Fails, None) => {}
        }
    }

    fn perform_due(&self) {
        let mut state = self.state();
        while let Some(request) = state.next_due(Instant::now()) {
            self.perform(&request);
        }
    }

    fn perform(&self, request: &Request) {
        let unique = request.unique;
        let reply = match &request.operation {
            Operation::Silent => return,
            Operation::Init => fuse::init(unique),
            Operation::Attributes => fuse::attributes(unique, self.disk.size_bytes),
            Operation::Open => fuse::opened(unique),
            Operation::Nothing | Operation::Sync => fuse::done(unique),
            Operation::Unsupported => fuse::failed(unique, Errno::NOSYS),
            Operation::Read { offset, length } => match self.disk.read(*offset, *length) {
                Ok(bytes) => fuse::data(unique, &bytes),
                Err(errno) => fuse::failed(unique, errno),
            },
            Operation::Write { offset, data } => match self.disk.write(self.node, *offset, data) {
                Ok(()) => fuse::written(unique, data.len()),
                Err(errno) => fuse::failed(unique, errno),
            },
        };
        self.reply(&reply);
    }

    fn fail_all(&self, requests: Vec<Request>) {
        for request in requests {
            self.fail(&request);
        }
    }

    fn fail(&self, request: &Request) {
        self.reply(&fuse::failed(request.unique, Errno::IO));
    }

    /// Nobody may be waiting any more: then the kernel refuses it.
    fn reply(&self, reply: &[u8]) {
        let _ = rustix::io::write(&self.device, reply);
    }

    fn state(&self) -> MutexGuard<'_, PathState<Request>> {
        // Nothing panics half way through a change.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wake(&self) {
        // A counter that is full wakes as well.
        let _ = rustix::io::write(&self.wake, &1_u64.to_ne_bytes());
    }
}

/// Nothing depends on it; a wait without limit is only harder to look at.
const IDLE_LIMIT: Duration = Duration::from_secs(3600);
