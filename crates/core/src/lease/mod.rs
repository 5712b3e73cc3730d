//! The lease: the right of a node to run cluster resources, for a time (R6-R9).
//!
//! [`asker`] is the side of every node, [`granter`] the side of the leader.
//!
//! Not here: what the guard does at the deadline (crate `guard`), who may take over (`leading`).

pub(crate) mod asker;
pub(crate) mod granter;
