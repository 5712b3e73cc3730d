//! Dynamic updates of DNS (RFC 2136), signed with TSIG (RFC 8945): what a network name publishes.
//!
//! ```text
//!  key ─► sign ─┐
//!  message ─────┴► exchange (one server, one question) ─► registration (look, judge, update, PTR)
//!                                                             │
//!                                                    ownership: whose a name is, in DNS
//!  lines: of two that are about one name in this monitor, the later counts
//! ```
//!
//! Names, records and messages are those of the crate `domain`; signing is done here over `hmac`,
//! for that of the crate would bring a second cryptographic library.
//!
//! Every call blocks, for a bounded time; nothing here is on the way of a failover. Who calls when,
//! and what becomes of a failure, is decided by the resource type (`types/network_name`).

mod exchange;
mod key;
mod lines;
mod message;
mod ownership;
mod registration;
mod sign;
#[cfg(test)]
mod tests;

use std::net::SocketAddr;

pub(crate) use lines::{Intent, Lines};
pub(crate) use ownership::Marker;
pub(crate) use registration::{Content, Pointers, Registration, Removal};

use key::KeyError;

/// A name with all its labels.
pub(crate) type Name = domain::base::Name<Vec<u8>>;

/// Why something was not published or removed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Trouble {
    /// There is no key to sign with.
    #[error("{0}")]
    Key(#[from] KeyError),
    /// No answer came; what was sent may have been done or not.
    #[error("server {server} does not answer: {why}")]
    Silent {
        /// The server.
        server: SocketAddr,
        /// What happened instead.
        why: String,
    },
    /// The server says no.
    #[error("server {server} {why}")]
    Refused {
        /// The server.
        server: SocketAddr,
        /// In words, with what to do.
        why: String,
    },
    /// The answer makes no sense, or is not the server's.
    #[error("server {server} answers what cannot be used: {why}")]
    Garbled {
        /// The server.
        server: SocketAddr,
        /// What is wrong with it.
        why: String,
    },
    /// Somebody else's.
    #[error("{0}")]
    Foreign(String),
    /// A later owner has published it: this one has nothing to say any more.
    #[error("{0} has published it since")]
    Later(Marker),
    /// Nothing can be asked for: a name is too long, for one.
    #[error("{0}")]
    Senseless(String),
}
