//! `cargo xtask test`: everything that must pass before a change lands, in one command.
//!
//! First the Debian packages that tests use, then the gate, the tests, the release build, the
//! simulator, the rounds with real processes. A part whose package the workspace does not have
//! is not listed; a part that is listed runs, or the run fails. The table at the end says how
//! long each took.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::bench::PRODUCT;
use crate::metadata::{Metadata, cargo_words};
use crate::part::{Part, Ran, table};
use crate::{Failure, check, debian, kept, kernel, soak, tree};

/// The package of the rounds with real processes.
const ROUNDS: &str = "e2e";

/// The round that is not part of the gate.
const ON_DEMAND: &str = "mixed";

/// What is in the names of the rounds that have the machine for themselves: all of them as an
/// ordinary user, pressure, and floods.
const ALONE: [&str; 3] = ["user_runs", "d6_", "floods_"];

/// Minutes of CPU that the soak of the gate takes.
const GATE_SOAK_MINUTES: u64 = 2;

/// Runs all of it.
pub(crate) fn run(metadata: &Metadata, arguments: &[String]) -> Result<(), Failure> {
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words[..] {
        [] => whole(metadata),
        ["--round", ON_DEMAND] => run_parts(&metadata.root, &on_demand(metadata)),
        _ => Err(Failure::Usage(format!(
            "`test` takes no argument, or `--round {ON_DEMAND}`, got `{}`",
            words.join(" ")
        ))),
    }
}

fn whole(metadata: &Metadata) -> Result<(), Failure> {
    let scenarios = scenarios(&metadata.root)
        .map_err(|error| Failure::Failed(format!("cannot list `scenarios/`: {error}")))?;
    let parts = plan(metadata, &scenarios);
    println!("step 0 of {}: packages that tests use, then", parts.len());
    for (number, part) in (1..).zip(&parts) {
        println!("  {number}. {}: {}", part.name, part.about);
    }
    debian::prepare()?;
    kernel::prepare(&metadata.target);
    tree::prepare(&metadata.target);
    run_parts(&metadata.root, &parts)
}

/// Runs these parts until one fails, prints the table, and says what did not run.
pub(crate) fn run_parts(root: &Path, parts: &[Part]) -> Result<(), Failure> {
    let mut ran: Vec<Ran> = Vec::new();
    for part in parts {
        ran.push(part.run(root));
        if ran.last().is_some_and(|last| !last.passed()) {
            break;
        }
    }
    println!("\n{}", table(&ran).trim_end());
    let Some(failed) = ran.iter().find(|part| !part.passed()) else {
        return Ok(());
    };
    let left: Vec<&str> = parts.iter().skip(ran.len()).map(|part| part.name).collect();
    let left = if left.is_empty() { "nothing".to_owned() } else { left.join(", ") };
    Err(Failure::Failed(format!("part `{}` {}; not run: {left}", failed.name, failed.end)))
}

/// The parts for what this workspace has.
fn plan(metadata: &Metadata, scenarios: &[PathBuf]) -> Vec<Part> {
    let has_rounds = metadata.member(ROUNDS).is_some();
    let mut parts = check::parts();
    parts.push(tests(has_rounds));
    parts.push(release(metadata));
    if metadata.member(soak::PACKAGE).is_some() {
        parts.push(soak::part(GATE_SOAK_MINUTES));
        parts.push(mutants());
        parts.extend(stories(scenarios));
    }
    if has_rounds {
        parts.push(rounds(&metadata.target));
    }
    parts
}

/// The programs, each by itself: built along with the simulator the product would carry the
/// switches of the planted faults.
fn release(metadata: &Metadata) -> Part {
    let programs = [PRODUCT, soak::PACKAGE];
    let there = programs.into_iter().filter(|name| metadata.member(name).is_some());
    let build = |name| cargo_words(&["build", "--release", "--locked", "-p", name]);
    Part {
        name: "release",
        about: "the release builds of product and simulator",
        commands: there.map(build).collect(),
        limit: Duration::from_mins(20),
    }
}

/// Every test of every package, doc tests included; the rounds have a part of their own.
fn tests(has_rounds: bool) -> Part {
    let mut words = vec!["test", "--workspace", "--locked"];
    if has_rounds {
        words.extend(["--exclude", ROUNDS]);
    }
    Part {
        name: "tests",
        about: "unit, rule and doc tests",
        commands: vec![cargo_words(&words)],
        limit: Duration::from_mins(30),
    }
}

fn mutants() -> Part {
    Part {
        name: "mutants",
        about: "planted faults are found on their recorded seeds, the clean code is clean there",
        commands: vec![soak::simulator(&["mutants", "--recorded"])],
        limit: Duration::from_mins(20),
    }
}

/// The simulator tells every scenario's story and compares it with the expected one.
fn stories(scenarios: &[PathBuf]) -> Option<Part> {
    let story = |folder: &PathBuf| soak::simulator(&["run", &folder.display().to_string()]);
    (!scenarios.is_empty()).then(|| Part {
        name: "scenarios",
        about: "every scenario tells its expected story",
        commands: scenarios.iter().map(story).collect(),
        limit: Duration::from_mins(10),
    })
}

/// Real nodes are a release build; the rounds themselves only wait, and share what the tests have
/// built. Two at a time, for labs have nothing in common. By themselves come those that use the
/// whole machine up, and those of an ordinary user, whose nodes wait for a processor like anybody.
fn rounds(target: &Path) -> Part {
    let apart = std::iter::once(ON_DEMAND).chain(ALONE);
    let skip: Vec<&str> = apart.flat_map(|name| ["--skip", name]).collect();
    Part {
        name: "rounds",
        about: "real processes, real kills",
        commands: vec![
            runs(target, &[&["--test-threads", "2"], skip.as_slice()].concat()),
            runs(target, &[&["--test-threads", "1", "--nocapture"], ALONE.as_slice()].concat()),
        ],
        limit: Duration::from_mins(50),
    }
}

/// The round with two versions of the program: the former one takes minutes to build, and is of a
/// commit that not every clone has.
fn on_demand(metadata: &Metadata) -> Vec<Part> {
    let build = cargo_words(&["build", "--release", "--locked", "-p", PRODUCT]);
    let release = Part {
        name: "release",
        about: "the release build of the product",
        commands: vec![build],
        limit: Duration::from_mins(20),
    };
    let round = Part {
        name: ON_DEMAND,
        about: "a node with the program of a former version among present ones",
        commands: vec![runs(&metadata.target, &["--test-threads", "1", ON_DEMAND])],
        limit: Duration::from_mins(20),
    };
    vec![release, kept::part(), round]
}

/// The rounds as they are run, with these words for the test harness.
fn runs(target: &Path, which: &[&str]) -> Vec<String> {
    let program = format!("STEAD_PROGRAM={}", target.join("release/stead").display());
    let words = ["test", "--locked", "--workspace", "--test", "runs", "--"];
    let words: Vec<&str> = words.iter().chain(which).copied().collect();
    [vec!["env".to_owned(), program], cargo_words(&words)].concat()
}

/// The folders `scenarios/AREA/NAME`, relative to the root, in order.
fn scenarios(root: &Path) -> io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for area in folders(&root.join("scenarios"))? {
        found.extend(folders(&area)?);
    }
    for folder in &mut found {
        *folder = folder.strip_prefix(root).unwrap_or(folder).to_owned();
    }
    found.sort();
    Ok(found)
}

fn folders(parent: &Path) -> io::Result<Vec<PathBuf>> {
    if !parent.is_dir() {
        return Ok(Vec::new());
    }
    let entries = fs::read_dir(parent)?.collect::<Result<Vec<_>, _>>()?;
    Ok(entries.iter().map(fs::DirEntry::path).filter(|path| path.is_dir()).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metadata::tests::{package, workspace};

    fn part(name: &'static str, program: &str) -> Part {
        let commands = vec![vec![program.to_owned()]];
        Part { name, about: "test", commands, limit: Duration::from_mins(1) }
    }

    fn names(parts: &[Part]) -> Vec<&str> {
        parts.iter().map(|part| part.name).collect()
    }

    #[test]
    fn a_part_is_listed_only_when_its_package_is_there() {
        let small = workspace(vec![package("stead-model", None, &[])]);
        let parts = plan(&small, &[PathBuf::from("scenarios/a/b")]);
        assert_eq!(names(&parts), ["format", "tidy", "clippy", "tests", "release"]);
    }

    #[test]
    fn simulator_and_rounds_join_when_they_exist() {
        let whole = workspace(vec![package("stead-sim", None, &[]), package("e2e", None, &[])]);
        let parts = plan(&whole, &[PathBuf::from("scenarios/a/b")]);
        assert_eq!(names(&parts)[5..], ["soak", "mutants", "scenarios", "rounds"]);
        let [most, alone] = parts[8].commands.as_slice() else { panic!("{:?}", parts[8]) };
        let skipped =
            ["--skip", "mixed", "--skip", "user_runs", "--skip", "d6_", "--skip", "floods_"];
        assert!(most.ends_with(&skipped.map(str::to_owned)), "{most:?}");
        assert!(alone.ends_with(&ALONE.map(str::to_owned)), "{alone:?}");
        assert_eq!(names(&on_demand(&whole)), ["release", "kept", "mixed"]);
        let tests = &parts[3].commands[0];
        assert!(tests.ends_with(&["--exclude".to_owned(), "e2e".to_owned()]), "{tests:?}");
    }

    #[test]
    fn a_failing_part_ends_the_run_and_the_rest_is_named() {
        let parts = [part("one", "true"), part("two", "false"), part("three", "true")];
        let failure = run_parts(Path::new("/"), &parts).unwrap_err().to_string();
        assert!(failure.starts_with("part `two` failed"), "{failure}");
        assert!(failure.ends_with("not run: three"), "{failure}");
    }
}
