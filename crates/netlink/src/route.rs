//! The socket for links, addresses, routes and neighbours of the current net namespace.
//!
//! A socket belongs to the namespace its thread was in when it was opened; to work in another one,
//! enter that first and open there. The operations are in the files of their nouns.

use std::fmt;
use std::time::Duration;

use netlink_packet_core::{NetlinkHeader, NetlinkMessage, NetlinkPayload};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_sys::protocols::NETLINK_ROUTE;

use crate::channel::{Channel, ExchangeError, Message};

/// How long the kernel may take for one answer. It answers in microseconds; the limit only bounds
/// a kernel that is stuck (its lock over all interfaces held for long).
pub const ANSWER_LIMIT: Duration = Duration::from_secs(5);

/// Links, addresses, routes and neighbours of one net namespace. `Send`, not `Sync`: every thread
/// opens its own.
#[derive(Debug)]
pub struct Route {
    channel: Channel,
}

impl Route {
    /// Opens a socket in the net namespace of the calling thread.
    pub fn open() -> Result<Self, RouteError> {
        let channel = Channel::open(NETLINK_ROUTE, ANSWER_LIMIT)
            .map_err(|source| RouteError::new("open", "the route netlink socket", source))?;
        Ok(Self { channel })
    }

    pub(crate) fn change(
        &self,
        message: RouteNetlinkMessage,
        flags: u16,
    ) -> Result<(), ExchangeError> {
        self.channel.acknowledged(encode(message, flags))
    }

    pub(crate) fn query(&self, message: RouteNetlinkMessage) -> Result<Message, ExchangeError> {
        self.channel.answered(encode(message, 0))
    }

    pub(crate) fn list(&self, message: RouteNetlinkMessage) -> Result<Vec<Message>, ExchangeError> {
        self.channel.listed(&encode(message, 0))
    }
}

/// The kernel's number of an interface in its net namespace; never reused while it exists.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct IfIndex(pub u32);

impl fmt::Display for IfIndex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// What the kernel did not do, on which object; the cause is the `source`.
#[derive(Debug, thiserror::Error)]
#[error("cannot {operation} {object}")]
pub struct RouteError {
    operation: &'static str,
    object: String,
    #[source]
    cause: ExchangeError,
}

impl RouteError {
    pub(crate) fn new(
        operation: &'static str,
        object: impl fmt::Display,
        cause: ExchangeError,
    ) -> Self {
        Self { operation, object: object.to_string(), cause }
    }

    /// Why: the kernel's answer, or that none came.
    pub fn cause(&self) -> &ExchangeError {
        &self.cause
    }

    /// The error number of the kernel, if it gave one.
    pub fn errno(&self) -> Option<i32> {
        self.cause.errno()
    }

    /// The object was there already.
    pub fn already_exists(&self) -> bool {
        self.errno() == Some(libc::EEXIST)
    }

    /// The object (link, address, route, neighbour) is not there.
    pub fn not_found(&self) -> bool {
        matches!(
            self.errno(),
            Some(libc::ENODEV | libc::EADDRNOTAVAIL | libc::ESRCH | libc::ENOENT | libc::ENXIO)
        )
    }
}

/// A request as bytes, without sequence number.
pub(crate) fn encode(message: RouteNetlinkMessage, flags: u16) -> Vec<u8> {
    let mut header = NetlinkHeader::default();
    header.flags = flags;
    let mut request = NetlinkMessage::new(header, NetlinkPayload::InnerMessage(message));
    request.finalize();
    let mut bytes = vec![0; request.buffer_len()];
    request.serialize(&mut bytes);
    bytes
}
