//! The life of a cluster on real hosts: what a host does before it has a node service, and after.
//!
//! ```text
//!   stead cluster create ── create ─► plan.json ► key ► pki ► quorum disk ► first-start
//!                                        ► cluster.json ► service
//!   stead cluster token ──► token ─► `admission` on every member
//!   stead cluster join ─── join ──► plan.json ► checks ► admission ► key, pki ► first-start
//!                                        ► cluster.json ► service
//! ```
//!
//! What was decided is written first (`plan.json`), everything else follows from it, and
//! `cluster.json` comes last: a host with it is in a cluster, one with a plan alone is on its way.
//! Each step looks whether it is done, so that an interrupted command is repeated as it was typed
//! and goes on. Nothing here is needed by a node service that runs.
//!
//! Reading order: `host`, `networks`, `quorum`, `steps`, `member`, `create`, `taken`, `destroy`,
//! `token`, `line` (to a member), `within`, `check` (what is looked at first), `join`, `unit`.
//!
//! Not here: how a node that joined gets its vote (core), what a person sees (cli).

mod check;
mod create;
mod destroy;
mod files;
mod host;
mod join;
mod line;
mod member;
mod networks;
mod quorum;
mod steps;
mod taken;
mod token;
mod unit;
mod within;

pub use check::{Finding, Verdict, check_profile};
pub use create::{Creation, check_cluster_ip, create};
pub use destroy::{DiskEnd, destroy};
pub use host::Host;
pub use join::{Joining, check, join};
pub use steps::Told;
pub use taken::check_name;
pub use token::token;
pub use unit::{start_node, stop_node};

use stead_model::config::{NodeAddress, NodeConfig};

/// UDP and TCP port between nodes, unless another one is chosen.
pub const PORT: u16 = 7410;

/// Addresses with the names of their networks, for people.
fn named(addresses: &[NodeAddress], config: &NodeConfig) -> String {
    let named = addresses.iter().filter_map(|own| {
        let network = config.networks.iter().find(|n| n.id == own.network)?;
        Some(format!("{} on `{}`", own.address, network.name))
    });
    let named: Vec<String> = named.collect();
    named.join(", ")
}

/// A port for one cluster of one test, and two above it: tests run side by side, and whoever makes
/// a cluster looks whether its ports are free.
#[cfg(test)]
fn own_port() -> u16 {
    use std::sync::atomic::{AtomicU16, Ordering};

    static NEXT: AtomicU16 = AtomicU16::new(17_620);
    NEXT.fetch_add(3, Ordering::Relaxed)
}
