//! Demands by measured use: what the owner of a group sees its programs use, as a change of the
//! database, so that a placement after the owner's death knows it, too.
//!
//! The owner tells steps that stay for a while ([`stead_model::usage`]), so an entry comes rarely.

use stead_model::change::Change;
use stead_model::group::Group;
use stead_model::resource::ResourceState;
use stead_model::wire::peer::{GroupReport, Standing};

/// The change that takes over what the owner of the group says, if it says something new.
///
/// Each of its resources that is online was measured then. Nothing is forgotten when its programs
/// stop: what a group used last is what it will need.
pub(super) fn learn(group: &Group, report: Option<&GroupReport>) -> Option<Change> {
    let report = report.filter(|report| report.standing == Standing::Held)?;
    if !group.policy.rules.measured {
        return None;
    }
    let online = report.resources.iter().filter(|r| r.state == ResourceState::Online);
    let used = online.map(|r| r.used).reduce(|sum, used| Some(sum?.plus(used?)))??;
    let is_new = group.used != Some(used);
    is_new.then(|| Change::SetUsage { group: group.id.clone(), used })
}
