//! `cargo xtask soak [--minutes N]`: the simulator looks for violations for N minutes of CPU.

use std::time::Duration;

use crate::metadata::{Metadata, cargo_words};
use crate::part::Part;
use crate::{Failure, test};

/// The package that holds the simulator and its program of the same name.
pub(crate) const PACKAGE: &str = "stead-sim";

/// Runs the soak; ten minutes unless told otherwise, which is what a landing has to show.
pub(crate) fn run(metadata: &Metadata, arguments: &[String]) -> Result<(), Failure> {
    let minutes = parse(arguments)?;
    if metadata.member(PACKAGE).is_none() {
        return Err(Failure::Failed(format!("this workspace has no package `{PACKAGE}`")));
    }
    test::run_parts(&metadata.root, &[part(minutes)])
}

/// The soak as a part of a longer run. The limit leaves room for the build and for a busy machine.
pub(crate) fn part(minutes: u64) -> Part {
    Part {
        name: "soak",
        about: "no seed breaks an invariant",
        commands: vec![simulator(&["soak", "--minutes", &minutes.to_string()])],
        limit: Duration::from_mins(20 + 3 * minutes),
    }
}

/// The command that runs the simulator's program with these arguments.
pub(crate) fn simulator(arguments: &[&str]) -> Vec<String> {
    let run = ["run", "--quiet", "--release", "--locked", "-p", PACKAGE, "--"];
    cargo_words(&[&run[..], arguments].concat())
}

fn parse(arguments: &[String]) -> Result<u64, Failure> {
    match arguments {
        [] => Ok(10),
        [flag, minutes] if flag == "--minutes" => minutes
            .parse()
            .map_err(|_| Failure::Usage(format!("`--minutes` takes a number, got `{minutes}`"))),
        _ => Err(Failure::Usage("usage: cargo xtask soak [--minutes N]".to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn minutes_are_ten_unless_told() {
        let words = |text: &str| text.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
        assert_eq!(parse(&[]).unwrap(), 10);
        assert_eq!(parse(&words("--minutes 2")).unwrap(), 2);
        assert!(matches!(parse(&words("--minutes two")), Err(Failure::Usage(_))));
        assert!(matches!(parse(&words("2")), Err(Failure::Usage(_))));
    }
}
