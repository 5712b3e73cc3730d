//! Consensus: one replicated log, by the raft engine behind this module and nowhere else.
//!
//! Reading order: [`replica`] (a voter or learner: the engine, its log in memory, its database),
//! `batch` (what it wants done), `store` (the log in memory), `ticks` (its clock), `record` (what
//! goes into the journal), `age` (R6), `history` (a log that goes
//! on by force), `keeper` (how records become durable).
//!
//! Not here: who may take over what (module `leading`), when leases count (module `lease`), how D
//! is hosted (module `quorum`).

pub(crate) mod age;
pub(crate) mod batch;
pub(crate) mod history;
pub(crate) mod keeper;
pub(crate) mod record;
pub(crate) mod replica;
pub(crate) mod store;
mod ticks;

pub use record::RestoreError;
