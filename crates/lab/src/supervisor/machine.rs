//! The machines of a lab, seen from outside: switched on, frozen, and without power.

use std::fs::{self, File};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;
use std::time::Duration;

use rustix::net::{AddressFamily, SocketFlags, SocketType};
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions};

use super::birth::{self, Inheritance};
use super::cgroup;
use crate::control::Power;
use crate::init;
use crate::init::order::{Line, MachineSpec, Order, Report};
use crate::ready;
use crate::step::{Step, StepError};

/// One life of a machine: from power on to power off.
#[derive(Debug)]
pub(crate) struct Life {
    pid: Pid,
    pidfd: OwnedFd,
    line: Line,
    cgroup: Option<PathBuf>,
    /// What its PID 1 and the supervisor made of it.
    pub(crate) power: Power,
    pub(crate) guard_restarts: u32,
    pub(crate) trouble: Option<String>,
}

impl Life {
    /// Makes namespaces and PID 1, which waits for [`Self::boot`].
    pub(crate) fn begin(log: &File, cgroup: Option<PathBuf>) -> Result<Self, StepError> {
        let flags = SocketFlags::CLOEXEC;
        let kind = SocketType::SEQPACKET;
        let (ours, theirs) = rustix::net::socketpair(AddressFamily::UNIX, kind, flags, None)
            .step("make", "a line to a machine")?;
        let null = File::open("/dev/null").step("open", "/dev/null")?;
        let arguments = ["stead", init::SUBCOMMAND, "machine"].map(AsRef::as_ref);
        let inheritance = Inheritance { null: &null, log, line: &theirs };
        let newborn = birth::machine(&arguments, &inheritance).step("make", "namespaces")?;
        Ok(Self {
            pid: newborn.pid,
            pidfd: newborn.pidfd,
            line: Line::new(ours),
            cgroup,
            power: Power::Booting,
            guard_restarts: 0,
            trouble: None,
        })
    }

    /// Its cables are there: it may make the rest itself.
    pub(crate) fn boot(&self, spec: MachineSpec) -> Result<(), StepError> {
        let name = spec.hostname.clone();
        self.line.send(&Order::Boot(Box::new(spec))).step("boot", name)
    }

    pub(crate) fn pid(&self) -> u32 {
        self.pid.as_raw_nonzero().get().unsigned_abs()
    }

    pub(crate) fn cgroup(&self) -> Option<&PathBuf> {
        self.cgroup.as_ref()
    }

    /// Its network namespace.
    pub(crate) fn network(&self) -> Result<File, StepError> {
        let path = format!("/proc/{}/ns/net", self.pid());
        File::open(&path).step("open", path)
    }

    /// Becomes readable when it ended, or reports.
    pub(crate) fn watched(&self) -> [BorrowedFd<'_>; 2] {
        [self.pidfd.as_fd(), self.line.as_fd()]
    }

    /// Whether it has ended; then it is collected.
    pub(crate) fn ended(&self) -> bool {
        let id = WaitId::PidFd(self.pidfd.as_fd());
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG;
        matches!(rustix::process::waitid(id, options), Ok(Some(_)))
    }

    /// Takes in what PID 1 reported; an end shows in [`Self::ended`].
    pub(crate) fn hear(&mut self) {
        while let Ok(Some(report)) = self.line.receive() {
            self.take(report);
        }
    }

    fn take(&mut self, report: Report) {
        match report {
            Report::Booted => self.power = Power::On,
            Report::NotBooted(why) => self.trouble = Some(why),
            Report::Restarting(why) => {
                self.guard_restarts += 1;
                self.trouble = Some(why);
            }
            Report::GaveUp(why) => {
                self.power = Power::Failed;
                self.trouble = Some(why);
            }
            Report::Frozen | Report::Thawed => {}
        }
    }

    /// Power off: the kernel kills PID 1 and with it every process of the PID namespace. Returns
    /// when all are gone.
    pub(crate) fn kill(&self) -> Result<(), StepError> {
        self.signal(Signal::KILL)?;
        let gone = ready::one(&self.pidfd, DEATH_LIMIT).step("wait for", self.pid())?;
        if !gone {
            let late = io::Error::from(io::ErrorKind::TimedOut);
            return Err(StepError::new("wait for the end of process", self.pid(), late));
        }
        self.ended();
        Ok(())
    }

    /// Asks PID 1 to shut the machine down.
    pub(crate) fn stop(&mut self) -> Result<(), StepError> {
        self.signal(Signal::TERM)?;
        self.power = Power::Stopping;
        Ok(())
    }

    /// Stops all its processes. By cgroup it is one order to the kernel; otherwise PID 1 sends
    /// SIGSTOP to all others with one call and is stopped itself last.
    pub(crate) fn freeze(&mut self) -> Result<(), StepError> {
        match &self.cgroup {
            Some(dir) => cgroup::set_frozen(dir, true)?,
            None => {
                self.order(&Order::Freeze, &Report::Frozen)?;
                self.signal(Signal::STOP)?;
            }
        }
        self.power = Power::Frozen;
        Ok(())
    }

    /// Lets all its processes go on.
    pub(crate) fn thaw(&mut self) -> Result<(), StepError> {
        match &self.cgroup {
            Some(dir) => cgroup::set_frozen(dir, false)?,
            None => {
                self.signal(Signal::CONT)?;
                self.order(&Order::Thaw, &Report::Thawed)?;
            }
        }
        self.power = Power::On;
        Ok(())
    }

    /// Gives an order and waits until it was carried out.
    fn order(&mut self, order: &Order, wanted: &Report) -> Result<(), StepError> {
        self.line.send(order).step("order", self.pid())?;
        loop {
            let came = ready::one(&self.line, ORDER_LIMIT).step("wait for", self.pid())?;
            if !came {
                let late = io::Error::from(io::ErrorKind::TimedOut);
                return Err(StepError::new("get an answer from process", self.pid(), late));
            }
            match self.line.receive::<Report>().step("hear", self.pid())? {
                Some(report) if report == *wanted => return Ok(()),
                Some(report) => self.take(report),
                None => {}
            }
        }
    }

    fn signal(&self, signal: Signal) -> Result<(), StepError> {
        match rustix::process::pidfd_send_signal(&self.pidfd, signal) {
            Ok(()) | Err(rustix::io::Errno::SRCH) => Ok(()),
            Err(errno) => Err(StepError::new("send a signal to process", self.pid(), errno)),
        }
    }
}

/// Opens the file that gets what a machine prints, for appending.
pub(crate) fn open_log(dir: &std::path::Path) -> Result<File, StepError> {
    let path = dir.join("console.log");
    let opened = fs::OpenOptions::new().create(true).append(true).open(&path);
    opened.step("open", path.display())
}

/// A killed process may first have to leave the kernel: a slow disk holds it.
const DEATH_LIMIT: Duration = Duration::from_secs(15);
const ORDER_LIMIT: Duration = Duration::from_secs(10);
