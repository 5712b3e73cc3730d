//! The nouns of stead: what nodes, groups, resources and changes are; no IO, no policy.
//!
//! Every other crate speaks in these types. Reading order: `ids`, `time`, `profile`, `config`,
//! `amounts`, `room`, `rules`, `group`, `resource`, `resource_type`, `ocf`, `external`, `probe`,
//! `server`, `alert`, `token`, `program`, `change`, `order`, `note`, `declaration`, `request`,
//! `role`, `remote`, `reservation`, `upkeep`, `view`, `record`, `reason`, and `wire` for what
//! crosses a socket.
//!
//! Not here: decisions (crate `core`), effects on the world (crates `guard`, `resmon`, `node`).

pub mod alert;
pub mod amounts;
pub mod change;
pub mod config;
pub mod core_group;
pub mod declaration;
pub mod external;
pub mod forced;
mod form;
pub mod group;
pub mod group_policy;
pub mod ids;
pub mod keys;
pub mod mount_table;
pub mod network;
pub mod note;
pub mod ocf;
pub mod order;
pub mod probe;
pub mod profile;
pub mod program;
pub mod reason;
pub mod record;
pub mod remote;
pub mod request;
pub mod reservation;
pub mod resource;
pub mod resource_type;
pub mod role;
pub mod room;
pub mod rules;
pub mod server;
pub mod time;
pub mod token;
pub mod unit;
pub mod upkeep;
pub mod usage;
pub mod view;
pub mod wire;

pub use ids::*;
pub use time::{Span, Time, UtcMillis};
