//! Watching the interfaces, addresses and neighbours of a net namespace change.
//!
//! The kernel pushes; nobody polls. When the reader was too slow the kernel throws events away and
//! says so: [`Event::Overrun`] means "list everything again".

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

use netlink_sys::protocols::NETLINK_ROUTE;

use crate::address::AddressEntry;
use crate::channel::{Channel, ExchangeError, Message};
use crate::link::Link;
use crate::neighbour::NeighbourEntry;
use crate::route::{ANSWER_LIMIT, RouteError};
use crate::wait::Deadline;

/// Something changed in the net namespace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// A link appeared or any of its properties changed (carrier, up, name, bridge).
    LinkChanged(Link),
    LinkRemoved(Link),
    /// An address appeared or its state changed.
    AddressChanged(AddressEntry),
    AddressRemoved(AddressEntry),
    NeighbourChanged(NeighbourEntry),
    NeighbourRemoved(NeighbourEntry),
    /// Events were lost: list what matters again.
    Overrun,
}

/// A socket that receives the events; readable (`poll` on its descriptor) when some are there.
#[derive(Debug)]
pub struct Monitor {
    channel: Channel,
}

impl Monitor {
    /// Subscribes in the net namespace of the calling thread. To miss nothing: subscribe first,
    /// then list.
    pub fn open() -> Result<Self, RouteError> {
        let failed =
            |cause| RouteError::new("open", "a monitor of interfaces and addresses", cause);
        let channel = Channel::open(NETLINK_ROUTE, ANSWER_LIMIT).map_err(failed)?;
        for group in GROUPS {
            let joined = channel.socket().add_membership(group);
            joined.map_err(|error| failed(ExchangeError::Open(error)))?;
        }
        Ok(Self { channel })
    }

    /// The next event; `None` when there was none within `limit`.
    pub fn next(&self, limit: Duration) -> Result<Option<Event>, RouteError> {
        let failed = |cause| RouteError::new("receive", "events of interfaces", cause);
        let deadline = Deadline::after(limit);
        loop {
            match self.channel.receive_before(deadline) {
                Ok(None) => return Ok(None),
                Ok(Some(message)) => {
                    if let Some(event) = Event::read(&message) {
                        return Ok(Some(event));
                    }
                }
                Err(ExchangeError::Receive(error)) if overrun(&error) => {
                    return Ok(Some(Event::Overrun));
                }
                Err(cause) => return Err(failed(cause)),
            }
        }
    }
}

impl AsFd for Monitor {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.channel.as_fd()
    }
}

impl Event {
    fn read(message: &Message) -> Option<Self> {
        match message.kind {
            libc::RTM_NEWLINK => Link::read(message).map(Self::LinkChanged),
            libc::RTM_DELLINK => Link::read(message).map(Self::LinkRemoved),
            libc::RTM_NEWADDR => AddressEntry::read(message).map(Self::AddressChanged),
            libc::RTM_DELADDR => AddressEntry::read(message).map(Self::AddressRemoved),
            libc::RTM_NEWNEIGH => NeighbourEntry::read(message).map(Self::NeighbourChanged),
            libc::RTM_DELNEIGH => NeighbourEntry::read(message).map(Self::NeighbourRemoved),
            _ => None,
        }
    }
}

/// `RTNLGRP_LINK`.
const LINKS: u32 = 1;
/// `RTNLGRP_NEIGH`.
const NEIGHBOURS: u32 = 3;
/// `RTNLGRP_IPV4_IFADDR`.
const ADDRESSES_V4: u32 = 5;
/// `RTNLGRP_IPV6_IFADDR`.
const ADDRESSES_V6: u32 = 9;
const GROUPS: [u32; 4] = [LINKS, NEIGHBOURS, ADDRESSES_V4, ADDRESSES_V6];

fn overrun(error: &io::Error) -> bool {
    error.raw_os_error() == Some(libc::ENOBUFS)
}
