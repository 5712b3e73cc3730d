//! The conformance test of external types: `stead resource-type test PROGRAM`.
//!
//! Brings the program through its life as the monitor would, and through what may happen to it at
//! any point: killed, hanging, told to return. What the guard does to whatever is left, this
//! process does: it is the child subreaper of all of it. [`checks`] are the trials, [`criteria`]
//! what they say about the five marks of an application that fits a cluster, [`subject`]
//! is one life of the program, [`herd`] the processes.

mod checks;
mod criteria;
mod herd;
mod subject;

use std::collections::BTreeMap;
use std::fs::{self, DirBuilder};
use std::os::unix::fs::DirBuilderExt;
use std::path::PathBuf;
use std::time::Duration;

use serde::Serialize;
use stead_model::probe::Probe;
use stead_resource_sdk::protocol::{Description, Form};

use subject::Life;

/// What is tested and how.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Trials {
    /// The program, by an absolute path.
    pub program: PathBuf,
    /// Properties of the resource that it shall be. Of those that say where data lies a folder of
    /// the test's own is the default.
    pub properties: BTreeMap<String, String>,
    /// What works while the resource is online, and at no other time.
    pub probe: Option<Probe>,
    /// The only check to make. Default: all.
    pub only: Option<String>,
    /// How long a call may take.
    pub call_limit: Duration,
    /// How long a program may take to end when it shall, and to notice a dead process.
    pub patience: Duration,
}

/// What the test came to.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Report {
    /// The program.
    pub program: PathBuf,
    /// Name and version that it gives itself.
    pub name: String,
    /// Its version.
    pub version: String,
    /// What was tried.
    pub checks: Vec<Check>,
    /// The five marks of an application that fits a cluster; none if only one check was made.
    pub criteria: Vec<Check>,
}

/// One result.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Check {
    /// What was tried.
    pub name: &'static str,
    /// How it went.
    pub result: Verdict,
    /// Why, or what there is to know.
    pub detail: String,
}

/// How a check went.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// As it should.
    Passed,
    /// Not as it should.
    Failed,
    /// It could not be shown either way.
    NotShown,
}

/// Names of all checks, in their order.
#[must_use]
pub fn names() -> Vec<&'static str> {
    checks::ALL.iter().map(|(name, _)| *name).collect()
}

/// Makes the test.
///
/// # Errors
/// It cannot be made: the program cannot be run or does not say what it is, or a property is
/// missing.
pub fn test(trials: &Trials) -> Result<Report, String> {
    let folder = std::env::temp_dir().join(format!("stead-type-test-{}", std::process::id()));
    let cannot = |e| format!("cannot make {}: {e}", folder.display());
    DirBuilder::new().mode(0o700).create(&folder).map_err(cannot)?;
    herd::adopt_all().map_err(|e| format!("cannot look after its processes: {e}"))?;
    let report = run(trials, &folder);
    herd::sweep();
    // Another test makes another one.
    let _ = fs::remove_dir_all(&folder);
    report
}

fn run(trials: &Trials, folder: &std::path::Path) -> Result<Report, String> {
    let kit = Kit { trials, description: Description::default(), properties: BTreeMap::new() };
    let described = Life::begin(&kit).and_then(|life| life.describe());
    herd::sweep();
    let description = described?;
    let properties = properties(trials, &description, folder)?;
    let kit = Kit { trials, description, properties };
    let wanted = |name: &str| trials.only.as_deref().is_none_or(|only| only == name);
    let mut report = Report {
        program: trials.program.clone(),
        name: kit.description.name.clone(),
        version: kit.description.version.clone(),
        checks: Vec::new(),
        criteria: Vec::new(),
    };
    for (name, check) in checks::ALL.iter().filter(|(name, _)| wanted(name)) {
        let went = check(&kit);
        herd::sweep();
        report.checks.push(Check::new(name, went));
    }
    if trials.only.is_none() {
        report.criteria = criteria::judge(&kit, &report.checks);
        herd::sweep();
    }
    Ok(report)
}

/// Those that were given, and places for data that were not.
fn properties(
    trials: &Trials,
    description: &Description,
    folder: &std::path::Path,
) -> Result<BTreeMap<String, String>, String> {
    let mut given = trials.properties.clone();
    for name in &description.data {
        let place = folder.join(name).to_string_lossy().into_owned();
        given.entry(name.clone()).or_insert(place);
    }
    crate::external::table::settle(description, &given).map_err(|reason| reason.to_string())
}

/// What the checks share.
struct Kit<'a> {
    trials: &'a Trials,
    description: Description,
    /// With defaults.
    properties: BTreeMap<String, String>,
}

impl Kit<'_> {
    /// A text that does not fit the form of a property, if there is one.
    const fn misfit(form: Form) -> Option<&'static str> {
        match form {
            Form::Text => None,
            Form::Path => Some("no/path"),
            Form::Number | Form::Time | Form::Flag => Some("tuesday"),
            Form::Command => Some("an open 'quote"),
        }
    }
}

/// How a check went: what there is to know, or what is wrong.
type Went = Result<Shown, String>;

/// What a check that did not fail shows.
enum Shown {
    Fine(String),
    Nothing(String),
}

impl Check {
    fn new(name: &'static str, went: Went) -> Self {
        let (result, detail) = match went {
            Ok(Shown::Fine(detail)) => (Verdict::Passed, detail),
            Ok(Shown::Nothing(detail)) => (Verdict::NotShown, detail),
            Err(detail) => (Verdict::Failed, detail),
        };
        Self { name, result, detail }
    }
}

impl Report {
    /// Whether nothing failed.
    #[must_use]
    pub fn passed(&self) -> bool {
        let mut all = self.checks.iter().chain(&self.criteria);
        all.all(|check| check.result != Verdict::Failed)
    }
}
