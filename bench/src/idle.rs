//! `bench idle`: what a node costs while its group runs and nothing happens.
//!
//! Counted are guard, node service, monitor and the inits of applications; not the applications and
//! not what belongs to the lab. No client asks meanwhile.

use std::collections::BTreeMap;
use std::thread;
use std::time::Duration;

use stead_lab::{Lab, boot_ns};
use stead_model::NodeId;
use stead_model::profile::Profile;

use crate::bench::{Bench, Outcome};
use crate::figure::{Case, Figure, Kind, Part};
use crate::processes::{self, Memory, Process, ProcessError, Role, Sent, Spent};
use crate::screen;
use crate::site::{MeasureError, Site, wait_good};
use crate::statistics::rounded;

/// In two nodes, both profiles.
pub(crate) fn run(bench: &Bench) -> Outcome {
    let cases = bench.cases(&[Profile::Standard, Profile::Fast], &[2]);
    Outcome::over(&cases, |case, outcome| measure(bench, case, outcome))
}

fn measure(bench: &Bench, case: Case, outcome: &mut Outcome) -> Result<(), MeasureError> {
    let site = Site::with_group(bench, &case, outcome)?;
    let prober = site.prober()?;
    wait_good(&prober, None, "after the group was created")?;
    drop(prober);
    let figures = watch(bench, &site, case, outcome)?;
    outcome.figures.extend(figures);
    outcome.note("of each node guard, node service, monitor, inits; not application, not lab");
    site.down()
}

/// What each node costs while nobody asks for anything.
pub(crate) fn watch(
    bench: &Bench,
    site: &Site<'_>,
    case: Case,
    outcome: &mut Outcome,
) -> Result<Vec<Figure>, MeasureError> {
    let (owner, _) = site.owner_and_other()?;
    let of = |node| Case { node: Some(node), owner: Some(node == owner), ..case };
    let cases: Vec<Case> = site.lab().record().node_ids().map(of).collect();
    let figures = cost(bench, site, &cases)?;
    let quorum = site.cluster().view(owner)?.quorum;
    let leader = quorum.leader.map_or_else(|| "nobody".into(), |leader| leader.to_string());
    let host = quorum.disk_host.map_or_else(|| "nobody".into(), |node| node.to_string());
    outcome.note(format!("{case}: {leader} leads, {host} hosts the quorum disk"));
    outcome.note(format!("{} s without a client asking", bench.options.seconds));
    Ok(figures)
}

/// What the node of each case costs for a while from now on.
pub(crate) fn cost(
    bench: &Bench,
    site: &Site<'_>,
    cases: &[Case],
) -> Result<Vec<Figure>, MeasureError> {
    thread::sleep(AFTERMATH);
    let nodes: Vec<NodeId> = cases.iter().filter_map(|case| case.node).collect();
    let before = samples(site.lab(), &nodes)?;
    screen::talk(&format!("  idle for {} s", bench.options.seconds));
    thread::sleep(Duration::from_secs(bench.options.seconds));
    let after = samples(site.lab(), &nodes)?;
    let mut figures = Vec::new();
    for (case, (before, after)) in cases.iter().zip(before.iter().zip(&after)) {
        if let Some(change) = before.change_to(after) {
            return Err(MeasureError::NotLeftAlone { node: after.node, change });
        }
        let cpu = cpu(*case, before, after);
        let [rss, pss] = memory(*case, &after.processes)?;
        figures.extend([cpu, rss, pss]);
        figures.extend(traffic(*case, before, after));
    }
    Ok(figures)
}

/// What all nodes cost for a while from now on: a figure has one value per node.
pub(crate) fn cost_of_all(
    bench: &Bench,
    site: &Site<'_>,
    case: Case,
) -> Result<Vec<Figure>, MeasureError> {
    let of = |node| Case { node: Some(node), ..case };
    let cases: Vec<Case> = site.lab().record().node_ids().map(of).collect();
    let each = cost(bench, site, &cases)?;
    let all = |kind: Kind| {
        let values = each.iter().filter(|figure| figure.figure == kind);
        let values: Vec<f64> = values.flat_map(|figure| figure.values.iter().copied()).collect();
        Figure::new(kind, case, &values)
    };
    let kinds = [Kind::IdleCpu, Kind::Rss, Kind::Pss, Kind::IdlePackets, Kind::IdleBytes];
    Ok(kinds.map(all).to_vec())
}

/// The processes of a node at one moment; those of others are left out.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Sample {
    node: NodeId,
    taken_ns: u64,
    processes: Vec<(Process, Spent)>,
    sent: Sent,
}

impl Sample {
    fn take(lab: &Lab, node: NodeId) -> Result<Self, ProcessError> {
        let mut processes = Vec::new();
        for process in processes::of_node(lab, node)? {
            if process.role != Role::Foreign {
                processes.push((process, Spent::read(process.pid)?));
            }
        }
        Ok(Self { node, taken_ns: boot_ns(), processes, sent: Sent::by(lab, node)? })
    }

    /// What has not the very same processes as before, in words.
    fn change_to(&self, later: &Self) -> Option<String> {
        let lives = |sample: &Self| -> Vec<(Role, u32, u64)> {
            sample.processes.iter().map(|(p, spent)| (p.role, p.pid, spent.started)).collect()
        };
        let (before, after) = (lives(self), lives(later));
        let names = |these: &[(Role, u32, u64)], those: &[(Role, u32, u64)]| -> String {
            let only = these.iter().filter(|life| !those.contains(life));
            only.map(|(role, pid, _)| format!(" {} {pid}", role.name())).collect()
        };
        let (gone, new) = (names(&before, &after), names(&after, &before));
        (before != after).then(|| format!("gone:{gone}; new:{new}"))
    }
}

fn samples(lab: &Lab, nodes: &[NodeId]) -> Result<Vec<Sample>, ProcessError> {
    nodes.iter().map(|node| Sample::take(lab, *node)).collect()
}

/// Percent of one core between two samples of the same processes.
fn cpu(case: Case, before: &Sample, after: &Sample) -> Figure {
    let seconds = (after.taken_ns - before.taken_ns) as f64 / 1e9;
    let of_all = seconds * rustix::param::clock_ticks_per_second() as f64 / 100.0;
    let pairs = before.processes.iter().zip(&after.processes);
    let shares = pairs.map(|((process, before), (_, after))| {
        (process.role, after.ticks.saturating_sub(before.ticks) as f64 / of_all)
    });
    let kind = if case.load.is_some() { Kind::ScaleCpu } else { Kind::IdleCpu };
    summed(kind, case, shares)
}

/// What the node sent in a second between two samples, where no load is measured.
fn traffic(case: Case, before: &Sample, after: &Sample) -> Vec<Figure> {
    let seconds = (after.taken_ns - before.taken_ns) as f64 / 1e9;
    let rate = |from: u64, to: u64| to.saturating_sub(from) as f64 / seconds;
    let packets = rate(before.sent.packets, after.sent.packets);
    let bytes = rate(before.sent.bytes, after.sent.bytes);
    let figures = [(Kind::IdlePackets, packets), (Kind::IdleBytes, bytes)];
    let figures = figures.map(|(kind, value)| Figure::new(kind, case, &[value]));
    if case.load.is_some() { Vec::new() } else { figures.to_vec() }
}

fn memory(case: Case, processes: &[(Process, Spent)]) -> Result<[Figure; 2], ProcessError> {
    let held = |(process, _): &(Process, Spent)| Ok((process.role, Memory::read(process.pid)?));
    let held: Vec<(Role, Memory)> =
        processes.iter().map(held).collect::<Result<_, ProcessError>>()?;
    let mib = |kib: fn(&Memory) -> u64| {
        held.iter().map(move |(role, memory)| (*role, kib(memory) as f64 / 1024.0))
    };
    let (rss, pss) = match case.load {
        Some(_) => (Kind::ScaleRss, Kind::ScalePss),
        None => (Kind::Rss, Kind::Pss),
    };
    Ok([
        summed(rss, case, mib(|memory| memory.rss_kib)),
        summed(pss, case, mib(|memory| memory.pss_kib)),
    ])
}

/// One value, and what each kind of process has of it.
fn summed(kind: Kind, case: Case, shares: impl Iterator<Item = (Role, f64)>) -> Figure {
    let mut by_role: BTreeMap<Role, f64> = BTreeMap::new();
    for (role, share) in shares {
        *by_role.entry(role).or_insert(0.0) += share;
    }
    let sum = by_role.values().sum();
    let part =
        |(role, value): (Role, f64)| Part { name: role.name().into(), value: rounded(value) };
    Figure { parts: by_role.into_iter().map(part).collect(), ..Figure::new(kind, case, &[sum]) }
}

/// What follows a start (announcements at 50, 200 and 1000 ms) is over by then.
const AFTERMATH: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_of_one_role_are_added_up() {
        let shares = [(Role::Init, 0.25), (Role::Guard, 1.0), (Role::Init, 0.5)];
        let case = Case::of(Profile::Standard, 2);
        let figure = summed(Kind::IdleCpu, case, shares.into_iter());
        assert_eq!(figure.values, [1.75]);
        let parts: Vec<_> = figure.parts.iter().map(|p| (p.name.as_str(), p.value)).collect();
        assert_eq!(parts, [("guard", 1.0), ("init", 0.75)]);
    }
}
