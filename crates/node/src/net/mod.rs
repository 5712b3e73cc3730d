//! The cluster transport: datagrams and streams over every network that may carry them.
//!
//! Everything is bound to this node's own address on a network, so that the loss of a network
//! stays visible as the loss of its links and nothing is rerouted behind the core's back.
//!
//! ```text
//!   core thread ── udp ──────────────► sockets, one per network
//!        │  └── streams::send ─► line (per peer and network) ─► thread `streams` ─► TCP
//!        ▲                                                           │
//!        └────────────────────── inbox ◄── incoming ◄────────────────┘
//! ```
//!
//! Datagrams are sealed and streams are TLS (`stead-trust`), and what is refused is told
//! (`refused`, `callers`). Not here: which message goes where (core).

mod callers;
mod doubles;
mod hello;
mod incoming;
pub(crate) mod inherited;
pub(crate) mod interfaces;
mod line;
mod local;
pub(crate) mod peers;
pub(crate) mod priority;
mod rarely;
mod reach;
mod refused;
mod remote;
mod streams;
mod tls;
mod twins;
mod udp;
mod watch;

pub(crate) use callers::Callers;
pub(crate) use doubles::{Doubles, Neighbour};
pub(crate) use hello::{PROTOCOL, spoken};
pub(crate) use incoming::listen;
pub(crate) use line::Surroundings;
pub(crate) use local::Door;
pub(crate) use peers::Peers;
use peers::Route;
#[cfg(test)]
pub(crate) use peers::tests::config as peers_config;
pub(crate) use reach::Reach;
pub(crate) use remote::Remote;
pub(crate) use streams::Streams;
pub(crate) use tls::{Current, Tls};
pub(crate) use udp::{Datagrams, Taken, is_here};
pub(crate) use watch::Watch;
