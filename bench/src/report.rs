//! The report: for people a table per benchmark, for programs one JSON document with the same.

use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::bench::{Bench, Outcome};
use crate::figure::{Figure, Unit};
use crate::machine::Machine;
use crate::{program, screen};

/// One benchmark.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub(crate) struct Measured {
    pub(crate) benchmark: &'static str,
    /// Load averages over 1, 5 and 15 minutes.
    pub(crate) load_before: Option<[f64; 3]>,
    pub(crate) load_after: Option<[f64; 3]>,
    #[serde(flatten)]
    pub(crate) outcome: Outcome,
}

/// Everything that was measured by one call.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub(crate) struct Report {
    /// What was measured.
    pub(crate) version: String,
    pub(crate) machine: Machine,
    /// Why the figures may be wrong.
    pub(crate) doubts: Vec<String>,
    pub(crate) benchmarks: Vec<Measured>,
}

impl Report {
    pub(crate) fn new(bench: &Bench, benchmarks: Vec<Measured>) -> Self {
        let doubts = program::doubts(&bench.program);
        Self { version: bench.version.clone(), machine: Machine::here(), doubts, benchmarks }
    }

    /// Whether every case was measured.
    pub(crate) fn is_complete(&self) -> bool {
        self.benchmarks.iter().all(|measured| measured.outcome.failures.is_empty())
    }

    /// Writes each benchmark to `results/NAME.md` of this package.
    pub(crate) fn save(&self) -> Result<(), SaveError> {
        let dir = results_dir();
        fs::create_dir_all(&dir).map_err(|source| SaveError { path: dir.clone(), source })?;
        for measured in &self.benchmarks {
            let path = dir.join(format!("{}.md", measured.benchmark));
            let text = format!("{}\n{measured}", self.heading());
            fs::write(&path, text).map_err(|source| SaveError { path: path.clone(), source })?;
            screen::talk(&format!("saved {}", path.display()));
        }
        Ok(())
    }

    fn heading(&self) -> String {
        let Machine { cpus, kernel, root } = &self.machine;
        let who = if *root { "root" } else { "an ordinary user" };
        let mut text = format!("{}; {cpus} CPUs, Linux {kernel}, as {who}\n", self.version);
        for doubt in &self.doubts {
            text.push_str(&format!("attention: {doubt}\n"));
        }
        text
    }
}

/// The results were not kept; they were shown.
#[derive(Debug, thiserror::Error)]
#[error("cannot write `{}`", .path.display())]
pub(crate) struct SaveError {
    path: PathBuf,
    source: io::Error,
}

/// `cargo run` names the package's folder; a program started without it knows where it was built.
fn results_dir() -> PathBuf {
    let package = std::env::var_os("CARGO_MANIFEST_DIR");
    let package = package.map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")), PathBuf::from);
    Path::new(&package).join("results")
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.heading())?;
        for measured in &self.benchmarks {
            write!(f, "\n{measured}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Measured {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (before, after) = (show_load(self.load_before), show_load(self.load_after));
        writeln!(f, "## {}\n\nload average before {before}, after {after}\n", self.benchmark)?;
        write_table(f, &rows(&self.outcome.figures))?;
        let parts = self.outcome.figures.iter().filter(|figure| !figure.parts.is_empty());
        let mut remarks: Vec<String> = parts.map(show_parts).collect();
        remarks.extend(self.outcome.notes.iter().cloned());
        remarks.extend(self.outcome.failures.iter().map(|why| format!("not measured: {why}")));
        if !remarks.is_empty() {
            writeln!(f)?;
        }
        remarks.iter().try_for_each(|remark| writeln!(f, "- {remark}"))
    }
}

const COLUMNS: [&str; 8] = ["figure", "case", "min", "median", "max", "runs", "target", "others"];

fn rows(figures: &[Figure]) -> Vec<[String; COLUMNS.len()]> {
    let row = |figure: &Figure| {
        let show = |value: Option<f64>| value.map_or_else(|| "-".into(), |v| figure.unit.show(v));
        let spread = figure.spread;
        [
            figure.heading().to_owned(),
            figure.case.to_string(),
            show(spread.map(|spread| spread.min)),
            show(spread.map(|spread| spread.median)),
            show(spread.map(|spread| spread.max)),
            figure.values.len().to_string(),
            show_target(figure),
            show_peers(figure),
        ]
    };
    std::iter::once(COLUMNS.map(str::to_owned)).chain(figures.iter().map(row)).collect()
}

/// Columns as wide as their widest cell, also readable as Markdown.
fn write_table(f: &mut fmt::Formatter<'_>, rows: &[[String; COLUMNS.len()]]) -> fmt::Result {
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max();
    let widths: Vec<usize> = (0..COLUMNS.len()).map(|column| width(column).unwrap_or(0)).collect();
    for (number, row) in rows.iter().enumerate() {
        let cells: Vec<String> =
            row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
        writeln!(f, "| {} |", cells.join(" | "))?;
        if number == 0 {
            let lines: Vec<String> = widths.iter().map(|width| "-".repeat(*width)).collect();
            writeln!(f, "| {} |", lines.join(" | "))?;
        }
    }
    Ok(())
}

fn show_target(figure: &Figure) -> String {
    let Some(target) = figure.target else { return "-".into() };
    let word = match figure.met {
        Some(true) => "met",
        Some(false) => "missed",
        None => "not measured",
    };
    format!("<= {target} {}, {word}", short(figure.unit))
}

fn show_peers(figure: &Figure) -> String {
    let peer =
        |peer: &crate::target::Peer| format!("{} {} ({})", peer.name, peer.median, peer.settings);
    let peers: Vec<String> = figure.peers.iter().map(peer).collect();
    if peers.is_empty() { "-".into() } else { peers.join("; ") }
}

const fn short(unit: Unit) -> &'static str {
    match unit {
        Unit::Milliseconds => "ms",
        Unit::Seconds => "s",
        Unit::PercentOfACore => "%",
        Unit::MiB => "MiB",
        Unit::PerSecond => "/s",
    }
}

fn show_parts(figure: &Figure) -> String {
    let show =
        |part: &crate::figure::Part| format!("{} {}", part.name, figure.unit.show(part.value));
    let parts: Vec<String> = figure.parts.iter().map(show).collect();
    format!("{}, {}: {}", figure.title, figure.case, parts.join(", "))
}

fn show_load(load: Option<[f64; 3]>) -> String {
    load.map_or_else(|| "unknown".into(), |[one, five, fifteen]| format!("{one} {five} {fifteen}"))
}

#[cfg(test)]
mod tests {
    use stead_model::profile::Profile;

    use super::*;
    use crate::figure::{Case, Kind};

    fn measured() -> Measured {
        let case = Case::of(Profile::Standard, 2);
        let figures = vec![
            Figure::new(Kind::MoveOutage, case, &[20.0, 61.5, 70.25]),
            Figure::new(Kind::Detect, case, &[]),
        ];
        let outcome = Outcome { figures, notes: vec!["a note".into()], failures: Vec::new() };
        let load = Some([0.5, 1.0, 2.0]);
        Measured { benchmark: "move", load_before: load, load_after: None, outcome }
    }

    #[test]
    fn the_table_shows_target_and_peers_beside_the_figure() {
        let text = measured().to_string();
        let line = |start: &str| text.lines().find(|line| line.contains(start)).unwrap();
        let row = line("client outage, planned move");
        assert!(row.contains("| 61.5 ms "), "{row}");
        assert!(row.contains("<= 60 ms, missed"), "{row}");
        assert!(row.contains("Pacemaker 326 (as Debian ships it)"), "{row}");
        assert!(line("detect").contains("| -       | 0    |"), "{text}");
        assert!(text.contains("before 0.5 1 2, after unknown"), "{text}");
        let widths: Vec<usize> =
            text.lines().filter(|l| l.starts_with('|')).map(str::len).collect();
        assert!(widths.len() == 4 && widths.iter().all(|width| *width == widths[0]), "{text}");
    }

    #[test]
    fn the_names_in_the_json_are_stable() {
        let json = serde_json::to_value(measured()).unwrap();
        assert_eq!(json["benchmark"], "move");
        let figure = &json["figures"][0];
        assert_eq!(figure["figure"], "move-outage");
        assert_eq!(figure["case"]["profile"], "standard");
        assert_eq!(figure["unit"], "ms");
        assert_eq!(figure["spread"]["median"], 61.5);
        assert_eq!(figure["met"], false);
        assert_eq!(figure["peers"][0]["median"], 326.0);
        assert_eq!(json["figures"][1]["spread"], serde_json::Value::Null);
    }
}
