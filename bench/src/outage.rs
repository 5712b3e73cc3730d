//! `bench outage`: how long a client gets no answer when a node loses power.
//!
//! It is the demo with its default victim, the hardest one: the owner of the group that also leads
//! and, where there is one, hosts the quorum disk. A round begins when the cluster is healthy and
//! leases are short.

use stead_lab::demo::{DemoError, DemoOptions, DemoReport, DemoRun, demo};
use stead_model::profile::Profile;
use stead_model::{NodeId, VoterId};

use crate::bench::{Bench, Outcome};
use crate::figure::{Case, Figure, Kind};
use crate::screen;

/// In two and three nodes, both profiles.
pub(crate) fn run(bench: &Bench) -> Outcome {
    let cases = bench.cases(&[Profile::Standard, Profile::Fast], &[2, 3]);
    Outcome::over(&cases, |case, outcome| measure(bench, case, outcome))
}

fn measure(bench: &Bench, case: Case, outcome: &mut Outcome) -> Result<(), DemoError> {
    let options = DemoOptions {
        name: bench.lab.clone(),
        runs: bench.runs(RUNS),
        nodes: case.nodes,
        profile: case.profile,
        program: Some(bench.program.clone()),
        home: bench.home.clone(),
        ..DemoOptions::default()
    };
    let report = demo(&options, &mut |line| screen::talk(&format!("  {line}")))?;
    outcome.note(format!("{case}: {}", roles(&report.runs)));
    outcome
        .note("detect, decide, online count from the power cut, the outage from the last answer");
    outcome.note(format!("web server: {}", report.web_server));
    outcome.figures.extend(figures(case, &report));
    Ok(())
}

/// What the owner of the group was besides: the demo wants both but does not insist on the disk.
fn roles(runs: &[DemoRun]) -> String {
    let is_victim = |run: &&DemoRun, node: Option<NodeId>| node == Some(run.crashed);
    let led = runs.iter().filter(|run| is_victim(run, run.leader.and_then(VoterId::node))).count();
    let hosted = runs.iter().filter(|run| is_victim(run, run.disk_host)).count();
    format!(
        "of {} owners that lost power {led} led themselves and {hosted} hosted the quorum disk",
        runs.len()
    )
}

fn figures(case: Case, report: &DemoReport) -> [Figure; 4] {
    let figure = |kind, of: fn(&DemoRun) -> Option<f64>| {
        let values: Vec<f64> = report.runs.iter().filter_map(of).collect();
        Figure::new(kind, case, &values)
    };
    [
        figure(Kind::Outage, |run| Some(run.outage_ms)),
        figure(Kind::Detect, |run| run.detect_ms),
        figure(Kind::Decide, |run| run.decide_ms),
        figure(Kind::Online, |run| run.online_ms),
    ]
}

const RUNS: u32 = 10;
