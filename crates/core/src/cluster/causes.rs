//! Which record caused which (I-WHY): what happened to a node explains what was decided about
//! groups, and that explains what happened to their resources.

use std::collections::BTreeMap;

use stead_model::{CauseId, GroupId};

/// The last records that can be causes.
#[derive(Debug, Default)]
pub(super) struct Causes {
    /// The last event of a node: silence, a lost lease, an administrator's change.
    trigger: Option<CauseId>,
    /// The last decision about each group.
    groups: BTreeMap<GroupId, CauseId>,
}

impl Causes {
    /// The cause of a record, which may become a cause itself.
    pub(super) fn chain(
        &mut self,
        code: &str,
        group: Option<&GroupId>,
        id: CauseId,
    ) -> Option<CauseId> {
        match (code, group) {
            (
                "group-granted" | "group-released" | "group-disowned" | "group-failed",
                Some(group),
            ) => {
                self.groups.insert(group.clone(), id);
                self.trigger
            }
            ("changed" | "suspected" | "lease-lost" | "hard-stop" | "monitor-died", _) => {
                self.trigger = Some(id);
                None
            }
            ("elected" | "lease-length" | "hard-stop-done" | "disk-claimed", None) => self.trigger,
            (_, Some(group)) => self.groups.get(group).copied(),
            (_, None) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_silent_node_explains_the_grant_and_the_grant_the_start() {
        let mut causes = Causes::default();
        let web = GroupId::from("web");
        assert_eq!(causes.chain("started", None, CauseId(1)), None);
        assert_eq!(causes.chain("suspected", None, CauseId(2)), None);
        assert_eq!(causes.chain("group-granted", Some(&web), CauseId(3)), Some(CauseId(2)));
        assert_eq!(causes.chain("resource-online", Some(&web), CauseId(4)), Some(CauseId(3)));
        assert_eq!(causes.chain("group-online", Some(&web), CauseId(5)), Some(CauseId(3)));
    }
}
