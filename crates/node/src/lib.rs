//! The node service: the pure core with its sockets, disks, guard, monitor and API.
//!
//! ```text
//!   thread     what runs there                                  priority
//!   main       core, datagrams, guard and monitor sockets       real time where allowed
//!   streams    TCP to and from peers, encoding of what is large normal
//!   api        HTTP, signals                                    normal
//!   node-log   reads and writes of the node's own log           normal
//!   quorum     reads and writes of the quorum disk              normal
//!   records    the file of the event log                        normal
//!   audit      the file of the audit log                        normal
//!   alerts     calls of alerts, only while there are alerts     normal
//!   admission  hosts that join, only while a token is good      normal
//! ```
//!
//! Nothing on the main thread waits for a disk, for a client or for a peer: heartbeats and lease
//! questions leave when the core wants them to.
//!
//! Reading order: `service` (the loop), `execute` (what becomes of each effect), `start`,
//! `bootstrap`, then `net`, `disk`, `guard`, `monitors`, `lines`, `records`, `journald`, `audit`,
//! `alerts`, `admission`, `elsewhere` (records of other nodes), `board` (what the API sees). `life`
//! is what happens on a host before there is a node service, and after it.

mod admission;
mod alerts;
mod audit;
mod board;
mod bootstrap;
mod clock;
mod disk;
mod elsewhere;
mod execute;
mod frames;
mod guard;
mod inbox;
mod journald;
mod keys;
pub mod life;
mod lines;
mod machine;
mod monitors;
mod net;
mod records;
pub mod remote;
mod service;
mod stall;
mod standing;
mod start;
mod threads;
mod troubles;
mod wakers;

use std::io::Write;
use std::os::fd::IntoRawFd;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;

pub use bootstrap::{BootstrapError, Paths};
pub use service::{Ending, Handle, Service};
pub use start::{Settings, StartError};

const USAGE: &str = "usage: stead node run\n\n\
    Runs the node service. Started by the guard (`stead guard`), never by hand: it needs the\n\
    guard's socket (STEAD_GUARD_FD). Configuration: /etc/stead/cluster.json and cluster.key.";

/// Exit code: the configuration or the state of this node is refused.
const REFUSED: u8 = 1;
/// Exit code: wrong arguments.
const MISUSED: u8 = 2;
/// Exit code: a bug, or a failure that a new life of the service may not have.
const BROKEN: u8 = 4;

/// Runs `stead node run` until it is told to end.
///
/// Exit codes: 0 ended in order, 1 refused to start, 2 wrong arguments, 4 could not go on.
#[must_use]
pub fn run(args: &[String]) -> ExitCode {
    match args {
        [] => {}
        [arg] if arg == "--help" || arg == "-h" => {
            let _ = writeln!(std::io::stdout(), "{USAGE}");
            return ExitCode::SUCCESS;
        }
        _ => {
            say(&format!("error: `stead node run` takes no arguments\n{USAGE}"));
            return MISUSED.into();
        }
    }
    net::priority::keep_memory_small();
    match catch_unwind(AssertUnwindSafe(serve)) {
        Ok(code) => code,
        Err(panic) => {
            say(&format!("error: the node service ended in a panic: {}", threads::words(&*panic)));
            BROKEN.into()
        }
    }
}

fn serve() -> ExitCode {
    let settings = bootstrap::settings();
    // The guard kills a service that hangs up: its line is given up, and ends with the process.
    let line = settings.as_ref().ok().and_then(|settings| settings.guard.try_clone().ok());
    let _number = line.map(IntoRawFd::into_raw_fd);
    let service = match settings.map_err(StartError::from).and_then(Service::start) {
        Ok(service) => service,
        Err(error) => {
            say(&format!("error: {error}"));
            if let Some(hint) = error.hint() {
                say(&format!("hint: {hint}"));
            }
            return REFUSED.into();
        }
    };
    match service.run() {
        Ending::Stopped => ExitCode::SUCCESS,
        Ending::Failed(why) => {
            say(&format!("error: the node service cannot go on: {why}"));
            BROKEN.into()
        }
    }
}

/// One line for whoever watches the service.
pub(crate) fn say(line: &str) {
    // Where stderr is gone there is nobody to tell.
    let _ = writeln!(std::io::stderr(), "{line}");
}
