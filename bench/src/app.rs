//! `bench app`: an application is killed and restarted in place; how long until it answers again.
//!
//! The application's own start is no work of ours. It is measured apart, the same web server
//! started outside of the lab and asked without pause; the quickest of these starts is taken off
//! every run, so that a busy machine makes the figure worse and never better. What is left has up
//! to 5 ms of the client in it, which asks no oftener.

use std::collections::BTreeMap;
use std::thread;
use std::time::Duration;

use rustix::process::{Signal, pidfd_send_signal};
use stead_lab::boot_ns;
use stead_lab::prober::Prober;
use stead_model::NodeId;
use stead_model::profile::Profile;
use stead_model::request::Request;

use crate::bench::{Bench, Outcome};
use crate::figure::{Case, Figure, Kind};
use crate::processes::{self, ProcessError};
use crate::site::{MeasureError, Site, wait_good, wait_good_after};
use crate::statistics::Spread;
use crate::{handover, screen, web_start};

/// In two nodes, both profiles.
pub(crate) fn run(bench: &Bench) -> Outcome {
    let cases = bench.cases(&[Profile::Standard, Profile::Fast], &[2]);
    Outcome::over(&cases, |case, outcome| measure(bench, case, outcome))
}

fn measure(bench: &Bench, case: Case, outcome: &mut Outcome) -> Result<(), MeasureError> {
    let runs = bench.runs(RUNS);
    let site = Site::with_group(bench, &case, outcome)?;
    let (owner, _) = site.owner_and_other()?;
    restart_without_end(&site)?;
    let prober = site.prober()?;
    let mut answers = Vec::new();
    for number in 1..=runs {
        let answer_ms = once(&site, &prober, owner)?;
        screen::talk(&format!("  kill {number}: answers after {answer_ms:.1} ms"));
        answers.push(answer_ms);
    }
    drop(prober);
    let web = site.web.clone();
    site.down()?;
    let starts = web_start::measure(&web, &bench.program, runs)?;
    let start_ms = Spread::of(&starts).map_or(0.0, |spread| spread.min);
    let restarts: Vec<f64> = answers.iter().map(|answer| (answer - start_ms).max(0.0)).collect();
    outcome.figures.push(Figure::new(Kind::AppRestart, case, &restarts));
    outcome.figures.push(Figure::new(Kind::AppAnswer, case, &answers));
    outcome.figures.push(Figure::new(Kind::AppStart, case, &starts));
    outcome.note(
        "application start: the same web server started outside of the lab, executed to its first \
         page; the quickest is taken off every run",
    );
    outcome.note("up to 5 ms of every run are the client's, which asks that often");
    Ok(())
}

/// By default the fourth failure within a quarter of an hour moves the group.
fn restart_without_end(site: &Site<'_>) -> Result<(), MeasureError> {
    let group = site.settle()?;
    let application = group.resources.iter().find(|found| found.kind == "generic-application");
    let application = application.ok_or(MeasureError::Group("has no application"))?;
    let properties = BTreeMap::from([("restart-threshold".to_owned(), Some("1000".to_owned()))]);
    let resource = application.resource.clone();
    site.request(&Request::SetResource { resource, properties })
}

fn once(site: &Site<'_>, prober: &Prober, owner: NodeId) -> Result<f64, MeasureError> {
    if site.settle()?.owner != Some(owner) {
        return Err(MeasureError::Group("was moved instead of restarted in place"));
    }
    wait_good(prober, None, "before the application was killed")?;
    let application = processes::application(site.lab(), owner)?;
    // The look at the processes is not to be part of what follows.
    thread::sleep(BEFORE_KILL);
    let kill_ns = boot_ns();
    pidfd_send_signal(&application, Signal::KILL).map_err(ProcessError::NotKilled)?;
    wait_good_after(prober, kill_ns + WINDOW_NS, None, "after the application was killed")?;
    let back = handover::back_after_ms(&prober.attempts(), kill_ns);
    back.ok_or(MeasureError::Group("was not seen to answer again"))
}

const RUNS: u32 = 10;
const BEFORE_KILL: Duration = Duration::from_millis(500);
/// The gap is looked for up to the first answer after this: in it a restart shows, or has begun.
const WINDOW_NS: u64 = 200_000_000;
