//! What is mounted where, as `/proc` tells: on this node and in namespaces of its own.

use std::fs;
use std::path::Path;

use rustix::fs::{major, minor};
use stead_model::mount_table::{Mount, parse};

/// What is mounted in this process's namespace, in the order of mounting.
pub(super) fn own() -> std::io::Result<Vec<Mount>> {
    Ok(parse(&fs::read("/proc/self/mountinfo")?))
}

/// The mount that covers a place.
pub(super) fn covering<'a>(mounts: &'a [Mount], place: &Path) -> Option<&'a Mount> {
    let covers = |mount: &&Mount| place.starts_with(&mount.point);
    // Of two at the same point the later one is on top.
    mounts.iter().filter(covers).max_by_key(|mount| mount.point.components().count())
}

/// What is mounted of a device at a place.
pub(super) fn of_device<'a>(mounts: &'a [Mount], number: u64, point: &Path) -> Option<&'a Mount> {
    let wanted = (major(number), minor(number));
    mounts.iter().rev().find(|mount| mount.device == wanted && mount.point == point)
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
        if let Some(mount) = parse(&table).into_iter().find(|mount| mount.device == wanted) {
            let name = super::holders::name_of(process);
            found.push(format!("at {} for process {process} ({name})", mount.point.display()));
        }
    }
    found
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
        let mounts = parse(TABLE);
        assert_eq!(mounts.len(), 4);
        let point = |place: &str| {
            covering(&mounts, Path::new(place)).map(|e| e.point.to_string_lossy().into_owned())
        };
        assert_eq!(point("/var/x").unwrap(), "/");
        assert_eq!(point("/run/other").unwrap(), "/run");
        assert_eq!(point("/run/my data/x").unwrap(), "/run/my data");
        assert!(mounts[0].shared && !mounts[1].shared && !mounts[2].shared);
        let read_only: Vec<bool> = mounts.iter().map(|mount| mount.read_only).collect();
        assert_eq!(read_only, [false, false, true, true]);
        let number = rustix::fs::makedev(7, 3);
        assert!(of_device(&mounts, number, Path::new("/run/my data")).is_some());
        assert!(of_device(&mounts, number, Path::new("/srv")).is_none());
    }
}
