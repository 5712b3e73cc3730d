//! The lab: a cluster in a box on one machine, with the real program and no other tool.
//!
//! ```text
//!   stead lab …  ── control socket ──►  supervisor ──┬─ switch: two bridges, cuts
//!                                                    ├─ PID 1 of node1 ── guard ── node service …
//!                                                    ├─ PID 1 of node2 ── guard ── …
//!                                                    └─ PID 1 of the client
//! ```
//!
//! Every node has its own network, mount, host name, IPC and PID namespace, its own `/run`, `/tmp`,
//! `/etc/stead` and `/var/lib/stead`. Nothing of the host's network is touched, labs do not see
//! each other, and everything dies with the supervisor. It works as root and, inside a user
//! namespace,
//! for everybody.
//!
//! Reading order: `cabling`, `record`, `home`, `lab`, `up`, then `supervisor` and `init`; `fault`,
//! `prober`, `ledger`, `stamp`, `scribe` for tests, `demo` for everybody.
//!
//! Not here: what the nodes do (the ordinary program), how results look (crate `cli`).

mod cabling;
pub mod client;
mod clock;
pub mod cluster;
mod cluster_file;
mod control;
pub mod demo;
pub mod demo_web;
pub mod disks;
pub mod example;
mod fault;
mod home;
pub mod init;
mod lab;
pub mod ledger;
mod missing;
pub mod prober;
mod ready;
mod record;
pub mod scribe;
mod speaker;
pub mod stamp;
mod step;
pub mod supervisor;
mod up;

pub use cabling::{NODES_MAX, NameError, Network, Station};
pub use clock::boot_ns;
pub use cluster_file::default_quorum;
pub use control::{ControlError, LabStatus, NodeStatus, OpenPort, Power};
pub use fault::{CutSpec, Direction, Fault, Jitter, Swallows};
pub use home::{Home, LabDirs, is_valid_name};
pub use lab::{
    DownError, ExecError, Lab, LabEntry, LabState, NodeError, OpenError, down, list, open,
};
pub use missing::Missing;
pub use record::{LabRecord, NodeCommand};
pub use step::StepError;
pub use up::{UpError, UpOptions, up};
