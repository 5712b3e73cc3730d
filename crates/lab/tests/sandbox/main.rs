//! Labs for real, with a stand-in in place of the guard: namespaces, cables, power cuts, freezes,
//! cuts, several labs at once, and what is left afterwards. As root, then again as an ordinary
//! user.
//!
//! This program is also the one the labs run: it leads the hidden subcommands where `stead` leads
//! them, and plays the stand-in.
#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a test with a harness of its own panics and prints as tests do"
)]

mod cables;
mod client;
mod disks;
mod life;
mod stand_in;
mod traces;
mod world;

use std::ffi::OsString;
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::{Command, ExitCode};
use std::time::Instant;

use world::World;

type Case = (&'static str, fn(&World));

const CASES: [&[Case]; 5] =
    [life::CASES, cables::CASES, traces::CASES, client::CASES, disks::CASES];

fn main() -> ExitCode {
    let mut arguments = std::env::args_os().skip(1);
    let first = arguments.next();
    match first.as_ref().and_then(|word| word.to_str()) {
        Some(stead_lab::init::SUBCOMMAND) => stead_lab::init::main(arguments),
        Some(stead_lab::supervisor::SUBCOMMAND) => stead_lab::supervisor::main(arguments),
        Some(stead_lab::disks::SUBCOMMAND) => stead_lab::disks::main(arguments),
        Some(stead_lab::stamp::SUBCOMMAND) => stead_lab::stamp::main(arguments),
        Some(stead_lab::demo_web::SUBCOMMAND) => stead_lab::demo_web::main(arguments),
        Some(stand_in::SUBCOMMAND) => stand_in::main(arguments),
        Some(_) | None => run(first.into_iter().chain(arguments).collect()),
    }
}

/// Runs the cases whose names contain the first word that is no option.
fn run(words: Vec<OsString>) -> ExitCode {
    let words: Vec<String> = words.into_iter().filter_map(|w| w.into_string().ok()).collect();
    let filter = words.iter().find(|word| !word.starts_with('-')).cloned().unwrap_or_default();
    let root = rustix::process::geteuid().is_root();
    let who = if root { "root" } else { "ordinary user" };
    let mut failed = Vec::new();
    for (name, case) in CASES.into_iter().flatten().filter(|(name, _)| name.contains(&filter)) {
        let begun = Instant::now();
        let passed = catch_unwind(AssertUnwindSafe(|| World::with(case))).is_ok();
        let result = if passed { "ok" } else { "FAILED" };
        println!("test {name} as {who} ... {result} ({:.2} s)", begun.elapsed().as_secs_f64());
        if !passed {
            failed.push(*name);
        }
    }
    let again = if root { run_as_ordinary_user(&filter) } else { true };
    if failed.is_empty() && again {
        return ExitCode::SUCCESS;
    }
    eprintln!("failed as {who}: {failed:?}");
    ExitCode::FAILURE
}

/// The same as a user that has nothing: no capability, no group, no directory but one.
fn run_as_ordinary_user(filter: &str) -> bool {
    const UID: u32 = 54_321;
    let dir = tempfile::tempdir().expect("a directory for the ordinary user");
    let program = dir.path().join("sandbox");
    std::fs::copy(std::env::current_exe().unwrap(), &program).unwrap();
    std::fs::set_permissions(dir.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
    chown(dir.path(), Some(UID), Some(UID)).unwrap();
    let mut command = Command::new(&program);
    command.arg(filter).uid(UID).gid(UID).env("TMPDIR", dir.path()).current_dir("/");
    command.status().expect("the tests again").success()
}
