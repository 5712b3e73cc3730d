//! What a failed run leaves behind: records of all nodes in the order of time, and their consoles.

use std::fmt::Write as _;
use std::fs;

use stead_lab::Station;
use stead_model::NodeId;
use stead_model::record::Record;

use crate::{World, tell};

/// All records that a node kept, also one without power.
#[must_use]
pub fn recorded(world: &World, node: NodeId) -> Vec<Record> {
    let name = Station::Node(node).name();
    let path = world.lab().record().dirs.station(&name).join("lib/events.jsonl");
    let text = fs::read_to_string(path).unwrap_or_default();
    // The last line of a life that was cut off may not be whole.
    text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
}

/// Writes the evidence into a directory of its own and names it.
pub fn keep(world: &World) {
    let name = format!("stead-e2e-{}-{}", world.lab().name(), std::process::id());
    let dir = std::env::temp_dir().join(name);
    if fs::create_dir_all(&dir).is_err() {
        return;
    }
    let mut records: Vec<Record> = Vec::new();
    for node in world.lab().record().node_ids() {
        records.extend(recorded(world, node));
        let station = Station::Node(node);
        let copy = dir.join(format!("{station}.console"));
        let _ = fs::copy(world.lab().console(station), copy);
    }
    records.sort_by_key(|record| record.boot_ns);
    let mut story = String::new();
    for record in &records {
        let ms = record.boot_ns as f64 / 1e6;
        let _ = writeln!(story, "{ms:.3} {record}");
    }
    let _ = fs::write(dir.join("story.txt"), story);
    tell(&format!("evidence: {}", dir.display()));
}
