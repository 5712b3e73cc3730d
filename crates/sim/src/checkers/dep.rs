//! I-DEP: a resource comes online after all it depends on and goes offline before any of them.
//!
//! Judged by what a node's core orders, against what it was told: a dependency that died a moment
//! ago without a word is no mistake of the core, nor is a dependency of which it has not heard.

use std::collections::BTreeMap;

use stead_model::order::{Action, Outcome};
use stead_model::{LogIndex, NodeId, ResourceId};

use super::{Promise, Verdict, Violation};

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
#[derive(Debug)]
struct Declared {
    /// The entry that says so.
    index: LogIndex,
    /// The others.
    on: Vec<ResourceId>,
}

/// The checker.
#[derive(Default, Debug)]
pub struct Dep {
    depends_on: BTreeMap<ResourceId, Declared>,
    known: BTreeMap<(NodeId, ResourceId), Known>,
}

impl Dep {
    /// Declares the dependencies of a resource, as committed at `index`.
    pub fn declare(&mut self, index: LogIndex, resource: ResourceId, on: Vec<ResourceId>) {
        self.depends_on.insert(resource, Declared { index, on });
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

    /// Judges an order of a node that had applied everything up to `applied` before.
    pub fn ordered(
        &mut self,
        (node, applied): (NodeId, LogIndex),
        resource: &ResourceId,
        action: &Action,
    ) -> Verdict {
        let heard = |declared: &Declared| declared.index <= applied;
        match action {
            Action::Online(_) => {
                let on = self.depends_on.get(resource).filter(|d| heard(d)).map(|d| &d.on);
                let missing =
                    (on.into_iter().flatten()).find(|on| self.known(node, on) != Known::Online);
                if let Some(on) = missing {
                    let text = format!("{node} orders {resource} online before {on}");
                    return Err(Violation::new(Promise::Dep, text));
                }
                self.set(node, resource, Known::Coming);
            }
            Action::Offline | Action::Terminate => {
                let left = (self.depends_on.iter())
                    .filter(|(_, declared)| heard(declared) && declared.on.contains(resource))
                    .find(|(dependent, _)| self.known(node, dependent) != Known::Down);
                if let Some((dependent, _)) = left {
                    let text = format!("{node} orders {resource} offline before {dependent}");
                    return Err(Violation::new(Promise::Dep, text));
                }
                if self.known(node, resource) != Known::Down {
                    self.set(node, resource, Known::Going);
                }
            }
            Action::Adopt(_) if self.known(node, resource) == Known::Online => {}
            Action::Adopt(_) => self.set(node, resource, Known::Coming),
            Action::Probe(_) | Action::Fit(_) => {}
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
        }
    }
}

#[cfg(test)]
mod tests {
    use stead_model::order::OnlineSpec;
    use stead_model::server::VirtualServer;

    use super::*;

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

    #[test]
    fn i_dep_sees_both_wrong_orders() {
        let (n1, at5, at4) = (NodeId(1), (NodeId(1), LogIndex(5)), (NodeId(1), LogIndex(4)));
        let (ip, web) = (ResourceId::from("ip"), ResourceId::from("web"));
        let mut dep = Dep::default();
        dep.declare(LogIndex(4), ip.clone(), vec![]);
        dep.declare(LogIndex(5), web.clone(), vec![ip.clone()]);
        assert!(dep.ordered(at5, &web, &online()).is_err());
        assert_eq!(dep.ordered(at4, &web, &online()), Ok(()), "not heard of yet");
        dep.told(n1, &web, &Outcome::Offline);
        assert_eq!(dep.ordered(at5, &ip, &online()), Ok(()));
        dep.told(n1, &ip, &Outcome::Online);
        assert_eq!(dep.ordered(at5, &web, &online()), Ok(()));
        assert!(dep.ordered(at5, &ip, &Action::Offline).is_err());
        dep.told(n1, &web, &Outcome::Failed(String::new()));
        assert_eq!(dep.ordered(at5, &ip, &Action::Offline), Ok(()));
    }
}
