//! `bench move`: how long a client gets no answer while an administrator moves the group.

use stead_lab::demo::GROUP;
use stead_lab::prober::Prober;
use stead_lab::{Station, boot_ns};
use stead_model::GroupId;
use stead_model::profile::Profile;
use stead_model::request::Request;

use crate::bench::{Bench, Outcome};
use crate::figure::{Case, Figure, Kind};
use crate::site::{MeasureError, Site, wait_good, wait_good_after};
use crate::{handover, screen};

/// To and fro between two nodes, both profiles.
pub(crate) fn run(bench: &Bench) -> Outcome {
    let cases = bench.cases(&[Profile::Standard, Profile::Fast], &[2]);
    Outcome::over(&cases, |case, outcome| measure(bench, case, outcome))
}

fn measure(bench: &Bench, case: Case, outcome: &mut Outcome) -> Result<(), MeasureError> {
    let site = Site::with_group(bench, &case, outcome)?;
    let prober = site.prober()?;
    let mut values = Vec::new();
    for number in 1..=bench.runs(RUNS) {
        let outage_ms = once(&site, &prober)?;
        screen::talk(&format!("  move {number}: outage {outage_ms:.1} ms"));
        values.push(outage_ms);
    }
    drop(prober);
    outcome.figures.push(Figure::new(Kind::MoveOutage, case, &values));
    site.down()
}

fn once(site: &Site<'_>, prober: &Prober) -> Result<f64, MeasureError> {
    let (owner, to) = site.owner_and_other()?;
    wait_good(prober, Some(Station::Node(owner)), "before the move")?;
    let asked_ns = boot_ns();
    site.request(&Request::MoveGroup { group: GroupId::from(GROUP), to: Some(to) })?;
    let there = Station::Node(to);
    wait_good_after(prober, asked_ns, Some(there), "after the move")?;
    let outage = handover::outage_ms(&prober.attempts(), asked_ns, there);
    outage.ok_or(MeasureError::Group("was not seen on both nodes"))
}

const RUNS: u32 = 10;
