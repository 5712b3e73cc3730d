//! The block device of a cluster disk on this node.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::fs::OFlags;

use super::mount_table;
use crate::host::block;

/// The device that holds the file system.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Device {
    /// The whole disk, without links.
    pub(super) disk: PathBuf,
    /// The disk or its partition, without links.
    pub(super) path: PathBuf,
    /// Its number.
    pub(super) number: u64,
}

/// A mount that just ended is released by the kernel a moment later.
const RELEASE_LIMIT: Duration = Duration::from_secs(2);
/// Block that is read to see whether a disk answers.
const LOOK_BYTES: usize = 4096;

impl Device {
    /// Finds it.
    ///
    /// # Errors
    /// One sentence that says what is missing.
    pub(super) fn find(disk: &Path, partition: Option<u32>) -> Result<Self, String> {
        let path = match partition {
            None => disk.to_owned(),
            Some(number) => partition_of(disk, number),
        };
        let missing = |path: &Path, why: io::Error| {
            let shown = path.display();
            format!("there is no device {shown} on this node ({why}): look at its path to the disk")
        };
        let plain = |path: &Path| fs::canonicalize(path).map_err(|why| missing(path, why));
        let (disk, path) = (plain(disk)?, plain(&path)?);
        let found = fs::metadata(&path).map_err(|why| missing(&path, why))?;
        if !found.file_type().is_block_device() {
            return Err(format!("{} is no block device", path.display()));
        }
        Ok(Self { disk, path, number: found.rdev() })
    }

    /// Opens it for this process alone: nothing on this node has it mounted. What another node
    /// wrote since is read anew.
    ///
    /// # Errors
    /// It is in use (who, in words), or does not answer.
    pub(super) fn open_alone(&self) -> Result<File, String> {
        let end = Instant::now() + RELEASE_LIMIT;
        loop {
            match self.open_exclusive() {
                Ok(device) => {
                    block::forget_cached(&device).map_err(|why| self.trouble(&why))?;
                    return Ok(device);
                }
                Err(why) if why.kind() != io::ErrorKind::ResourceBusy => {
                    return Err(self.trouble(&why));
                }
                Err(_) if Instant::now() < end => std::thread::sleep(Duration::from_millis(3)),
                Err(_) => return Err(self.used_by()),
            }
        }
    }

    fn open_exclusive(&self) -> io::Result<File> {
        let exclusive = OFlags::EXCL.bits().cast_signed();
        OpenOptions::new().read(true).custom_flags(exclusive).open(&self.path)
    }

    /// Who has it mounted or open, in words.
    pub(super) fn used_by(&self) -> String {
        let shown = self.path.display();
        match mount_table::elsewhere(self.number).as_slice() {
            [] => format!("{shown} is in use on this node by a program or a device on top of it"),
            all => format!("{shown} is still mounted: {}", all.join(", ")),
        }
    }

    fn trouble(&self, why: &io::Error) -> String {
        format!("{} does not answer as a disk should: {why}", self.path.display())
    }

    /// Reads a block past all caches: whether the path to the disk works.
    pub(super) fn look(&self) -> io::Result<()> {
        let direct = OFlags::DIRECT.bits().cast_signed();
        let device = OpenOptions::new().read(true).custom_flags(direct).open(&self.path)?;
        // Direct reads want an aligned place.
        let mut space = vec![0_u8; LOOK_BYTES * 2];
        let start = space.as_ptr().align_offset(LOOK_BYTES);
        device.read_exact_at(&mut space[start..start + LOOK_BYTES], 0)
    }
}

/// The usual names of partitions: by stable id, of disks whose names end in a digit, of others.
fn partition_of(disk: &Path, number: u32) -> PathBuf {
    let name = disk.to_string_lossy();
    let between = match name.chars().last() {
        _ if name.starts_with("/dev/disk/") => "-part",
        Some(last) if last.is_ascii_digit() => "p",
        Some(_) | None => "",
    };
    PathBuf::from(format!("{name}{between}{number}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn partitions_are_named_as_the_kernel_and_udev_do() {
        let name = |disk: &str| partition_of(Path::new(disk), 2).to_string_lossy().into_owned();
        assert_eq!(name("/dev/sda"), "/dev/sda2");
        assert_eq!(name("/dev/nvme0n1"), "/dev/nvme0n1p2");
        assert_eq!(name("/dev/disk/by-id/wwn-0x5"), "/dev/disk/by-id/wwn-0x5-part2");
    }

    #[test]
    fn what_is_no_disk_is_named() {
        let missing = Device::find(Path::new("/dev/stead/none"), None).unwrap_err();
        assert!(
            missing.starts_with("there is no device /dev/stead/none on this node"),
            "{missing}"
        );
        let null = Device::find(Path::new("/dev/null"), None).unwrap_err();
        assert_eq!(null, "/dev/null is no block device");
    }
}
