//! What processes and threads do at this moment, in one line: told when a time limit passes,
//! before anything is ended.
//!
//! Read from `/proc` alone. `cmdline` and `environ` are left out: to read them waits for the memory
//! of a process that may hang. What cannot be read is left out, too.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// Processes that are described; of more there is only the number.
const TOLD_MAX: usize = 6;
/// Processes that are looked at.
const SEEN_MAX: usize = 64;
/// Innermost functions of a kernel stack.
const STACK_MAX: usize = 5;

/// What shall be looked at.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub(crate) struct Suspects {
    /// Thread of this process that runs the call, and all it started.
    pub(crate) thread: Option<i32>,
    /// Processes with all they started, as the guard sees them.
    pub(crate) roots: Vec<i32>,
}

/// Describes what all of them do, and how this node is pressed.
pub(crate) fn describe(suspects: &Suspects) -> String {
    let mut parts = Vec::new();
    let mut roots = suspects.roots.clone();
    if let Some(tid) = suspects.thread {
        let folder = PathBuf::from(format!("/proc/self/task/{tid}"));
        parts.extend(task(&folder).map(|does| format!("the monitor's call {does}")));
        roots.extend(children(&folder));
    }
    let all = descendants(&roots, SEEN_MAX);
    let busiest_first = all.iter().filter_map(|pid| {
        let folder = PathBuf::from(format!("/proc/{pid}"));
        Some((rank(&folder), format!("process {pid} {}", task(&folder)?)))
    });
    told_first(busiest_first.collect(), "processes", &mut parts);
    parts.extend(pressure());
    parts.join("; ")
}

/// Describes what the threads of one process do, and how this node is pressed.
pub(crate) fn describe_process(pid: i32) -> String {
    let folder = PathBuf::from(format!("/proc/{pid}"));
    let Some(main) = task(&folder) else { return format!("process {pid} is gone") };
    let listed = fs::read_dir(folder.join("task")).into_iter().flatten().flatten();
    let others =
        listed.map(|entry| entry.path()).filter(|path| *path != folder.join(format!("task/{pid}")));
    let others = others.filter_map(|path| Some((rank(&path), format!("thread {}", task(&path)?))));
    let mut parts = vec![format!("process {pid} {main}")];
    told_first(others.collect(), "threads", &mut parts);
    parts.extend(pressure());
    parts.join("; ")
}

/// Those that are most likely at fault; of the rest the number.
fn told_first(mut all: Vec<(u8, String)>, what: &str, parts: &mut Vec<String>) {
    all.sort_by_key(|(rank, _)| *rank);
    let beyond = all.len().saturating_sub(TOLD_MAX);
    parts.extend(all.into_iter().take(TOLD_MAX).map(|(_, does)| does));
    if beyond > 0 {
        parts.push(format!("{beyond} more {what}"));
    }
}

/// The processes and all below them, each once: the roots may have started each other. When there
/// are as many as asked for, no more are looked for.
pub(super) fn descendants(roots: &[i32], most: usize) -> Vec<i32> {
    let mut known: BTreeSet<i32> = BTreeSet::new();
    let mut all: Vec<i32> = roots.iter().copied().filter(|pid| known.insert(*pid)).collect();
    let mut next = 0;
    while next < all.len() && all.len() < most {
        let pid = all[next];
        let found = children(Path::new(&format!("/proc/{pid}/task/{pid}")));
        all.extend(found.into_iter().filter(|pid| known.insert(*pid)));
        next += 1;
    }
    all
}

/// Without CONFIG_PROC_CHILDREN none is found.
fn children(thread: &Path) -> Vec<i32> {
    let list = fs::read_to_string(thread.join("children")).unwrap_or_default();
    list.split_whitespace().filter_map(|pid| pid.parse().ok()).collect()
}

/// What waits in the kernel is most likely at fault, then what runs.
fn rank(folder: &Path) -> u8 {
    match state(folder) {
        Some((_, 'D')) => 0,
        Some((_, 'T' | 't')) => 1,
        Some((_, 'R')) => 2,
        Some((..)) | None => 3,
    }
}

/// Its name and state letter.
fn state(folder: &Path) -> Option<(String, char)> {
    let stat = fs::read_to_string(folder.join("stat")).ok()?;
    let (begin, end) = (stat.find('(')?, stat.rfind(')')?);
    let name = stat.get(begin + 1..end)?;
    let name: String = name.chars().filter(|c| !c.is_control()).collect();
    Some((name, stat.get(end + 2..)?.chars().next()?))
}

/// One sentence about a process or thread; `None` if it is gone.
fn task(folder: &Path) -> Option<String> {
    let (name, letter) = state(folder)?;
    let mut text = format!("`{name}` {}", words(letter));
    let read = |file: &str| fs::read_to_string(folder.join(file)).unwrap_or_default();
    let stack = read("stack");
    let functions: Vec<&str> = stack.lines().filter_map(function).take(STACK_MAX).collect();
    let channel = read("wchan");
    if !functions.is_empty() {
        text += &format!(" in {}", functions.join(" < "));
    } else if !matches!(channel.as_str(), "" | "0") {
        text += &format!(" in {channel}");
    }
    if let Some((read, written)) = io_bytes(folder) {
        text += &format!(", read {read} and wrote {written} bytes of disks");
    }
    Some(text)
}

/// State letters of the kernel in words.
fn words(letter: char) -> String {
    let word = match letter {
        'R' => "runs",
        'S' => "sleeps",
        'D' => "waits for a device (state D)",
        'T' | 't' => "is stopped",
        'Z' => "has ended and was not waited for",
        other => return format!("is in state {other}"),
    };
    word.to_owned()
}

/// The function of a stack line such as `[<0>] do_wait+0x51/0xe0`, unless every stack has it.
fn function(line: &str) -> Option<&str> {
    let name = line.split_once("] ")?.1;
    let name = name.split_once('+').map_or(name, |(name, _)| name);
    (!name.starts_with("entry_SYSCALL") && !name.starts_with("do_syscall")).then_some(name)
}

fn io_bytes(folder: &Path) -> Option<(u64, u64)> {
    let io = fs::read_to_string(folder.join("io")).ok()?;
    let field =
        |name: &str| io.lines().find_map(|line| line.strip_prefix(name)?.trim().parse().ok());
    Some((field("read_bytes:")?, field("write_bytes:")?))
}

/// The share of the last ten seconds in which something waited for processor, device or memory.
fn pressure() -> Option<String> {
    let of = |what: &str| {
        let text = fs::read_to_string(format!("/proc/pressure/{what}")).ok()?;
        let some = text.lines().find_map(|line| line.strip_prefix("some avg10="))?;
        Some(format!("{what} {} %", some.split_whitespace().next()?))
    };
    let all: Vec<String> = ["cpu", "io", "memory"].into_iter().filter_map(of).collect();
    (!all.is_empty()).then(|| format!("pressure of this node: {}", all.join(", ")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::{Command, Stdio};

    #[test]
    fn a_tree_of_processes_is_described() {
        let mut shell = Command::new("/bin/sh");
        shell.args(["-c", "sleep 600 & wait"]).stdin(Stdio::null()).process_group(0);
        let mut child = shell.spawn().unwrap();
        let root = child.id().cast_signed();
        let told = || describe(&Suspects { thread: None, roots: vec![root] });
        let end = std::time::Instant::now() + std::time::Duration::from_secs(20);
        let shell = format!("process {root} `sh` sleeps");
        let sleeps = |text: String| text.contains("`sleep` sleeps") && text.contains(&shell);
        // The shell goes on for a moment when what it started sleeps already.
        while !sleeps(told()) {
            assert!(std::time::Instant::now() < end, "{}", told());
        }
        rustix::process::kill_process_group(
            rustix::process::Pid::from_raw(root).unwrap(),
            rustix::process::Signal::KILL,
        )
        .unwrap();
        child.wait().unwrap();
        assert!(!told().contains(&root.to_string()), "it is gone");
    }

    #[test]
    fn the_thread_of_a_call_and_what_it_started_are_described() {
        let tid = rustix::thread::gettid().as_raw_nonzero().get();
        let mut child = Command::new("sleep").arg("600").spawn().unwrap();
        let text = describe(&Suspects { thread: Some(tid), roots: Vec::new() });
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(text.starts_with("the monitor's call `"), "{text}");
        assert!(text.contains(&format!("process {} ", child.id())), "{text}");
    }

    #[test]
    fn a_stack_line_is_read() {
        assert_eq!(function("[<0>] do_wait+0x51/0xe0"), Some("do_wait"));
        assert_eq!(function("[<0>] entry_SYSCALL_64_after_hwframe+0x76/0x7e"), None);
        assert_eq!(function(""), None);
    }

    use std::os::unix::process::CommandExt;
}
