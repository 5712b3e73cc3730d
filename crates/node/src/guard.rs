//! The guard as the node service sees it: orders go out, reports come in, over the inherited
//! socket. Without a guard there is no node service: it ends when the socket does.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use stead_model::order::{GuardOrder, GuardReport, GuardStatus};
use stead_model::record::Level;
use stead_model::wire::guard::{GuardToNode, NodeToGuard, VERSION};
use stead_model::{Span, Time};
use thiserror::Error;

use crate::frames::{FrameLink, LinkError};
use crate::records::Records;

/// The guard answers a hello within this time.
const HELLO_TIMEOUT: Duration = Duration::from_secs(10);

/// Why the guard cannot be talked to.
#[derive(Debug, Error)]
pub(crate) enum GuardError {
    #[error("cannot talk to the guard: {0}")]
    Link(#[from] LinkError),
    #[error("cannot wait for the guard: {0}")]
    Io(#[from] io::Error),
    #[error("the guard did not answer the hello within {} s", HELLO_TIMEOUT.as_secs())]
    Silent,
}

/// A guard answers an order about the lease in microseconds; this is no busy machine any more.
const PATIENCE: Span = Span::from_secs(1);

/// The connection.
#[derive(Debug)]
pub(crate) struct Guard {
    link: FrameLink,
    /// Since when orders wait for an answer.
    waits_since: Option<Time>,
    /// What a hard stop could not end, in the guard's words.
    dirty: Option<String>,
}

/// Code of the notice that something of a cluster disk is left.
const DIRTY: &str = "node-dirty";

impl Guard {
    /// Says hello; gives what the guard runs, and the reports that came before that.
    pub(crate) fn greet(
        stream: UnixStream,
        records: &Records,
    ) -> Result<(Self, GuardStatus, Vec<GuardReport>), GuardError> {
        let mut guard = Self { link: FrameLink::new(stream)?, waits_since: None, dirty: None };
        guard.link.send(&NodeToGuard::Hello { version: VERSION })?;
        let until = Instant::now() + HELLO_TIMEOUT;
        let mut reports = Vec::new();
        loop {
            match guard.link.receive()? {
                Some(GuardToNode::Status(status)) => return Ok((guard, status, reports)),
                Some(GuardToNode::Report(report)) => reports.push(report),
                Some(GuardToNode::Notice { warning, code, text }) => {
                    guard.noticed(records, warning, &code, text);
                }
                None => guard.wait(until)?,
            }
        }
    }

    fn wait(&self, until: Instant) -> Result<(), GuardError> {
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(GuardError::Silent);
        }
        let left = Timespec { tv_sec: left.as_secs() as i64, tv_nsec: left.subsec_nanos().into() };
        poll(&mut [PollFd::new(&self.link, PollFlags::IN)], Some(&left))
            .map_err(io::Error::from)?;
        Ok(())
    }

    /// Sends an order.
    pub(crate) fn order(&mut self, order: GuardOrder, now: Time) -> Result<(), GuardError> {
        self.waits_since = self.waits_since.or(Some(now));
        Ok(self.link.send(&NodeToGuard::Order(order))?)
    }

    /// Tells it something that it need not answer.
    pub(crate) fn tell(&mut self, message: &NodeToGuard) -> Result<(), GuardError> {
        Ok(self.link.send(message)?)
    }

    /// How long it has not answered, if that is too long: it may be stopped, and could then stop
    /// nothing at the end of the lease.
    pub(crate) fn silence(&self, now: Time) -> Option<Span> {
        let silence = now.since(self.waits_since?);
        (silence >= PATIENCE).then_some(silence)
    }

    /// Why no lease is asked for, if something of a cluster disk is left after a hard stop.
    pub(crate) fn dirty(&self) -> Option<&str> {
        self.dirty.as_deref()
    }

    /// A notice becomes a record; a dirty node is a trouble for as long as it lasts.
    fn noticed(&mut self, records: &Records, warning: bool, code: &str, text: String) {
        let level = if warning { Level::Warning } else { Level::Info };
        if code == DIRTY {
            self.dirty = Some(text);
        } else {
            records.note(level, code, &text);
        }
    }

    /// Sends what the guard could not take before.
    pub(crate) fn flush(&mut self) -> Result<(), GuardError> {
        Ok(self.link.flush()?)
    }

    /// Whether something waits to be sent.
    pub(crate) const fn has_unsent(&self) -> bool {
        self.link.has_unsent()
    }

    /// The next report, if one has come. Notices become records here.
    pub(crate) fn report(&mut self, records: &Records) -> Result<Option<GuardReport>, GuardError> {
        loop {
            match self.link.receive()? {
                Some(GuardToNode::Report(report)) => {
                    self.waits_since = None;
                    if matches!(report, GuardReport::HardStopDone { .. }) {
                        self.dirty = None;
                    }
                    return Ok(Some(report));
                }
                Some(GuardToNode::Notice { warning, code, text }) => {
                    self.noticed(records, warning, &code, text);
                }
                // Asked for at the start only; one that comes later says nothing new.
                Some(GuardToNode::Status(_)) => {}
                None => return Ok(None),
            }
        }
    }
}

impl AsFd for Guard {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.link.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use stead_model::{Incarnation, LeaseNumber, NodeId};

    #[test]
    fn what_the_guard_said_before_its_status_is_kept() {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let mut theirs = FrameLink::new(theirs).unwrap();
        let status = GuardStatus {
            incarnation: Incarnation(9),
            lease: Some((LeaseNumber(4), Time(5))),
            lease_last: LeaseNumber(4),
            stopping: false,
            admitted: Vec::new(),
            own_monitors: Vec::new(),
        };
        let code = "memory-not-locked".to_owned();
        theirs.send(&GuardToNode::Notice { warning: true, code, text: "x".into() }).unwrap();
        theirs.send(&GuardToNode::Report(GuardReport::MonitorReady)).unwrap();
        theirs.send(&GuardToNode::Status(status.clone())).unwrap();
        let records = Records::in_memory(NodeId(1));
        let (mut guard, told, reports) = Guard::greet(ours, &records).unwrap();
        assert_eq!((told, reports), (status, vec![GuardReport::MonitorReady]));
        assert_eq!(records.since(0, 9).records[0].code, "memory-not-locked");
        let hello = theirs.receive::<NodeToGuard>().unwrap();
        assert_eq!(hello, Some(NodeToGuard::Hello { version: VERSION }));
        let order = GuardOrder::HardStop { why: "test".into() };
        guard.order(order.clone(), Time(1)).unwrap();
        assert_eq!(theirs.receive().unwrap(), Some(NodeToGuard::Order(order.clone())));
        guard.order(order.clone(), Time(2)).unwrap();
        assert_eq!(theirs.receive().unwrap(), Some(NodeToGuard::Order(order)));
        assert_eq!(guard.silence(Time(2)), None);
        assert_eq!(guard.silence(Time(1) + PATIENCE), Some(PATIENCE));
        theirs.send(&GuardToNode::Report(GuardReport::MonitorReady)).unwrap();
        assert!(guard.report(&records).unwrap().is_some());
        assert_eq!(guard.silence(Time(1) + PATIENCE), None);
        assert_eq!(guard.report(&records).unwrap(), None);
        drop(theirs);
        assert!(matches!(guard.report(&records), Err(GuardError::Link(LinkError::Ended))));
    }
}
