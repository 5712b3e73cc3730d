//! Pinned forms: the bytes of everything that nodes send each other and keep in their logs.
//!
//! Programs of other versions read them. What changes here is refused by all of them: a change of
//! the log takes a new level (`stead_model::program`), one of the wire a new protocol
//! (`node/net/hello`). What is new comes behind what there is, and shows here as new lines only.
//! `UPDATE=1` writes what is seen now; the difference is for a reviewer to read.

#![expect(clippy::unwrap_used, reason = "a test fails by a panic")]

mod sampler;

use std::fmt::Write;
use std::path::Path;

use sampler::samples;
use serde::Serialize;
use serde::de::DeserializeOwned;
use stead_model::change::Entry;
use stead_model::program::Mark;
use stead_model::wire::codec;
use stead_model::wire::peer::PeerFrame;

#[test]
fn what_is_in_the_log_keeps_its_bytes() {
    pinned("log.txt", &[lines::<Mark>("mark"), lines::<Entry>("entry")].concat());
}

#[test]
fn what_nodes_say_to_each_other_keeps_its_bytes() {
    pinned("peers.txt", &lines::<PeerFrame>("frame"));
}

#[test]
fn a_frame_begins_as_ever() {
    let bytes = codec::encode(&(1_u8, "stead"));
    assert_eq!(hex(&bytes), "535444010100000007000000c11edc4901057374656164");
}

/// A line for each value: what is new in it, and its bytes.
fn lines<T: Serialize + DeserializeOwned>(what: &str) -> String {
    let mut text = String::new();
    for sample in samples::<T>() {
        let bytes = postcard::to_allocvec(&sample.value).unwrap();
        let met = if sample.met.is_empty() { what.to_owned() } else { sample.met.join(" ") };
        writeln!(text, "{met}\n  {}", hex(&bytes)).unwrap();
    }
    text
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").unwrap();
        text
    })
}

fn pinned(file: &str, seen: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/pinned").join(file);
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(&path, seen).unwrap();
    }
    let pinned = std::fs::read_to_string(&path).unwrap();
    let first = pinned.lines().zip(seen.lines()).position(|(was, is)| was != is);
    let first = first.unwrap_or_else(|| pinned.lines().count().min(seen.lines().count()));
    assert!(pinned == seen, "{} is not what is written now, from line {}", file, first + 1);
}
