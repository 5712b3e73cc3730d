//! What runs inside the machines of a lab: PID 1 (`lab-init machine`), the way in for a command
//! (`lab-init enter`) and the clients: `lab-init prober` measures, `ledger` writes,
//! `reader` waits, `listener` asks by ARP.
//!
//! Not here: who starts, cuts and kills machines from outside (`supervisor`).

mod enter;
mod machine;
mod network;
pub(crate) mod order;
mod root;
mod signals;
mod unit;

use std::ffi::{OsStr, OsString};
use std::io::Write;
use std::os::fd::{FromRawFd, OwnedFd, RawFd};
use std::process::ExitCode;

pub(crate) use enter::Enter;
pub(crate) use root::PROGRAM_DIR;

use crate::step::{StepError, chain};
use crate::{client, ledger, prober};

/// The subcommand of the program that leads to [`main`].
pub const SUBCOMMAND: &str = "lab-init";

/// The descriptor under which PID 1 finds its line to the supervisor.
pub(crate) const LINE_FD: RawFd = 3;

/// Entry point of the hidden subcommand `lab-init`; the arguments are those after it.
pub fn main(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let mut arguments = arguments.into_iter();
    let role = arguments.next();
    let done = match role.as_deref().and_then(OsStr::to_str) {
        Some("machine") => machine::run(&inherited_line()).map(|()| 0),
        Some("enter") => match Enter::parse(arguments) {
            Some(enter) => enter.run(),
            None => return wrong_use(),
        },
        Some("prober") => prober::main(arguments),
        Some("reader") => client::read(arguments),
        Some("listener") => client::listen(arguments),
        Some("called") => client::called(arguments),
        Some("ledger") => ledger::main(arguments),
        Some(_) | None => return wrong_use(),
    };
    ended(done)
}

fn ended(done: Result<u8, StepError>) -> ExitCode {
    match done {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            // Nobody may be listening any more.
            let _ = writeln!(std::io::stderr(), "error: {}", chain(&error));
            ExitCode::FAILURE
        }
    }
}

fn wrong_use() -> ExitCode {
    let _ = writeln!(std::io::stderr(), "error: `{SUBCOMMAND}` is for the lab itself");
    ExitCode::from(2)
}

#[expect(unsafe_code, reason = "a descriptor handed over by number")]
fn inherited_line() -> order::Line {
    // SAFETY: the supervisor put its line there before it started this program, and nothing else
    // in this process uses the number.
    order::Line::new(unsafe { OwnedFd::from_raw_fd(LINE_FD) })
}
