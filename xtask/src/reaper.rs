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

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::process::ExitStatusExt;
    use std::sync::mpsc::{self, Receiver};
    use std::thread;
    use std::time::{Duration, Instant};

    use super::*;

    const GENEROUS: Duration = Duration::from_secs(60);
    const TERM: i32 = 15;
    const KILL: i32 = 9;

    /// A group of two sleepers: its leader's id, and the signal that ended the leader.
    fn group(prelude: &str) -> (u32, Receiver<Option<i32>>) {
        let script = format!("{prelude} sleep 600 & echo ready; sleep 600");
        let mut shell = Command::new("sh");
        shell.args(["-c", &script]).stdout(Stdio::piped()).process_group(0);
        let mut leader = shell.spawn().unwrap();
        let mut ready = [0; 6];
        io::Read::read_exact(leader.stdout.as_mut().unwrap(), &mut ready).unwrap();
        let (id, (report, ended)) = (leader.id(), mpsc::channel());
        thread::spawn(move || report.send(leader.wait().unwrap().signal()));
        (id, ended)
    }

    /// Whether a process of the group still runs; one that only waits to be reaped does not.
    fn runs(group: u32) -> bool {
        let processes = fs::read_dir("/proc").unwrap().flatten();
        // A process that ends while we look is gone from the list.
        processes.filter_map(|entry| fs::read_to_string(entry.path().join("stat")).ok()).any(
            |stat| {
                let (_, fields) = stat.rsplit_once(") ").unwrap();
                let fields: Vec<&str> = fields.split(' ').collect();
                fields[0] != "Z" && fields[2] == group.to_string()
            },
        )
    }

    #[track_caller]
    fn assert_gone(group: u32) {
        let began = Instant::now();
        while runs(group) {
            assert!(began.elapsed() < GENEROUS, "group {group} still runs");
            thread::sleep(Duration::from_millis(10));
        }
    }

    #[test]
    fn the_whole_group_is_told_to_end() {
        let (leader, ended) = group("");
        Reaper::over(leader).unwrap().end_group().unwrap();
        assert_eq!(ended.recv_timeout(GENEROUS).unwrap(), Some(TERM));
        assert_gone(leader);
    }

    #[test]
    fn a_group_that_does_not_listen_is_killed() {
        let (leader, ended) = group("trap '' TERM;");
        Reaper::over(leader).unwrap().end_group().unwrap();
        assert_eq!(ended.recv_timeout(GENEROUS).unwrap(), Some(KILL));
        assert_gone(leader);
    }

    #[test]
    fn our_death_without_a_word_ends_the_group_too() {
        let (leader, ended) = group("");
        drop(Reaper::over(leader).unwrap());
        assert_eq!(ended.recv_timeout(GENEROUS).unwrap(), Some(TERM));
    }

    #[test]
    fn a_dismissed_reaper_leaves_the_group_alone() {
        let (leader, ended) = group("");
        Reaper::over(leader).unwrap().dismiss().unwrap();
        assert!(ended.try_recv().is_err() && runs(leader));
        Reaper::over(leader).unwrap().end_group().unwrap();
    }
}
