//! What a replica wants done: messages, what must be durable, what may be applied.

use raft::eraftpb::Entry as LogEntry;
use stead_model::change::Entry;
use stead_model::wire::peer::RaftMessage;
use stead_model::{LogIndex, Span, Term, Time};

use super::record::{LogRecord, SavedState};
use crate::effect::Channel;

/// What one Ready asks for.
#[derive(Debug, Default)]
pub(crate) struct Batch {
    /// To be told to `Replica::persisted`.
    pub(crate) number: u64,
    /// Must become durable; `None`: nothing to persist.
    pub(crate) record: Option<LogRecord>,
    /// A snapshot from the leader that replaces the whole state.
    pub(crate) install: Option<SavedState>,
    /// May leave at once.
    pub(crate) early: Vec<Post>,
    /// May leave when the record is durable.
    pub(crate) late: Vec<Post>,
    /// May be applied.
    pub(crate) committed: Vec<LogEntry>,
    /// Reads that a quorum confirmed.
    pub(crate) reads: Vec<u64>,
    /// The replica won an election.
    pub(crate) elected: Option<Elected>,
}

/// A message to another voter and how it travels.
#[derive(Debug)]
pub(crate) struct Post {
    pub(crate) message: RaftMessage,
    pub(crate) channel: Channel,
}

/// A won election.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Elected {
    pub(crate) term: Term,
    pub(crate) at: Time,
    /// The smallest age among the votes counted, the own included (R6).
    pub(crate) smallest_age: Span,
    pub(crate) by_transfer: bool,
}

/// An applied entry.
#[derive(Debug)]
pub(crate) struct Applied {
    pub(crate) index: LogIndex,
    pub(crate) entry: Option<Entry>,
    pub(crate) membership: bool,
}
