//! Every message type comes back from its bytes, and the bytes do not change unnoticed.

#![expect(clippy::unwrap_used, reason = "functions called by tests fail as the test")]

use raft_proto::prelude::*;
use raft_proto::{
    ConfChangeI, conf_state_eq, new_conf_change_single, parse_conf_change, stringify_conf_change,
};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::fmt::Debug;

fn entry() -> Entry {
    Entry {
        entry_type: EntryType::EntryConfChangeV2,
        term: 7,
        index: 300,
        data: vec![1, 2, 255],
        context: vec![9],
        sync_log: true,
    }
}

fn conf_state() -> ConfState {
    ConfState {
        voters: vec![1, 2],
        learners: vec![3],
        voters_outgoing: vec![4, 5],
        learners_next: vec![6],
        auto_leave: true,
    }
}

fn snapshot() -> Snapshot {
    let metadata = SnapshotMetadata { conf_state: conf_state(), index: 10, term: 3 };
    Snapshot { data: vec![0; 200], metadata }
}

fn message() -> Message {
    Message {
        msg_type: MessageType::MsgRequestPreVoteResponse,
        to: 1,
        from: 2,
        term: 3,
        log_term: 4,
        index: u64::MAX,
        entries: vec![entry(), Entry::default()],
        commit: 6,
        commit_term: 7,
        snapshot: snapshot(),
        request_snapshot: 8,
        reject: true,
        reject_hint: 9,
        context: b"CampaignTransfer".to_vec(),
        deprecated_priority: 10,
        priority: -11,
    }
}

fn change() -> ConfChangeV2 {
    ConfChangeV2 {
        transition: ConfChangeTransition::Explicit,
        changes: vec![
            new_conf_change_single(4, ConfChangeType::AddNode),
            new_conf_change_single(2, ConfChangeType::RemoveNode),
        ],
        context: vec![5],
    }
}

fn old_change() -> ConfChange {
    ConfChange { change_type: ConfChangeType::AddLearnerNode, node_id: 5, context: vec![8], id: 12 }
}

fn assert_comes_back<M>(value: &M)
where
    M: protobuf::Message + Serialize + DeserializeOwned + PartialEq + Debug,
{
    let bytes = value.write_to_bytes().unwrap();
    assert_eq!(bytes, postcard::to_allocvec(value).unwrap());
    assert_eq!(bytes.len(), value.compute_size() as usize);
    let mut back = M::default();
    back.merge_from_bytes(&bytes).unwrap();
    assert_eq!(&back, value);
    for len in 1..bytes.len() {
        assert!(M::default().merge_from_bytes(&bytes[..len]).is_err(), "cut at {len}");
    }
    let json = serde_json::to_string(value).unwrap();
    assert_eq!(&serde_json::from_str::<M>(&json).unwrap(), value);
}

#[test]
fn every_type_comes_back() {
    assert_comes_back(&entry());
    assert_comes_back(&conf_state());
    assert_comes_back(&snapshot().metadata);
    assert_comes_back(&snapshot());
    assert_comes_back(&message());
    assert_comes_back(&HardState { term: 1, vote: 2, commit: 3 });
    assert_comes_back(&old_change());
    assert_comes_back(&change().changes[0]);
    assert_comes_back(&change());
}

#[test]
fn every_type_comes_back_empty() {
    assert_comes_back(&Entry::default());
    assert_comes_back(&ConfState::default());
    assert_comes_back(&SnapshotMetadata::default());
    assert_comes_back(&Snapshot::default());
    assert_comes_back(&Message::default());
    assert_comes_back(&HardState::default());
    assert_comes_back(&ConfChange::default());
    assert_comes_back(&ConfChangeSingle::default());
    assert_comes_back(&ConfChangeV2::default());
}

/// The message types in wire order; a new one goes to the end.
const MESSAGE_TYPES: [MessageType; 19] = [
    MessageType::MsgHup,
    MessageType::MsgBeat,
    MessageType::MsgPropose,
    MessageType::MsgAppend,
    MessageType::MsgAppendResponse,
    MessageType::MsgRequestVote,
    MessageType::MsgRequestVoteResponse,
    MessageType::MsgSnapshot,
    MessageType::MsgHeartbeat,
    MessageType::MsgHeartbeatResponse,
    MessageType::MsgUnreachable,
    MessageType::MsgSnapStatus,
    MessageType::MsgCheckQuorum,
    MessageType::MsgTransferLeader,
    MessageType::MsgTimeoutNow,
    MessageType::MsgReadIndex,
    MessageType::MsgReadIndexResp,
    MessageType::MsgRequestPreVote,
    MessageType::MsgRequestPreVoteResponse,
];

#[test]
fn enums_are_written_as_their_position() {
    for (position, kind) in (0_u8..).zip(MESSAGE_TYPES) {
        assert_eq!(postcard::to_allocvec(&kind).unwrap(), [position], "{kind:?}");
    }
    assert!(postcard::from_bytes::<MessageType>(&[19]).is_err());
    let entry_types =
        [EntryType::EntryNormal, EntryType::EntryConfChange, EntryType::EntryConfChangeV2];
    assert_eq!(postcard::to_allocvec(&entry_types).unwrap(), [0, 1, 2]);
    let transitions = [
        ConfChangeTransition::Auto,
        ConfChangeTransition::Implicit,
        ConfChangeTransition::Explicit,
    ];
    assert_eq!(postcard::to_allocvec(&transitions).unwrap(), [0, 1, 2]);
    let steps =
        [ConfChangeType::AddNode, ConfChangeType::RemoveNode, ConfChangeType::AddLearnerNode];
    assert_eq!(postcard::to_allocvec(&steps).unwrap(), [0, 1, 2]);
}

#[test]
fn bytes_of_stored_types_are_pinned() {
    let expected: [u8; 11] = [2, 7, 0xAC, 0x02, 3, 1, 2, 255, 1, 9, 1];
    assert_eq!(postcard::to_allocvec(&entry()).unwrap(), expected);
    let hard_state = HardState { term: 1, vote: 2, commit: 3 };
    assert_eq!(postcard::to_allocvec(&hard_state).unwrap(), [1, 2, 3]);
    let expected: [u8; 11] = [2, 1, 2, 1, 3, 2, 4, 5, 1, 6, 1];
    assert_eq!(postcard::to_allocvec(&conf_state()).unwrap(), expected);
    let expected: [u8; 8] = [2, 2, 0, 4, 1, 2, 1, 5];
    assert_eq!(postcard::to_allocvec(&change()).unwrap(), expected);
    assert_eq!(postcard::to_allocvec(&old_change()).unwrap(), [2, 5, 1, 8, 12]);
    let meta = SnapshotMetadata { conf_state: ConfState::default(), index: 4, term: 5 };
    let snapshot = Snapshot { data: vec![9], metadata: meta };
    assert_eq!(postcard::to_allocvec(&snapshot).unwrap(), [1, 9, 0, 0, 0, 0, 0, 4, 5]);
}

#[test]
fn bytes_of_a_message_are_pinned() {
    let mut message = message();
    message.take_entries();
    message.take_snapshot();
    message.set_index(5);
    message.set_context(vec![1]);
    let mut expected = vec![18, 1, 2, 3, 4, 5, 0, 6, 7];
    expected.extend([0; 8]); // no snapshot
    expected.extend([8, 1, 9, 1, 1, 10, 21]); // -11 in zigzag form is 21
    assert_eq!(postcard::to_allocvec(&message).unwrap(), expected);
}

#[test]
fn accessors_reach_their_field() {
    let mut snapshot = snapshot();
    assert!(!snapshot.is_empty());
    snapshot.mut_metadata().set_index(0);
    assert!(snapshot.is_empty());
    assert_eq!(snapshot.take_data().len(), 200);
    assert!(snapshot.get_data().is_empty());
    let mut metadata = snapshot.take_metadata();
    assert_eq!(metadata.take_conf_state(), conf_state());
    assert_eq!(metadata.get_term(), 3);
    let mut entry = entry();
    entry.clear_data();
    entry.mut_context().push(1);
    entry.clear_term();
    assert_eq!((entry.get_data(), entry.get_context(), entry.term), (&[][..], &[9, 1][..], 0));
}

#[test]
fn membership_is_compared_without_order() {
    let left = ConfState::from((vec![1, 2, 3], vec![4]));
    assert_eq!((left.voters.as_slice(), left.learners.as_slice()), (&[1, 2, 3][..], &[4][..]));
    assert!(conf_state_eq(&left, &ConfState::from((vec![3, 1, 2], vec![4]))));
    assert!(!conf_state_eq(&left, &ConfState::from((vec![1, 2], vec![3, 4]))));
    assert!(!conf_state_eq(&left, &ConfState { auto_leave: true, ..left.clone() }));
    assert!(!conf_state_eq(&left, &ConfState { voters_outgoing: vec![9], ..left.clone() }));
    assert!(!conf_state_eq(&left, &ConfState { learners_next: vec![9], ..left.clone() }));
}

#[test]
fn steps_have_a_text_form() {
    let steps = parse_conf_change("  v1 l22\tr3 ").unwrap();
    let kinds: Vec<_> = steps.iter().map(|step| (step.node_id, step.change_type)).collect();
    let expected = [
        (1, ConfChangeType::AddNode),
        (22, ConfChangeType::AddLearnerNode),
        (3, ConfChangeType::RemoveNode),
    ];
    assert_eq!(kinds, expected);
    assert_eq!(stringify_conf_change(&steps), "v1 l22 r3");
    assert_eq!(parse_conf_change(" "), Ok(Vec::new()));
    for bad in ["v", "x1", "1", "v-1", "v1 vv2", "\u{e9}1"] {
        assert!(parse_conf_change(bad).is_err(), "{bad}");
    }
}

#[test]
fn a_change_tells_how_it_is_made() {
    let of = |transition, steps: &str| ConfChangeV2 {
        transition,
        changes: parse_conf_change(steps).unwrap(),
        context: Vec::new(),
    };
    assert_eq!(of(ConfChangeTransition::Auto, "v1").enter_joint(), None);
    assert_eq!(of(ConfChangeTransition::Auto, "v1 r2").enter_joint(), Some(true));
    assert_eq!(of(ConfChangeTransition::Implicit, "v1").enter_joint(), Some(true));
    assert_eq!(of(ConfChangeTransition::Explicit, "v1").enter_joint(), Some(false));
    assert!(of(ConfChangeTransition::Auto, "").leave_joint());
    assert!(!of(ConfChangeTransition::Auto, "v1").leave_joint());
    assert!(!of(ConfChangeTransition::Explicit, "").leave_joint());
}

#[test]
fn the_old_form_becomes_one_step() {
    let new = old_change().into_v2();
    assert_eq!(stringify_conf_change(&new.changes), "l5");
    assert_eq!(new.context, [8]);
    assert_eq!(old_change().as_v2().as_ref(), &new);
    assert_eq!(old_change().as_v1(), Some(&old_change()));
    assert_eq!(new.as_v1(), None);
    assert_eq!(new.as_v2().as_ref(), &new);
    assert_eq!(new.clone().into_v2(), new);
}
