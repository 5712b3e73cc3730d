//! Telling the wire that an address is here, asking whether it is elsewhere, and noticing others
//! who say it is theirs.
//!
//! Announcing is what makes a failover fast: neighbours replace the dead owner's MAC at once
//! instead of finding out. Probing is for the first start of an address and never part of a
//! failover, where the old owner is known to be gone and 50 ms count.

use std::collections::BTreeSet;
use std::io;
use std::net::IpAddr;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

use crate::frame::{self, Statement};
use crate::mac::Mac;
use crate::packet::PacketSocket;
use crate::route::IfIndex;
use crate::wait::Deadline;

/// An address together with the station that has it or wants it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Claim {
    pub address: IpAddr,
    pub ifindex: IfIndex,
    /// The MAC address of that interface.
    pub mac: Mac,
}

/// How long a probe listens. On a local segment answers come in under a millisecond; the rest is
/// for a busy host.
pub const PROBE_WAIT: Duration = Duration::from_millis(50);

/// Whether somebody else has an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Occupancy {
    /// Nobody answered in time.
    Free,
    /// This station has it, or is asking for it at the same moment.
    Taken { mac: Mac },
}

/// Whether a probe has heard enough.
enum Listening {
    GoesOn,
    Ends,
}

impl Claim {
    /// Tells all neighbours that the address is here: for IPv4 a gratuitous ARP request and reply,
    /// for IPv6 an unsolicited advertisement with the override flag.
    pub fn announce(&self) -> Result<(), ClaimError> {
        self.announce_inner().map_err(|cause| self.failed("announce", cause))
    }

    /// Asks who has the address, and listens for `wait` at most ([`PROBE_WAIT`]). Asks a second
    /// time half way, in case the first frame was lost.
    pub fn probe(&self, wait: Duration) -> Result<Occupancy, ClaimError> {
        let first = self.listen(wait, |_| Listening::Ends);
        let first = first.map_err(|cause| self.failed("probe for", cause))?;
        Ok(first.map_or(Occupancy::Free, |mac| Occupancy::Taken { mac }))
    }

    /// As [`Claim::probe`], but listens for the whole time and gives all that have the address: an
    /// owner that is known may answer before a stranger does.
    pub fn claimants(&self, wait: Duration) -> Result<BTreeSet<Mac>, ClaimError> {
        let mut all = BTreeSet::new();
        let all_heard = self.listen(wait, |mac| {
            all.insert(mac);
            Listening::GoesOn
        });
        all_heard.map_err(|cause| self.failed("probe for", cause))?;
        Ok(all)
    }

    /// Asks who has the address without waiting; a [`ConflictWatch`] hears the answers.
    pub fn ask(&self) -> Result<(), ClaimError> {
        let socket = PacketSocket::sender(self.ifindex);
        socket
            .and_then(|socket| socket.send(&frame::probe(self.mac, self.address)))
            .map_err(|cause| self.failed("ask for", cause))
    }

    fn announce_inner(&self) -> io::Result<()> {
        let socket = PacketSocket::sender(self.ifindex)?;
        frame::announcements(self.mac, self.address).iter().try_for_each(|f| socket.send(f))
    }

    /// Asks and listens; gives the station after which it did not want to listen any more.
    fn listen(
        &self,
        wait: Duration,
        mut heard: impl FnMut(Mac) -> Listening,
    ) -> io::Result<Option<Mac>> {
        let socket = PacketSocket::about(self.address, self.ifindex)?;
        let question = frame::probe(self.mac, self.address);
        let end = Deadline::after(wait);
        for deadline in [Deadline::after(wait / 2), end] {
            socket.send(&question)?;
            while let Some(frame) = socket.receive_before(deadline)? {
                match frame::statement(&frame, self.address) {
                    Some(Statement::Owns(mac) | Statement::WantsIt(mac)) if mac != self.mac => {
                        match heard(mac) {
                            Listening::GoesOn => {}
                            Listening::Ends => return Ok(Some(mac)),
                        }
                    }
                    Some(Statement::Owns(_) | Statement::WantsIt(_)) | None => {}
                }
            }
        }
        Ok(None)
    }

    fn failed(&self, operation: &'static str, cause: io::Error) -> ClaimError {
        ClaimError { operation, address: self.address, ifindex: self.ifindex, cause }
    }
}

/// Watches an interface for stations that claim an address of ours as theirs.
#[derive(Debug)]
pub struct ConflictWatch {
    own: Claim,
    socket: PacketSocket,
}

impl ConflictWatch {
    /// Starts watching. Its descriptor ([`AsFd`]) is readable when there may be a conflict.
    pub fn open(own: Claim) -> Result<Self, ClaimError> {
        let socket = PacketSocket::about(own.address, own.ifindex)
            .map_err(|cause| own.failed("watch for conflicts over", cause))?;
        Ok(Self { own, socket })
    }

    /// The MAC of the next station that claimed the address; `None` when none did within `limit`.
    /// Whether it is another node of the cluster is for the caller to judge.
    pub fn next(&self, limit: Duration) -> Result<Option<Mac>, ClaimError> {
        let deadline = Deadline::after(limit);
        loop {
            let frame = self
                .socket
                .receive_before(deadline)
                .map_err(|cause| self.own.failed("watch for conflicts over", cause))?;
            let Some(frame) = frame else { return Ok(None) };
            match frame::statement(&frame, self.own.address) {
                Some(Statement::Owns(mac)) if mac != self.own.mac => return Ok(Some(mac)),
                Some(Statement::Owns(_) | Statement::WantsIt(_)) | None => {}
            }
        }
    }
}

impl AsFd for ConflictWatch {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// A frame could not be sent or awaited; the cause is the `source`.
#[derive(Debug, thiserror::Error)]
#[error("cannot {operation} {address} on interface {ifindex}")]
pub struct ClaimError {
    operation: &'static str,
    address: IpAddr,
    ifindex: IfIndex,
    #[source]
    cause: io::Error,
}

impl ClaimError {
    /// The error number of the failed call (`ENETDOWN`: the interface is off; `ENODEV`: gone).
    pub fn errno(&self) -> Option<i32> {
        self.cause.raw_os_error()
    }
}
