//! `bench postgresql`: the example of that name, a database on a clustered disk, while a client
//! commits rows. Outages are from acknowledgement to acknowledgement.
//!
//! A takeover is: wait for the lost owner's lease, decide, reserve and mount the disk (the file
//! system replays its journal), add the address, start PostgreSQL, which recovers. The last is no
//! work of ours; it is measured apart, outside of the lab and of stead, on an image of the disk as
//! a power cut left it, and the quickest of these starts is taken off. The client has its share:
//! it gives a silent connection 250 ms and then tries another every 20 ms.

use std::collections::BTreeMap;
use std::thread;
use std::time::Duration;

use rustix::process::{Signal, pidfd_send_signal};
use stead_lab::example::Example;
use stead_lab::ledger::Ledger;
use stead_lab::{Station, boot_ns, disks};
use stead_model::NodeId;
use stead_model::profile::Profile;
use stead_model::record::Record;
use stead_model::request::Request;

use crate::bench::{Bench, Outcome};
use crate::figure::{Case, Figure, Kind};
use crate::processes::{self, ProcessError};
use crate::site::{MeasureError, Site};
use crate::statistics::Spread;
use crate::{idle, postgres_start, screen};

/// In two nodes, both profiles.
pub(crate) fn run(bench: &Bench) -> Outcome {
    let cases = bench.cases(&[Profile::Standard, Profile::Fast], &[2]);
    Outcome::over(&cases, |case, outcome| measure(bench, case, outcome))
}

fn measure(bench: &Bench, case: Case, outcome: &mut Outcome) -> Result<(), MeasureError> {
    let example = Example::find(EXAMPLE)?.telling();
    let site = Site::with_example(bench, &case, outcome, &example)?;
    never_give_up(&site, &example)?;
    let mut figures = idle::watch(bench, &site, case, outcome)?;
    let desk = Desk { site: &site, ledger: Ledger::start(site.lab(), postgres_start::TARGET, 1)? };
    let runs = bench.runs(RUNS);
    let moves = desk.repeat(runs, "move", |desk| desk.planned_move())?;
    let kills = desk.repeat(runs, "kill", |desk| desk.kill())?;
    let takeovers = desk.repeat(runs, "power cut", |desk| desk.power_cut())?;
    let image = desk.power_cut_of_all()?;
    drop(desk);
    let starts = postgres_start::measure(&image, runs)?;
    site.down()?;
    figures.extend(of_takeovers(case, &takeovers, &starts));
    figures.push(outages(Kind::DbMove, case, &moves));
    figures.push(outages(Kind::DbKill, case, &kills));
    outcome.figures.extend(figures);
    outcome.note("outages are a writing client's, from acknowledged row to acknowledged row");
    outcome.note("detect, decide, disk, online count from the power cut");
    outcome.note(
        "PostgreSQL's own start: outside of the lab, on the disk as a power cut left it, executed \
         to letting a client in, its recovery included; the quickest is taken off every takeover",
    );
    Ok(())
}

/// By default repeated failures end in a group that stays failed.
fn never_give_up(site: &Site<'_>, example: &Example) -> Result<(), MeasureError> {
    let many = |name: &str| BTreeMap::from([(name.to_owned(), Some("1000".to_owned()))]);
    let group = example.group.group.as_str().into();
    site.request(&Request::SetGroup { group, properties: many("failover-threshold") })?;
    for resource in example.resources.iter().filter(|r| r.kind == "generic-application") {
        let resource = resource.resource.clone();
        site.request(&Request::SetResource { resource, properties: many("restart-threshold") })?;
    }
    Ok(())
}

/// What a run of any kind came to, milliseconds; a power cut has the parts too.
#[derive(Clone, Copy, PartialEq, Default, Debug)]
struct Run {
    outage: f64,
    detect: Option<f64>,
    decide: Option<f64>,
    disk: Option<f64>,
    online: Option<f64>,
}

/// A lab and the client that writes.
struct Desk<'a> {
    site: &'a Site<'a>,
    ledger: Ledger,
}

impl Desk<'_> {
    fn repeat(
        &self,
        runs: u32,
        what: &str,
        once: impl Fn(&Self) -> Result<Run, MeasureError>,
    ) -> Result<Vec<Run>, MeasureError> {
        let mut all = Vec::new();
        for number in 1..=runs {
            let run = once(self)?;
            screen::talk(&format!("  {what} {number}: outage {:.1} ms", run.outage));
            all.push(run);
        }
        Ok(all)
    }

    /// Settled, served, and some rows on their way; owner and other.
    fn begin(&self) -> Result<(NodeId, NodeId), MeasureError> {
        let (owner, other) = self.site.owner_and_other()?;
        self.served_by(owner, boot_ns())?;
        thread::sleep(BEFORE);
        Ok((owner, other))
    }

    /// Waits for the acknowledgement of a row that was sent to a node after a moment.
    fn served_by(&self, node: NodeId, after_ns: u64) -> Result<(), MeasureError> {
        let name = Station::Node(node).name();
        let what = format!("no acknowledgement of {node}");
        self.site.cluster().wait(LIMIT, &what, || {
            let last = self.ledger.last_acknowledged().ok_or("none at all")?;
            let by = last.told.as_ref().is_some_and(|told| told.node == name);
            if by && last.sent_ns > after_ns { Ok(()) } else { Err(format!("{last:?}")) }
        })?;
        Ok(())
    }

    fn outage_ms(&self, after_ns: u64) -> f64 {
        self.ledger.outage_ns(after_ns).unwrap_or(0) as f64 / 1e6
    }

    fn planned_move(&self) -> Result<Run, MeasureError> {
        let (_, to) = self.begin()?;
        let asked_ns = boot_ns();
        let group = EXAMPLE_GROUP.into();
        self.site.request(&Request::MoveGroup { group, to: Some(to) })?;
        self.served_by(to, asked_ns)?;
        Ok(Run { outage: self.outage_ms(asked_ns), ..Run::default() })
    }

    fn kill(&self) -> Result<Run, MeasureError> {
        let (owner, _) = self.begin()?;
        let server = processes::application(self.site.lab(), owner)?;
        let killed_ns = boot_ns();
        pidfd_send_signal(&server, Signal::KILL).map_err(ProcessError::NotKilled)?;
        // What was on its way may still be acknowledged.
        self.served_by(owner, killed_ns + WINDOW_NS)?;
        Ok(Run { outage: self.outage_ms(killed_ns), ..Run::default() })
    }

    fn power_cut(&self) -> Result<Run, MeasureError> {
        let (owner, heir) = self.begin()?;
        let lab = self.site.lab();
        let cut_ns = lab.crash(owner)?;
        self.served_by(heir, cut_ns)?;
        let cluster = self.site.cluster();
        // The client may be served before the server's check tells us.
        let records = cluster.wait(LIMIT, "no record that the group is online", || {
            let records = cluster.records(heir, 0).map_err(|error| error.to_string())?;
            let online = |r: &Record| r.boot_ns >= cut_ns && r.code == "group-online";
            if records.iter().any(online) { Ok(records) } else { Err("only others".into()) }
        })?;
        let since = |code: &str, about: &str| {
            let fits = |r: &&Record| {
                r.boot_ns >= cut_ns && r.code == code && r.to_string().contains(about)
            };
            let first = records.iter().find(fits)?;
            Some((first.boot_ns - cut_ns) as f64 / 1e6)
        };
        let run = Run {
            outage: self.outage_ms(cut_ns),
            detect: since("suspected", ""),
            decide: since("group-granted", EXAMPLE_GROUP),
            disk: since("resource-online", "db-disk"),
            online: since("group-online", EXAMPLE_GROUP),
        };
        lab.start(owner)?;
        self.site.settle()?;
        Ok(run)
    }

    /// The disk as it is when all nodes lose power while the client writes.
    fn power_cut_of_all(&self) -> Result<std::path::PathBuf, MeasureError> {
        let (owner, other) = self.begin()?;
        self.site.lab().crash(other)?;
        self.site.lab().crash(owner)?;
        Ok(disks::media(self.site.lab().record(), "data"))
    }
}

fn outages(kind: Kind, case: Case, runs: &[Run]) -> Figure {
    Figure::new(kind, case, &runs.iter().map(|run| run.outage).collect::<Vec<_>>())
}

fn of_takeovers(case: Case, runs: &[Run], starts: &[f64]) -> Vec<Figure> {
    let start = Spread::of(starts).map_or(0.0, |spread| spread.min);
    let ours = |run: &Run| run.decide.map(|decide| (run.outage - decide - start).max(0.0));
    let figure = |kind, of: &dyn Fn(&Run) -> Option<f64>| {
        Figure::new(kind, case, &runs.iter().filter_map(of).collect::<Vec<_>>())
    };
    vec![
        outages(Kind::DbOutage, case, runs),
        figure(Kind::Detect, &|run| run.detect),
        figure(Kind::Decide, &|run| run.decide),
        figure(Kind::DbDisk, &|run| run.disk),
        figure(Kind::Online, &|run| run.online),
        Figure::new(Kind::DbStart, case, starts),
        figure(Kind::DbOurs, &ours),
    ]
}

const EXAMPLE: &str = "postgresql";
const EXAMPLE_GROUP: &str = "db";
const RUNS: u32 = 10;
const LIMIT: Duration = Duration::from_secs(60);
/// Some rows are written before a run.
const BEFORE: Duration = Duration::from_millis(500);
const WINDOW_NS: u64 = 20_000_000;
