//! The thread of one device.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};

use rustix::fs::{FlockOperation, Mode, OFlags, flock, open};
use stead_core::{Event, Io, IoResult, Ticket};

use super::device::{BlockDev, Caching};
use super::queue::{Batch, next_batch};
use crate::inbox::{Inbox, Item};
use crate::threads;

/// More than this waiting for one device means that it hangs.
const WAITING_MAX: usize = 4096;
/// A device that cannot be opened is tried again after this time.
const OPEN_AGAIN: Duration = Duration::from_millis(200);

/// The executor's end of the queue of one device.
#[derive(Debug)]
pub(crate) struct DiskThread {
    queue: Sender<Io>,
    waiting: Arc<AtomicUsize>,
    inbox: Arc<Inbox>,
}

/// What the thread serves.
#[derive(Debug)]
pub(crate) enum Medium {
    /// A device that is open already.
    Open(BlockDev),
    /// A shared device that may come and go: opened by the thread, after the lock.
    Shared {
        /// The device.
        path: PathBuf,
        /// Locked while any thread of this process may do I/O on the device (R3).
        lock: PathBuf,
    },
}

impl DiskThread {
    /// Starts the thread.
    pub(crate) fn start(name: &str, medium: Medium, inbox: Arc<Inbox>) -> std::io::Result<Self> {
        let (queue, orders) = channel();
        let waiting = Arc::new(AtomicUsize::new(0));
        let worker = Worker { orders, waiting: Arc::clone(&waiting), inbox: Arc::clone(&inbox) };
        threads::start(name, Arc::clone(&inbox), move || worker.run(medium)).map(drop)?;
        Ok(Self { queue, waiting, inbox })
    }

    /// Hands over a read or write; its completion comes through the inbox.
    pub(crate) fn push(&self, io: Io) {
        let ticket = io.ticket;
        let crowded = self.waiting.fetch_add(1, Ordering::Relaxed) >= WAITING_MAX;
        if crowded || self.queue.send(io).is_err() {
            self.waiting.fetch_sub(1, Ordering::Relaxed);
            let result = IoResult::Failed("the device hangs: too much waits for it".into());
            self.inbox.push(Item::Event(Event::Io { ticket, result }));
        }
    }
}

struct Worker {
    orders: Receiver<Io>,
    waiting: Arc<AtomicUsize>,
    inbox: Arc<Inbox>,
}

impl Worker {
    fn run(self, medium: Medium) {
        let mut slot = Slot::new(medium);
        let mut queue = VecDeque::new();
        while let Ok(first) = self.orders.recv() {
            queue.push_back(first);
            while let Some(batch) = {
                queue.extend(self.orders.try_iter());
                next_batch(&mut queue)
            } {
                self.carry_out(&mut slot, batch);
            }
        }
    }

    fn carry_out(&self, slot: &mut Slot, batch: Batch) {
        match batch {
            Batch::Read { ticket, offset, length } => {
                let result = slot.device().and_then(|d| d.read(offset, length));
                self.end(ticket, result.map_or_else(IoResult::Failed, IoResult::Read));
            }
            Batch::WriteThenRead { ticket, write: (at, data), read: (offset, length) } => {
                let result = slot.device().and_then(|device| {
                    device.write(at, &[&data])?;
                    device.read(offset, length)
                });
                self.end(ticket, result.map_or_else(IoResult::Failed, IoResult::Read));
            }
            Batch::Write { offset, parts } => {
                let bytes: Vec<&[u8]> = parts.iter().map(|p| p.1.as_slice()).collect();
                let result = slot.device().and_then(|d| d.write(offset, &bytes));
                for (ticket, _) in parts {
                    let failed = result.as_ref().err().cloned();
                    self.end(ticket, failed.map_or(IoResult::Written, IoResult::Failed));
                }
            }
        }
    }

    fn end(&self, ticket: Ticket, result: IoResult) {
        self.waiting.fetch_sub(1, Ordering::Relaxed);
        self.inbox.push(Item::Event(Event::Io { ticket, result }));
    }
}

/// The device of the thread, open or not yet.
struct Slot {
    medium: Medium,
    locked: Option<rustix::fd::OwnedFd>,
    device: Option<BlockDev>,
    failed: Option<(Instant, String)>,
}

impl Slot {
    fn new(medium: Medium) -> Self {
        Self { medium, locked: None, device: None, failed: None }
    }

    fn device(&mut self) -> Result<&BlockDev, String> {
        let (path, lock) = match &self.medium {
            Medium::Open(device) => return Ok(device),
            Medium::Shared { path, lock } => (path, lock),
        };
        if let Some((at, why)) = &self.failed
            && at.elapsed() < OPEN_AGAIN
        {
            return Err(why.clone());
        }
        if self.locked.is_none() {
            self.locked = Some(take_lock(lock)?);
        }
        if self.device.is_none() {
            match BlockDev::open(path, Caching::Shared) {
                Ok(device) => self.device = Some(device),
                Err(error) => {
                    let why = error.to_string();
                    self.failed = Some((Instant::now(), why.clone()));
                    return Err(why);
                }
            }
        }
        self.device.as_ref().ok_or_else(|| "the device is not open".into())
    }
}

/// Takes the lock that an earlier process of this node holds until its last read or write has
/// ended, waiting for it as long as that takes: the lock belongs to the open file, the open file
/// to every thread of the process, and a thread inside the kernel keeps it.
fn take_lock(path: &PathBuf) -> Result<rustix::fd::OwnedFd, String> {
    let failed = |e| format!("cannot lock `{}`: {}", path.display(), std::io::Error::from(e));
    let flags = OFlags::RDWR | OFlags::CREATE | OFlags::CLOEXEC;
    let file = open(path, flags, Mode::RUSR | Mode::WUSR).map_err(failed)?;
    flock(&file, FlockOperation::LockExclusive).map_err(failed)?;
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;
    use stead_core::{Device, IoOp};

    fn io(ticket: u64, op: IoOp) -> Io {
        Io { ticket: Ticket(ticket), device: Device::QuorumDisk, op }
    }

    fn next(inbox: &Inbox) -> (u64, IoResult) {
        use rustix::event::{PollFd, PollFlags, Timespec, poll};
        let mut fds = [PollFd::new(inbox, PollFlags::IN)];
        poll(&mut fds, Some(&Timespec { tv_sec: 20, tv_nsec: 0 })).unwrap();
        match inbox.pop() {
            Some(Item::Event(Event::Io { ticket, result })) => (ticket.0, result),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn completions_come_in_order_and_an_absent_disk_fails_until_it_is_there() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("quorum");
        let lock = folder.path().join("quorum.lock.1");
        let inbox = Arc::new(Inbox::new().unwrap());
        let medium = Medium::Shared { path: path.clone(), lock };
        let disk = DiskThread::start("test-disk", medium, Arc::clone(&inbox)).unwrap();
        disk.push(io(1, IoOp::Read { offset: 0, length: 4096 }));
        let (ticket, result) = next(&inbox);
        let IoResult::Failed(why) = result else { panic!("{result:?}") };
        assert!(ticket == 1 && why.contains("quorum"), "{why}");
        std::fs::write(&path, vec![7; 8192]).unwrap();
        let until = Instant::now() + Duration::from_secs(20);
        let mut number = 1;
        loop {
            number += 1;
            disk.push(io(number, IoOp::Read { offset: 4096, length: 4096 }));
            match next(&inbox) {
                (n, IoResult::Read(bytes)) if n == number => break assert_eq!(bytes, [7; 4096]),
                (_, IoResult::Failed(_)) if Instant::now() < until => {}
                other => panic!("{other:?}"),
            }
        }
        for n in 0..50 {
            let data = vec![n as u8; 4096];
            disk.push(io(1000 + n, IoOp::Write { offset: (n % 2) * 4096, data }));
        }
        let both = IoOp::WriteThenRead {
            offset: 0,
            data: vec![9; 4096],
            read_offset: 0,
            read_length: 4096,
        };
        disk.push(io(2000, both));
        let order: Vec<(u64, IoResult)> = (0..50).map(|_| next(&inbox)).collect();
        let expected: Vec<(u64, IoResult)> = (1000..1050).map(|n| (n, IoResult::Written)).collect();
        assert_eq!(order, expected);
        assert_eq!(next(&inbox), (2000, IoResult::Read(vec![9; 4096])));
        assert_eq!(std::fs::read(&path).unwrap(), [[9; 4096], [49; 4096]].concat());
    }

    #[test]
    fn a_disk_that_an_earlier_process_still_uses_is_not_touched() {
        let folder = tempfile::tempdir().unwrap();
        let (path, lock) = (folder.path().join("quorum"), folder.path().join("lock"));
        std::fs::write(&path, vec![0; 4096]).unwrap();
        let held = take_lock(&lock).unwrap();
        let inbox = Arc::new(Inbox::new().unwrap());
        let medium = Medium::Shared { path: path.clone(), lock };
        let disk = DiskThread::start("test-disk", medium, Arc::clone(&inbox)).unwrap();
        disk.push(io(1, IoOp::Write { offset: 0, data: vec![1; 4096] }));
        assert!(inbox.pop().is_none());
        std::fs::write(&path, vec![9; 4096]).unwrap();
        drop(held);
        assert_eq!(next(&inbox), (1, IoResult::Written));
        assert_eq!(std::fs::read(&path).unwrap(), [1; 4096]);
    }
}
