//! The cluster core: one node of a cluster, without the world around it.
//!
//! ```text
//!    Cluster::handle(now, Event) -> Vec<Effect>     Cluster::next_deadline() -> Option<Time>
//!    membership ─► quorum ─► consensus ─► db ─► groups ─► resources
//! ```
//!
//! How to drive it: call [`Cluster::start`], carry out the effects in any order, bring every
//! completion back as an [`Event`], and call `handle(now, Event::Deadline)` when the deadline has
//! come. The core has no clock, no I/O, no thread and no random source of its own.
//!
//! Reading order: [`event`] and [`effect`] (the seam), `cluster` (routing, no rules), then
//! `membership`, `quorum` (R1-R5), `consensus` (R10), `lease` and `leading` (R6-R9, R11),
//! [`db`], [`groups`], [`resources`]. [`alerts`] judges records; [`format`] makes the bytes of
//! fresh media.

pub mod alerts;
mod cluster;
mod consensus;
pub mod counters;
pub mod db;
pub mod effect;
pub mod event;
pub mod format;
pub mod groups;
mod leading;
mod lease;
mod membership;
pub mod planted;
mod quorum;
pub mod resources;

pub use cluster::{Cluster, Start};
pub use consensus::RestoreError;
pub use counters::Counters;
pub use effect::{Channel, Device, Effect, Io, IoOp, Ticket};
pub use event::{Arrival, Event, IoResult};
pub use leading::FIT_PATIENCE;
pub use planted::{Fault, Planted};
