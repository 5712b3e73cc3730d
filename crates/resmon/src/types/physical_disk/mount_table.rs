//! What is mounted where, as `/proc` tells: on this node and in namespaces of its own.

use std::ffi::OsString;
use std::fs;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

use rustix::fs::{major, minor};

/// One line of a mountinfo.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Entry {
    /// Major and minor number of the file system's device.
    pub(super) device: (u32, u32),
    /// Where it is mounted.
    pub(super) point: PathBuf,
    /// Whether mounts below it appear in other namespaces, too.
    pub(super) shared: bool,
    /// Whether the mount or the file system takes no write.
    pub(super) read_only: bool,
}

/// What is mounted in this process's namespace, in the order of mounting.
pub(super) fn own() -> std::io::Result<Vec<Entry>> {
    Ok(parse(&fs::read("/proc/self/mountinfo")?))
}

/// The mount that covers a place.
pub(super) fn covering<'a>(entries: &'a [Entry], place: &Path) -> Option<&'a Entry> {
    let covers = |entry: &&Entry| place.starts_with(&entry.point);
    // Of two at the same point the later one is on top.
    entries.iter().filter(covers).max_by_key(|entry| entry.point.components().count())
}

/// What is mounted of a device at a place.
pub(super) fn of_device<'a>(entries: &'a [Entry], number: u64, point: &Path) -> Option<&'a Entry> {
    let wanted = (major(number), minor(number));
    entries.iter().rev().find(|entry| entry.device == wanted && entry.point == point)
}

/// Mounts of a device in all namespaces that have a process, one sentence part per namespace.
pub(super) fn elsewhere(number: u64) -> Vec<String> {
    let wanted = (major(number), minor(number));
    let mut seen = Vec::new();
    let mut found = Vec::new();
    for process in super::holders::processes() {
        let folder = Path::new("/proc").join(process.to_string());
        let Ok(namespace) = fs::read_link(folder.join("ns/mnt")) else { continue };
        if seen.contains(&namespace) {
            continue;
        }
        let Ok(table) = fs::read(folder.join("mountinfo")) else { continue };
        seen.push(namespace);
        if let Some(entry) = parse(&table).into_iter().find(|entry| entry.device == wanted) {
            let name = super::holders::name_of(process);
            found.push(format!("at {} for process {process} ({name})", entry.point.display()));
        }
    }
    found
}

fn parse(table: &[u8]) -> Vec<Entry> {
    table.split(|byte| *byte == b'\n').filter_map(entry).collect()
}

/// One line, as in proc_pid_mountinfo(5).
fn entry(line: &[u8]) -> Option<Entry> {
    let mut words = line.split(|byte| *byte == b' ').skip(2);
    let device = std::str::from_utf8(words.next()?).ok()?;
    let (major, minor) = device.split_once(':')?;
    let point = PathBuf::from(OsString::from_vec(plain(words.nth(1)?)));
    let is_read_only = |options: &[u8]| options.split(|byte| *byte == b',').any(|o| o == b"ro");
    let mount = is_read_only(words.next()?);
    let mut shared = false;
    for word in words.by_ref().take_while(|word| *word != b"-") {
        shared |= word.starts_with(b"shared:");
    }
    Some(Entry {
        device: (major.parse().ok()?, minor.parse().ok()?),
        point,
        shared,
        read_only: mount || is_read_only(words.nth(2)?),
    })
}

/// A path without the octal escapes of the kernel.
fn plain(escaped: &[u8]) -> Vec<u8> {
    let mut path = Vec::with_capacity(escaped.len());
    let mut rest = escaped;
    while let Some((byte, after)) = rest.split_first() {
        let code = after.get(..3).filter(|_| *byte == b'\\');
        let code = code.and_then(|code| std::str::from_utf8(code).ok());
        match code.and_then(|code| u8::from_str_radix(code, 8).ok()) {
            Some(code) => {
                path.push(code);
                rest = &after[3..];
            }
            None => {
                path.push(*byte);
                rest = after;
            }
        }
    }
    path
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &[u8] = b"22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw\n\
                           23 22 0:5 / /run rw,nosuid - tmpfs tmpfs rw,mode=755\n\
                           36 23 7:3 / /run/my\\040data rw,noatime master:1 - ext4 /dev/loop3 ro\n\
                           37 22 7:4 / /srv ro - xfs /dev/loop4 rw\n";

    #[test]
    fn lines_are_understood_and_the_last_mount_covers() {
        let entries = parse(TABLE);
        assert_eq!(entries.len(), 4);
        let point = |place: &str| {
            covering(&entries, Path::new(place)).map(|e| e.point.to_string_lossy().into_owned())
        };
        assert_eq!(point("/var/x").unwrap(), "/");
        assert_eq!(point("/run/other").unwrap(), "/run");
        assert_eq!(point("/run/my data/x").unwrap(), "/run/my data");
        assert!(entries[0].shared && !entries[1].shared && !entries[2].shared);
        let read_only: Vec<bool> = entries.iter().map(|entry| entry.read_only).collect();
        assert_eq!(read_only, [false, false, true, true]);
        let number = rustix::fs::makedev(7, 3);
        assert!(of_device(&entries, number, Path::new("/run/my data")).is_some());
        assert!(of_device(&entries, number, Path::new("/srv")).is_none());
    }
}
