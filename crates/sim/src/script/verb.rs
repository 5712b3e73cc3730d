//! What the verbs of a script do to the world, and how expectations are met.

use stead_model::keys::Other;
use stead_model::request::Request;
use stead_model::{NodeId, ResourceId};

use super::{Verb, Ways, Who};
use crate::checkers::Promise;
use crate::clients::joins;
use crate::faults::{Kind, Recovery};
use crate::keys;
use crate::node::Power;
use crate::world::World;

impl World {
    /// Carries out one verb.
    ///
    /// # Errors
    /// Nobody plays the role, or an expectation is not met.
    pub(super) fn perform(&mut self, verb: &Verb) -> Result<(), String> {
        match verb {
            Verb::Call(name, who) => {
                let node = self.who(who)?;
                self.trace.milestone(self.now, || format!("{node} is called {name}"));
                if let Some(script) = self.script.as_mut() {
                    script.names.insert(name.clone(), node);
                }
            }
            Verb::Crash(who) => self.power_off(self.who(who)?),
            Verb::Power(who) => self.power_on(self.who(who)?),
            Verb::Freeze(who) => self.stop_processes(self.who(who)?, Power::Frozen),
            Verb::Pause(who) => self.stop_processes(self.who(who)?, Power::Paused),
            Verb::Thaw(who) => self.wake_processes(self.who(who)?),
            Verb::Cut(..)
            | Verb::CutNetwork(..)
            | Verb::Narrow(..)
            | Verb::OneWay(..)
            | Verb::Heal => {
                self.perform_cut(verb)?;
            }
            Verb::Interface(network, who, state) => {
                self.interface_is((self.who(who)?, *network), *state);
            }
            Verb::Clock(who, by_ms) => self.set_clock(self.who(who)?, *by_ms),
            Verb::Loss(percent) => self.net.weather.loss = percent * 10,
            Verb::Delay(longest) => self.net.weather.delay_max_ns = *longest,
            Verb::Path(who, path) => self.set_path(self.who(who)?, *path),
            Verb::ServiceDies(who) => self.service_dies(self.who(who)?),
            Verb::Install(who, program) => self.install(self.who(who)?, *program),
            Verb::GuardDies(who) => self.guard_dies(self.who(who)?),
            Verb::MonitorDies(who) => self.fault(Kind::MonitorDies, self.who(who)?, 0),
            Verb::MonitorStops(who) => drop(self.monitor_stops(self.who(who)?)),
            Verb::MonitorSilent(who) => self.monitor_goes_silent(self.who(who)?),
            Verb::MonitorGoesOn(who) => self.recover(Recovery::MonitorGoesOn(self.who(who)?)),
            Verb::Hang(resource) => drop(self.hangs_next.insert(resource.clone())),
            Verb::Unfit(resource, who) => {
                self.unfit.insert((self.who(who)?, resource.clone()));
            }
            Verb::Fail(resource) => self.perform_fail(resource)?,
            Verb::Move(group, who) => {
                let to = Some(self.who(who)?);
                self.script_asks(Request::MoveGroup { group: group.clone(), to });
            }
            Verb::Ask(request) => self.script_asks(request.clone()),
            Verb::Leave(who) => self.leave(self.who(who)?),
            Verb::Absent(who, absent) => {
                let request = Request::SetAbsence { node: self.who(who)?, absent: *absent };
                self.script_asks(request);
            }
            Verb::Add(node) => self.script_asks(joins(&self.plan, *node)),
            Verb::Force(who, disk_too) => self.force_quorum(self.who(who)?, *disk_too),
            Verb::Evict(who) => {
                let node = self.who(who)?;
                self.script_asks(Request::Evict { node });
            }
            Verb::Vote(who, votes) => {
                let request = Request::SetVote { node: self.who(who)?, votes: *votes };
                self.script_asks(request);
            }
            Verb::ExpectOn(..)
            | Verb::ExpectRole(..)
            | Verb::ExpectStopped(_)
            | Verb::ExpectKey(..)
            | Verb::ExpectHole(..)
            | Verb::ExpectLease(..)
            | Verb::ExpectSeals(..)
            | Verb::ExpectSees(..)
            | Verb::ExpectLevel(..) => return self.expect(verb),
        }
        Ok(())
    }

    fn perform_fail(&mut self, resource: &ResourceId) -> Result<(), String> {
        let act = self.acts.iter().find(|act| act.resource == *resource);
        let act = act.ok_or_else(|| format!("{resource} does not run"))?;
        let (node, instance) = (act.node, act.instance);
        self.resource_fails(node, instance);
        Ok(())
    }

    fn perform_cut(&mut self, verb: &Verb) -> Result<(), String> {
        let networks = 0..self.net.networks();
        let mut cuts: Vec<(usize, NodeId, NodeId)> = Vec::new();
        match verb {
            Verb::Cut(who, other) => {
                let node = self.who(who)?;
                let others: Vec<NodeId> = match other {
                    Some(other) => vec![self.who(other)?],
                    None => self.node_ids().filter(|n| *n != node).collect(),
                };
                for (network, other) in
                    networks.flat_map(|n| others.iter().map(move |other| (n, *other)))
                {
                    cuts.extend([(network, node, other), (network, other, node)]);
                }
            }
            Verb::CutNetwork(network, who, ways) => {
                let node = self.who(who)?;
                for other in self.node_ids().filter(|n| *n != node) {
                    cuts.push((*network - 1, other, node));
                    cuts.extend((*ways == Ways::Both).then_some((*network - 1, node, other)));
                }
            }
            Verb::Narrow(network, who) => {
                let node = self.who(who)?;
                self.trace.milestone(self.now, || format!("net{network} of {node} is narrow"));
                self.net.narrow(*network - 1, node);
                return Ok(());
            }
            Verb::OneWay(from, to) => {
                let (from, to) = (self.who(from)?, self.who(to)?);
                cuts.extend(networks.map(|network| (network, from, to)));
            }
            _ => {
                self.recover(Recovery::Mend);
                return Ok(());
            }
        }
        self.trace.milestone(self.now, || "networks cut".into());
        for (network, from, to) in cuts {
            self.net.set_cut(network, (from, to), true);
        }
        Ok(())
    }

    fn expect(&mut self, verb: &Verb) -> Result<(), String> {
        match verb {
            Verb::ExpectOn(group, who) => {
                let node = self.who(who)?;
                let db = self.db(node).ok_or_else(|| format!("{node} has no database"))?;
                let found = db.group(group).ok_or_else(|| format!("there is no {group}"))?;
                let missing = found
                    .resources
                    .keys()
                    .find(|r| !self.acts.resource(node, r).is_some_and(|act| act.standing.acts()));
                let elsewhere = self.acts.iter().find(|a| a.group == *group && a.node != node);
                match (missing, elsewhere.filter(|act| act.standing.acts())) {
                    (None, None) => Ok(()),
                    (Some(resource), _) => Err(format!("{resource} does not act on {node}")),
                    (None, Some(act)) => Err(format!("{} acts on {}", act.resource, act.node)),
                }
            }
            Verb::ExpectRole(role, who) => {
                let (found, wanted) = (self.who(role)?, self.who(who)?);
                let wrong = || Err(format!("{role:?} is {found}, not {wanted}"));
                if found == wanted { Ok(()) } else { wrong() }
            }
            Verb::ExpectStopped(group) => {
                let acts = self.acts.iter().find(|a| a.group == *group && a.standing.acts());
                acts.map_or(Ok(()), |act| Err(format!("{} acts on {}", act.resource, act.node)))
            }
            Verb::ExpectKey(who, key, value) => {
                let node = self.who(who)?;
                let found = self.db(node).and_then(|db| db.keys().get(key).cloned());
                let wrong = || Err(format!("{key} is {found:?} on {node}"));
                if found.as_deref() == Some(value) { Ok(()) } else { wrong() }
            }
            Verb::ExpectHole(promise, clock) => {
                let own = &self.checkers.own;
                let holes = if *clock { own.holes_clock } else { own.holes_frozen };
                let none = || Err(format!("the stated hole of {promise} did not show"));
                if holes > 0 { Ok(()) } else { none() }
            }
            Verb::ExpectSeals(who, number) => {
                let keys = &self.node(self.who(who)?).keys;
                let (own, other) = (keys.own.print, keys.other.map(|key| key.print));
                let wanted = (keys::print(*number), Other::None);
                if (own, other) == wanted { Ok(()) } else { Err(format!("{own} and {other:?}")) }
            }
            Verb::ExpectSees(who, other, wanted) => {
                let (node, other) = (self.node(self.who(who)?), self.who(other)?);
                let service = node.service.as_ref().ok_or("its service does not run")?;
                let view = service.cluster.view(node.clock.show(self.now));
                let state = view.nodes.iter().find(|n| n.node == other).map(|n| n.state);
                if state == Some(*wanted) { Ok(()) } else { Err(format!("it is {state:?}")) }
            }
            Verb::ExpectLevel(who, wanted) => {
                let node = self.who(who)?;
                let found = self.db(node).map(stead_core::db::Db::level);
                let wrong = || Err(format!("{node} is at {found:?}"));
                if found == Some(*wanted) { Ok(()) } else { wrong() }
            }
            Verb::ExpectLease(who, wanted) => {
                let node = self.who(who)?;
                let keeper = self.node(node).keeper.as_ref();
                let has = keeper.is_some_and(|k| k.guard.status().lease.is_some());
                let wrong = || Err(format!("{node}: lease in force is {has}"));
                if has == *wanted { Ok(()) } else { wrong() }
            }
            _ => Ok(()),
        }
    }

    fn who(&self, who: &Who) -> Result<NodeId, String> {
        let leads = |n: &NodeId| {
            let service = self.node(*n).service.as_ref();
            service.is_some_and(|s| !s.cluster.leading().is_empty())
        };
        let runs = |n: &NodeId| self.node(*n).service.is_some();
        let hosts =
            |n: &NodeId| self.node(*n).service.as_ref().is_some_and(|s| s.cluster.hosts_disk());
        let found = match who {
            Who::Node(node) => Some(*node),
            Who::Named(name) => self.script.as_ref().and_then(|s| s.names.get(name)).copied(),
            Who::Leader => self.node_ids().find(leads),
            Who::Host => self.node_ids().find(hosts),
            Who::Follower => self.node_ids().find(|n| runs(n) && !leads(n)),
            Who::Owner(group) => {
                self.newest_db().and_then(|db| Some(db.group(group)?.ownership.as_ref()?.node))
            }
        };
        found.ok_or_else(|| format!("nobody is {who:?}"))
    }
}

/// The promise whose stated hole is meant.
pub(super) const HOLE: Promise = Promise::Own;
