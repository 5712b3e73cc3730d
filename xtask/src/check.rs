//! `cargo xtask check`: the read-only gate, cheapest part first. It never writes to the tree.

use std::time::Duration;

use crate::metadata::{Metadata, cargo_words};
use crate::part::Part;
use crate::{Failure, no_arguments, test};

/// Runs the gate; the first part that fails ends it.
pub(crate) fn run(metadata: &Metadata, arguments: &[String]) -> Result<(), Failure> {
    no_arguments("check", arguments)?;
    test::run_parts(&metadata.root, &parts())
}

/// The parts of the gate, for `check` itself and as the beginning of `test`.
pub(crate) fn parts() -> Vec<Part> {
    let ourselves = std::env::current_exe()
        .map_or_else(|_| "cargo-xtask".to_owned(), |path| path.display().to_string());
    let clippy = ["clippy", "--workspace", "--all-targets", "--locked", "--", "-D", "warnings"];
    vec![
        Part {
            name: "format",
            about: "rustfmt agrees",
            commands: vec![cargo_words(&["fmt", "--all", "--check"])],
            limit: Duration::from_mins(2),
        },
        Part {
            name: "tidy",
            about: "sizes, words, edges, licences",
            commands: vec![vec![ourselves, "tidy".to_owned()]],
            limit: Duration::from_mins(2),
        },
        Part {
            name: "clippy",
            about: "no warning in any target",
            commands: vec![cargo_words(&clippy)],
            limit: Duration::from_mins(20),
        },
    ]
}
