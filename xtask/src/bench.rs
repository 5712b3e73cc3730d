//! `cargo xtask bench NAME [--json]`: one figure, measured by the benchmark program in `bench/`.
//!
//! The figures live there and not in timed tests: a busy machine must not turn a build red.
//! Unlike a part of the gate a benchmark has no limit of ours, and only its own output is
//! printed: with `--json` that is what a program reads.

use std::process::Command;

use crate::Failure;
use crate::metadata::{Metadata, cargo};

const PACKAGE: &str = "bench";

/// Forwards to the benchmark program, built for release.
pub(crate) fn run(metadata: &Metadata, arguments: &[String]) -> Result<(), Failure> {
    if metadata.member(PACKAGE).is_none() {
        return Err(Failure::Failed(format!("this workspace has no package `{PACKAGE}`")));
    }
    let status = Command::new(cargo())
        .args(["run", "--quiet", "--release", "--locked", "-p", PACKAGE, "--"])
        .args(arguments)
        .current_dir(&metadata.root)
        .status()
        .map_err(|error| Failure::Failed(format!("cannot run the benchmarks: {error}")))?;
    if status.success() {
        return Ok(());
    }
    Err(Failure::Failed(format!("benchmark `{}` failed: {status}", arguments.join(" "))))
}
