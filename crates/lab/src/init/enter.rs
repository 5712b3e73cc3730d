//! Running a command in a machine that is there: `lab-init enter PID [--cgroup DIR] -- COMMAND…`.
//!
//! A process of its own, because entering a user namespace needs one with a single thread. It stays
//! outside as parent of the command, with the caller's terminal, and ends as the command ends.

use std::ffi::OsString;
use std::fs;
use std::os::fd::AsFd;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};

use rustix::process::{Pid, PidfdFlags};
use rustix::thread::ThreadNameSpaceType;

use super::root::PATH;
use crate::step::{Step, StepError};

/// What to run where.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Enter {
    /// PID 1 of the machine, as this host counts.
    pub(crate) pid: u32,
    /// Its cgroup on this host.
    pub(crate) cgroup: Option<PathBuf>,
    pub(crate) command: Vec<OsString>,
}

impl Enter {
    /// The arguments after `enter`.
    pub(crate) fn arguments(&self) -> Vec<OsString> {
        let mut arguments = vec![self.pid.to_string().into()];
        if let Some(cgroup) = &self.cgroup {
            arguments.extend(["--cgroup".into(), cgroup.clone().into_os_string()]);
        }
        arguments.push("--".into());
        arguments.extend(self.command.iter().cloned());
        arguments
    }

    /// Reads what [`Self::arguments`] wrote.
    pub(crate) fn parse(mut arguments: impl Iterator<Item = OsString>) -> Option<Self> {
        let pid = arguments.next()?.to_str()?.parse().ok()?;
        let mut cgroup = None;
        let mut word = arguments.next()?;
        if word == "--cgroup" {
            cgroup = Some(arguments.next()?.into());
            word = arguments.next()?;
        }
        let command: Vec<_> = arguments.collect();
        (word == "--" && !command.is_empty()).then_some(Self { pid, cgroup, command })
    }

    /// Runs the command to its end; its exit status, as a shell would give it.
    pub(crate) fn run(&self) -> Result<u8, StepError> {
        let pid = i32::try_from(self.pid).ok().and_then(Pid::from_raw);
        let pid = pid.ok_or(rustix::io::Errno::SRCH).step("find process", self.pid)?;
        let machine =
            rustix::process::pidfd_open(pid, PidfdFlags::empty()).step("find process", self.pid)?;
        let spaces = self.spaces()?;
        if let Some(cgroup) = &self.cgroup {
            fs::write(cgroup.join("cgroup.procs"), "0").step("enter", cgroup.display())?;
        }
        rustix::thread::move_into_thread_name_spaces(machine.as_fd(), spaces)
            .step("enter the namespaces of process", self.pid)?;
        std::env::set_current_dir("/").step("enter", "/")?;
        let status = self.spawn().step("run", self.command[0].display())?;
        Ok(shell_code(status))
    }

    fn spaces(&self) -> Result<ThreadNameSpaceType, StepError> {
        let mut spaces = ThreadNameSpaceType::MOUNT
            | ThreadNameSpaceType::NETWORK
            | ThreadNameSpaceType::HOST_NAME_AND_NIS_DOMAIN_NAME
            | ThreadNameSpaceType::INTER_PROCESS_COMMUNICATION
            | ThreadNameSpaceType::PROCESS_ID;
        // Entering the user namespace one is in already is an error.
        if self.differs("user")? {
            spaces |= ThreadNameSpaceType::USER;
        }
        if self.differs("cgroup")? {
            spaces |= ThreadNameSpaceType::CONTROL_GROUP;
        }
        Ok(spaces)
    }

    fn differs(&self, kind: &str) -> Result<bool, StepError> {
        let read = |who: &str| {
            let path = format!("/proc/{who}/ns/{kind}");
            fs::read_link(Path::new(&path)).step("look at", path)
        };
        Ok(read("self")? != read(&self.pid.to_string())?)
    }

    fn spawn(&self) -> std::io::Result<ExitStatus> {
        let mut command = Command::new(&self.command[0]);
        command.args(&self.command[1..]).env("PATH", PATH).env("HOME", "/root");
        for outside in ["XDG_RUNTIME_DIR", "DBUS_SESSION_BUS_ADDRESS", "TMPDIR"] {
            command.env_remove(outside);
        }
        end_with_parent(&mut command);
        command.status()
    }
}

/// Whoever waits for the command may be killed; then nobody wants it any more.
#[expect(unsafe_code, reason = "the death signal is set between fork and exec")]
fn end_with_parent(command: &mut Command) {
    let set = || {
        let signal = Some(rustix::process::Signal::KILL);
        Ok(rustix::process::set_parent_process_death_signal(signal)?)
    };
    // SAFETY: `set` is one system call; it neither allocates nor takes a lock.
    unsafe { command.pre_exec(set) };
}

fn shell_code(status: ExitStatus) -> u8 {
    let killed = status.signal().map(|signal| 128 + signal);
    let code = status.code().or(killed).unwrap_or(1);
    u8::try_from(code).unwrap_or(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_survive_the_way() {
        for cgroup in [None, Some(PathBuf::from("/sys/fs/cgroup/x"))] {
            let enter = Enter { pid: 7, cgroup, command: vec!["sh".into(), "--".into()] };
            assert_eq!(Enter::parse(enter.arguments().into_iter()), Some(enter));
        }
        for bad in [&["7"][..], &["x", "--", "a"], &["7", "--"], &["7", "--cgroup", "--", "a"]] {
            assert_eq!(Enter::parse(bad.iter().map(OsString::from)), None, "{bad:?}");
        }
    }
}
