//! Looking into the cores after every call, and judging the end of a run.

use std::collections::BTreeMap;

use stead_core::db::{Db, shall_run};
use stead_core::{Event, IoResult};
use stead_model::group::{Desired, Group, GroupState};
use stead_model::order::GuardReport;
use stead_model::profile::LeaseLength;
use stead_model::{GroupId, NodeId, Span};

use crate::acts::Standing;
use crate::agenda::{Happening, Outside};
use crate::checkers::converge::{Judgement, Place, bound};
use crate::checkers::{Checkers, Promise, Verdict, Violation};
use crate::node::Seen;
use crate::world::{Phase, World};

impl Checkers {
    /// A core is told something.
    pub fn told(&mut self, node: NodeId, event: &Event) -> Verdict {
        match event {
            Event::Resource(report) => {
                self.dep.told(node, &report.resource, &report.outcome);
            }
            Event::Guard(GuardReport::HardStopDone { .. }) => self.dep.stopped(node),
            Event::Io {
                result: IoResult::Failed(_) | IoResult::Written | IoResult::Read(_),
                ..
            }
            | Event::Guard(_)
            | Event::Deadline
            | Event::WallClock(_)
            | Event::Received { .. }
            | Event::Interfaces(_)
            | Event::Keys(_)
            | Event::Request(_) => {}
        }
        Ok(())
    }
}

impl World {
    /// Shows the checkers what a core has applied and whether it leads.
    pub fn look_into(&mut self, node: NodeId) {
        let machine = &mut self.nodes[usize::from(node.0) - 1];
        let Some(service) = machine.service.as_mut() else { return };
        service.applied_before = service.seen.applied;
        let leading = service.cluster.leading();
        let history = service.cluster.history();
        for (voter, term) in &leading {
            let term = (history.id, *term);
            if let Err(violation) = self.checkers.election.leads(term, *voter) {
                self.violation.get_or_insert(violation);
            }
        }
        let seen = Seen {
            history,
            applied: service.cluster.applied(),
            leading,
            hosts: service.cluster.hosts_disk(),
        };
        if seen == service.seen {
            return;
        }
        let before = std::mem::replace(&mut service.seen, seen.clone());
        self.story_of(node, &before, &seen);
        if (before.history, before.applied) == (seen.history, seen.applied) {
            return;
        }
        self.trace.mix(seen.applied.0);
        let machine = &self.nodes[usize::from(node.0) - 1];
        let Some(cluster) = machine.service.as_ref().map(|s| &s.cluster) else { return };
        let at = (history.id, seen.applied);
        let verdict = self.checkers.agree.applied(node, at, cluster.digest());
        let Some(db) = cluster.db() else { return };
        if before.history != history {
            let had = (before.applied, seen.applied);
            let lost = self
                .checkers
                .ack
                .goes_on((node, history.id), had, |key| db.keys().get(key).cloned());
            self.tally.forced += 1;
            self.tally.forced_away += lost;
        }
        let counts = self.checkers.reaches(history.generation);
        let verdict = verdict
            .and_then(|()| {
                if !counts {
                    return Ok(());
                }
                let value = |key: &str| db.keys().get(key).cloned();
                self.checkers.ack.applied(node, seen.applied, value)?;
                self.checkers.dep.applied(db)
            })
            .and_then(|()| self.checkers.why.all_owned(db.groups()));
        self.verdict(verdict);
    }

    fn story_of(&mut self, node: NodeId, before: &Seen, seen: &Seen) {
        for (voter, term) in seen.leading.iter().filter(|l| !before.leading.contains(l)) {
            self.trace.milestone(self.now, || format!("{node} leads as {voter} in {term}"));
        }
        if before.hosts != seen.hosts {
            let word = if seen.hosts { "hosts D" } else { "no longer hosts D" };
            self.trace.milestone(self.now, || format!("{node} {word}"));
        }
    }

    /// Faults are over: from now on everything must come to rest.
    pub fn begin_judging(&mut self) {
        let straggling = self.plan.weather.stragglers > 0;
        let straggle = if straggling { self.plan.weather.straggle_max_ns } else { 0 };
        let hanging = self.plan.disks.failing > 0 && self.plan.disks.late > 0;
        let hang = if hanging { self.timing.heartbeat.0 * 60 } else { 0 };
        // A wish may be waiting for a node that was asked under faults, and will not say anything.
        let wish = self.clients.open_wish().map_or(0, |_| stead_core::FIT_PATIENCE.0);
        let calm = self.now + straggle.max(hang).max(wish);
        self.checkers.converge.calm_since = Some(calm);
        self.agenda.put(self.now, Happening::World(Outside::Judge));
    }

    /// Judges I-CONVERGE about every heartbeat.
    pub fn judge(&mut self) {
        let longest = self.node_ids().filter_map(|n| Some(self.db(n)?.longest_lease())).max();
        let habits = self.plan.processes;
        // As if every resource of a group stood on another one.
        let deep = self.plan.clients.groups.iter().map(Vec::len).max().unwrap_or(0).max(3) as u64;
        let starts = Span((habits.start_max_ns + habits.stop_max_ns) * (deep + 1))
            + self.timing.heartbeat * (8 * deep);
        let disk_only = self.plan.mode == stead_model::config::QuorumMode::DiskOnly;
        let least = if disk_only { LeaseLength::Longer } else { LeaseLength::Short };
        let lease = self.timing.length(longest.unwrap_or_default().max(least));
        let watch = self.timing.wait(self.timing.lease) + self.timing.election * 4;
        let watch = watch + self.timing.heartbeat * 8;
        let limits = (bound(&self.timing, lease, starts), watch);
        let newest = self.checkers.ack.newest();
        self.checkers.converge.remember(newest);
        let mut places = self.places();
        let patience = self.timing.wait(lease) + self.timing.election * 4;
        let calm = self.checkers.converge.calm_since.unwrap_or(self.now);
        if self.away.is_some() && self.now < calm + patience.0 {
            let text = "the node that stays away may still hold a lease".to_owned();
            places.insert("away".into(), Place::NotYet(text));
        }
        match self.checkers.converge.judge(self.now, places, limits) {
            Err(_) if self.disk_damaged => self.close(),
            Err(violation) => {
                let places = self.places().into_iter();
                let late = places.filter(|(_, place)| matches!(place, Place::NotYet(_)));
                late.for_each(|(group, _)| self.tell_why(&group));
                self.verdict(Err(violation));
            }
            Ok(Judgement::Settled) => self.close(),
            Ok(Judgement::Wait) => {
                let next = self.now + self.timing.heartbeat.0;
                self.agenda.put(next, Happening::World(Outside::Judge));
            }
        }
    }

    /// What the product itself says of a group that is not where the judge wants it.
    fn tell_why(&mut self, group: &GroupId) {
        let now = self.now;
        for node in &mut self.nodes {
            let time = node.clock.show(now);
            let said = node.service.as_mut().and_then(|it| it.cluster.explain(time, group));
            if let Some(said) = said.filter(|said| said.decides) {
                let rules = node.service.as_ref().and_then(|it| it.cluster.db()?.group(group));
                let rules = rules.map(|group| &group.policy.rules);
                self.trace.milestone(now, || format!("{} says {said:?} {rules:?}", node.id));
            }
        }
    }

    /// The database of a node, once it is read.
    #[must_use]
    pub fn db(&self, node: NodeId) -> Option<&Db> {
        self.node(node).service.as_ref()?.cluster.db()
    }

    /// Where every group is, by the newest database and by what truly acts.
    fn places(&self) -> BTreeMap<GroupId, Place> {
        let newest = self.newest_db();
        let mut places = BTreeMap::new();
        let Some(db) = newest else {
            places.insert("cluster".into(), Place::NotYet("no database is read".into()));
            return places;
        };
        if let Some(under_way) = self.chore_under_way() {
            places.insert("chores".into(), Place::NotYet(under_way));
        }
        if let Some(lag) = self.lag() {
            places.insert("cluster".into(), lag);
        }
        if !self.clients.are_set_up() {
            places.insert("set-up".into(), Place::NotYet("not acknowledged".into()));
        }
        if let Some(id) = self.clients.open_wish() {
            places.insert("clients".into(), Place::NotYet(format!("{id} is not answered")));
        }
        places.extend(db.groups().iter().map(|(id, group)| (id.clone(), self.place(group))));
        self.excuse_ruled(db, &mut places);
        places
    }

    /// The database that counts.
    #[must_use]
    pub fn newest_db(&self) -> Option<&Db> {
        let all = self.node_ids().filter_map(|n| self.db(n));
        all.max_by_key(|db| (db.history().generation, db.applied()))
    }

    /// A node that still lacks what was acknowledged some heartbeats ago. Once all was well this
    /// is not judged any more: clients go on writing.
    fn lag(&self) -> Option<Place> {
        if self.away.is_some() {
            return None;
        }
        let due = self.checkers.converge.acknowledged_before();
        let history = self.newest_db().map(Db::history);
        let late = |n: &NodeId| {
            self.db(*n).is_none_or(|d| d.applied() < due || Some(d.history()) != history)
        };
        let evicted = self.evicted();
        let mut members = self.node_ids().filter(|node| !evicted.contains(node));
        let late = members.find(late).filter(|_| !self.checkers.converge.is_settled())?;
        Some(Place::NotYet(format!("{late} lacks changes up to {due}")))
    }

    fn place(&self, group: &Group) -> Place {
        if !shall_run(group) {
            return match self.acts.iter().find(|act| act.group == group.id) {
                Some(act) => Place::NotYet(format!("{} still acts on {}", act.resource, act.node)),
                None => Place::Excused,
            };
        }
        let Some(ownership) = &group.ownership else { return Place::NotYet("no owner".into()) };
        if ownership.release.is_some() {
            return Place::NotYet(format!("{} has to release it", ownership.node));
        }
        let owner = ownership.node;
        if self.gave_up(&group.id) {
            return Place::Excused;
        }
        let wanted = stead_core::db::tree::wanted(&group.resources);
        for (id, resource) in &group.resources {
            let acts = self.acts.resource(owner, id).is_some_and(|a| a.standing == Standing::Runs);
            if wanted.contains(id) && !acts {
                return Place::NotYet(format!("{id} does not act on its owner {owner}"));
            }
            if resource.desired == Desired::Offline && acts {
                return Place::NotYet(format!("{id} acts on {owner} and should not"));
            }
        }
        Place::Online(owner, ownership.epoch)
    }

    /// Whether a resource of the group failed beyond its policy and there is nowhere to go.
    fn gave_up(&self, group: &GroupId) -> bool {
        let mut running = self.nodes.iter().filter_map(|node| Some((node, node.service.as_ref()?)));
        running.any(|(node, service)| {
            let view = service.cluster.view(node.clock.show(self.now));
            let found = view.groups.iter().find(|g| g.group == *group);
            !service.seen.leading.is_empty() && found.is_some_and(|g| g.state == GroupState::Failed)
        })
    }

    /// The end of a good run: the counts are kept.
    fn close(&mut self) {
        if self.phase == Phase::Over {
            return;
        }
        self.phase = Phase::Over;
        if self.checkers.ack.count() > 0 && self.node_ids().all(|n| self.db(n).is_none()) {
            let text = "no node has a database at the end".to_owned();
            self.verdict(Err(Violation::new(Promise::Ack, text)));
        }
    }

    /// Keeps the counts of all services; to be called when a run is over, however it ended.
    pub fn count_all(&mut self) {
        for node in self.node_ids() {
            self.bury_service(node);
        }
        self.tally.runs += 1;
        self.tally.holes_frozen += self.checkers.own.holes_frozen;
        self.tally.holes_clock += self.checkers.own.holes_clock;
        self.tally.dependency_rules = self.checkers.dep.judged;
    }
}
