//! A part of a longer run: one or more commands under one time limit, and how it went.
//!
//! Every wait is bounded: a part that reaches its limit is ended with all its processes and says
//! so. The first failing command ends its part.

use std::fmt;
use std::io;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use crate::reaper::Reaper;

/// What to run, why, and for how long at most.
#[derive(Debug)]
pub(crate) struct Part {
    pub(crate) name: &'static str,
    /// One line for the reader who waits: what this proves.
    pub(crate) about: &'static str,
    /// Program and arguments each, run one after the other.
    pub(crate) commands: Vec<Vec<String>>,
    /// For all commands together; chosen at about five times what two busy cores need.
    pub(crate) limit: Duration,
}

/// How a part ended, and after how long.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) name: &'static str,
    pub(crate) took: Duration,
    pub(crate) end: End,
}

/// How a part ended.
#[derive(Debug)]
pub(crate) enum End {
    Passed,
    /// This command ended with a failure.
    Failed {
        command: String,
        status: ExitStatus,
    },
    /// The limit was reached; the command and all its processes were ended.
    TimedOut {
        command: String,
        limit: Duration,
    },
    /// The command could not be started or watched.
    NotRun {
        command: String,
        error: io::Error,
    },
}

impl Part {
    /// Runs the commands in `folder`, their output going where ours goes.
    pub(crate) fn run(&self, folder: &Path) -> Ran {
        let began = Instant::now();
        println!("\n== {}: {} (at most {})", self.name, self.about, minutes(self.limit));
        let failed = self.commands.iter().find_map(|command| {
            println!("   {}", command.join(" "));
            match run_within(command, folder, self.limit.saturating_sub(began.elapsed())) {
                End::Passed => None,
                end @ (End::Failed { .. } | End::NotRun { .. }) => Some(end),
                End::TimedOut { command, .. } => Some(End::TimedOut { command, limit: self.limit }),
            }
        });
        Ran { name: self.name, took: began.elapsed(), end: failed.unwrap_or(End::Passed) }
    }
}

fn run_within(words: &[String], folder: &Path, limit: Duration) -> End {
    let command = words.join(" ");
    let Some((program, arguments)) = words.split_first() else {
        return End::NotRun { command, error: io::ErrorKind::InvalidInput.into() };
    };
    let mut started = Command::new(program);
    started.args(arguments).current_dir(folder).stdin(Stdio::null()).process_group(0);
    match started.spawn().and_then(|child| wait_within(child, limit)) {
        Ok(Some(status)) if status.success() => End::Passed,
        Ok(Some(status)) => End::Failed { command, status },
        Ok(None) => End::TimedOut { command, limit },
        Err(error) => End::NotRun { command, error },
    }
}

/// The child's status, or `None` when it was ended at the limit.
fn wait_within(mut child: Child, limit: Duration) -> io::Result<Option<ExitStatus>> {
    let reaper = Reaper::over(child.id()).inspect_err(|_| drop(child.kill()))?;
    let (report, ended) = mpsc::channel();
    thread::spawn(move || {
        let status = child.wait();
        // Nobody listens any more after the limit: then the status is of no interest.
        drop(report.send(status));
    });
    match ended.recv_timeout(limit) {
        Ok(status) => {
            reaper.dismiss()?;
            status.map(Some)
        }
        Err(_) => {
            reaper.end_group()?;
            // A process that even KILL does not end at once is the kernel's; we go on.
            drop(ended.recv_timeout(Duration::from_secs(10)));
            Ok(None)
        }
    }
}

impl Ran {
    pub(crate) fn passed(&self) -> bool {
        matches!(self.end, End::Passed)
    }
}

impl fmt::Display for End {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Passed => write!(out, "passed"),
            Self::Failed { command, status } => write!(out, "failed, {status}: {command}"),
            Self::TimedOut { command, limit } => {
                write!(out, "ended at its limit of {}: {command}", minutes(*limit))
            }
            Self::NotRun { command, error } => write!(out, "could not run: {command}: {error}"),
        }
    }
}

/// The table that ends a run: every part, how long it took, how it ended.
pub(crate) fn table(ran: &[Ran]) -> String {
    let rows = ran.iter().map(|part| {
        format!("  {:<14} {:>7.1} s  {}\n", part.name, part.took.as_secs_f64(), part.end)
    });
    rows.collect()
}

fn minutes(limit: Duration) -> String {
    match limit.as_secs() {
        seconds if seconds >= 60 => format!("{} min", seconds / 60),
        seconds => format!("{seconds} s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GENEROUS: Duration = Duration::from_secs(60);

    fn shell(limit: Duration, scripts: &[&str]) -> Ran {
        run(limit, scripts.iter().map(|s| ["sh", "-c", s].map(str::to_owned).to_vec()).collect())
    }

    fn run(limit: Duration, commands: Vec<Vec<String>>) -> Ran {
        Part { name: "shell", about: "test", commands, limit }.run(Path::new("/"))
    }

    #[test]
    fn a_part_passes_when_all_its_commands_do() {
        assert!(shell(GENEROUS, &["true", "true"]).passed());
    }

    #[test]
    fn the_first_failing_command_ends_the_part_and_is_named() {
        let ran = shell(GENEROUS, &["true", "exit 3", "exit 4"]);
        let End::Failed { command, status } = &ran.end else { panic!("{ran:?}") };
        assert_eq!((command.as_str(), status.code()), ("sh -c exit 3", Some(3)));
    }

    #[test]
    fn at_the_limit_the_part_is_ended_and_says_so() {
        let ran = shell(Duration::from_millis(200), &["sleep 600 & sleep 600"]);
        assert!(matches!(ran.end, End::TimedOut { .. }), "{ran:?}");
        assert!(ran.took < GENEROUS, "{ran:?}");
    }

    #[test]
    fn a_program_that_is_not_there_is_told_from_one_that_fails() {
        let ran = run(GENEROUS, vec![vec!["/nonexistent/program".to_owned()]]);
        assert!(matches!(ran.end, End::NotRun { .. }), "{ran:?}");
    }

    #[test]
    fn the_table_has_a_row_for_every_part() {
        let table = table(&[shell(GENEROUS, &["true"]), shell(GENEROUS, &["false"])]);
        let ends: Vec<bool> = table.lines().map(|row| row.ends_with("passed")).collect();
        assert_eq!(ends, [true, false], "{table}");
    }
}
