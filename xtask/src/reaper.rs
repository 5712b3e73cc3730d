//! Sees to it that a step's processes end with us: on its time limit, and when we are killed.
//!
//! A step runs in a process group of its own, so that all of it can be ended at once. Then Ctrl-C
//! reaches only us and the step would run on; so a shell waits on a pipe that only we hold. A
//! line on the pipe means "all is well, go"; end of file, which also our death is, means "end the
//! group": TERM, five seconds to clean up, KILL.

use std::io::{self, Write};
use std::os::unix::process::CommandExt;
use std::process::{Child, ChildStdin, Command, Stdio};

/// Watches one process group until it is dismissed or told to end it.
#[derive(Debug)]
pub(crate) struct Reaper {
    shell: Child,
    line: ChildStdin,
}

impl Reaper {
    /// Starts watching the group whose leader has this process id.
    pub(crate) fn over(leader: u32) -> io::Result<Self> {
        let mut shell = Command::new("sh")
            .args(["-c", SCRIPT, "sh", &leader.to_string()])
            .stdin(Stdio::piped())
            .stderr(Stdio::null())
            .process_group(0)
            .spawn()?;
        let line = shell.stdin.take().ok_or(io::ErrorKind::BrokenPipe)?;
        Ok(Self { shell, line })
    }

    /// The step ended by itself.
    pub(crate) fn dismiss(mut self) -> io::Result<()> {
        self.line.write_all(b"done\n")?;
        self.shell.wait().map(drop)
    }

    /// Ends the group; returns when its last process was told to.
    pub(crate) fn end_group(mut self) -> io::Result<()> {
        drop(self.line);
        self.shell.wait().map(drop)
    }
}

const SCRIPT: &str = r#"read -r _ && exit
kill -TERM "-$1" || exit
for _ in 1 2 3 4 5; do sleep 1; kill -0 "-$1" || exit; done
kill -KILL "-$1""#;
