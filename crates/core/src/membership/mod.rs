//! Membership: who is heard, over which link, and who is suspected.
//!
//! A node is suspected only when *all* its links are silent; one dead link is a link event, never
//! a failover. Suspicion starts elections and plans, it never takes anything over by itself: that
//! needs the end of a lease (module `leading`).

mod figures;
mod interfaces;
mod lately;
mod links;
mod sequence;

pub(crate) use interfaces::Interfaces;
pub(crate) use links::{DiskHost, Heard, LinkState, Links};
