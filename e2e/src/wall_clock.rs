//! Nodes whose wall clocks can be set, each for itself. No namespace has a wall clock of its own;
//! all that runs on a node from its guard on asks a library of ours instead, which is loaded before
//! the C library (`preload/wall_clock.rs`). In a machine one command can be run like that.

use std::fs;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use stead_model::{NodeId, UtcMillis};

use crate::program::Said;
use crate::{Machine, World};

/// Two nodes and a quorum disk, with clocks that are right at first.
#[must_use]
pub fn world(name: &str) -> World {
    let home = tempfile::tempdir().unwrap();
    let library = home.path().join("wall_clock.so");
    fs::write(&library, LIBRARY).unwrap();
    // As the machines see the host's files.
    let seen = format!("/.host{}", library.display());
    World::within(home, name, |options| {
        options.environment.insert("LD_PRELOAD".to_owned(), seen);
    })
}

/// Sets the clock of a node: so many seconds ahead of what is right, or behind.
pub fn set(world: &World, node: NodeId, ahead_s: i64) {
    let dir = world.lab().witness_dir(node);
    let (next, place) = (dir.join("wall-clock.next"), dir.join("wall-clock"));
    fs::write(&next, ahead_s.to_string()).unwrap();
    fs::rename(&next, &place).unwrap();
}

/// Runs a command in a machine; the clock is so many seconds ahead for it, or behind.
#[must_use]
pub fn skewed(machine: &Machine, ahead_s: i64, words: &[&str]) -> Said {
    machine.write("var/lib/stead-witness/wall-clock", &ahead_s.to_string());
    fs::write(machine.path("var/lib/stead-witness/wall_clock.so"), LIBRARY).unwrap();
    let preload = ["env", "LD_PRELOAD=/var/lib/stead-witness/wall_clock.so"];
    machine.run(&[&preload[..], words].concat())
}

/// By how many seconds a clock that said this just now is ahead.
#[must_use]
pub fn ahead_s(told: UtcMillis) -> i64 {
    let right = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let told = Duration::from_millis(told.0);
    i64::try_from(told.as_secs()).unwrap() - i64::try_from(right.as_secs()).unwrap()
}

const LIBRARY: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/wall_clock.so"));
