//! What is mounted where, as the kernel writes it: lines of proc_pid_mountinfo(5).

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

/// One mount.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Mount {
    /// Major and minor number of the file system's device.
    pub device: (u32, u32),
    /// Where it is mounted.
    pub point: PathBuf,
    /// Whether mounts below it appear in other namespaces, too.
    pub shared: bool,
    /// Whether the mount or the file system takes no write.
    pub read_only: bool,
}

/// The mounts of a table, in the order of mounting; lines that make no sense are left out.
#[must_use]
pub fn parse(table: &[u8]) -> Vec<Mount> {
    table.split(|byte| *byte == b'\n').filter_map(mount).collect()
}

fn mount(line: &[u8]) -> Option<Mount> {
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
    Some(Mount {
        device: (major.parse().ok()?, minor.parse().ok()?),
        point,
        shared,
        read_only: mount || is_read_only(words.nth(2)?),
    })
}

/// Where a control group is a folder: `group` as in `/proc/PID/cgroup`, in the cgroup2 file system
/// of the table. On hybrid hosts that one is not at `/sys/fs/cgroup`. `None` if there is none, or
/// the group is in a part of it that is not mounted.
#[must_use]
pub fn control_group(table: &str, group: &str) -> Option<PathBuf> {
    table.lines().find_map(|line| {
        let (mount, kind) = line.split_once(" - ")?;
        let mut fields = mount.split(' ').skip(3);
        let (root, point) = (fields.next()?, fields.next()?);
        let below = Path::new(group).strip_prefix(root).ok()?;
        kind.starts_with("cgroup2 ").then(|| Path::new(point).join(below))
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

    const HYBRID: &str = "40 31 0:37 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,name=systemd\n\
                          41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw\n";

    #[test]
    fn control_groups_are_where_their_file_system_is() {
        let found = control_group(HYBRID, "/system.slice/stead.service").unwrap();
        assert_eq!(found, Path::new("/sys/fs/cgroup/unified/system.slice/stead.service"));
        let part = "41 31 0:38 /lab/n1 /run/cgroup rw - cgroup2 cgroup2 rw\n";
        assert_eq!(control_group(part, "/lab/n1/a").unwrap(), Path::new("/run/cgroup/a"));
        assert_eq!(control_group(part, "/elsewhere"), None);
        assert_eq!(control_group("", "/"), None);
    }

    #[test]
    fn lines_are_understood_and_nonsense_is_left_out() {
        let table = b"22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw\n\
                      nonsense\n\
                      36 23 7:3 / /run/my\\040data\\ rw,noatime master:1 - ext4 /dev/loop3 ro\n\
                      37 22 7:4 / /srv ro - xfs /dev/loop4 rw\n\
                      38 22 7:4 / /cut\n";
        let mount = |device, point: &str, shared, read_only| Mount {
            device,
            point: point.into(),
            shared,
            read_only,
        };
        let mounts = [
            mount((8, 1), "/", true, false),
            mount((7, 3), "/run/my data\\", false, true),
            mount((7, 4), "/srv", false, true),
        ];
        assert_eq!(parse(table), mounts);
    }
}
