//! The pinned form of a snapshot: the bytes of a database that has something of everything.

use std::fmt::Write;

use stead_core::db::Db;
use stead_model::NodeId;
use stead_model::change::Change;
use stead_model::program::{ClusterLevel, Levels, Mark, Program, Version};

use crate::sampler::samples;

/// Programs of other versions read it: at each level the bytes stay what they are, and what is new
/// comes behind them with a new level (`stead_core::db::snapshot`). `UPDATE=1` writes what is seen.
#[expect(clippy::disallowed_methods, reason = "the form is a file; the core itself reads none")]
#[test]
fn a_snapshot_of_the_database_keeps_its_bytes() {
    let mut seen = String::new();
    for sample in samples::<Db>() {
        let bytes = sample.value.snapshot();
        assert_eq!(Db::restore(&bytes, Levels::OWN), Ok(sample.value));
        writeln!(seen, "{}\n  {}", sample.met.join(" "), hex(&bytes)).unwrap();
    }
    let mut db = Db::default();
    for change in later() {
        db.rehearse(&change).unwrap();
        let bytes = db.snapshot();
        assert_eq!(Db::restore(&bytes, Levels::OWN).as_ref(), Ok(&db));
        writeln!(seen, "{change}\n  {}", hex(&bytes)).unwrap();
    }
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/db/pinned.txt");
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(path, &seen).unwrap();
    }
    let pinned = std::fs::read_to_string(path).unwrap();
    let first = pinned.lines().zip(seen.lines()).position(|(was, is)| was != is);
    assert!(pinned == seen, "not what is written now, from line {:?}", first.map(|at| at + 1));
}

/// What later levels bring, in their order.
fn later() -> [Change; 2] {
    let by = Version([1, 2, 3]);
    let levels = Levels { lowest: ClusterLevel(4), highest: ClusterLevel(5) };
    let program = Program { version: by, levels };
    let to = Mark { level: ClusterLevel::PROGRAMS, by };
    [Change::Level { to }, Change::NodeProgram { node: NodeId(6), program }]
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |hex, byte| format!("{hex}{byte:02x}"))
}
