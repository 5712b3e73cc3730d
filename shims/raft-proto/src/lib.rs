//! The message types of `raft` 0.7 as plain serde structs.
//!
//! Why: the published `raft-proto` generates these types with `protoc` at build time. `raft`
//! itself needs only the fields, a set of accessors, `Default`, and three calls that turn a
//! message into bytes; this stand-in has exactly that, wired by `[patch.crates-io]`, and `raft`
//! compiles unchanged.
//!
//! The byte form is postcard: fields in the order they are declared, enums by the position of the
//! variant. **Order of fields and variants is therefore wire and disk format**; the test
//! `wire_form` pins it.
//!
//! Refuses: it does not speak protobuf with other raft implementations.

mod accessor;
mod blob;
mod confchange;
mod confstate;
pub mod eraftpb;

pub use confchange::{
    ConfChangeI, new_conf_change_single, parse_conf_change, stringify_conf_change,
};
pub use confstate::conf_state_eq;

/// All message types under one name, as `raft::prelude` re-exports them.
pub mod prelude {
    pub use crate::eraftpb::{
        ConfChange, ConfChangeSingle, ConfChangeTransition, ConfChangeType, ConfChangeV2,
        ConfState, Entry, EntryType, HardState, Message, MessageType, Snapshot, SnapshotMetadata,
    };
}
