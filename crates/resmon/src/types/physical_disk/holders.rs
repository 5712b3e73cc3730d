//! Processes that keep a file system busy: found in `/proc`, named, and ended.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::fs::{major, minor};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

use stead_model::GroupId;

/// After this a process that was asked to end is killed.
const ASK_LIMIT: Duration = Duration::from_secs(2);

/// A process that uses the file system.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Holder {
    pub(super) pid: u32,
    pub(super) name: String,
    /// Whether it is part of a resource of that group.
    pub(super) of_group: bool,
}

/// Numbers of all processes.
pub(super) fn processes() -> Vec<u32> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect()
}

/// What a process is called.
pub(super) fn name_of(pid: u32) -> String {
    let name = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
    name.trim_end().to_owned()
}

/// All processes that use the file system of that device, but for this one and the guard.
pub(super) fn of_device(number: u64, group: &GroupId) -> Vec<Holder> {
    let own = [std::process::id(), rustix::process::getppid().map_or(1, parent_number)];
    let holds = |pid: &u32| !own.contains(pid) && uses(*pid, number);
    let holder = |pid| Holder { pid, name: name_of(pid), of_group: is_of(pid, group) };
    processes().into_iter().filter(holds).map(holder).collect()
}

fn parent_number(pid: Pid) -> u32 {
    pid.as_raw_nonzero().get().cast_unsigned()
}

fn uses(pid: u32, number: u64) -> bool {
    let folder = PathBuf::from(format!("/proc/{pid}"));
    let on_it = |path: &Path| fs::metadata(path).is_ok_and(|found| found.dev() == number);
    let places = ["cwd", "root", "exe"].map(|place| folder.join(place));
    let files = fs::read_dir(folder.join("fd")).into_iter().flatten().flatten();
    places.iter().any(|place| on_it(place))
        || files.map(|file| file.path()).any(|file| on_it(&file))
        || maps_use(&folder.join("maps"), number)
}

/// Whether a file of the device is mapped, as in proc_pid_maps(5).
fn maps_use(maps: &Path, number: u64) -> bool {
    let wanted = format!(" {:02x}:{:02x} ", major(number), minor(number));
    fs::read_to_string(maps).is_ok_and(|text| text.lines().any(|line| line.contains(&wanted)))
}

/// Applications are told their group by the monitor that had them started.
fn is_of(pid: u32, group: &GroupId) -> bool {
    let wanted = format!("STEAD_GROUP={group}");
    let environment = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
    environment.split(|byte| *byte == 0).any(|pair| pair == wanted.as_bytes())
}

/// Their names and numbers, for people.
pub(super) fn listed(holders: &[Holder]) -> String {
    let named = holders.iter().map(|holder| format!("{} ({})", holder.name, holder.pid));
    named.collect::<Vec<_>>().join(", ")
}

/// Asks them to end, then kills them; returns when they have let go, or after a while.
pub(super) fn end(holders: &[Holder], number: u64) {
    for (signal, limit) in [(Signal::TERM, ASK_LIMIT), (Signal::KILL, ASK_LIMIT)] {
        holders.iter().for_each(|holder| send(holder.pid, number, signal));
        let end = Instant::now() + limit;
        while holders.iter().any(|holder| uses(holder.pid, number)) {
            if Instant::now() >= end {
                break;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

/// By its descriptor, and only if it still is who uses the file system.
fn send(pid: u32, number: u64, signal: Signal) {
    let Some(pid_of) = Pid::from_raw(pid.cast_signed()) else { return };
    if let Ok(process) = pidfd_open(pid_of, PidfdFlags::empty())
        && uses(pid, number)
    {
        // It may have ended.
        let _ = pidfd_send_signal(process, signal);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_has_a_file_open_is_found() {
        let dir = tempfile::tempdir().unwrap();
        let number = fs::metadata(dir.path()).unwrap().dev();
        let mut child = std::process::Command::new("sleep")
            .arg("600")
            .current_dir(dir.path())
            .env("STEAD_GROUP", "db")
            .spawn()
            .unwrap();
        let found = |group: &str| {
            let all = of_device(number, &group.into());
            all.into_iter().find(|holder| holder.pid == child.id())
        };
        let holder = loop {
            // Between fork and exec it has another environment.
            match found("db") {
                Some(holder) if holder.of_group => break holder,
                Some(_) | None => std::thread::sleep(Duration::from_millis(1)),
            }
        };
        assert_eq!(listed(std::slice::from_ref(&holder)), format!("sleep ({})", child.id()));
        assert!(!found("web").unwrap().of_group);
        let reaper = std::thread::spawn(move || child.wait().unwrap());
        end(&[holder], number);
        reaper.join().unwrap();
    }
}
