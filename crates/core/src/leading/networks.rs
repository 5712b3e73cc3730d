//! Networks that shall carry no cluster traffic any more: refused while a node would be cut off.
//!
//! A node that is not heard may know the former roles only, and would listen where nobody speaks
//! to it any more. One that is heard over another network uses that one, and has in its log that it
//! may.

use stead_model::change::Change;
use stead_model::reason::Reason;

use super::Around;
use crate::db::Db;
use crate::db::networks::cannot_become;
use crate::groups::Decision;

/// Refuses to take cluster traffic off a network while a member is not heard over another one.
pub(super) fn check_reach(decision: &Decision, db: &Db, around: &Around<'_>) -> Result<(), Reason> {
    let networks = db.networks_of(&around.config.networks);
    for change in decision.changes() {
        let Change::SetNetwork { network: wanted } = change else { continue };
        let leaves = |id| networks.iter().any(|n| n.id == id && n.role.carries_cluster());
        if wanted.role.carries_cluster() || !leaves(wanted.id) {
            continue;
        }
        let others = around.nodes.iter().filter(|node| **node != around.host);
        let is_cut_off = |node| !around.links.heard_on(node).any(|network| network != wanted.id);
        let cut_off: Vec<String> =
            others.filter(|node| is_cut_off(**node)).map(ToString::to_string).collect();
        if !cut_off.is_empty() {
            return Err(cannot_become(wanted)
                .because(format!(
                    "{} is not heard over another network that carries what the nodes say to each \
                     other, and could be cut off",
                    cut_off.join(", ")
                ))
                .hint(
                    "`network stats` shows the links; start or evict a node that is down, then \
                     repeat it",
                ));
        }
    }
    Ok(())
}
