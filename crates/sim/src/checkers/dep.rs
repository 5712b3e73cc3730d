//! I-DEP: a resource comes online after all it depends on and goes offline before any of them.
//!
//! Judged by what a node's core orders, against what it was told: a dependency that died a moment
//! ago without a word is no mistake of the core, nor is a dependency of which it has not heard.
//! What it depends on is read in the databases themselves, since a change may be made without its
//! client ever hearing of it.
//!
//! Each of the six rules of A-115 counts how often it had something to judge ([`Rule`]); the soak
//! fails if one of them never had.

use std::collections::{BTreeMap, BTreeSet};

use stead_core::db::Db;
use stead_model::order::{Action, Outcome};
use stead_model::request::{Answer, Request};
use stead_model::{GroupId, LogIndex, NodeId, ResourceId};

use super::{Promise, Verdict, Violation};
use crate::acts::{Acts, Standing};

/// The six rules.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Rule {
    /// A tree of dependencies lies wholly in one group.
    WhollyInOneGroup,
    /// A resource may have any number of dependencies in the same group.
    AnyNumberInTheSameGroup,
    /// All of a tree is online on the same node.
    AllOnlineOnTheSameNode,
    /// A resource is online on one node only.
    OnlineOnOneNodeOnly,
    /// A resource comes online after all it depends on.
    OnlineAfterAllItDependsOn,
    /// A resource goes offline before any it depends on.
    OfflineBeforeAnyItDependsOn,
}

/// How often each rule had something to judge, in their order.
pub type Judged = [u64; 6];

/// What a core knows of a resource on its own node.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Known {
    /// It does not run.
    Down,
    /// It was ordered online, or ran before this core started.
    Coming,
    /// It was reported online.
    Online,
    /// It was ordered offline.
    Going,
}

/// What a resource depends on.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Declared {
    /// A database that had applied so much says so.
    index: LogIndex,
    /// Its group.
    home: GroupId,
    /// The others.
    on: BTreeSet<ResourceId>,
}

/// The checker.
#[derive(Default, Debug)]
pub struct Dep {
    declared: BTreeMap<ResourceId, Declared>,
    /// The newest change of groups that was read.
    read: Option<LogIndex>,
    known: BTreeMap<(NodeId, ResourceId), Known>,
    /// Where a resource began to act last.
    began: BTreeMap<ResourceId, NodeId>,
    /// How often each rule was judged.
    pub judged: Judged,
}

impl Dep {
    /// A new history begins: what was declared may be lost in it.
    pub fn forget(&mut self) {
        self.declared.clear();
        self.read = None;
    }

    /// Reads what depends on what in a database, and that no tree leaves its group.
    pub fn applied(&mut self, db: &Db) -> Verdict {
        let (index, changed) = (db.applied(), db.groups_changed());
        if self.read.is_some_and(|read| read >= changed) {
            return Ok(());
        }
        self.read = Some(changed);
        for group in db.groups().values() {
            for (id, config) in &group.resources {
                let outside =
                    config.depends_on.iter().find(|on| !group.resources.contains_key(*on));
                if let Some(on) = outside {
                    let text = format!("{id} of {} depends on {on}, which is not in it", group.id);
                    return Err(Violation::new(Promise::Dep, text));
                }
                self.declare(index, (id, &group.id), &config.depends_on);
            }
        }
        Ok(())
    }

    fn declare(
        &mut self,
        index: LogIndex,
        (resource, home): (&ResourceId, &GroupId),
        on: &BTreeSet<ResourceId>,
    ) {
        let same = |declared: &Declared| declared.on == *on && declared.home == *home;
        if !self.declared.get(resource).is_some_and(same) {
            let declared = Declared { index, home: home.clone(), on: on.clone() };
            self.declared.insert(resource.clone(), declared);
        }
    }

    /// Judges the answer to a request that would let a tree leave its group.
    pub fn answered(&mut self, request: &Request, answer: &Answer) -> Verdict {
        let Request::SetDependencies { resource, depends_on } = request else { return Ok(()) };
        let home = |id: &ResourceId| self.declared.get(id).map(|declared| &declared.home);
        let Some(own) = home(resource) else { return Ok(()) };
        let Some(outside) = depends_on.iter().find(|on| home(on).is_some_and(|h| h != own)) else {
            return Ok(());
        };
        match answer {
            Answer::Done { index } | Answer::Noted { index, .. } => {
                let text = format!("{resource} on {outside} of another group is done at {index}");
                Err(Violation::new(Promise::Dep, text))
            }
            Answer::Refused(_) | Answer::Foreseen(_) => {
                self.judge(Rule::WhollyInOneGroup);
                Ok(())
            }
        }
    }

    fn judge(&mut self, rule: Rule) {
        self.judged[rule as usize] += 1;
    }

    fn known(&self, node: NodeId, resource: &ResourceId) -> Known {
        self.known.get(&(node, resource.clone())).copied().unwrap_or(Known::Down)
    }

    fn set(&mut self, node: NodeId, resource: &ResourceId, known: Known) {
        self.known.insert((node, resource.clone()), known);
    }

    /// A core starts: it knows what its guard runs.
    pub fn service_starts<'a>(
        &mut self,
        node: NodeId,
        running: impl Iterator<Item = &'a ResourceId>,
    ) {
        self.stopped(node);
        running.for_each(|resource| self.set(node, resource, Known::Coming));
    }

    /// Everything on the node stopped.
    pub fn stopped(&mut self, node: NodeId) {
        self.known.retain(|(n, _), _| *n != node);
    }

    /// Judges something that begins to act on a node, by what acts then: nothing of its tree, nor
    /// itself, runs anywhere else.
    pub fn begins(&mut self, node: NodeId, resource: &ResourceId, acts: &Acts) -> Verdict {
        let tree = self.tree(resource);
        let mut running = acts.iter().filter(|act| act.standing == Standing::Runs);
        let elsewhere = running.find(|act| act.node != node && tree.contains(&act.resource));
        if let Some(act) = elsewhere {
            let text =
                format!("{resource} begins on {node}, {} runs on {}", act.resource, act.node);
            return Err(Violation::new(Promise::Dep, text));
        }
        let beside = |act: &crate::acts::Act| act.resource != *resource && act.node == node;
        if acts.iter().any(|act| beside(act) && tree.contains(&act.resource)) {
            self.judge(Rule::AllOnlineOnTheSameNode);
        }
        let before = self.began.insert(resource.clone(), node);
        if before.is_some_and(|before| before != node) {
            self.judge(Rule::OnlineOnOneNodeOnly);
        }
        Ok(())
    }

    /// A resource with all that it is tied to by dependencies, directly or through others.
    fn tree(&self, of: &ResourceId) -> BTreeSet<ResourceId> {
        let mut tree = BTreeSet::from([of.clone()]);
        let mut open = vec![of.clone()];
        while let Some(next) = open.pop() {
            let below = self.declared.get(&next).into_iter().flat_map(|declared| &declared.on);
            let above = self.declared.iter().filter(|(_, declared)| declared.on.contains(&next));
            for id in below.chain(above.map(|(id, _)| id)) {
                if tree.insert(id.clone()) {
                    open.push(id.clone());
                }
            }
        }
        tree
    }

    /// Judges an order of a node that had applied everything up to `applied` before.
    pub fn ordered(
        &mut self,
        (node, applied): (NodeId, LogIndex),
        resource: &ResourceId,
        action: &Action,
    ) -> Verdict {
        match action {
            Action::Online(_) => self.online((node, applied), resource)?,
            Action::Offline | Action::Terminate => self.offline((node, applied), resource)?,
            Action::Adopt(_) if self.known(node, resource) == Known::Online => {}
            Action::Adopt(_) => self.set(node, resource, Known::Coming),
            Action::Probe(_) | Action::Fit(_) | Action::Forget(_) => {}
        }
        Ok(())
    }

    fn online(&mut self, (node, applied): (NodeId, LogIndex), resource: &ResourceId) -> Verdict {
        let declared = self.declared.get(resource).filter(|declared| declared.index <= applied);
        let on = declared.map(|declared| declared.on.clone()).unwrap_or_default();
        if let Some(missing) = on.iter().find(|on| self.known(node, on) != Known::Online) {
            let text = format!("{node} orders {resource} online before {missing}");
            return Err(Violation::new(Promise::Dep, text));
        }
        if !on.is_empty() {
            self.judge(Rule::OnlineAfterAllItDependsOn);
        }
        if on.len() >= 2 {
            self.judge(Rule::AnyNumberInTheSameGroup);
        }
        self.set(node, resource, Known::Coming);
        Ok(())
    }

    fn offline(&mut self, (node, applied): (NodeId, LogIndex), resource: &ResourceId) -> Verdict {
        let above = (self.declared.iter())
            .filter(|(_, declared)| declared.index <= applied && declared.on.contains(resource))
            .map(|(dependent, _)| dependent);
        let above: Vec<ResourceId> = above.cloned().collect();
        if let Some(left) = above.iter().find(|up| self.known(node, up) != Known::Down) {
            let text = format!("{node} orders {resource} offline before {left}");
            return Err(Violation::new(Promise::Dep, text));
        }
        // What never ran here was not taken offline before it.
        if above.iter().any(|down| self.known.contains_key(&(node, down.clone()))) {
            self.judge(Rule::OfflineBeforeAnyItDependsOn);
        }
        if self.known(node, resource) != Known::Down {
            self.set(node, resource, Known::Going);
        }
        Ok(())
    }

    /// A core is told how a resource is.
    pub fn told(&mut self, node: NodeId, resource: &ResourceId, outcome: &Outcome) {
        match outcome {
            Outcome::Online => self.set(node, resource, Known::Online),
            Outcome::Offline | Outcome::Failed(_) | Outcome::Refused(_) => {
                self.set(node, resource, Known::Down);
            }
            Outcome::StopFailed(_) | Outcome::Health(..) | Outcome::Notice(_) => {}
            Outcome::Free | Outcome::Taken(_) | Outcome::Fitness(_) => {}
            Outcome::Forgotten(_) | Outcome::Remains(_) | Outcome::Used(_) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use stead_model::order::OnlineSpec;
    use stead_model::reason::{Code, Reason};
    use stead_model::server::VirtualServer;
    use stead_model::wire::guard::{Claim, InstanceId, ThingKind};
    use stead_model::{Epoch, LeaseNumber};

    use super::*;

    const N1: NodeId = NodeId(1);

    fn online() -> Action {
        Action::Online(OnlineSpec {
            kind: "dummy".into(),
            properties: BTreeMap::new(),
            looks_alive_ms: 1,
            is_alive_ms: 1,
            pending_timeout_ms: 1,
            server: VirtualServer::default(),
            first: false,
            separate: false,
        })
    }

    /// `web` on `ip` since entry 5, and `spool` in another group.
    fn declared() -> Dep {
        let mut dep = Dep::default();
        let (web, mail) = (GroupId::from("web"), GroupId::from("mail"));
        dep.declare(LogIndex(4), (&"ip".into(), &web), &BTreeSet::new());
        dep.declare(LogIndex(5), (&"web".into(), &web), &BTreeSet::from(["ip".into()]));
        dep.declare(LogIndex(5), (&"spool".into(), &mail), &BTreeSet::new());
        dep
    }

    #[test]
    fn i_dep_sees_both_wrong_orders() {
        let (at5, at4) = ((N1, LogIndex(5)), (N1, LogIndex(4)));
        let (ip, web) = (ResourceId::from("ip"), ResourceId::from("web"));
        let mut dep = declared();
        assert!(dep.ordered(at5, &web, &online()).is_err());
        assert_eq!(dep.ordered(at4, &web, &online()), Ok(()), "not heard of yet");
        dep.told(N1, &web, &Outcome::Offline);
        assert_eq!(dep.ordered(at5, &ip, &online()), Ok(()));
        dep.told(N1, &ip, &Outcome::Online);
        assert_eq!(dep.ordered(at5, &web, &online()), Ok(()));
        assert!(dep.ordered(at5, &ip, &Action::Offline).is_err());
        dep.told(N1, &web, &Outcome::Failed(String::new()));
        assert_eq!(dep.ordered(at5, &ip, &Action::Offline), Ok(()));
        assert_eq!(dep.judged, [0, 0, 0, 0, 1, 1]);
    }

    #[test]
    fn i_dep_sees_a_dependency_across_groups_that_was_not_refused() {
        let mut dep = declared();
        let depends_on = BTreeSet::from(["spool".into()]);
        let across = Request::SetDependencies { resource: "web".into(), depends_on };
        let refused = Answer::Refused(Reason::new(Code::Invalid, "no"));
        assert_eq!(dep.answered(&across, &refused), Ok(()));
        assert_eq!(dep.judged[Rule::WhollyInOneGroup as usize], 1);
        assert!(dep.answered(&across, &Answer::Done { index: LogIndex(6) }).is_err());
    }

    #[test]
    fn i_dep_sees_a_tree_on_two_nodes() {
        let (mut dep, mut acts) = (declared(), Acts::default());
        let mut begin = |acts: &mut Acts, node, resource: &str| {
            let (group, resource) = (GroupId::from("web"), ResourceId::from(resource));
            let (epoch, lease) = (Epoch(1), LeaseNumber(1));
            let claim = Claim { group, resource: resource.clone(), epoch, lease };
            acts.begin(NodeId(node), (InstanceId(1), ThingKind::Program), &claim, 0);
            dep.begins(NodeId(node), &resource, acts)
        };
        assert_eq!(begin(&mut acts, 1, "ip"), Ok(()));
        assert_eq!(begin(&mut acts.clone(), 1, "web"), Ok(()));
        assert!(begin(&mut acts.clone(), 2, "web").is_err(), "what it stands on is on n1");
        assert!(begin(&mut acts, 2, "ip").is_err(), "it is on n1 itself");
        assert_eq!(dep.judged, [0, 0, 1, 0, 0, 0]);
        assert_eq!(dep.begins(NodeId(2), &"ip".into(), &Acts::default()), Ok(()));
        assert_eq!(dep.judged[Rule::OnlineOnOneNodeOnly as usize], 1);
    }
}
