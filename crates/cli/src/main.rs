//! The program `stead`: one binary for every process of a node, for the lab and for people.
//!
//! ```text
//!   stead guard | monitor | init | node run  processes of a node  ─► crates guard, resmon, node
//!   stead lab-supervisor | lab-init | …      processes of a lab   ─► crate lab
//!   stead <noun> <verb>                      what a person types  ─► API of a node, crate lab
//! ```
//!
//! The first two kinds leave before anything for people is set up (arguments, runtime, tables):
//! they must stay tiny. The third talks to nodes over their API only.
//! Reading order: `dispatch`, `typed`, `arguments`, `reach`, `commands`, `waiting`, `render`.

mod arguments;
mod commands;
mod dispatch;
mod failure;
mod place;
mod reach;
mod render;
mod screen;
mod typed;
mod usage;
mod waiting;

use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments: Vec<_> = std::env::args_os().skip(1).collect();
    dispatch::process(&arguments).unwrap_or_else(|| typed::run(&arguments))
}
