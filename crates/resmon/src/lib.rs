//! The resource monitor: a process of its own that hosts the resource types.
//!
//! A hang or crash in a type hurts this process (mostly one thread of it), never the node
//! service. It starts nothing by itself: it asks the guard, which checks the lease.
//!
//! Reading order: [`slot`] decides (pure) what happens to one resource; [`resource_type`] is what
//! a type must do; [`types`] are the built-in ones; [`monitor`] connects guard, node service and
//! the threads in which types run, `prober` makes health probes, `dns` publishes names, `external`
//! talks with the programs of external types, `kit` tests them; `host` is the only place that
//! touches Linux.

mod bell;
mod dns;
mod external;
mod guard_port;
mod host;
pub mod kit;
pub mod monitor;
mod prober;
mod reservation;
pub mod resource_type;
pub mod slot;
pub mod types;

pub use external::stage::{SUBCOMMAND as TYPE_HOST, host as type_host};
pub use host::descriptor::guard_connection;
