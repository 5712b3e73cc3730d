//! The level of the cluster at the leader: raised when every node's program knows the next one, and
//! nothing is proposed that needs a higher one (decision 0035).

use stead_model::NodeId;
use stead_model::change::{Change, Entry};
use stead_model::program::{Asked, ClusterLevel, Mark, raise};
use stead_model::reason::{Code, Reason};

use super::Around;
use crate::db::Db;

/// The change that raises the cluster to that level.
pub(super) fn begin(to: ClusterLevel, db: &Db, around: &Around<'_>) -> Result<Change, Reason> {
    let program = |node: &NodeId| around.reports.get(node).map(|report| report.program);
    let asked = around.nodes.iter().map(|node| Asked {
        node: *node,
        heard: around.heard.contains(node),
        program: program(node),
    });
    raise(db.level(), to, asked)?;
    let by = program(&around.host).map(|own| own.version).unwrap_or_default();
    Ok(Change::Level { to: Mark { level: to, by } })
}

/// Whether a cluster at that level can agree on an entry.
///
/// # Errors
/// It holds a change of a later level.
pub(super) fn suits(entry: &Entry, level: ClusterLevel) -> Result<(), Reason> {
    let later = entry.changes.iter().find(|change| change.since() > level);
    let Some(later) = later else { return Ok(()) };
    Err(Reason::new(Code::Conflict, "the cluster cannot agree on this yet")
        .because(format!("`{later}` needs {}, the cluster is at {level}", later.since()))
        .hint("`stead cluster level` shows whether the level can be raised"))
}
