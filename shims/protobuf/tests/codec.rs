//! The stand-in's byte form: what goes out comes back, and nothing else is accepted.

use protobuf::{Message, ProtobufError};
use serde::{Deserialize, Serialize};
use std::error::Error;

#[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
struct Note {
    number: u64,
    text: String,
}

impl Message for Note {}

fn note() -> Note {
    Note { number: 70_000, text: "owner".to_owned() }
}

#[test]
fn a_message_comes_back_and_its_size_is_its_length() {
    let bytes = note().write_to_bytes().unwrap();
    assert_eq!(note().compute_size() as usize, bytes.len());
    let mut back = Note { number: 9, text: "old".to_owned() };
    back.merge_from_bytes(&bytes).unwrap();
    assert_eq!(back, note());
}

#[test]
fn no_bytes_are_the_default_message() {
    let mut back = note();
    back.merge_from_bytes(&[]).unwrap();
    assert_eq!(back, Note::default());
}

#[test]
fn truncated_bytes_are_refused_and_leave_the_value_alone() {
    let bytes = note().write_to_bytes().unwrap();
    for len in 1..bytes.len() {
        let mut back = Note::default();
        let error = back.merge_from_bytes(&bytes[..len]).unwrap_err();
        assert!(matches!(error, ProtobufError::Decode { .. }), "{len}: {error}");
        assert!(error.source().is_some());
        assert_eq!(back, Note::default());
    }
}

#[test]
fn bytes_after_the_message_are_refused() {
    let mut bytes = note().write_to_bytes().unwrap();
    bytes.extend([1, 2]);
    let error = Note::default().merge_from_bytes(&bytes).unwrap_err();
    assert!(matches!(error, ProtobufError::LeftOver { count: 2, .. }), "{error}");
}
