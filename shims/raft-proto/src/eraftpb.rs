//! Entries, snapshots, hard state, membership and messages of raft.
//!
//! Plain data: what a field means is decided by `raft`. Field and variant names are the ones
//! `raft` uses; their order is wire and disk format (see the crate's first page).

use crate::accessor::messages;
use serde::{Deserialize, Serialize};

/// What the data of an entry is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum EntryType {
    /// The application's own data, or nothing: a new leader's first entry.
    #[default]
    EntryNormal,
    /// A [`ConfChange`].
    EntryConfChange,
    /// A [`ConfChangeV2`]; no data at all is the one that leaves a joint configuration.
    EntryConfChangeV2,
}

/// What a [`Message`] asks for or answers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum MessageType {
    /// Local: start an election.
    #[default]
    MsgHup,
    /// Local: send heartbeats.
    MsgBeat,
    /// Append the entries to the leader's log.
    MsgPropose,
    /// Leader to follower: entries and commit position.
    MsgAppend,
    /// Answer to [`Self::MsgAppend`] and [`Self::MsgSnapshot`].
    MsgAppendResponse,
    /// Candidate asks for a vote.
    MsgRequestVote,
    /// Answer to [`Self::MsgRequestVote`].
    MsgRequestVoteResponse,
    /// Leader to follower: state instead of entries that are gone.
    MsgSnapshot,
    /// Leader to follower: still leading.
    MsgHeartbeat,
    /// Answer to [`Self::MsgHeartbeat`].
    MsgHeartbeatResponse,
    /// Local: the last message to a follower did not arrive.
    MsgUnreachable,
    /// Local: how sending a snapshot ended.
    MsgSnapStatus,
    /// Local: step down unless a quorum was heard.
    MsgCheckQuorum,
    /// Hand the lead to the sender.
    MsgTransferLeader,
    /// Leader to follower: start an election at once.
    MsgTimeoutNow,
    /// Ask for a position that a linearizable read must have applied.
    MsgReadIndex,
    /// Answer to [`Self::MsgReadIndex`].
    MsgReadIndexResp,
    /// Would a vote be granted, without raising the term?
    MsgRequestPreVote,
    /// Answer to [`Self::MsgRequestPreVote`].
    MsgRequestPreVoteResponse,
}

/// How a [`ConfChangeV2`] passes from the old membership to the new one.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum ConfChangeTransition {
    /// One step directly, several through a joint configuration that is left automatically.
    #[default]
    Auto,
    /// Always through a joint configuration that is left automatically.
    Implicit,
    /// Always through a joint configuration that the application leaves itself.
    Explicit,
}

/// What one step of a membership change does to its node.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum ConfChangeType {
    /// The node becomes a voter.
    #[default]
    AddNode,
    /// The node leaves.
    RemoveNode,
    /// The node receives the log but has no vote.
    AddLearnerNode,
}

messages! {
    /// One position of the log.
    pub struct Entry {
        /// What the data is.
        value entry_type: EntryType => get_entry_type set_entry_type clear_entry_type;
        /// Term of the leader that appended the entry.
        value term: u64 => get_term set_term clear_term;
        /// Position in the log; the first is 1.
        value index: u64 => get_index set_index clear_index;
        /// The application's command or a membership change.
        #[serde(with = "crate::blob")]
        list data: Vec<u8> => get_data set_data mut_data take_data clear_data;
        /// Free for the application; travels with the entry.
        #[serde(with = "crate::blob")]
        list context: Vec<u8>
            => get_context set_context mut_context take_context clear_context;
        /// Without effect in raft 0.7.
        value sync_log: bool => get_sync_log set_sync_log clear_sync_log;
    }

    /// Where in the log a snapshot was taken, and the membership there.
    pub struct SnapshotMetadata {
        /// Membership at `index`.
        part conf_state: ConfState
            => get_conf_state set_conf_state mut_conf_state take_conf_state clear_conf_state;
        /// Last log position contained in the snapshot.
        value index: u64 => get_index set_index clear_index;
        /// Term of the entry at `index`.
        value term: u64 => get_term set_term clear_term;
    }

    /// The application's state at one log position.
    pub struct Snapshot {
        /// The state, in the application's own form.
        #[serde(with = "crate::blob")]
        list data: Vec<u8> => get_data set_data mut_data take_data clear_data;
        /// Where it was taken.
        part metadata: SnapshotMetadata
            => get_metadata set_metadata mut_metadata take_metadata clear_metadata;
    }

    /// What replicas send each other. Which fields count depends on `msg_type`.
    pub struct Message {
        /// What the message asks for or answers.
        value msg_type: MessageType => get_msg_type set_msg_type clear_msg_type;
        /// Receiver's raft id.
        value to: u64 => get_to set_to clear_to;
        /// Sender's raft id.
        value from: u64 => get_from set_from clear_from;
        /// Sender's term; 0 for local messages and forwarded proposals and reads.
        value term: u64 => get_term set_term clear_term;
        /// Term of the entry at `index`.
        value log_term: u64 => get_log_term set_log_term clear_log_term;
        /// Log position the message is about.
        value index: u64 => get_index set_index clear_index;
        /// Entries that follow `index`.
        list entries: Vec<Entry>
            => get_entries set_entries mut_entries take_entries clear_entries;
        /// Last position the sender knows to be committed.
        value commit: u64 => get_commit set_commit clear_commit;
        /// Term of the entry at `commit`, in votes.
        value commit_term: u64 => get_commit_term set_commit_term clear_commit_term;
        /// State, in a `MsgSnapshot`.
        part snapshot: Snapshot
            => get_snapshot set_snapshot mut_snapshot take_snapshot clear_snapshot;
        /// Position a follower wants a snapshot of; 0 if it wants none.
        value request_snapshot: u64
            => get_request_snapshot set_request_snapshot clear_request_snapshot;
        /// The request was refused.
        value reject: bool => get_reject set_reject clear_reject;
        /// Where the sender of a refusal thinks the logs agree.
        value reject_hint: u64 => get_reject_hint set_reject_hint clear_reject_hint;
        /// Kind of election, or the read a heartbeat confirms.
        #[serde(with = "crate::blob")]
        list context: Vec<u8>
            => get_context set_context mut_context take_context clear_context;
        /// Priority in the form of older versions.
        value deprecated_priority: u64
            => get_deprecated_priority set_deprecated_priority clear_deprecated_priority;
        /// Priority of the candidate.
        value priority: i64 => get_priority set_priority clear_priority;
    }

    /// What a replica must not forget: it is on disk before an answer that depends on it is sent.
    pub struct HardState {
        /// Highest term seen.
        value term: u64 => get_term set_term clear_term;
        /// Raft id voted for in `term`; 0 for none.
        value vote: u64 => get_vote set_vote clear_vote;
        /// Last position known to be committed.
        value commit: u64 => get_commit set_commit clear_commit;
    }

    /// Membership at a log position.
    pub struct ConfState {
        /// Raft ids with a vote; in a joint configuration those of the incoming half.
        list voters: Vec<u64> => get_voters set_voters mut_voters take_voters clear_voters;
        /// Raft ids that receive the log without a vote.
        list learners: Vec<u64>
            => get_learners set_learners mut_learners take_learners clear_learners;
        /// Voters of the outgoing half; not empty means the configuration is joint.
        list voters_outgoing: Vec<u64>
            => get_voters_outgoing set_voters_outgoing mut_voters_outgoing
               take_voters_outgoing clear_voters_outgoing;
        /// Outgoing voters that become learners when the joint configuration is left.
        list learners_next: Vec<u64>
            => get_learners_next set_learners_next mut_learners_next
               take_learners_next clear_learners_next;
        /// The leader leaves the joint configuration by itself.
        value auto_leave: bool => get_auto_leave set_auto_leave clear_auto_leave;
    }

    /// A membership change of one step, in the old form.
    pub struct ConfChange {
        /// What happens to the node.
        value change_type: ConfChangeType
            => get_change_type set_change_type clear_change_type;
        /// The node's raft id.
        value node_id: u64 => get_node_id set_node_id clear_node_id;
        /// Free for the application.
        #[serde(with = "crate::blob")]
        list context: Vec<u8>
            => get_context set_context mut_context take_context clear_context;
        /// The application's own number of the change.
        value id: u64 => get_id set_id clear_id;
    }

    /// One step of a [`ConfChangeV2`].
    pub struct ConfChangeSingle {
        /// What happens to the node.
        value change_type: ConfChangeType
            => get_change_type set_change_type clear_change_type;
        /// The node's raft id.
        value node_id: u64 => get_node_id set_node_id clear_node_id;
    }

    /// A membership change of any number of steps that take effect together.
    pub struct ConfChangeV2 {
        /// How to pass from the old membership to the new one.
        value transition: ConfChangeTransition
            => get_transition set_transition clear_transition;
        /// The steps; none at all leaves a joint configuration.
        list changes: Vec<ConfChangeSingle>
            => get_changes set_changes mut_changes take_changes clear_changes;
        /// Free for the application.
        #[serde(with = "crate::blob")]
        list context: Vec<u8>
            => get_context set_context mut_context take_context clear_context;
    }
}

impl Snapshot {
    /// Whether it holds no log position, that is: it is no snapshot.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.metadata.index == 0
    }
}
