//! Runs the check of an application: a command of its administrator that ends with 0 when the
//! application works.
//!
//! It is no part of the application and nothing that acts for it, so the guard admits nothing. It
//! lives no longer than the call that runs it: it is killed at its limit, when the call is
//! cancelled, and by the kernel when the monitor dies.
#![expect(unsafe_code, reason = "the child asks the kernel to die with its parent")]

use std::io::{self, PipeReader, Read};
use std::os::fd::AsFd;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{
    Pid, PidfdFlags, Signal, kill_process_group, pidfd_open, set_parent_process_death_signal,
};
use stead_model::wire::guard::UserIds;

/// What a check is run as.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct CheckSpec<'a> {
    pub(crate) argv: &'a [String],
    /// `NAME=VALUE` each; nothing else is in its environment.
    pub(crate) env: &'a [String],
    pub(crate) cwd: &'a str,
    pub(crate) user: Option<UserIds>,
}

/// What a check came to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Verdict {
    /// It ended with 0.
    Works,
    /// It ended otherwise: how, and the last line it printed.
    Fails(String),
    /// It could not be run, or did not end in time: nothing is known.
    Unknown(String),
    /// The call was told to return.
    GivenUp,
}

/// Runs a check to its end, for at most `limit`.
pub(crate) fn run(spec: &CheckSpec<'_>, limit: Duration, given_up: impl Fn() -> bool) -> Verdict {
    let name = spec.argv.first().map_or("", String::as_str);
    let begun = spawn(spec, Errors::Kept).and_then(|(child, output)| {
        let watched = Watched { child, output, tail: Vec::new(), keep: TAIL_BYTES };
        watched.until_its_end(Instant::now() + limit, given_up)
    });
    match begun {
        Ok(End::Exited(status, _)) if status.success() => Verdict::Works,
        Ok(End::Exited(status, tail)) => {
            let tail = last_line(&tail);
            let said = if tail.is_empty() { String::new() } else { format!(": {tail}") };
            Verdict::Fails(format!("check `{name}` ended with {status}{said}"))
        }
        Ok(End::TooLate) => {
            Verdict::Unknown(format!("check `{name}` did not end within {} s", limit.as_secs()))
        }
        Ok(End::GivenUp) => Verdict::GivenUp,
        Err(why) => Verdict::Unknown(format!("check `{name}` cannot be run: {why}")),
    }
}

/// Runs a command to its end for what it prints, for at most `limit` and at most `bytes_max`.
///
/// # Errors
/// One sentence without a subject: it cannot be run, did not end in time, failed, or printed too
/// much.
pub(crate) fn output(
    spec: &CheckSpec<'_>,
    limit: Duration,
    bytes_max: usize,
) -> Result<String, String> {
    let begun = spawn(spec, Errors::Dropped).and_then(|(child, output)| {
        let watched = Watched { child, output, tail: Vec::new(), keep: bytes_max + 1 };
        watched.until_its_end(Instant::now() + limit, || false)
    });
    match begun {
        Ok(End::Exited(status, _)) if !status.success() => Err(format!("ended with {status}")),
        Ok(End::Exited(_, text)) if text.len() > bytes_max => {
            Err(format!("printed more than {bytes_max} bytes"))
        }
        Ok(End::Exited(_, text)) => Ok(String::from_utf8_lossy(&text).into_owned()),
        Ok(End::TooLate | End::GivenUp) => Err(format!("did not end within {} s", limit.as_secs())),
        Err(why) => Err(format!("cannot be run: {why}")),
    }
}

/// What becomes of what a command writes to its error output.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Errors {
    /// It is output like the other.
    Kept,
    Dropped,
}

/// Starts a command; whoever started it kills it.
pub(crate) fn spawn(spec: &CheckSpec<'_>, errors: Errors) -> io::Result<(Child, PipeReader)> {
    let Some((program, arguments)) = spec.argv.split_first() else {
        return Err(io::ErrorKind::InvalidInput.into());
    };
    let (output, input) = io::pipe()?;
    let mut command = Command::new(program);
    command.args(arguments).current_dir(spec.cwd).process_group(0);
    let errors = match errors {
        Errors::Kept => input.try_clone()?.into(),
        Errors::Dropped => Stdio::null(),
    };
    command.stdin(Stdio::null()).stdout(input).stderr(errors);
    let pairs = spec.env.iter().filter_map(|pair| pair.split_once('='));
    command.env_clear().envs(pairs);
    if let Some(user) = &spec.user {
        command.uid(user.uid).gid(user.gid);
    }
    die_along(&mut command);
    Ok((command.spawn()?, output))
}

/// Has the kernel kill the command when the thread that spawns it ends.
pub(crate) fn die_along(command: &mut Command) {
    let ask = || Ok(set_parent_process_death_signal(Some(Signal::KILL))?);
    // SAFETY: between fork and exec it makes one system call and allocates nothing.
    unsafe { command.pre_exec(ask) };
}

/// How the wait for a check ended.
enum End {
    /// With the end of what it printed.
    Exited(ExitStatus, Vec<u8>),
    TooLate,
    GivenUp,
}

/// A check that runs.
struct Watched {
    child: Child,
    output: PipeReader,
    tail: Vec<u8>,
    /// How much of what it prints is kept, from the end.
    keep: usize,
}

impl Watched {
    fn until_its_end(mut self, end: Instant, given_up: impl Fn() -> bool) -> io::Result<End> {
        let process = pidfd_open(Pid::from_child(&self.child), PidfdFlags::empty())?;
        rustix::io::ioctl_fionbio(&self.output, true)?;
        loop {
            let mut wanted = vec![PollFd::new(&process, PollFlags::IN)];
            // Whoever inherited the other end may keep it open longer than the check lives.
            wanted.push(PollFd::from_borrowed_fd(self.output.as_fd(), PollFlags::IN));
            match poll(&mut wanted, Some(&LOOK_AGAIN)) {
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                Err(errno) => return Err(errno.into()),
            }
            let ended = !wanted[0].revents().is_empty();
            drop(wanted);
            self.read();
            if ended {
                let status = self.child.wait()?;
                return Ok(End::Exited(status, std::mem::take(&mut self.tail)));
            }
            if given_up() {
                return Ok(End::GivenUp);
            }
            if Instant::now() >= end {
                return Ok(End::TooLate);
            }
        }
    }

    /// Takes what it printed; only the end is kept. Not all at one go: one that never stops
    /// writing shall find its limit all the same.
    fn read(&mut self) {
        let mut chunk = [0; 4096];
        for _ in 0..AT_ONE_GO {
            let Ok(got) = self.output.read(&mut chunk) else { return };
            if got == 0 {
                return;
            }
            self.tail.extend_from_slice(&chunk[..got]);
            let beyond = self.tail.len().saturating_sub(self.keep);
            self.tail.drain(..beyond);
        }
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        // What it started in its group goes with it; after a normal end there is nobody.
        let _ = kill_process_group(Pid::from_child(&self.child), Signal::KILL);
        let _ = self.child.wait();
    }
}

/// The last line that says something.
pub(crate) fn last_line(text: &[u8]) -> String {
    let text = String::from_utf8_lossy(text);
    let line = text.lines().map(str::trim).rfind(|line| !line.is_empty()).unwrap_or_default();
    line.chars().filter(|c| !c.is_control()).collect()
}

/// How soon a call that is told to return does.
const LOOK_AGAIN: Timespec = Timespec { tv_sec: 0, tv_nsec: 20_000_000 };
/// Pieces of output that are read before anything else is looked at.
const AT_ONE_GO: usize = 64;
/// Enough for the line that says why.
const TAIL_BYTES: usize = 512;

#[cfg(test)]
mod tests {
    use super::*;

    fn run_shell(script: &str, limit: Duration, given_up: bool) -> Verdict {
        let argv = ["/bin/sh", "-c", script].map(str::to_owned);
        let env = ["PATH=/usr/bin:/bin", "ANSWER=42"].map(str::to_owned);
        let spec = CheckSpec { argv: &argv, env: &env, cwd: "/", user: None };
        run(&spec, limit, || given_up)
    }

    const LONG: Duration = Duration::from_secs(60);

    #[test]
    fn the_exit_code_decides_and_the_last_line_tells_why() {
        assert_eq!(run_shell("test $ANSWER = 42", LONG, false), Verdict::Works);
        let fails = run_shell("echo first; echo 'starting up' >&2; echo; exit 1", LONG, false);
        let why = "check `/bin/sh` ended with exit status: 1: starting up";
        assert_eq!(fails, Verdict::Fails(why.into()));
    }

    #[test]
    fn much_output_is_no_trouble() {
        let script = "i=0; while [ $i -lt 20000 ]; do echo line $i; i=$((i+1)); done; exit 3";
        let Verdict::Fails(why) = run_shell(script, LONG, false) else { panic!("it works?") };
        assert!(why.ends_with(": line 19999"), "{why}");
    }

    /// It was read for ever once, and never killed.
    #[test]
    fn output_without_end_does_not_hide_the_limit() {
        let limit = Duration::from_millis(200);
        let began = Instant::now();
        let flood = run_shell("exec yes", limit, false);
        assert_eq!(flood, Verdict::Unknown("check `/bin/sh` did not end within 0 s".into()));
        assert_eq!(run_shell("exec yes", LONG, true), Verdict::GivenUp);
        assert!(began.elapsed() < LONG, "it was read to the end of time");
    }

    #[test]
    fn what_does_not_end_is_unknown_and_gone() {
        let folder = tempfile::tempdir().unwrap();
        let mark = folder.path().join("late");
        let script = format!("(sleep 2; touch {}) & sleep 600", mark.display());
        let hung = run_shell(&script, Duration::from_millis(100), false);
        assert_eq!(hung, Verdict::Unknown("check `/bin/sh` did not end within 0 s".into()));
        assert_eq!(run_shell("sleep 600", LONG, true), Verdict::GivenUp);
        assert!(!mark.exists(), "what the check started went on");
    }

    #[test]
    fn what_a_command_prints_is_bounded() {
        let says = |script: &str, limit| {
            let argv = ["/bin/sh", "-c", script].map(str::to_owned);
            let env = ["PATH=/usr/bin:/bin".to_owned()];
            output(&CheckSpec { argv: &argv, env: &env, cwd: "/", user: None }, limit, 10)
        };
        assert_eq!(says("echo aside >&2; printf 0123456789", LONG), Ok("0123456789".into()));
        let told = |script, limit| says(script, limit).unwrap_err();
        assert_eq!(told("echo 0123456789", LONG), "printed more than 10 bytes");
        assert_eq!(told("echo 1; exit 5", LONG), "ended with exit status: 5");
        let short = Duration::from_millis(100);
        assert_eq!(told("(sleep 600) & sleep 600", short), "did not end within 0 s");
    }

    #[test]
    fn what_cannot_be_run_is_unknown() {
        let argv = ["/nowhere/check".to_owned()];
        let spec = CheckSpec { argv: &argv, env: &[], cwd: "/", user: None };
        let Verdict::Unknown(why) = run(&spec, LONG, || false) else { panic!("it ran?") };
        assert!(why.starts_with("check `/nowhere/check` cannot be run: No such file"), "{why}");
    }
}
