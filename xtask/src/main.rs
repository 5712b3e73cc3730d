//! Chores of the project, run as `cargo xtask VERB`; one file per verb.
//!
//! A program instead of scripts: the checks are Rust, have tests of their own, and need nothing
//! but the toolchain that builds the product. `check` and `tidy` never write to the tree; `fix`
//! may. What a verb refuses it says on stderr, with the place and what to do.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a program for a terminal")]

use std::fmt;
use std::process::ExitCode;

use metadata::Metadata;

mod bench;
mod check;
mod deb;
mod debian;
mod fix;
mod kept;
mod kernel;
mod metadata;
mod part;
mod reaper;
mod soak;
mod test;
mod tidy;
mod tree;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match dispatch(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("error: {failure}");
            ExitCode::from(failure.exit_code())
        }
    }
}

fn dispatch(arguments: &[String]) -> Result<(), Failure> {
    let Some((name, rest)) = arguments.split_first() else {
        return Err(Failure::Usage(usage()));
    };
    if matches!(name.as_str(), "help" | "--help" | "-h") {
        println!("{}", usage());
        return Ok(());
    }
    let verb = VERBS
        .iter()
        .find(|verb| verb.name == name)
        .ok_or_else(|| Failure::Usage(format!("unknown verb `{name}`\n\n{}", usage())))?;
    (verb.run)(&Metadata::load()?, rest)
}

fn usage() -> String {
    let lines = VERBS.iter().map(|verb| format!("  {:<6} {}\n", verb.name, verb.about));
    format!("usage: cargo xtask VERB\n\n{}", lines.collect::<String>().trim_end())
}

/// One chore: what is typed, what it is for, what it does.
struct Verb {
    name: &'static str,
    about: &'static str,
    run: fn(&Metadata, &[String]) -> Result<(), Failure>,
}

const VERBS: &[Verb] = &[
    Verb { name: "check", about: "the read-only gate: format, tidy, clippy", run: check::run },
    Verb { name: "fix", about: "what can be mended by a program: format", run: fix::run },
    Verb { name: "tidy", about: "sizes, words, edges, licences, sources", run: tidy::run },
    Verb { name: "test", about: "everything that must pass before a change lands", run: test::run },
    Verb {
        name: "soak",
        about: "the simulator's soak, [--minutes N] (default 10)",
        run: soak::run,
    },
    Verb { name: "kept", about: "the program of a former version, for the rounds", run: kept::run },
    Verb { name: "deb", about: "the Debian package, [--revision N] [--out FOLDER]", run: deb::run },
    Verb { name: "bench", about: "NAME [--json]: one figure of the benchmarks", run: bench::run },
];

/// Why a verb did not end well.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The command line made no sense; the text says what would.
    Usage(String),
    /// A check or a step failed; the text says which, and what to do.
    Failed(String),
}

impl Failure {
    /// The exit codes of the product: 1 refused or unhealthy, 2 usage.
    fn exit_code(&self) -> u8 {
        match self {
            Self::Failed(_) => 1,
            Self::Usage(_) => 2,
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Usage(text) | Self::Failed(text) => out.write_str(text),
        }
    }
}

/// Refuses arguments where a verb takes none.
pub(crate) fn no_arguments(verb: &str, arguments: &[String]) -> Result<(), Failure> {
    match arguments.first() {
        None => Ok(()),
        Some(extra) => Err(Failure::Usage(format!("`{verb}` takes no argument, got `{extra}`"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn usage_names_every_verb_once() {
        let usage = usage();
        for verb in VERBS {
            let shown = usage.lines().filter(|line| line.trim().starts_with(verb.name));
            assert_eq!(shown.count(), 1, "{}", verb.name);
        }
    }

    #[test]
    fn an_unknown_verb_is_a_usage_error() {
        let failure = dispatch(&["dance".to_owned()]).unwrap_err();
        assert_eq!(failure.exit_code(), 2);
        assert!(failure.to_string().contains("`dance`"));
    }
}
