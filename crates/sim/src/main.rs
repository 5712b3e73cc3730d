//! `stead-sim`: runs scenarios, soaks, replays seeds and hunts mutants.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use stead_core::Fault;
use stead_sim::mutants::{self, Hunt};
use stead_sim::run;
use stead_sim::script::directory::{self, Expected};
use stead_sim::soak::{self, Budget, Soak};
use stead_sim::trace::{Detail, Stamp};

const USAGE: &str = "\
usage: stead-sim COMMAND

  run [SCENARIO...] [--trace] [--story]  play scenarios (default: all below scenarios/) and compare
                                     their stories; UPDATE=1 rewrites expected.txt
  soak [--seeds N | --minutes M] [--from SEED] [--keep-going] [--threads N] [--fault NAME]
                                     many seeds, every promise; M are CPU minutes
  replay SEED [--trace] [--fault NAME]
                                     one seed, with its story, and with everything
  mutants [--json] [--recorded] [--only NAME] [--budget N] [--threads N]
                                     plant each fault and soak until its checker fires
";

/// Exit codes as everywhere in stead: 1 refused or unhealthy, 2 usage.
const UNHEALTHY: u8 = 1;
const WRONG_USAGE: u8 = 2;

/// Lines of everything shown before a violation.
const TAIL_LINES: usize = 120;

#[expect(clippy::print_stdout, reason = "the program's output")]
mod say {
    /// One line of data.
    pub(crate) fn out(text: &str) {
        println!("{text}");
    }
}

#[expect(clippy::print_stderr, reason = "the program's talk")]
fn talk(text: &str) {
    eprintln!("{text}");
}

/// Arguments as flags, values and words.
struct Arguments {
    words: Vec<String>,
}

impl Arguments {
    fn flag(&mut self, name: &str) -> bool {
        let at = self.words.iter().position(|word| word == name);
        at.map(|at| self.words.remove(at)).is_some()
    }

    fn value(&mut self, name: &str) -> Result<Option<String>, String> {
        let Some(at) = self.words.iter().position(|word| word == name) else { return Ok(None) };
        self.words.remove(at);
        if at >= self.words.len() {
            return Err(format!("{name} needs a value"));
        }
        Ok(Some(self.words.remove(at)))
    }

    fn number(&mut self, name: &str) -> Result<Option<u64>, String> {
        let Some(text) = self.value(name)? else { return Ok(None) };
        text.parse().map(Some).map_err(|_| format!("{name} needs a number, not {text}"))
    }

    fn threads(&mut self) -> Result<usize, String> {
        let all = || std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        Ok(self.number("--threads")?.map_or_else(all, |n| n as usize))
    }

    fn done(&self) -> Result<(), String> {
        self.words.first().map_or(Ok(()), |word| Err(format!("{word} is not understood")))
    }
}

fn main() -> ExitCode {
    run::silence_panics();
    let mut words = std::env::args().skip(1);
    let command = words.next().unwrap_or_default();
    let mut arguments = Arguments { words: words.collect() };
    let result = match command.as_str() {
        "run" => run_command(&mut arguments),
        "soak" => soak_command(&mut arguments),
        "replay" => replay_command(&mut arguments),
        "mutants" => mutants_command(&mut arguments),
        "help" | "--help" | "-h" => {
            say::out(USAGE);
            Ok(true)
        }
        other => Err(format!("there is no command {other:?}")),
    };
    match result {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(UNHEALTHY),
        Err(why) => {
            talk(&format!("error: {why}\n\n{USAGE}"));
            ExitCode::from(WRONG_USAGE)
        }
    }
}

/// The scenarios of this source tree.
fn scenarios() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../scenarios")
}

fn run_command(arguments: &mut Arguments) -> Result<bool, String> {
    let (trace, story) = (arguments.flag("--trace"), arguments.flag("--story"));
    let update = std::env::var_os("UPDATE").is_some_and(|value| value == "1");
    let expected = if update { Expected::Rewrite } else { Expected::Compare };
    let mut paths: Vec<PathBuf> = arguments.words.iter().map(|word| named(word)).collect();
    if paths.is_empty() {
        paths = directory::all(&scenarios()).map_err(|error| chain(&error))?;
    }
    let mut good = true;
    for path in paths {
        if trace || story {
            let detail = if trace { Detail::Full } else { Detail::Story };
            let outcome = directory::play(&path, detail).map_err(|error| chain(&error))?;
            let lines = if trace { &outcome.lines } else { &outcome.story };
            lines.iter().for_each(|line| say::out(line));
        }
        let name = path.strip_prefix(scenarios()).unwrap_or(&path).display().to_string();
        match directory::check(&path, expected) {
            Ok(outcome) => say::out(&format!("ok    {name} {}", Stamp(outcome.ended_at))),
            Err(error) => {
                good = false;
                if let directory::ScenarioError::Broken { story, .. } = &error {
                    say::out(story);
                }
                say::out(&format!("FAIL  {name}: {}", chain(&error)));
            }
        }
    }
    Ok(good)
}

/// A scenario by path, or by its name below `scenarios/`.
fn named(word: &str) -> PathBuf {
    let path = PathBuf::from(word);
    if path.join("script.txt").exists() { path } else { scenarios().join(word) }
}

fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text += &format!(": {error}");
        cause = error.source();
    }
    text
}

fn soak_command(arguments: &mut Arguments) -> Result<bool, String> {
    let seeds = arguments.number("--seeds")?;
    let minutes = arguments.number("--minutes")?;
    let budget = match (seeds, minutes) {
        (Some(_), Some(_)) => return Err("either --seeds or --minutes".into()),
        (None, Some(minutes)) => Budget::Cpu(Duration::from_secs(60 * minutes)),
        (seeds, None) => Budget::Seeds(seeds.unwrap_or(1_000)),
    };
    let from = arguments.number("--from")?;
    let keep_going = arguments.flag("--keep-going");
    let threads = arguments.threads()?;
    let planted = fault(arguments)?;
    arguments.done()?;
    let first = if from.is_none() { soak::recorded() } else { Vec::new() };
    let soak = Soak { from: from.unwrap_or(1), budget, planted, first, threads, keep_going };
    let result = soak::soak(&soak, &|_, _| {});
    let per_second = result.tally.runs as f64 / result.took.as_secs_f64();
    say::out(&format!("{}{per_second:>12.0} runs per second", result.tally));
    for (seed, violation) in &result.broken {
        say::out(&format!("seed {seed} breaks {violation}"));
    }
    if let Some((seed, _)) = result.broken.first() {
        tell_violation(*seed, planted);
        return Ok(false);
    }
    let missing = result.tally.missing();
    missing.iter().for_each(|name| say::out(&format!("never happened: {name}")));
    Ok(missing.is_empty())
}

/// Runs a seed again and shows how it came to its violation.
fn tell_violation(seed: u64, planted: Option<Fault>) {
    let outcome = run::seed(seed, planted, Detail::Tail(TAIL_LINES));
    outcome.lines.iter().for_each(|line| say::out(line));
    if let Some(violation) = outcome.violation {
        say::out(&format!("\nseed {seed} breaks {violation}"));
    }
    let fault = planted.map(|f| format!(" --fault {}", f.name())).unwrap_or_default();
    say::out(&format!("again: cargo run --release -p stead-sim -- replay {seed} --trace{fault}"));
}

/// The fault to plant, if one is named.
fn fault(arguments: &mut Arguments) -> Result<Option<Fault>, String> {
    let Some(name) = arguments.value("--fault")? else { return Ok(None) };
    Fault::parse(&name).map(Some).ok_or_else(|| format!("there is no fault {name}"))
}

fn replay_command(arguments: &mut Arguments) -> Result<bool, String> {
    let trace = arguments.flag("--trace");
    let planted = fault(arguments)?;
    let seed = arguments.words.pop().ok_or("replay needs a seed")?;
    let seed: u64 = seed.parse().map_err(|_| format!("{seed} is no seed"))?;
    arguments.done()?;
    let detail = if trace { Detail::Full } else { Detail::Story };
    let outcome = run::seed(seed, planted, detail);
    let lines = if trace { &outcome.lines } else { &outcome.story };
    lines.iter().for_each(|line| say::out(line));
    let again = run::seed(seed, planted, Detail::Hash);
    say::out(&format!(
        "seed {seed} ended at {} with hash {:016x}, {} steps",
        Stamp(outcome.ended_at),
        outcome.hash,
        outcome.tally.steps
    ));
    if again.hash != outcome.hash {
        say::out(&format!("NOT REPEATABLE: another run has hash {:016x}", again.hash));
        return Ok(false);
    }
    match outcome.violation {
        Some(violation) => {
            say::out(&format!("seed {seed} breaks {violation}"));
            Ok(false)
        }
        None => Ok(true),
    }
}

fn mutants_command(arguments: &mut Arguments) -> Result<bool, String> {
    let json = arguments.flag("--json");
    let recorded = arguments.flag("--recorded");
    let budget = arguments.number("--budget")?.unwrap_or(mutants::SEEDS_MAX);
    let threads = arguments.threads()?;
    let only = match arguments.value("--only")? {
        Some(name) => vec![Fault::parse(&name).ok_or_else(|| format!("no fault {name}"))?],
        None => Fault::ALL.to_vec(),
    };
    arguments.done()?;
    if recorded {
        return Ok(replay_recorded(&only, json));
    }
    let mut good = true;
    let mut lines = Vec::new();
    for fault in only {
        let hunt = mutants::hunt(fault, budget, threads);
        good &= hunt.found.is_some();
        if json {
            lines.push(as_json(&hunt));
        } else {
            say::out(&as_line(&hunt));
        }
    }
    if json {
        say::out(&format!("[{}]", lines.join(",\n ")));
    }
    Ok(good)
}

fn replay_recorded(only: &[Fault], json: bool) -> bool {
    let all = mutants::recorded();
    let mut good = true;
    let mut lines = Vec::new();
    for fault in only {
        let seeds: Vec<_> = all.iter().filter(|r| r.fault == *fault).collect();
        let replayed = seeds.iter().map(|r| mutants::replay(r));
        let hunts: Result<Vec<Hunt>, String> = replayed.collect();
        let missing = Hunt { fault: *fault, seeds: 0, found: None };
        let hunt = match hunts {
            Ok(hunts) => hunts.into_iter().next().unwrap_or(missing),
            Err(why) => {
                talk(&why);
                missing
            }
        };
        let open = mutants::open().into_iter().find(|(open, _)| open == fault);
        let hunt = match open {
            Some((fault, seeds)) if hunt.found.is_none() => Hunt { fault, seeds, found: None },
            Some(_) | None => hunt,
        };
        good &= hunt.found.is_some() || (seeds.is_empty() && open.is_some());
        lines.push(if json { as_json(&hunt) } else { as_line(&hunt) });
    }
    let text = if json { format!("[{}]", lines.join(",\n ")) } else { lines.join("\n") };
    say::out(&text);
    good
}

fn as_line(hunt: &Hunt) -> String {
    let Hunt { fault, seeds, found } = hunt;
    match found {
        Some((seed, promise)) => format!("{:<28} {seed:>6} {promise}", fault.name()),
        None => format!("{:<28} NOT FOUND in {seeds} seeds", fault.name()),
    }
}

fn as_json(hunt: &Hunt) -> String {
    let Hunt { fault, seeds, found } = hunt;
    let (seed, checker) = match found {
        Some((seed, promise)) => (seed.to_string(), format!("\"{promise}\"")),
        None => ("null".into(), "null".into()),
    };
    format!(
        "{{\"name\":\"{}\",\"found\":{},\"seeds_needed\":{seeds},\"seed\":{seed},\
         \"checker\":{checker}}}",
        fault.name(),
        found.is_some()
    )
}
