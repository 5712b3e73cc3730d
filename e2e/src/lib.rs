//! End-to-end runs: real processes of the real program in a lab, through the public surface only.
//!
//! ```text
//!   writer ──API──►  lab: node1 node2 … client ◄── prober   a question every 5 ms
//!                          │     │
//!                        stamps stamps                      witness: who ran what when
//! ```
//!
//! What ran where is judged by the [`witness`] (stamps of an application) and by the client; the
//! records of stead ([`story`]) only tell in which order it says things happened. Every wait is
//! bounded and ends in words of what was missing. A [`World`] tears its lab down whatever happens,
//! and leaves its evidence behind when a run failed.
//!
//! Reading order: `program`, `world`, `site`, `roles`, then what the runs use.
#![expect(
    clippy::unwrap_used,
    clippy::missing_panics_doc,
    clippy::print_stderr,
    reason = "a harness of tests panics and prints as tests do"
)]

pub mod database;
pub mod evidence;
pub mod hosts;
pub mod kept;

pub mod machine;
pub mod package;
pub mod processes;
pub mod program;
pub mod roles;
pub mod shared_disk;
pub mod site;
pub mod story;
pub mod trouble;
pub mod wall_clock;
pub mod witness;
pub mod world;
pub mod writer;

pub use database::Database;
pub use hosts::Hosts;
pub use machine::Machine;
pub use package::packages;
pub use roles::Roles;
pub use shared_disk::SharedDisk;
pub use site::Site;
pub use world::World;
pub use writer::Writer;

use std::process::Command;
use std::time::{Duration, Instant};

use stead_model::NodeId;

/// The first node.
pub const ONE: NodeId = NodeId(1);
/// The second node.
pub const TWO: NodeId = NodeId(2);

/// More than a busy machine needs for anything here.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// How often a run is repeated: `STEAD_ROUNDS`, by default 5.
#[must_use]
pub fn rounds() -> usize {
    let text = std::env::var("STEAD_ROUNDS").unwrap_or_default();
    text.parse().unwrap_or(5)
}

/// The other one of two nodes.
#[must_use]
pub fn other(node: NodeId) -> NodeId {
    if node == ONE { TWO } else { ONE }
}

/// Waits until `look` finds what it looks for; it says what is missing still.
pub fn wait<T>(what: &str, mut look: impl FnMut() -> Result<T, String>) -> T {
    let end = Instant::now() + PATIENCE;
    loop {
        match look() {
            Ok(found) => return found,
            Err(missing) => assert!(Instant::now() < end, "not in time: {what}: {missing}"),
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Waits until something holds.
pub fn until(what: &str, mut holds: impl FnMut() -> bool) {
    wait(what, || if holds() { Ok(()) } else { Err("it does not hold".into()) });
}

/// Whether this host has the program `ip`, with which somebody does `what` beside stead; tells what
/// is skipped without it.
#[must_use]
pub fn has_ip(what: &str) -> bool {
    let has = Command::new("ip").arg("-V").output().is_ok();
    if !has {
        tell(&format!("skipped: no program `ip` with which {what}"));
    }
    has
}

/// A line of a run's report: figures that are told, not judged.
pub fn tell(text: &str) {
    eprintln!("  {text}");
}
