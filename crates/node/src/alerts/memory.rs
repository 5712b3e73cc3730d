//! What waits to be told, over restarts of the node service: `alerts.json`.
//!
//! Written without waiting for the disk: a node that loses its power may tell a record again or,
//! of the last seconds, not at all; the nodes that remain tell what they see themselves.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;

use serde::{Deserialize, Serialize};
use stead_model::AlertId;
use stead_model::alert::Track;

/// All that is remembered.
#[derive(Clone, PartialEq, Eq, Default, Debug, Serialize, Deserialize)]
pub(super) struct Memory {
    /// The number of the last record that was judged.
    pub(super) seen: u64,
    pub(super) alerts: BTreeMap<AlertId, Kept>,
}

/// What is remembered of one alert.
#[derive(Clone, PartialEq, Eq, Default, Debug, Serialize, Deserialize)]
pub(super) struct Kept {
    /// Numbers of the records that wait, the one that is being told among them.
    pub(super) waiting: Vec<u64>,
    pub(super) track: Track,
}

impl Memory {
    /// What an earlier life left; nothing where it left nothing that can be read.
    pub(super) fn read(path: &Path) -> Option<Self> {
        serde_json::from_slice(&std::fs::read(path).ok()?).ok()
    }

    /// Replaces what is there, whole.
    pub(super) fn write(&self, path: &Path) -> io::Result<()> {
        let fresh = path.with_extension("json.new");
        std::fs::write(&fresh, serde_json::to_vec(self)?)?;
        std::fs::rename(&fresh, path)
    }
}

/// There are no alerts any more: what was seen of them means nothing to later ones.
pub(super) fn forget(path: &Path) {
    // Where there is none nothing is left.
    let _ = std::fs::remove_file(path);
}
