//! All paths of a lab that are in use.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use stead_model::NodeId;

use super::path::NodePath;

/// All paths, of all nodes to all disks.
#[derive(Debug, Default)]
pub(super) struct Paths(Mutex<Vec<Arc<NodePath>>>);

impl Paths {
    pub(super) fn add(&self, path: Arc<NodePath>) {
        self.live().push(path);
    }

    /// Those to one disk.
    pub(super) fn to(&self, disk: &str) -> Vec<Arc<NodePath>> {
        self.live().iter().filter(|path| path.disk.name == disk).cloned().collect()
    }

    /// Those of one node.
    pub(super) fn of(&self, node: NodeId) -> Vec<Arc<NodePath>> {
        self.live().iter().filter(|path| path.node == node).cloned().collect()
    }

    /// Ends those of a node: when this returns, nothing of it reaches a disk any more.
    pub(super) fn end(&self, node: NodeId) {
        let mut live = self.live();
        for path in live.iter().filter(|path| path.node == node) {
            path.end();
        }
        live.retain(|path| path.node != node);
    }

    fn live(&self) -> MutexGuard<'_, Vec<Arc<NodePath>>> {
        // Nothing panics half way through a change.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
