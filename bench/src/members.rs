//! `bench members`: what each further node costs, and how long the cluster takes to change.
//!
//! ```text
//!   a lab of n nodes, the last of which has not joined
//!     joined ─► idle, all nodes watched ─► n times: all off ─► formed; one cut ─► lost ─► back
//! ```
//!
//! There is no group: the peers' figures for idle nodes are those of the bare stack. Times are
//! taken by looking at the views of all nodes, which costs a busy machine some milliseconds.

use std::thread;
use std::time::Duration;

use stead_lab::boot_ns;
use stead_lab::cluster::Cluster;
use stead_model::NodeId;
use stead_model::profile::Profile;
use stead_model::view::NodeState;

use crate::bench::{Bench, Outcome};
use crate::figure::{Case, Figure, Kind};
use crate::site::{MeasureError, Site};
use crate::{idle, screen};

/// Two to sixteen nodes, profile standard.
pub(crate) fn run(bench: &Bench) -> Outcome {
    let cases = bench.cases(&[Profile::Standard], &[2, 3, 5, 8, 16]);
    Outcome::over(&cases, |case, outcome| measure(bench, case, outcome))
}

fn measure(bench: &Bench, case: Case, outcome: &mut Outcome) -> Result<(), MeasureError> {
    let site = Site::with_spare(bench, &case, outcome)?;
    let joined_s = join(&site)?;
    screen::talk(&format!("  joined after {joined_s:.2} s"));
    outcome.figures.push(Figure::new(Kind::Join, case, &[joined_s]));
    site.settle_nodes()?;
    outcome.figures.extend(idle::cost_of_all(bench, &site, case)?);
    let (mut formed, mut lost, mut back) = (Vec::new(), Vec::new(), Vec::new());
    for number in 1..=bench.runs(RUNS) {
        formed.push(form(&site)?);
        site.settle_nodes()?;
        let (lost_ms, back_s) = lose_one(&site)?;
        lost.push(lost_ms);
        back.push(back_s);
        let formed_s = formed.last().copied().unwrap_or_default();
        screen::talk(&format!(
            "  {number}: formed after {formed_s:.2} s, a lost node known after {lost_ms:.0} ms, \
             back after {back_s:.2} s"
        ));
        site.settle_nodes()?;
    }
    outcome.figures.push(Figure::new(Kind::Form, case, &formed));
    outcome.figures.push(Figure::new(Kind::NodeLost, case, &lost));
    outcome.figures.push(Figure::new(Kind::NodeBack, case, &back));
    outcome.note("idle: smallest, middle and largest of all nodes, none of which owns a group");
    outcome.note("joined, formed, back: every node has quorum and sees every other one up");
    outcome.note(
        "lost: no other node calls it up, and all have quorum; its lease ends later (`outage`)",
    );
    site.down()
}

/// Seconds from the request until the spare node is one of them.
fn join(site: &Site<'_>) -> Result<f64, MeasureError> {
    let cluster = site.cluster();
    let spare = last(site);
    let founders = site.lab().record().founders().count();
    cluster.wait_serving(LIMIT)?;
    let begun_ns = boot_ns();
    cluster.add(spare)?;
    wait_whole(&cluster, site, founders + 1)?;
    Ok(seconds_since(begun_ns))
}

/// All nodes lose power; seconds from switching them on until they are a cluster again.
fn form(site: &Site<'_>) -> Result<f64, MeasureError> {
    let nodes: Vec<NodeId> = site.lab().record().node_ids().collect();
    for node in &nodes {
        site.lab().crash(*node)?;
    }
    let begun_ns = boot_ns();
    thread::scope(|scope| {
        let start = |node: &NodeId| {
            let node = *node;
            scope.spawn(move || site.lab().start(node))
        };
        let starts: Vec<_> = nodes.iter().map(start).collect();
        starts.into_iter().try_for_each(|start| match start.join() {
            Ok(begun) => begun.map(drop).map_err(MeasureError::from),
            Err(panic) => std::panic::resume_unwind(panic),
        })
    })?;
    wait_whole(&site.cluster(), site, nodes.len())?;
    Ok(seconds_since(begun_ns))
}

/// The last node loses power: milliseconds until the others know, and seconds from switching it on
/// until it is one of them again.
fn lose_one(site: &Site<'_>) -> Result<(f64, f64), MeasureError> {
    let cluster = site.cluster();
    let lost = last(site);
    let cut_ns = site.lab().crash(lost)?;
    for node in site.lab().record().node_ids().filter(|node| *node != lost) {
        cluster.wait(LIMIT, "the lost node is not known as down", || {
            let view = cluster.view(node).map_err(|error| error.to_string())?;
            let seen = view.nodes.iter().find(|seen| seen.node == lost);
            let state = seen.map(|seen| seen.state);
            let down = state.is_some_and(|state| state != NodeState::Up) && view.quorum.has_quorum;
            down.then_some(()).ok_or_else(|| format!("{node} sees it as {state:?}"))
        })?;
    }
    let lost_ms = seconds_since(cut_ns) * 1e3;
    let begun_ns = site.lab().start(lost)?;
    wait_whole(&cluster, site, site.lab().record().node_ids().count())?;
    Ok((lost_ms, seconds_since(begun_ns)))
}

/// Waits until so many nodes are members and each has quorum and sees all of them up.
fn wait_whole(cluster: &Cluster<'_>, site: &Site<'_>, nodes: usize) -> Result<(), MeasureError> {
    for node in site.lab().record().node_ids() {
        cluster.wait(LIMIT, "the cluster is not whole", || {
            let view = cluster.view(node).map_err(|error| error.to_string())?;
            let up = view.nodes.iter().filter(|seen| seen.state == NodeState::Up).count();
            let whole = view.quorum.has_quorum && up == nodes;
            whole.then_some(()).ok_or_else(|| format!("{node} sees {up} of {nodes} nodes up"))
        })?;
    }
    Ok(())
}

fn last(site: &Site<'_>) -> NodeId {
    NodeId(site.lab().record().nodes)
}

fn seconds_since(begun_ns: u64) -> f64 {
    boot_ns().saturating_sub(begun_ns) as f64 / 1e9
}

const RUNS: u32 = 5;
/// A generous end for sixteen nodes on two processors.
const LIMIT: Duration = Duration::from_secs(120);
