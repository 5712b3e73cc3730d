//! Which record caused which (I-WHY): what happened to a node explains what was decided about
//! groups, and that explains what happened to their resources.

use std::collections::BTreeMap;

use stead_model::{CauseId, GroupId, NodeId};

/// The last records that can be causes.
#[derive(Debug, Default)]
pub(super) struct Causes {
    /// The last event of a node: silence, leaving, a lost lease; or a change of an administrator
    /// that is about no group.
    trigger: Option<CauseId>,
    /// The same, for each node.
    nodes: BTreeMap<NodeId, CauseId>,
    /// The node that the next record is about; nothing: the one that writes it.
    about: Option<NodeId>,
    /// Who has a group that nobody stopped since.
    owners: BTreeMap<GroupId, NodeId>,
    /// The last change of an administrator about each group: what is asked of one group explains
    /// nothing about another.
    changed: BTreeMap<GroupId, CauseId>,
    /// The last decision about each group.
    groups: BTreeMap<GroupId, CauseId>,
    /// The last failure in each group that its restart in place has not ended.
    failed: BTreeMap<GroupId, CauseId>,
    /// What the next decision about a group follows from: a failure beyond restarts, or what it
    /// was released for.
    next: BTreeMap<GroupId, CauseId>,
}

impl Causes {
    /// The next record tells what happens to a node, or what it is given.
    pub(super) fn about(&mut self, node: NodeId) {
        self.about = Some(node);
    }

    /// The cause of a record, which may become a cause itself; `own`: the node that writes it.
    pub(super) fn chain(
        &mut self,
        (code, own): (&str, NodeId),
        group: Option<&GroupId>,
        id: CauseId,
    ) -> Option<CauseId> {
        let node = self.about.take().unwrap_or(own);
        match (code, group) {
            (
                "group-granted" | "group-released" | "group-disowned" | "group-failed",
                Some(group),
            ) => {
                self.groups.insert(group.clone(), id);
                let last = self.befell(group, (code == "group-granted").then_some(node));
                let cause = self.next.remove(group).or(last);
                if let Some(cause) = cause.filter(|_| code == "group-released") {
                    self.next.insert(group.clone(), cause);
                }
                cause
            }
            ("changed", Some(group)) => {
                self.changed.insert(group.clone(), id);
                None
            }
            (
                "changed" | "suspected" | "lease-lost" | "hard-stop" | "monitor-died"
                | "node-leaves" | "node-returns" | "node-goes" | "interface-down",
                _,
            ) => {
                self.trigger = Some(id);
                self.nodes.insert(node, id);
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
            ("node-lost" | "quarantine", None) => self.nodes.get(&node).copied(),
            ("elected" | "lease-length" | "hard-stop-done" | "disk-claimed", None) => self.trigger,
            (_, Some(group)) => self.groups.get(group).copied(),
            (_, None) => None,
        }
    }

    /// The last thing that can have led to a decision about a group, which may give it to a node:
    /// what was asked of it, or what happened to a node. A group that is given away and was not
    /// stopped is taken over: that follows from what befell its owner.
    fn befell(&mut self, group: &GroupId, to: Option<NodeId>) -> Option<CauseId> {
        let owner = self.owners.remove(group).filter(|_| to.is_some());
        self.owners.extend(to.map(|node| (group.clone(), node)));
        let befell = owner.and_then(|owner| self.nodes.get(&owner).copied());
        befell.or(self.trigger).max(self.changed.get(group).copied())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const N1: NodeId = NodeId(1);

    #[test]
    fn a_silent_node_explains_the_grant_and_the_grant_the_start() {
        let mut causes = Causes::default();
        let web = GroupId::from("web");
        assert_eq!(causes.chain(("started", N1), None, CauseId(1)), None);
        assert_eq!(causes.chain(("suspected", N1), None, CauseId(2)), None);
        assert_eq!(causes.chain(("group-granted", N1), Some(&web), CauseId(3)), Some(CauseId(2)));
        assert_eq!(causes.chain(("resource-online", N1), Some(&web), CauseId(4)), Some(CauseId(3)));
        assert_eq!(causes.chain(("group-online", N1), Some(&web), CauseId(5)), Some(CauseId(3)));
    }

    #[test]
    fn what_is_asked_of_one_group_explains_nothing_about_another() {
        let mut causes = Causes::default();
        let [web, db] = ["web", "db"].map(GroupId::from);
        assert_eq!(causes.chain(("suspected", N1), None, CauseId(1)), None);
        assert_eq!(causes.chain(("changed", N1), Some(&db), CauseId(2)), None);
        assert_eq!(causes.chain(("group-granted", N1), Some(&web), CauseId(3)), Some(CauseId(1)));
        assert_eq!(causes.chain(("group-granted", N1), Some(&db), CauseId(4)), Some(CauseId(2)));
        assert_eq!(causes.chain(("suspected", N1), None, CauseId(5)), None);
        assert_eq!(causes.chain(("group-granted", N1), Some(&db), CauseId(6)), Some(CauseId(5)));
    }

    #[test]
    fn a_takeover_follows_from_what_befell_the_owner() {
        let mut causes = Causes::default();
        let web = GroupId::from("web");
        causes.about(NodeId(2));
        assert_eq!(causes.chain(("group-granted", N1), Some(&web), CauseId(1)), None);
        causes.about(NodeId(2));
        assert_eq!(causes.chain(("suspected", N1), None, CauseId(2)), None);
        assert_eq!(causes.chain(("hard-stop", N1), None, CauseId(3)), None);
        causes.about(N1);
        assert_eq!(causes.chain(("group-granted", N1), Some(&web), CauseId(4)), Some(CauseId(2)));
        causes.about(NodeId(2));
        assert_eq!(causes.chain(("node-lost", N1), None, CauseId(5)), Some(CauseId(2)));
        causes.about(NodeId(2));
        assert_eq!(causes.chain(("node-returns", N1), None, CauseId(6)), None);
        assert_eq!(causes.chain(("group-released", N1), Some(&web), CauseId(7)), Some(CauseId(6)));
    }

    #[test]
    fn a_failure_explains_its_restart_and_what_is_decided_after_the_last_one() {
        let mut causes = Causes::default();
        let web = GroupId::from("web");
        assert_eq!(causes.chain(("changed", N1), None, CauseId(1)), None);
        assert_eq!(causes.chain(("group-granted", N1), Some(&web), CauseId(2)), Some(CauseId(1)));
        assert_eq!(causes.chain(("resource-failed", N1), Some(&web), CauseId(3)), None);
        assert_eq!(causes.chain(("resource-online", N1), Some(&web), CauseId(4)), Some(CauseId(3)));
        assert_eq!(causes.chain(("resource-failed", N1), Some(&web), CauseId(5)), None);
        assert_eq!(
            causes.chain(("resource-gave-up", N1), Some(&web), CauseId(6)),
            Some(CauseId(5))
        );
        assert_eq!(causes.chain(("group-released", N1), Some(&web), CauseId(7)), Some(CauseId(6)));
        assert_eq!(causes.chain(("suspected", N1), None, CauseId(8)), None);
        assert_eq!(causes.chain(("group-granted", N1), Some(&web), CauseId(9)), Some(CauseId(6)));
        assert_eq!(causes.chain(("group-granted", N1), Some(&web), CauseId(10)), Some(CauseId(8)));
    }
}
