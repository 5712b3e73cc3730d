//! `bench up`: from nothing to a cluster that serves.
//!
//! Two figures: until all nodes have quorum, which is the end of `lab up`, and on until a client
//! gets a page of a group that is created then. The second is what the peers' figure means: their
//! daemons started until the first answer.

use stead_lab::boot_ns;
use stead_model::profile::Profile;

use crate::bench::{Bench, Outcome};
use crate::figure::{Case, Figure, Kind};
use crate::site::{MeasureError, Site, wait_good_after};
use crate::{handover, screen};

/// Two nodes, profile standard.
pub(crate) fn run(bench: &Bench) -> Outcome {
    let cases = bench.cases(&[Profile::Standard], &[2]);
    Outcome::over(&cases, |case, outcome| measure(bench, case, outcome))
}

fn measure(bench: &Bench, case: Case, outcome: &mut Outcome) -> Result<(), MeasureError> {
    let (mut ups, mut answers) = (Vec::new(), Vec::new());
    for number in 1..=bench.runs(RUNS) {
        let (up_s, answer_s) = once(bench, case, outcome)?;
        screen::talk(&format!("  up {number}: {up_s:.2} s, first answer after {answer_s:.2} s"));
        ups.push(up_s);
        answers.push(answer_s);
    }
    outcome.figures.push(Figure::new(Kind::Up, case, &ups));
    outcome.figures.push(Figure::new(Kind::UpAnswer, case, &answers));
    Ok(())
}

/// Seconds to quorum and to the first answer.
fn once(bench: &Bench, case: Case, outcome: &mut Outcome) -> Result<(f64, f64), MeasureError> {
    let begun_ns = boot_ns();
    let site = Site::up(bench, &case, outcome)?;
    let up_ns = boot_ns();
    let prober = site.prober()?;
    site.create_group()?;
    let latest = wait_good_after(&prober, begun_ns, None, "after the group was created")?;
    let first_ns = handover::first_good_ns(&prober.attempts()).unwrap_or(latest.done_ns);
    drop(prober);
    outcome.note(format!("web server: {}", site.web));
    site.down()?;
    let seconds = |end_ns: u64| (end_ns - begun_ns) as f64 / 1e9;
    Ok((seconds(up_ns), seconds(first_ns)))
}

const RUNS: u32 = 5;
