//! What a monitor process is there for, as the guard says it on the command line.

use std::io::{self, Write};
use std::process::ExitCode;

use stead_model::wire::monitor::socket_name;

use crate::host::capture;

/// What a monitor process is there for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Duty {
    /// To host resources.
    Host {
        /// Name of the socket on which it gets its orders.
        socket: String,
    },
    /// To say what a process does, and end: that one does not answer.
    Describe(i32),
}

impl Duty {
    /// `(nothing)`: all resources but those with a monitor of their own. `--own SLOT RESOURCE`:
    /// that one; the resource is there for whoever reads a list of processes. `--describe PID`.
    pub(super) fn parse(args: &[String]) -> Result<Self, String> {
        let words: Vec<&str> = args.iter().map(String::as_str).collect();
        let own = |slot: &str| slot.parse().ok().filter(|slot| *slot > 0);
        match words.as_slice() {
            [] => Ok(Self::Host { socket: socket_name(None) }),
            ["--own", slot, _] if own(slot).is_some() => {
                Ok(Self::Host { socket: socket_name(own(slot)) })
            }
            ["--describe", pid] => {
                let pid = pid.parse().ok().filter(|pid| *pid > 0);
                pid.map(Self::Describe).ok_or_else(|| "`--describe` wants a process".to_owned())
            }
            [first, ..] => {
                Err(format!("stead monitor is started by the guard, `{first}` was given"))
            }
        }
    }
}

/// Says what a process with its threads does, in one line.
pub(super) fn describe(pid: i32) -> ExitCode {
    // Who asked may have gone.
    drop(writeln!(io::stdout(), "{}", capture::describe_process(pid)));
    ExitCode::SUCCESS
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_guards_words_are_understood_and_nothing_else() {
        let parse = |text: &str| {
            let words: Vec<String> = text.split_whitespace().map(str::to_owned).collect();
            Duty::parse(&words)
        };
        let host = |socket: &str| Ok(Duty::Host { socket: socket.into() });
        assert_eq!(parse(""), host("monitor.sock"));
        assert_eq!(parse("--own 3 db"), host("monitor-3.sock"));
        assert_eq!(parse("--describe 17"), Ok(Duty::Describe(17)));
        for wrong in ["--own", "--own 0 db", "--own x db", "--describe", "--describe -1", "serve"] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }
}
