//! The life of a cluster on real hosts: what a host does before it has a node service, and after.
//!
//! ```text
//!   stead cluster create ── create ─► plan.json ► key ► pki ► quorum disk ► first-start
//!                                        ► cluster.json ► service
//! ```
//!
//! What was decided is written first (`plan.json`), everything else follows from it, and
//! `cluster.json` comes last: a host with it is in a cluster, one with a plan alone is on its way.
//! Each step looks whether it is done, so that an interrupted command is repeated as it was typed
//! and goes on. Nothing here is needed by a node service that runs.
//!
//! Reading order: `host`, `networks`, `quorum`, `steps`, `create`, `destroy`.
//!
//! Not here: how a node that joined gets its vote (core), what a person sees (cli).

mod create;
mod destroy;
mod files;
mod host;
mod networks;
mod quorum;
mod steps;
mod unit;

pub use create::{Creation, create};
pub use destroy::{DiskEnd, destroy};
pub use host::Host;
pub use steps::Told;

/// A port for one cluster of one test: tests run side by side, and whoever makes a cluster looks
/// whether its port is free.
#[cfg(test)]
fn own_port() -> u16 {
    use std::sync::atomic::{AtomicU16, Ordering};

    static NEXT: AtomicU16 = AtomicU16::new(17_620);
    NEXT.fetch_add(1, Ordering::Relaxed)
}
