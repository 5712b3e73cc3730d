//! `stead init`: PID 1 of an application's own namespaces.
//!
//! An application as PID 1 would ignore TERM and leave zombies. This init starts it, hands every
//! signal on to it, reaps whatever is left to it, keeps the output within bounds and tells the
//! guard how the application ended. It ends with the application, or when the guard is gone; the
//! kernel then kills what is left in the namespace.
//!
//! Where namespaces are refused it runs as leader of a process group and child subreaper instead;
//! what it leaves behind falls to the guard, which kills it.
//!
//! The init of an agent's place ([`agent`]) runs many programs, one order each, and stays.

mod agent;
mod output;
mod view;

use std::io::{self, PipeReader, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::{Command, ExitCode, Stdio};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::mount::{MountFlags, MountPropagationFlags, mount, mount_change};
use rustix::process::{WaitOptions, WaitStatus, getpid, set_child_subreaper, wait};
use serde::{Deserialize, Serialize};
use stead_model::wire::codec;
use stead_model::wire::guard::{Act, Acted, ExitStatus, ProgramSpec};

use crate::sys;
use output::Output;
use view::Mounts;

/// What an init is told first.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) struct InitSpec {
    /// What to start. An empty command: nothing yet, it is an agent's place and [`InitOrder`]s
    /// follow. (No field says so: a guard may start the inits of a newer program.)
    pub(crate) program: ProgramSpec,
    /// Where its output goes.
    pub(crate) log: PathBuf,
    /// Whether it is PID 1 of its own namespaces.
    pub(crate) namespaces: bool,
}

/// What an init tells the guard.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) enum InitReport {
    /// The application was executed.
    Started,
    /// The application ended; the init ends now.
    Ended(ExitStatus),
    /// A program in an agent's place ended.
    Acted(Acted),
    /// Something that an act left running ended.
    Stirred,
    /// The kernel refused something of the virtual server that its programs should see.
    Hidden(String),
}

/// What the init of an agent's place is told later.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) enum InitOrder {
    /// Run this.
    Act(Act),
    /// Kill the act of that number, with its process group.
    End(u64),
}

/// Runs an init. It is started by the guard only.
#[must_use]
pub fn run(_args: &[String]) -> ExitCode {
    match Init::start() {
        Ok(Some(mut init)) => init.serve(),
        Ok(None) => {}
        Err(why) => {
            // There is nobody else to tell.
            drop(writeln!(io::stderr(), "stead init: {why}"));
            return ExitCode::FAILURE;
        }
    }
    ExitCode::SUCCESS
}

struct Init {
    guard: UnixStream,
    signals: OwnedFd,
    output: Output,
    pipe: Option<PipeReader>,
    program: i32,
    namespaces: bool,
}

/// What ends an init.
enum End {
    Program(ExitStatus),
    GuardGone,
}

impl Init {
    /// Starts the program; `None` if there is nothing (more) to do.
    fn start() -> io::Result<Option<Self>> {
        let signals = sys::signals(None)?;
        let number = std::env::var("STEAD_INIT_FD").ok().and_then(|n| n.parse().ok());
        let number = number.ok_or_else(|| io::Error::other("it is started by the guard only"))?;
        let mut guard = UnixStream::from(sys::inherited(number)?);
        let Some((spec, received)) = receive_spec(&mut guard)? else { return Ok(None) };
        let mut output = Output::open(spec.log);
        if spec.program.argv.is_empty() {
            agent::serve((guard, received), signals, output)?;
            return Ok(None);
        }
        let mounts = if spec.namespaces {
            settle_mounts(&mut output)
        } else {
            set_child_subreaper(Some(getpid()))?;
            Mounts::Shared
        };
        show_server(&spec.program.env, mounts, (&mut guard, &mut output));
        match launch(spec.program, sys::settle_program) {
            Ok((program, pipe)) => {
                tell(&mut guard, &InitReport::Started);
                let pipe = Some(pipe);
                let namespaces = spec.namespaces;
                Ok(Some(Self { guard, signals, output, pipe, program, namespaces }))
            }
            Err(why) => {
                tell(&mut guard, &InitReport::Ended(ExitStatus::NotExecuted(why)));
                Ok(None)
            }
        }
    }

    fn serve(&mut self) {
        // It waits, most likely for long.
        sys::give_back_code();
        let end = loop {
            self.wait();
            if let Some(end) = self.look() {
                break end;
            }
        };
        self.read_output();
        match end {
            End::Program(status) => tell(&mut self.guard, &InitReport::Ended(status)),
            End::GuardGone => {}
        }
        if !self.namespaces {
            // The whole process group: what the program left behind, and this process.
            drop(sys::kill(0, libc::SIGKILL));
        }
    }

    /// Waits until there is something to do.
    fn wait(&self) {
        let mut fds = vec![
            PollFd::new(&self.signals, PollFlags::IN),
            PollFd::new(&self.guard, PollFlags::IN),
        ];
        fds.extend(self.pipe.as_ref().map(|pipe| PollFd::new(pipe, PollFlags::IN)));
        // An interrupted or failed wait only means to look earlier.
        let _ = poll(&mut fds, None);
    }

    fn look(&mut self) -> Option<End> {
        self.read_output();
        while let Some(signal) = sys::next_signal(&self.signals) {
            if signal == libc::SIGCHLD {
                if let Some(status) = self.reap() {
                    return Some(End::Program(status));
                }
            } else {
                // Fails only when the program ended; SIGCHLD says so.
                drop(sys::kill(self.program, signal));
            }
        }
        self.guard_is_gone().then_some(End::GuardGone)
    }

    /// Waits for all children that ended; the status of the program if it is one of them.
    fn reap(&self) -> Option<ExitStatus> {
        let mut ended = None;
        while let Ok(Some((pid, status))) = wait(WaitOptions::NOHANG) {
            if pid.as_raw_nonzero().get() == self.program {
                ended = Some(exit_status(status));
            }
        }
        ended
    }

    /// The guard never sends a second message: whatever can be read is the end.
    fn guard_is_gone(&mut self) -> bool {
        let mut byte = [0];
        !matches!(
            rustix::net::recv(&self.guard, &mut byte, rustix::net::RecvFlags::DONTWAIT),
            Err(rustix::io::Errno::AGAIN | rustix::io::Errno::INTR)
        )
    }

    fn read_output(&mut self) {
        let Some(pipe) = &mut self.pipe else { return };
        if self.output.take(pipe, |_| {}).is_err() {
            self.pipe = None;
        }
    }
}

/// Reads the specification, and what came along behind it; `None` if the guard is gone before.
fn receive_spec(guard: &mut UnixStream) -> io::Result<Option<(InitSpec, Vec<u8>)>> {
    let mut bytes = Vec::new();
    let mut chunk = [0; 4096];
    loop {
        if let Some((spec, used)) = codec::decode(&bytes).map_err(io::Error::other)? {
            bytes.drain(..used);
            return Ok(Some((spec, bytes)));
        }
        match guard.read(&mut chunk)? {
            0 => return Ok(None),
            got => bytes.extend_from_slice(&chunk[..got]),
        }
    }
}

/// Mounts made here stay here, and `/proc` shows this namespace. What is refused is told in the
/// program's output.
fn settle_mounts(output: &mut Output) -> Mounts {
    let slave = MountPropagationFlags::DOWNSTREAM | MountPropagationFlags::REC;
    if let Err(why) = mount_change("/", slave) {
        output.note(&format!("mounts are shared with the node: {why}"));
        return Mounts::Shared;
    }
    let flags = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
    if let Err(why) = mount("proc", "/proc", "proc", flags, None) {
        output.note(&format!("/proc is the node's, not the application's own: {why}"));
    }
    Mounts::Own
}

/// Shows the virtual server to the programs; what is refused is told in their output and to the
/// guard, and they run all the same.
fn show_server(env: &[String], mounts: Mounts, (guard, output): (&mut UnixStream, &mut Output)) {
    for refused in view::show(env, mounts) {
        output.note(&refused);
        tell(guard, &InitReport::Hidden(refused));
    }
}

/// What a program's own process does before it is executed: its user and group, further groups.
type Settle = fn(Option<(u32, u32)>, &[u32]) -> io::Result<()>;

fn launch(spec: ProgramSpec, settle: Settle) -> Result<(i32, PipeReader), String> {
    let (reader, writer) = io::pipe().map_err(|e| format!("no pipe: {e}"))?;
    rustix::io::ioctl_fionbio(&reader, true).map_err(|e| format!("no pipe: {e}"))?;
    let copy = writer.try_clone().map_err(|e| format!("no pipe: {e}"))?;
    let (name, arguments) = spec.argv.split_first().ok_or("the command is empty")?;
    let mut command = Command::new(name);
    command.args(arguments).env_clear().current_dir(&spec.cwd);
    command.envs(spec.env.iter().filter_map(|pair| pair.split_once('=')));
    command.stdin(Stdio::null()).stdout(writer).stderr(copy);
    let ids = spec.user.as_ref().map(|user| (user.uid, user.gid));
    let groups = spec.user.map(|user| user.groups).unwrap_or_default();
    sys::before_exec(&mut command, move || settle(ids, &groups));
    let child = command.spawn().map_err(|e| format!("`{name}` in `{}`: {e}", spec.cwd))?;
    Ok((child.id().cast_signed(), reader))
}

fn exit_status(status: WaitStatus) -> ExitStatus {
    let status = std::process::ExitStatus::from_raw(status.as_raw());
    match (status.code(), status.signal()) {
        (Some(code), _) => ExitStatus::Code(code),
        (None, Some(signal)) => ExitStatus::Signal(signal),
        (None, None) => ExitStatus::Unknown,
    }
}

fn tell(guard: &mut UnixStream, report: &InitReport) {
    // A guard that is gone need not know.
    drop(guard.write_all(&codec::encode(report)));
}
