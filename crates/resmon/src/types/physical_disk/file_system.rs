//! File systems on a disk: recognised, repaired where they say that they are damaged, mounted.
//!
//! A journal is recovered by the kernel when it is mounted; `e2fsck -p` runs only where an ext
//! file system has noted errors of its own, for it would cost the time of a failover.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use rustix::mount::{MountFlags, MountPropagationFlags, mount, mount_change};

use super::mount_table;
use crate::host::block;
use crate::resource_type::{Cancel, Slept};

/// The kinds that can be mounted: those that can be shut down at the end of a lease.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Kind {
    /// ext2, ext3 and ext4, by the driver of ext4.
    Ext,
    /// XFS.
    Xfs,
}

/// A file system as it lies on the disk.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Found {
    pub(super) kind: Kind,
    /// Whether it has noted errors of its own.
    pub(super) damaged: bool,
}

/// How long `e2fsck` is looked after between two looks at the cancel.
const LOOK_EVERY: Duration = Duration::from_millis(20);
/// Where it may be.
const E2FSCK: [&str; 4] =
    ["/sbin/e2fsck", "/usr/sbin/e2fsck", "/usr/local/sbin/e2fsck", "/usr/bin/e2fsck"];

impl Kind {
    /// Name of the driver.
    pub(super) const fn driver(self) -> &'static str {
        match self {
            Self::Ext => "ext4",
            Self::Xfs => "xfs",
        }
    }

    /// The kind of that name.
    pub(super) fn named(name: &str) -> Option<Self> {
        match name {
            "ext2" | "ext3" | "ext4" => Some(Self::Ext),
            "xfs" => Some(Self::Xfs),
            _ => None,
        }
    }
}

/// Looks what lies on a device.
///
/// # Errors
/// It cannot be read, or is nothing that can be mounted; what it is instead, where that is known.
pub(super) fn look(device: &File) -> Result<Found, String> {
    let mut head = vec![0; HEAD_BYTES];
    let mut length = 0;
    while length < head.len() {
        match device.read_at(&mut head[length..], length as u64) {
            Ok(0) => break,
            Ok(got) => length += got,
            Err(why) => return Err(format!("its file system cannot be read: {why}")),
        }
    }
    recognise(&head[..length])
}

/// Enough for the marks below.
const HEAD_BYTES: usize = 72 << 10;
/// Where ext keeps its superblock.
const EXT_SUPERBLOCK: usize = 1024;

fn recognise(head: &[u8]) -> Result<Found, String> {
    let is = |at: usize, mark: &[u8]| head.get(at..).is_some_and(|rest| rest.starts_with(mark));
    if is(EXT_SUPERBLOCK + 0x38, &[0x53, 0xef]) {
        const ERRORS: u8 = 2;
        let state = head.get(EXT_SUPERBLOCK + 0x3a).copied().unwrap_or_default();
        return Ok(Found { kind: Kind::Ext, damaged: state & ERRORS != 0 });
    }
    if is(0, b"XFSB") {
        return Ok(Found { kind: Kind::Xfs, damaged: false });
    }
    let others: [(usize, &[u8], &str); 6] = [
        (0x1_0040, b"_BHRfS_M", "btrfs, which cannot be shut down at the end of a lease"),
        (0x400, &[0x10, 0x20, 0xf5, 0xf2], "f2fs, which is not supported"),
        (0, b"LUKS\xba\xbe", "an encrypted volume (LUKS): open it first"),
        (0x218, b"LVM2 001", "a physical volume of LVM, which is not supported"),
        (0x200, b"EFI PART", "a partition table: name a `partition`"),
        (0x1fe, &[0x55, 0xaa], "a partition table or boot sector: name a `partition`"),
    ];
    let found = others.into_iter().find(|(at, mark, _)| is(*at, mark));
    Err(match found {
        Some((_, _, what)) => format!("what lies on it is {what}"),
        None => "there is no ext4 or xfs file system on it; make one with `mkfs.ext4`".to_owned(),
    })
}

/// Repairs what can be repaired without asking anyone.
///
/// # Errors
/// It is cancelled, or needs more.
pub(super) fn repair(device: &Path, cancel: &Cancel) -> Result<&'static str, String> {
    let shown = device.display();
    let Some(program) = E2FSCK.into_iter().find(|path| Path::new(path).exists()) else {
        return Err(format!(
            "the file system on {shown} has noted errors and there is no e2fsck on this node: \
             repair it by hand, or set `check=false` to mount it as it is"
        ));
    };
    let mut command = Command::new(program);
    command.arg("-p").arg(device).env_clear();
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let spawned = block::dies_with_us(&mut command).spawn();
    let mut child = spawned.map_err(|why| format!("{program} cannot be started: {why}"))?;
    let code = loop {
        match child.try_wait() {
            Ok(Some(status)) => break status.code(),
            Ok(None) if cancel.sleep(LOOK_EVERY) == Slept::Through => {}
            Ok(None) | Err(_) => {
                // Nothing of it may act when this returns.
                let _ = child.kill();
                let _ = child.wait();
                return Err("it was cancelled while e2fsck ran".into());
            }
        }
    };
    match code {
        // Bit 0: errors were corrected; bit 1: and the machine should restart (of a root only).
        Some(0..=3) => Ok("the file system had noted errors; `e2fsck -p` has repaired it"),
        Some(_) | None => Err(format!(
            "the file system on {shown} is damaged and `e2fsck -p` cannot repair it unattended: \
             run `e2fsck {shown}` by hand where nobody has it mounted"
        )),
    }
}

/// The mount options of administrators: flags of the mount and words for the driver.
pub(super) fn options(text: &str) -> (MountFlags, String) {
    let mut flags = MountFlags::empty();
    let mut data = Vec::new();
    for word in text.split(',').map(str::trim).filter(|word| !word.is_empty()) {
        match word {
            "defaults" | "rw" | "auto" | "noauto" | "_netdev" | "nofail" => {}
            "ro" => flags |= MountFlags::RDONLY,
            "noatime" => flags |= MountFlags::NOATIME,
            "nodiratime" => flags |= MountFlags::NODIRATIME,
            "relatime" => flags |= MountFlags::RELATIME,
            "strictatime" => flags |= MountFlags::STRICTATIME,
            "lazytime" => flags |= MountFlags::LAZYTIME,
            "nodev" => flags |= MountFlags::NODEV,
            "nosuid" => flags |= MountFlags::NOSUID,
            "noexec" => flags |= MountFlags::NOEXEC,
            "sync" => flags |= MountFlags::SYNCHRONOUS,
            "dirsync" => flags |= MountFlags::DIRSYNC,
            other => data.push(other),
        }
    }
    (flags, data.join(","))
}

/// Makes the mount point where it is missing; its path without links.
///
/// # Errors
/// It cannot be made, or something is there already.
pub(super) fn prepare_point(point: &Path) -> Result<PathBuf, String> {
    let shown = point.display();
    fs::create_dir_all(point).map_err(|why| format!("cannot make mount point {shown}: {why}"))?;
    let plain = fs::canonicalize(point);
    plain.map_err(|why| format!("cannot use mount point {shown}: {why}"))
}

/// Refuses a mount point that something is mounted on or lies in: it would be hidden.
///
/// # Errors
/// One sentence that names what is there.
pub(super) fn check_point_free(point: &Path) -> Result<(), String> {
    let shown = point.display();
    let entries = mount_table::own().map_err(|why| format!("no list of mounts: {why}"))?;
    if entries.iter().any(|entry| entry.point == point) {
        return Err(format!("something else is mounted on {shown} already"));
    }
    let mut files = fs::read_dir(point).map_err(|why| format!("cannot list {shown}: {why}"))?;
    match files.next() {
        None => Ok(()),
        Some(_) => Err(format!(
            "mount point {shown} is not empty: the files there would be hidden; move them away"
        )),
    }
}

/// Mounts it.
///
/// # Errors
/// The kernel's reason in words.
pub(super) fn mount_at(
    device: &Path,
    point: &Path,
    kind: Kind,
    options_text: &str,
) -> Result<(), String> {
    share_parent(point)?;
    let (flags, data) = options(options_text);
    let data = std::ffi::CString::new(data).map_err(|_| "mount options with a zero byte")?;
    let mounted = mount(device, point, kind.driver(), flags, data.as_c_str());
    mounted.map_err(|why| {
        let (shown, at) = (device.display(), point.display());
        format!(
            "{shown} cannot be mounted at {at} as {}: {why} (options `{options_text}`; the \
             kernel's log says more)",
            kind.driver()
        )
    })
}

/// Applications live in mount namespaces of their own that follow this one, where the mount the
/// point lies in is shared. Where it is not (outside systemd), an application of another group
/// would keep a copy of the mount and with it the file system alive.
fn share_parent(point: &Path) -> Result<(), String> {
    let entries = mount_table::own().map_err(|why| format!("no list of mounts: {why}"))?;
    let Some(parent) = mount_table::covering(&entries, point).filter(|entry| !entry.shared) else {
        return Ok(());
    };
    mount_change(&parent.point, MountPropagationFlags::SHARED)
        .map_err(|why| format!("cannot share the mount at {}: {why}", parent.point.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(marks: &[(usize, &[u8])]) -> Vec<u8> {
        let mut head = vec![0; HEAD_BYTES];
        for (at, mark) in marks {
            head[*at..*at + mark.len()].copy_from_slice(mark);
        }
        head
    }

    #[test]
    fn file_systems_are_told_by_their_marks() {
        let ext = |state: u8| recognise(&head(&[(0x438, &[0x53, 0xef, state])])).unwrap();
        assert_eq!(ext(1), Found { kind: Kind::Ext, damaged: false });
        assert_eq!(ext(3), Found { kind: Kind::Ext, damaged: true });
        assert_eq!(recognise(&head(&[(0, b"XFSB")])).unwrap().kind, Kind::Xfs);
        let refused = |marks| recognise(&head(marks)).unwrap_err();
        assert!(refused(&[(0x1_0040, b"_BHRfS_M")]).contains("btrfs"));
        let table = refused(&[(0x1fe, &[0x55, 0xaa]), (0x200, b"EFI PART")]);
        assert_eq!(table, "what lies on it is a partition table: name a `partition`");
        assert!(refused(&[]).contains("no ext4 or xfs"));
        assert!(recognise(&[]).is_err());
    }

    #[test]
    fn options_are_flags_or_words_for_the_driver() {
        let (flags, data) = options("noatime, data=journal,ro,,errors=remount-ro");
        assert_eq!(flags, MountFlags::NOATIME | MountFlags::RDONLY);
        assert_eq!(data, "data=journal,errors=remount-ro");
        assert_eq!(options("defaults"), (MountFlags::empty(), String::new()));
    }

    #[test]
    fn a_mount_point_is_made_and_must_be_empty() {
        let dir = tempfile::tempdir().unwrap();
        let point = prepare_point(&dir.path().join("a/b")).unwrap();
        check_point_free(&point).unwrap();
        fs::write(point.join("file"), "").unwrap();
        assert!(check_point_free(&point).unwrap_err().contains("is not empty"));
        assert!(prepare_point(&point.join("file/below")).unwrap_err().contains("cannot make"));
        assert!(check_point_free(Path::new("/proc")).unwrap_err().contains("mounted on /proc"));
    }
}
