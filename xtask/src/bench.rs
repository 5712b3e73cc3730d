//! `cargo xtask bench NAME [--json]`: one figure, measured by the benchmark program in `bench/`.
//!
//! The figures live there and not in timed tests: a busy machine must not turn a build red.
//! Unlike a part of the gate a benchmark has no limit of ours, and only its own output is
//! printed: with `--json` that is what a program reads.

use std::process::Command;

use crate::Failure;
use crate::metadata::{Metadata, cargo};

pub(crate) const PACKAGE: &str = "bench";
/// The package of the product.
pub(crate) const PRODUCT: &str = "stead-cli";
/// The profile of what is shipped.
pub(crate) const PROFILE: &str = "dist";

/// Forwards to the benchmark program, built like what is shipped.
pub(crate) fn run(metadata: &Metadata, arguments: &[String]) -> Result<(), Failure> {
    if metadata.member(PACKAGE).is_none() {
        return Err(Failure::Failed(format!("this workspace has no package `{PACKAGE}`")));
    }
    // What is measured is the product as it is now, built by itself.
    let product = ["build", "--quiet", "--profile", PROFILE, "--locked", "-p", PRODUCT];
    run_cargo(metadata, &product, &[], "cannot build the product to measure")?;
    let program = ["run", "--quiet", "--profile", PROFILE, "--locked", "-p", PACKAGE, "--"];
    run_cargo(metadata, &program, arguments, &format!("benchmark `{}`", arguments.join(" ")))
}

fn run_cargo(
    metadata: &Metadata,
    words: &[&str],
    arguments: &[String],
    what: &str,
) -> Result<(), Failure> {
    let status = Command::new(cargo())
        .args(words)
        .args(arguments)
        .current_dir(&metadata.root)
        .status()
        .map_err(|error| Failure::Failed(format!("{what}: {error}")))?;
    if status.success() {
        return Ok(());
    }
    Err(Failure::Failed(format!("{what} failed: {status}")))
}
