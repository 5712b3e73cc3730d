//! Guard, monitor and applications with real processes; the story is the node service.
//!
//! The same program is guard, init and monitor of the stories, and the body that keeps the node
//! service's place under the guard.

#![expect(clippy::unwrap_used, reason = "a panic is the verdict of a story")]
#![expect(clippy::print_stdout, reason = "the verdicts are read by people")]

mod addresses;
mod agents;
mod applications;
#[path = "../bind/mod.rs"]
mod bind;
mod conformance;
mod disks;
mod external;
mod fitness;
mod hostile;
mod lies;
mod monitors;
mod names;
mod scripts;
mod wire;
mod world;

use std::panic;
use std::process::ExitCode;

type Story = (&'static str, fn());

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    match args.first().map(String::as_str) {
        Some("as-guard") => world::be_guard(&args[1..]),
        Some("as-init") => stead_guard::init::run(&args[1..]),
        Some("as-monitor") => stead_resmon::monitor::run(&args[1..]),
        Some(stead_resmon::TYPE_HOST) => stead_resmon::type_host(&args[1..]),
        Some("as-kit") => conformance::be_kit(&args[1..]),
        Some("as-counter") => external::counter::main(),
        Some("as-body") => world::be_body(&args[1]),
        Some("as-hog") => hostile::be_hog(&args[1]),
        Some(_) | None => tell_stories(&args),
    }
}

fn tell_stories(args: &[String]) -> ExitCode {
    let list = args.iter().any(|a| a == "--list");
    let wanted = args.iter().find(|a| !a.starts_with('-'));
    let all: Vec<&Story> = [
        applications::ALL,
        agents::ALL,
        scripts::ALL,
        external::ALL,
        conformance::ALL,
        addresses::ALL,
        disks::ALL,
        hostile::ALL,
        lies::ALL,
        monitors::ALL,
        names::ALL,
        fitness::ALL,
    ]
    .into_iter()
    .flatten()
    .collect();
    let mut failed = 0;
    for (name, story) in all.into_iter().filter(|(name, _)| wanted.is_none_or(|w| name.contains(w)))
    {
        if list {
            println!("{name}: test");
            continue;
        }
        let result = panic::catch_unwind(story);
        println!("test {name} ... {}", if result.is_ok() { "ok" } else { "FAILED" });
        failed += usize::from(result.is_err());
    }
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
