//! The nouns of stead: what nodes, groups, resources and changes are; no IO, no policy.
//!
//! Every other crate speaks in these types. Reading order: `ids`, `time`, `profile`, `config`,
//! `amounts`, `room`, `rules`, `group`, `resource`, `resource_type`, `ocf`, `external`, `probe`,
//! `server`, `alert`, `change`, `order`, `note`, `declaration`, `request`, `reservation`, `upkeep`,
//! `view`, `record`, `reason`, and `wire` for what crosses a socket.
//!
//! Not here: decisions (crate `core`), effects on the world (crates `guard`, `resmon`, `node`).

pub mod alert;
pub mod amounts;
pub mod change;
pub mod config;
pub mod declaration;
pub mod external;
mod form;
pub mod group;
pub mod group_policy;
pub mod ids;
pub mod mount_table;
pub mod note;
pub mod ocf;
pub mod order;
pub mod probe;
pub mod profile;
pub mod reason;
pub mod record;
pub mod request;
pub mod reservation;
pub mod resource;
pub mod resource_type;
pub mod room;
pub mod rules;
pub mod server;
pub mod time;
pub mod unit;
pub mod upkeep;
pub mod usage;
pub mod view;
pub mod wire;

pub use ids::*;
pub use time::{Span, Time, UtcMillis};
