//! A scenario as a directory: script and expected story side by side.

use std::fs;
use std::path::{Path, PathBuf};

use thiserror::Error;

use super::{ParseError, parse};
use crate::run::{Outcome, run};
use crate::trace::Detail;
use crate::world::Setup;

/// Why a scenario failed.
#[derive(Debug, Error)]
pub enum ScenarioError {
    /// A file cannot be read or written.
    #[error("cannot use {}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The script does not parse.
    #[error("the script of {} is wrong", path.display())]
    Script {
        /// Which.
        path: PathBuf,
        /// Why.
        source: ParseError,
    },
    /// A promise broke or an expectation was not met.
    #[error("{} broke: {text}", path.display())]
    Broken {
        /// Which.
        path: PathBuf,
        /// What.
        text: String,
        /// The story up to there.
        story: String,
    },
    /// The story is another one.
    #[error(
        "{} tells another story from line {line} on:\n  expected: {expected}\n  told:     {told}",
        path.display()
    )]
    Story {
        /// Which.
        path: PathBuf,
        /// First line that differs.
        line: usize,
        /// The line expected.
        expected: String,
        /// The line told.
        told: String,
    },
}

/// Whether the expected story is compared or written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Expected {
    /// It must match.
    Compare,
    /// It is rewritten.
    Rewrite,
}

/// Runs the scenario of a directory with all the detail wanted.
///
/// # Errors
/// The script cannot be read or parsed.
pub fn play(path: &Path, detail: Detail) -> Result<Outcome, ScenarioError> {
    let file = path.join("script.txt");
    let text = fs::read_to_string(&file)
        .map_err(|source| ScenarioError::File { path: file.clone(), source })?;
    let script = parse(&text).map_err(|source| ScenarioError::Script { path: file, source })?;
    let plan = script.plan();
    Ok(run(Setup { seed: 1, plan, planted: None, detail, script: Some(script) }))
}

/// Plays a scenario and judges it.
///
/// # Errors
/// It cannot be played, breaks a promise or an expectation, or tells another story.
pub fn check(path: &Path, expected: Expected) -> Result<Outcome, ScenarioError> {
    let outcome = play(path, Detail::Story)?;
    let story = outcome.story.join("\n") + "\n";
    if let Some(violation) = &outcome.violation {
        let text = violation.to_string();
        return Err(ScenarioError::Broken { path: path.to_owned(), text, story });
    }
    let file = path.join("expected.txt");
    if expected == Expected::Rewrite {
        fs::write(&file, story).map_err(|source| ScenarioError::File { path: file, source })?;
        return Ok(outcome);
    }
    let wanted =
        fs::read_to_string(&file).map_err(|source| ScenarioError::File { path: file, source })?;
    match first_difference(&wanted, &story) {
        None => Ok(outcome),
        Some((line, expected, told)) => {
            Err(ScenarioError::Story { path: path.to_owned(), line, expected, told })
        }
    }
}

fn first_difference(expected: &str, told: &str) -> Option<(usize, String, String)> {
    let (mut expected, mut told) = (expected.lines(), told.lines());
    let mut line = 0;
    loop {
        line += 1;
        match (expected.next(), told.next()) {
            (None, None) => return None,
            (Some(e), Some(t)) if e == t => {}
            (e, t) => {
                let end = "(the end)";
                return Some((line, e.unwrap_or(end).into(), t.unwrap_or(end).into()));
            }
        }
    }
}

/// All scenarios below a directory, in order of their names.
///
/// # Errors
/// The directory cannot be read.
pub fn all(root: &Path) -> Result<Vec<PathBuf>, ScenarioError> {
    let mut found = Vec::new();
    let mut open = vec![root.to_owned()];
    while let Some(path) = open.pop() {
        let entries = fs::read_dir(&path)
            .map_err(|source| ScenarioError::File { path: path.clone(), source })?;
        let inside: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
        if inside.iter().any(|p| p.ends_with("script.txt")) {
            found.push(path);
        }
        open.extend(inside.into_iter().filter(|p| p.is_dir()));
    }
    found.sort();
    Ok(found)
}
