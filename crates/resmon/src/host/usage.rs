//! What processes use: of processors since the last look, and of memory now. From `/proc` alone.
//!
//! Memory is what is theirs and cannot be dropped: anonymous pages, also those swapped out, and
//! the largest part that one of them sees of shared memory, which all of them usually see
//! together. Pages of files are not counted: the kernel takes them back when it needs them.

use std::fs;

use stead_model::usage::Usage;
use stead_model::{Span, Time};

use super::capture::descendants;

/// Processes that are looked at; of a resource with more the rest is not counted.
const SEEN_MAX: usize = 2_048;
/// Two looks closer together say nothing of the use of processors.
const APART: Span = Span::from_millis(500);

/// Looks again and again at what the processes of one resource use.
#[derive(Debug, Default)]
pub(crate) struct Gauge {
    last: Option<Look>,
}

/// What was seen at one look.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Look {
    at: Time,
    /// Processor time of them and of all that they waited for, in ticks.
    ticks: u64,
    memory: u64,
}

impl Gauge {
    /// Looks at some processes with all they started. The first look gives nothing: the use of
    /// processors is that since the last one.
    pub(crate) fn look(&mut self, now: Time, roots: &[i32]) -> Option<Usage> {
        if self.last.is_some_and(|last| now.since(last.at) < APART) {
            return None;
        }
        self.judge(see(now, roots), rustix::param::clock_ticks_per_second())
    }

    fn judge(&mut self, look: Look, ticks_per_second: u64) -> Option<Usage> {
        let last = self.last.replace(look)?;
        let seconds = look.at.since(last.at).0 as f64 / 1e9;
        // Those that ended with nobody waiting for them took their time with them.
        let ticks = look.ticks.saturating_sub(last.ticks) as f64;
        let cpu = ticks / ticks_per_second as f64 / seconds * 1_000.0;
        Some(Usage { cpu: cpu as u64, memory: look.memory })
    }
}

/// A resource without programs uses nothing.
fn see(at: Time, roots: &[i32]) -> Look {
    let all = descendants(roots, SEEN_MAX);
    let seen: Vec<(u64, Memory)> = all.iter().filter_map(|pid| process(*pid)).collect();
    let ticks = seen.iter().map(|(ticks, _)| ticks).sum();
    let own: u64 = seen.iter().map(|(_, memory)| memory.own).sum();
    let shared = seen.iter().map(|(_, memory)| memory.shared).max().unwrap_or_default();
    Look { at, ticks, memory: own + shared }
}

#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
struct Memory {
    own: u64,
    shared: u64,
}

fn process(pid: i32) -> Option<(u64, Memory)> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    Some((ticks(&stat)?, memory(&status)))
}

/// User and system time, and that of children it waited for: fields 14 to 17.
fn ticks(stat: &str) -> Option<u64> {
    let after_name = stat.get(stat.rfind(')')? + 2..)?;
    let fields = after_name.split(' ').skip(11).take(4);
    fields.map(|field| field.parse::<u64>().ok()).sum()
}

fn memory(status: &str) -> Memory {
    let kib = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name));
        let number = line.and_then(|line| line.trim().split(' ').next()?.parse::<u64>().ok());
        number.unwrap_or_default() << 10
    };
    Memory { own: kib("RssAnon:") + kib("VmSwap:"), shared: kib("RssShmem:") }
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::os::unix::process::CommandExt;
    use std::process::{Child, Command, Stdio};
    use std::time::{Duration, Instant};

    use rustix::process::{Pid, Signal, kill_process_group};

    use super::*;
    use crate::host::clock::boot_time;

    const MIB: u64 = 1 << 20;

    #[test]
    fn numbers_are_found_in_their_places() {
        let stat = "42 (a) b) (c) S 1 42 42 0 -1 4194304 100 200 0 0 11 22 33 44 20 0 1 0 77";
        assert_eq!(ticks(stat), Some(110));
        let status = "Name:\tRssAnon: 1 kB\nRssAnon:\t    2048 kB\nRssFile:\t 9999 kB\n\
                      RssShmem:\t    1024 kB\nVmSwap:\t    1024 kB\n";
        assert_eq!(memory(status), Memory { own: 3 * MIB, shared: MIB });
    }

    #[test]
    fn the_first_look_says_nothing_and_the_next_what_was_used_since() {
        let mut gauge = Gauge::default();
        let look = |second: u64, ticks, mib| Look {
            at: Time(second * 1_000_000_000),
            ticks,
            memory: mib * MIB,
        };
        let used = |cpu, mib| Some(Usage { cpu, memory: mib * MIB });
        assert_eq!(gauge.judge(look(0, 500, 100), 100), None);
        // 60 s of 120 ticks at 100 a second: two hundredths of a processor.
        assert_eq!(gauge.judge(look(60, 620, 100), 100), used(20, 100));
        assert_eq!(gauge.judge(look(120, 740, 101), 100), used(20, 101));
        assert_eq!(gauge.judge(look(180, 6_740, 99), 100), used(1_000, 99));
        let less = gauge.judge(look(240, 100, 99), 100);
        assert_eq!(less, used(0, 99), "time that went is not owed");
    }

    struct Ended(Child);

    impl Drop for Ended {
        fn drop(&mut self) {
            let group = Pid::from_child(&self.0);
            drop(kill_process_group(group, Signal::KILL).map_err(io::Error::from));
            drop(self.0.wait());
        }
    }

    /// A program that keeps 64 MiB and a processor busy, with a child that does.
    #[test]
    fn a_busy_program_is_seen_with_what_it_started() {
        let script =
            "sh -c 'a=$(head -c 67108864 /dev/zero | tr \"\\0\" x); while :; do :; done' & wait";
        let mut command = Command::new("sh");
        command.args(["-c", script]).stdout(Stdio::null()).stderr(Stdio::null()).process_group(0);
        let program = Ended(command.spawn().unwrap());
        let root = i32::try_from(program.0.id()).unwrap();
        let (mut gauge, end) = (Gauge::default(), Instant::now() + Duration::from_secs(60));
        let mut seen = None;
        while seen.is_none_or(|seen: Usage| seen.cpu < 100 || seen.memory < 64 * MIB) {
            assert!(Instant::now() < end, "it is seen to use {seen:?}");
            std::thread::sleep(Duration::from_millis(600));
            seen = gauge.look(boot_time(), &[root]).or(seen);
        }
    }
}
