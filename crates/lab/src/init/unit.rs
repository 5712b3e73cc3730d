//! The one unit of a node: PID 1 starts the command, restarts it when it ends, and stops it when
//! the machine shuts down, as systemd does with `stead.service`.
//!
//! ```text
//!            start            ended                 0.1 s
//!   (new) ──────────► running ─────► kill all ─► waiting ─────► running
//!                        │                          │ fifth end within 10 s
//!                        │ SIGTERM                  └──────────► gave up
//!                        └─────► stopping ── ended, or limit: kill all ──► over
//! ```

use std::collections::BTreeMap;
use std::io;
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, ExitStatus};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal as KillSignal, WaitOptions};

use super::order::MachineSpec;
use super::root::PATH;
use super::signals::{signal_all, unblocked};

/// The command of a node and what became of it.
#[derive(Debug)]
pub(crate) struct Unit {
    command: Vec<String>,
    environment: BTreeMap<String, String>,
    lab: String,
    state: State,
    /// When it ended lately.
    ends: Vec<Instant>,
}

#[derive(Clone, Copy, Debug)]
enum State {
    Running(Pid),
    Waiting { until: Instant },
    Stopping { pid: Option<Pid>, limit: Instant },
    Idle,
}

/// What the supervisor should know.
#[derive(Debug)]
pub(crate) enum Ended {
    Restarting(String),
    GaveUp(String),
}

impl Unit {
    /// Starts the command of a machine; an empty one is nothing to run.
    pub(crate) fn start(spec: &MachineSpec) -> io::Result<Self> {
        let mut unit = Self {
            command: spec.command.clone(),
            environment: spec.environment.clone(),
            lab: spec.lab.clone(),
            state: State::Idle,
            ends: Vec::new(),
        };
        if !unit.command.is_empty() {
            unit.state = State::Running(unit.spawn()?);
        }
        Ok(unit)
    }

    /// How long nothing needs to be done if nothing happens.
    pub(crate) fn idle_for(&self) -> Duration {
        match self.state {
            State::Waiting { until: at } | State::Stopping { limit: at, .. } => {
                at.saturating_duration_since(Instant::now())
            }
            State::Running(_) | State::Idle => Duration::from_secs(3600),
        }
    }

    /// The machine shuts down.
    pub(crate) fn stop(&mut self) {
        let pid = match self.state {
            State::Running(pid) => Some(pid),
            State::Stopping { .. } => return,
            State::Waiting { .. } | State::Idle => None,
        };
        if let Some(pid) = pid {
            // Not there any more: its end is about to be read.
            let _ = rustix::process::kill_process(pid, KillSignal::TERM);
        }
        self.state = State::Stopping { pid, limit: Instant::now() + STOP_LIMIT };
    }

    /// Whether the machine has shut down.
    pub(crate) fn over(&self) -> bool {
        match self.state {
            State::Stopping { pid: None, .. } => true,
            State::Stopping { limit, .. } => Instant::now() >= limit,
            State::Running(_) | State::Waiting { .. } | State::Idle => false,
        }
    }

    /// Collects ended processes; says so if the command was among them and the machine is to run.
    pub(crate) fn reap(&mut self) -> Option<Ended> {
        let mut told = None;
        while let Ok(Some((pid, status))) = rustix::process::wait(WaitOptions::NOHANG) {
            let status = ExitStatus::from_raw(status.as_raw());
            match self.state {
                State::Running(command) if command == pid => told = Some(self.ended(status)),
                State::Stopping { pid: Some(command), limit } if command == pid => {
                    self.state = State::Stopping { pid: None, limit };
                }
                State::Running(_)
                | State::Waiting { .. }
                | State::Stopping { .. }
                | State::Idle => {}
            }
        }
        told
    }

    /// Starts the command again if it is time.
    pub(crate) fn wake(&mut self) -> Option<Ended> {
        match self.state {
            State::Waiting { until } if Instant::now() >= until => match self.spawn() {
                Ok(pid) => {
                    self.state = State::Running(pid);
                    None
                }
                Err(error) => Some(self.again(format!("cannot start it: {error}"))),
            },
            State::Waiting { .. } | State::Running(_) | State::Stopping { .. } | State::Idle => {
                None
            }
        }
    }

    fn ended(&mut self, status: ExitStatus) -> Ended {
        signal_all(libc::SIGKILL);
        self.again(format!("`{}` ended ({status})", self.command.join(" ")))
    }

    fn again(&mut self, why: String) -> Ended {
        let now = Instant::now();
        self.ends.retain(|end| now.duration_since(*end) < LIMIT_PERIOD);
        self.ends.push(now);
        if self.ends.len() >= ENDS_MAX {
            self.state = State::Idle;
            return Ended::GaveUp(why);
        }
        self.state = State::Waiting { until: now + RESTART_DELAY };
        Ended::Restarting(why)
    }

    fn spawn(&self) -> io::Result<Pid> {
        let mut command = Command::new(&self.command[0]);
        command.args(&self.command[1..]).env_clear();
        command.env("PATH", PATH).env("HOME", "/root").env("STEAD_LAB", &self.lab);
        command.envs(&self.environment);
        let child = unblocked(&mut command).spawn()?;
        Pid::from_raw(child.id().cast_signed()).ok_or_else(|| io::ErrorKind::InvalidData.into())
    }
}

/// As systemd's `RestartSec`, `StartLimitBurst`, `StartLimitIntervalSec`.
const RESTART_DELAY: Duration = Duration::from_millis(100);
const ENDS_MAX: usize = 5;
const LIMIT_PERIOD: Duration = Duration::from_secs(10);

/// How long a clean shutdown may take; longer than the stop timeout of ordinary applications.
const STOP_LIMIT: Duration = Duration::from_secs(30);
