//! The level of the cluster at the leader: raised when every node's program knows the next one, and
//! nothing is proposed that needs a higher one (decision 0035).

use stead_model::change::{Change, Entry};
use stead_model::program::{Asked, ClusterLevel, Mark, raise};
use stead_model::reason::{Code, Reason};
use stead_model::{LogIndex, NodeId};

use super::{Around, cluster_time};
use crate::consensus::replica::Replica;
use crate::db::Db;

/// The change that raises the cluster to that level.
pub(super) fn begin(to: ClusterLevel, db: &Db, around: &Around<'_>) -> Result<Change, Reason> {
    let told = |node: &NodeId| around.reports.get(node).map(|report| report.program);
    let program = |node: &NodeId| told(node).or_else(|| db.programs().get(node).copied());
    let asked = around.nodes.iter().map(|node| Asked {
        node: *node,
        heard: around.heard.contains(node),
        program: program(node),
    });
    raise(db.level(), to, asked)?;
    let by = program(&around.host).map(|own| own.version).unwrap_or_default();
    Ok(Change::Level { to: Mark { level: to, by } })
}

/// Proposes what nodes run that is not in the database yet; the index of the entry. So it is known
/// of those that are silent, whoever was started since.
pub(super) fn note_programs(replica: &mut Replica, around: &Around<'_>) -> Option<LogIndex> {
    if replica.db.level() < ClusterLevel::PROGRAMS {
        return None;
    }
    let known = replica.db.programs();
    let heard = around.heard.iter().filter(|node| around.nodes.contains(node));
    let told = heard.filter_map(|node| Some((*node, around.reports.get(node)?.program)));
    let new = told.filter(|(node, program)| known.get(node) != Some(program));
    let changes: Vec<_> =
        new.map(|(node, program)| Change::NodeProgram { node, program }).collect();
    if changes.is_empty() {
        return None;
    }
    let (at, why) = (cluster_time(replica, around.utc), "the nodes told it".to_owned());
    replica.propose(&Entry { at, request: None, why, changes }).ok()
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

#[cfg(test)]
mod tests {
    use super::*;
    use stead_model::UtcMillis;

    #[test]
    fn nothing_of_a_later_level_is_agreed_on_before() {
        let program = stead_model::program::Program::own();
        let changes = vec![
            Change::NodeLeaves { node: NodeId(1) },
            Change::NodeProgram { node: NodeId(1), program },
        ];
        let entry = Entry { at: UtcMillis(1), request: None, why: "a test".into(), changes };
        assert_eq!(suits(&entry, ClusterLevel::PROGRAMS), Ok(()));
        let why = suits(&entry, ClusterLevel::FIRST).unwrap_err().to_string();
        assert!(why.contains("needs level 2, the cluster is at level 1"), "{why}");
    }
}
