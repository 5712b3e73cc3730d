//! What this node knows of its cluster: its configuration file.

use std::fs;
use std::path::Path;

use stead_model::config::NodeConfig;

/// The configuration below a root.
///
/// # Errors
/// Names the file and what is wrong with it.
pub(crate) fn config(root: &Path) -> Result<NodeConfig, String> {
    let path = root.join("etc/stead/cluster.json");
    let bytes = fs::read(&path).map_err(|why| format!("cannot read {}: {why}", path.display()))?;
    serde_json::from_slice(&bytes)
        .map_err(|why| format!("{} is no node configuration: {why}", path.display()))
}
