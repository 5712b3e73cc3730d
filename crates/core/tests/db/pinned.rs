//! The pinned form of a snapshot: the bytes of a database that has something of everything.

use std::fmt::Write;

use stead_core::db::Db;
use stead_model::program::Levels;

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
        let hex = bytes.iter().fold(String::new(), |hex, byte| format!("{hex}{byte:02x}"));
        writeln!(seen, "{}\n  {hex}", sample.met.join(" ")).unwrap();
    }
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/db/pinned.txt");
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(path, &seen).unwrap();
    }
    let pinned = std::fs::read_to_string(path).unwrap();
    let first = pinned.lines().zip(seen.lines()).position(|(was, is)| was != is);
    assert!(pinned == seen, "not what is written now, from line {:?}", first.map(|at| at + 1));
}
