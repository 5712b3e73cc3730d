//! Which record caused which (I-WHY): what happened to a node explains what was decided about
//! groups, and that explains what happened to their resources.

use std::collections::BTreeMap;

use stead_model::{CauseId, GroupId};

/// The last records that can be causes.
#[derive(Debug, Default)]
pub(super) struct Causes {
    /// The last event of a node: silence, leaving, a lost lease, an administrator's change.
    trigger: Option<CauseId>,
    /// The last decision about each group.
    groups: BTreeMap<GroupId, CauseId>,
    /// The last failure in each group that its restart in place has not ended.
    failed: BTreeMap<GroupId, CauseId>,
    /// What the next decision about a group follows from: a failure beyond restarts, or what it
    /// was released for.
    next: BTreeMap<GroupId, CauseId>,
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
                let cause = self.next.remove(group).or(self.trigger);
                if let Some(cause) = cause.filter(|_| code == "group-released") {
                    self.next.insert(group.clone(), cause);
                }
                cause
            }
            (
                "changed" | "suspected" | "lease-lost" | "hard-stop" | "monitor-died"
                | "node-leaves" | "node-returns" | "node-goes" | "interface-down",
                _,
            ) => {
                self.trigger = Some(id);
                None
            }
            ("resource-failed", Some(group)) => {
                self.failed.insert(group.clone(), id);
                None
            }
            ("resource-gave-up", Some(group)) => {
                self.next.insert(group.clone(), id);
                self.failed.remove(group)
            }
            ("resource-online", Some(group)) => {
                self.failed.remove(group).or_else(|| self.groups.get(group).copied())
            }
            (
                "elected" | "lease-length" | "hard-stop-done" | "disk-claimed" | "node-lost"
                | "quarantine",
                None,
            ) => self.trigger,
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

    #[test]
    fn a_failure_explains_its_restart_and_what_is_decided_after_the_last_one() {
        let mut causes = Causes::default();
        let web = GroupId::from("web");
        assert_eq!(causes.chain("changed", None, CauseId(1)), None);
        assert_eq!(causes.chain("group-granted", Some(&web), CauseId(2)), Some(CauseId(1)));
        assert_eq!(causes.chain("resource-failed", Some(&web), CauseId(3)), None);
        assert_eq!(causes.chain("resource-online", Some(&web), CauseId(4)), Some(CauseId(3)));
        assert_eq!(causes.chain("resource-failed", Some(&web), CauseId(5)), None);
        assert_eq!(causes.chain("resource-gave-up", Some(&web), CauseId(6)), Some(CauseId(5)));
        assert_eq!(causes.chain("group-released", Some(&web), CauseId(7)), Some(CauseId(6)));
        assert_eq!(causes.chain("suspected", None, CauseId(8)), None);
        assert_eq!(causes.chain("group-granted", Some(&web), CauseId(9)), Some(CauseId(6)));
        assert_eq!(causes.chain("group-granted", Some(&web), CauseId(10)), Some(CauseId(8)));
    }
}
