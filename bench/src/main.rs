//! The figures of stead: how long a client waits, what a node costs when nothing happens.
//!
//! ```text
//!   cargo xtask bench NAME [--json]      NAME: outage, move, app, idle, up, members, scale,
//!                                            postgresql, placement, all
//! ```
//!
//! Each figure but `placement`, which asks the planner alone, is taken with `stead` as it is
//! shipped (profile `dist`), in a lab of its own that is ended whatever happens. It is shown beside
//! its target and what Pacemaker and keepalived need for the same. Nothing here judges: a missed
//! target is shown and does not fail, because a busy machine decides it as much as the program.
//! The load before and after is printed with the figures.
//!
//! People read the table; programs read `--json` on standard output (the table then goes to
//! standard error). Exit codes: 0 measured, 1 something was not measured, 2 usage, 130 interrupted.
//!
//! Reading order: `figure`, `target`, `bench`, `site`, then one file per benchmark.

mod app;
mod bench;
mod figure;
mod handover;
mod idle;
mod interrupt;
mod machine;
mod members;
mod outage;
mod placement;
mod planned_move;
mod postgres_start;
mod postgresql;
mod processes;
mod program;
mod report;
mod scale;
mod screen;
mod server;
mod site;
mod statistics;
mod target;
mod up;
mod web_start;

use std::process::ExitCode;

use clap::Parser;

use bench::{Bench, Options, Outcome};
use report::{Measured, Report};

/// What can be measured.
#[derive(Clone, Copy, PartialEq, Eq, Debug, clap::ValueEnum)]
enum Benchmark {
    /// Client outage when the owner of a group loses power.
    Outage,
    /// Client outage of a planned move.
    Move,
    /// Application killed until it answers again.
    App,
    /// Processor time and memory of a node when nothing happens.
    Idle,
    /// `lab up` until it serves.
    Up,
    /// Two to sixteen nodes: joining, forming, losing one, and what each costs when idle.
    Members,
    /// PostgreSQL on a clustered disk: power cut, move, kill, and what it costs when idle.
    Postgresql,
    /// A thousand resources online by one request, and after their owner lost power.
    Scale,
    /// Ten thousand groups after the loss of a node, until the leader has what it proposes.
    Placement,
    /// All of these, one after another.
    All,
}

/// Measures one figure of stead.
#[derive(Debug, Parser)]
#[command(name = "bench", version)]
struct Arguments {
    /// What to measure.
    benchmark: Benchmark,
    #[command(flatten)]
    options: Options,
}

fn main() -> ExitCode {
    let Arguments { benchmark, options } = Arguments::parse();
    match run(benchmark, options) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            screen::talk(&format!("error: {}", screen::chain(&*error)));
            ExitCode::FAILURE
        }
    }
}

/// Whether everything was measured.
fn run(benchmark: Benchmark, options: Options) -> Result<bool, Box<dyn std::error::Error>> {
    let bench = Bench::new(options)?;
    interrupt::watch(bench.lab.clone(), bench.home.clone())?;
    let measured = benchmark.parts().iter().map(|part| part.measure(&bench)).collect();
    let report = Report::new(&bench, measured);
    if bench.options.json {
        screen::talk(&report.to_string());
        screen::data(&format!("{}\n", serde_json::to_string_pretty(&report)?))?;
    } else {
        screen::data(&report.to_string())?;
    }
    if bench.options.save {
        report.save()?;
    }
    Ok(report.is_complete())
}

impl Benchmark {
    /// The benchmarks it stands for.
    fn parts(self) -> Vec<Self> {
        match self {
            Self::All => {
                let quick = [Self::Up, Self::Idle, Self::Move, Self::App, Self::Outage];
                let long = [Self::Members, Self::Postgresql, Self::Scale];
                quick.into_iter().chain([Self::Placement]).chain(long).collect()
            }
            one @ (Self::Outage | Self::Move | Self::App | Self::Idle) => vec![one],
            one @ (Self::Up | Self::Members | Self::Postgresql) => vec![one],
            one @ (Self::Scale | Self::Placement) => vec![one],
        }
    }

    fn measure(self, bench: &Bench) -> Measured {
        let load_before = machine::load();
        let outcome = match self {
            Self::Outage => outage::run(bench),
            Self::Move => planned_move::run(bench),
            Self::App => app::run(bench),
            Self::Idle => idle::run(bench),
            Self::Up => up::run(bench),
            Self::Members => members::run(bench),
            Self::Postgresql => postgresql::run(bench),
            Self::Scale => scale::run(bench),
            Self::Placement => placement::run(bench),
            Self::All => Outcome::default(),
        };
        Measured { benchmark: self.name(), load_before, load_after: machine::load(), outcome }
    }

    const fn name(self) -> &'static str {
        match self {
            Self::Outage => "outage",
            Self::Move => "move",
            Self::App => "app",
            Self::Idle => "idle",
            Self::Up => "up",
            Self::Members => "members",
            Self::Scale => "scale",
            Self::Placement => "placement",
            Self::Postgresql => "postgresql",
            Self::All => "all",
        }
    }
}
