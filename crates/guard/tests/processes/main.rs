//! The guard with real processes: what it starts, what it stops, and what it does not let start.
//!
//! The same program is guard, init, node service and monitor of the stories. Node service and
//! monitor are *bodies* here: they hand bytes between the guard and the story, so a story decides
//! what they say while the process can really be stopped, continued and killed.

#![expect(clippy::unwrap_used, reason = "a panic is the verdict of a story")]
#![expect(clippy::print_stdout, reason = "the verdicts are read by people")]

mod addresses;
mod machine;
mod stories;
mod world;

use std::panic;
use std::process::ExitCode;

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    match args.first().map(String::as_str) {
        Some("as-guard") => world::be_guard(&args[1..]),
        Some("as-init") => stead_guard::init::run(&args[1..]),
        Some("as-machine") => machine::be_machine(&args[1]),
        Some("as-program") => loop {
            std::thread::park();
        },
        Some("as-body") => world::be_body(&args[1..]),
        Some(_) | None => tell_stories(&args),
    }
}

fn tell_stories(args: &[String]) -> ExitCode {
    let list = args.iter().any(|a| a == "--list");
    let wanted = args.iter().find(|a| !a.starts_with('-'));
    let chosen = stories::ALL
        .iter()
        .chain(addresses::ALL)
        .chain(machine::ALL)
        .filter(|(name, _)| wanted.is_none_or(|w| name.contains(w)));
    let mut failed = 0;
    for (name, story) in chosen {
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
