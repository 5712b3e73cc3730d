//! `bench scale`: many resources at once. One declaration brings all of them online, then their
//! owner loses power, and all come online on the other node.
//!
//! Half of the usual case are `ocf:pacemaker:Dummy`, a shell script that is executed for each
//! action, half are processes under the guard; the other case is the processes alone. Both nodes
//! of the lab share the machine. When all is online is told by the records of the owner, one per
//! group; that all of it is, by its view and its processes. The time that the scripts themselves
//! take is shown beside: forking them costs what it costs.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::thread;
use std::time::Duration;

use serde::Serialize;
use stead_lab::boot_ns;
use stead_model::declaration::{Declaration, DeclaredGroup, DeclaredResource};
use stead_model::group::GroupState;
use stead_model::profile::Profile;
use stead_model::record::Record;
use stead_model::request::Request;
use stead_model::resource::ResourceState;
use stead_model::view::View;
use stead_model::{GroupId, NodeId};

use crate::bench::{Bench, Outcome};
use crate::figure::{Case, Figure, Kind, Part};
use crate::processes::{self, Role, Times};
use crate::site::{MeasureError, Site};
use crate::{idle, screen};

/// How many resources of which kind.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
pub(crate) struct Load {
    /// `generic-application`.
    pub(crate) apps: u32,
    /// `ocf:pacemaker:Dummy`.
    pub(crate) agents: u32,
    /// Spread over so many groups.
    pub(crate) groups: u32,
}

impl fmt::Display for Load {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { apps, agents, groups } = self;
        write!(f, "{apps} applications and {agents} agents in {groups} groups")
    }
}

impl Load {
    /// What the issue asks for: the mix, and the applications alone.
    pub(crate) const USUAL: [Self; 2] =
        [Self { apps: 500, agents: 500, groups: 10 }, Self { apps: 500, agents: 0, groups: 10 }];

    const fn all(self) -> u32 {
        self.apps + self.agents
    }

    fn group(self, number: u32) -> GroupId {
        format!("g{:03}", number % self.groups).as_str().into()
    }

    /// All of it on one node as long as that lives, nothing ever given up.
    fn declaration(self, home: NodeId) -> Declaration {
        let text = |pairs: &[(&str, &str)]| -> BTreeMap<String, String> {
            pairs.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect()
        };
        let home = home.to_string();
        let policy = [("preferred-owners", home.as_str()), ("failover-threshold", "1000")];
        let group = |number| DeclaredGroup {
            group: self.group(number),
            properties: text(&policy),
            desired: None,
            line: 0,
        };
        let common = [("is-alive", "60s"), ("restart-threshold", "1000")];
        let resource = |number: u32| {
            let app = number < self.apps;
            let (name, kind) = if app { ("app", APPLICATION) } else { ("agent", AGENT) };
            let mut properties = text(&common);
            if app {
                properties.insert("command".into(), "/bin/sleep infinity".into());
            }
            DeclaredResource {
                group: self.group(number),
                resource: format!("{name}-{number:04}").as_str().into(),
                kind: kind.into(),
                properties,
                depends_on: BTreeSet::new(),
                desired: None,
                line: 0,
            }
        };
        Declaration {
            groups: (0..self.groups).map(group).collect(),
            resources: (0..self.all()).map(resource).collect(),
            ..Declaration::default()
        }
    }
}

/// In two nodes, the standard profile, both loads unless one was asked for.
pub(crate) fn run(bench: &Bench) -> Outcome {
    let cases = bench.cases(&[Profile::Standard], &[2]);
    let loads = bench.options.loads();
    let with = |case: Case| loads.iter().map(move |load| Case { load: Some(*load), ..case });
    let cases: Vec<Case> = cases.into_iter().flat_map(with).collect();
    Outcome::over(&cases, |case, outcome| {
        let Some(load) = case.load else { return Ok(()) };
        measure(bench, (case, load), outcome)
    })
}

fn measure(
    bench: &Bench,
    (case, load): (Case, Load),
    outcome: &mut Outcome,
) -> Result<(), MeasureError> {
    let runs = bench.runs(RUNS);
    let (mut ups, mut takeovers) = (Vec::new(), Vec::new());
    for number in 1..=runs {
        let site = Site::up(bench, &case, outcome)?;
        site.cluster().wait_serving(LIMIT)?;
        let scene = Scene { site: &site, load };
        let up = scene.bring_online()?;
        screen::talk(&format!("  run {number}: {load} online after {:.2} s", up.seconds));
        if number == runs {
            outcome.figures.extend(idle::cost(bench, &site, &scene.nodes(case))?);
        }
        let takeover = scene.crash()?;
        screen::talk(&format!("  run {number}: on the other node after {:.2} s", takeover.seconds));
        ups.push(up);
        takeovers.push(takeover);
        site.down()?;
    }
    outcome.figures.push(figure(Kind::ScaleUp, case, &ups));
    outcome.figures.push(figure(Kind::ScaleTakeover, case, &takeovers));
    outcome.note("online: from the request, or the power cut, to the last group's record");
    outcome.note("parts of a time are of its last run: processor seconds of the node that owns");
    outcome.note("agents: processor time of all that the agents' actions execute");
    Ok(())
}

/// One time, and what the node spent in it.
#[derive(Clone, PartialEq, Debug)]
struct Run {
    seconds: f64,
    spent: BTreeMap<&'static str, f64>,
}

fn figure(kind: Kind, case: Case, runs: &[Run]) -> Figure {
    let seconds: Vec<f64> = runs.iter().map(|run| run.seconds).collect();
    let part = |(name, value): (&&str, &f64)| Part { name: (*name).into(), value: *value };
    let parts = runs.last().map(|run| run.spent.iter().map(part).collect());
    Figure { parts: parts.unwrap_or_default(), ..Figure::new(kind, case, &seconds) }
}

/// A lab with this load.
struct Scene<'a> {
    site: &'a Site<'a>,
    load: Load,
}

impl Scene<'_> {
    fn nodes(&self, case: Case) -> Vec<Case> {
        let of = |node| Case { node: Some(node), owner: Some(node == HOME), ..case };
        self.site.lab().record().node_ids().map(of).collect()
    }

    fn bring_online(&self) -> Result<Run, MeasureError> {
        let declaration = self.load.declaration(HOME);
        let before = self.spent(HOME)?;
        let seen = self.site.cluster().records(HOME, 0)?.last().map_or(0, |r| r.number);
        let from_ns = boot_ns();
        self.site.request(&Request::Apply { wanted: declaration })?;
        self.all_online(HOME, (seen + 1, from_ns), &before)
    }

    fn crash(&self) -> Result<Run, MeasureError> {
        let other = self.site.lab().record().node_ids().find(|node| *node != HOME);
        let other = other.ok_or(MeasureError::Group("has no other node to go to"))?;
        let before = self.spent(other)?;
        let seen = self.site.cluster().records(other, 0)?.last().map_or(0, |r| r.number);
        let from_ns = self.site.lab().crash(HOME)?;
        self.all_online(other, (seen + 1, from_ns), &before)
    }

    /// Until the records of a node say that all groups are online; then its view must, too.
    fn all_online(
        &self,
        node: NodeId,
        (mut next, from_ns): (u64, u64),
        before: &BTreeMap<&'static str, f64>,
    ) -> Result<Run, MeasureError> {
        let mut online: BTreeMap<GroupId, u64> = BTreeMap::new();
        let cluster = self.site.cluster();
        let done_ns = cluster.wait(LIMIT, "groups not online", || {
            thread::sleep(PAUSE);
            let records = cluster.records(node, next).map_err(|error| error.to_string())?;
            next = records.last().map_or(next, |last| last.number + 1);
            online.extend(records.iter().filter_map(when_online));
            let done = online.values().copied().max().unwrap_or_default();
            let all = online.len() >= self.load.groups as usize;
            all.then_some(done).ok_or_else(|| format!("{} groups are online", online.len()))
        })?;
        let spent = self.spent(node)?.into_iter();
        let spent = spent.map(|(name, s)| (name, s - before.get(name).unwrap_or(&0.0))).collect();
        self.check(node, &cluster.view(node)?)?;
        Ok(Run { seconds: done_ns.saturating_sub(from_ns) as f64 / 1e9, spent })
    }

    /// Everything is where it should be, and the applications are processes.
    fn check(&self, node: NodeId, view: &View) -> Result<(), MeasureError> {
        let here = view.groups.iter().filter(|g| g.owner == Some(node));
        let whole = here.filter(|g| g.state == GroupState::Online);
        let resources = whole.flat_map(|group| &group.resources);
        let online = resources.filter(|r| r.state == ResourceState::Online).count();
        let all = processes::of_node(self.site.lab(), node)?;
        let inits = all.iter().filter(|process| process.role == Role::Init).count();
        if online != self.load.all() as usize || inits < self.load.apps as usize {
            return Err(MeasureError::NotOnline { node, online, inits });
        }
        Ok(())
    }

    /// Processor seconds of a node so far.
    fn spent(&self, node: NodeId) -> Result<BTreeMap<&'static str, f64>, MeasureError> {
        let mut sums = BTreeMap::new();
        for process in processes::of_node(self.site.lab(), node)? {
            let times = processes::or_gone(Times::read(process.pid))?;
            let Some(Times { own, waited_for }) = times else { continue };
            if process.role == Role::Init {
                *sums.entry("agents").or_insert(0.0) += waited_for;
            }
            *sums.entry(process.role.name()).or_insert(0.0) += own;
        }
        Ok(sums)
    }
}

/// A group came online, and when.
fn when_online(record: &Record) -> Option<(GroupId, u64)> {
    let group = record.group.clone().filter(|_| record.code == "group-online")?;
    Some((group, record.boot_ns))
}

/// The node that owns everything first.
const HOME: NodeId = NodeId(1);
const APPLICATION: &str = "generic-application";
const AGENT: &str = "ocf:pacemaker:Dummy";
const RUNS: u32 = 3;
/// A generous end: what Pacemaker takes for the same, and more.
const LIMIT: Duration = Duration::from_secs(900);
/// Between two looks at the records.
const PAUSE: Duration = Duration::from_millis(100);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_load_is_spread_over_the_groups_and_valid() {
        let load = Load { apps: 5, agents: 3, groups: 2 };
        let declaration = load.declaration(HOME);
        assert_eq!(declaration.groups.len(), 2);
        let of = |kind| declaration.resources.iter().filter(|r| r.kind == kind).count();
        assert_eq!((of(APPLICATION), of(AGENT)), (5, 3));
        let first = declaration.groups[0].group.clone();
        assert_eq!(declaration.resources.iter().filter(|r| r.group == first).count(), 4);
        assert_eq!(load.to_string(), "5 applications and 3 agents in 2 groups");
    }
}
