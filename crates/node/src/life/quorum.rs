//! The quorum disk of a new cluster: what lies there already, and its formatting.
//!
//! Nothing that belongs to somebody is ever overwritten: a disk must be blank, or have been begun
//! by the same creation.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Seek, SeekFrom};
use std::os::unix::fs::{FileExt, FileTypeExt, OpenOptionsExt};
use std::path::Path;
use std::time::Duration;

use rustix::fs::{FallocateFlags, fallocate};
use stead_core::format;
use stead_journal::{ClusterKey, Geometry, Identity};
use stead_model::config::{NodeConfig, QuorumDisk};
use stead_model::reason::{Code, Reason};

use super::files::failed;
use super::within::within;

/// A quorum disk is divided for so many nodes at most.
const NODES_MAX: u64 = 16;
/// With so much for each node the database may grow to 24 MiB.
const BYTES_PER_NODE: u64 = 128 << 20;
/// The size of one that is made as a file.
const FILE_BYTES: u64 = 4 * BYTES_PER_NODE;
/// What is looked at to see whether a disk is blank: the labels of partition tables, file systems
/// and volume managers are there.
const LABELS_BYTES: usize = 1 << 20;

/// A disk that cannot be looked at within this time cannot be a quorum disk.
const ANSWERS_WITHIN: Duration = Duration::from_secs(10);

/// Refuses a place that cannot become the quorum disk, or holds something.
pub(super) fn check(path: &Path) -> Result<(), Reason> {
    let place = path.to_owned();
    let looked = within(ANSWERS_WITHIN, move || look(&place));
    looked.unwrap_or_else(|| {
        let waited = ANSWERS_WITHIN.as_secs();
        Err(refused(path, Code::Timeout)
            .because(format!("it does not answer within {waited} s"))
            .hint("`dmesg` says what the kernel waits for; repeat the command when it answers"))
    })
}

fn look(path: &Path) -> Result<(), Reason> {
    if !path.is_absolute() {
        return Err(refused(path, Code::Invalid)
            .because("the path does not begin at `/`")
            .hint("every node finds the disk under this path"));
    }
    let kind = match fs::metadata(path) {
        Ok(found) => found.file_type(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return check_folder(path),
        Err(error) => return Err(failed("look at", path)(error)),
    };
    if !kind.is_file() && !kind.is_block_device() {
        return Err(refused(path, Code::Invalid)
            .because("it is no block device and no file")
            .hint("name a device by its `/dev/disk/by-id/…`, the same on all nodes"));
    }
    let mut disk = open(path)?;
    let bytes = size(&mut disk, path)?;
    if bytes > 0 {
        geometry(path, bytes)?;
    }
    let mut labels = vec![0; LABELS_BYTES.min(usize::try_from(bytes).unwrap_or(LABELS_BYTES))];
    disk.read_exact_at(&mut labels, 0).map_err(failed("read", path))?;
    if labels.iter().all(|byte| *byte == 0) {
        return Ok(());
    }
    let cause = match Identity::decode(&labels[..labels.len().min(4096)], None) {
        Ok(_) => "it is the quorum disk of a cluster, or was",
        Err(_) => "it is not blank: something lies in its first MiB",
    };
    Err(refused(path, Code::Conflict).because(cause).hint(format!(
        "if nothing of it is needed: `dd if=/dev/zero of={} bs=1M count=1 conv=notrunc`",
        path.display()
    )))
}

fn check_folder(path: &Path) -> Result<(), Reason> {
    let folder = path.parent().unwrap_or_else(|| Path::new("/"));
    if path.starts_with("/dev") || !folder.is_dir() {
        return Err(refused(path, Code::NotFound)
            .because("there is no such device, and no folder for such a file")
            .hint("`lsblk -o NAME,SIZE,SERIAL` lists the disks of this host"));
    }
    Ok(())
}

/// Formats it, unless it was formatted for this cluster before; says which.
pub(super) fn format(
    config: &NodeConfig,
    wanted: &QuorumDisk,
    key: &[u8; 32],
) -> Result<String, Reason> {
    let path = &wanted.path;
    let shown = path.display();
    let mut disk = open_or_make(path)?;
    let mut block = vec![0; Identity::BYTES as usize];
    disk.read_exact_at(&mut block, Identity::OFFSET).map_err(failed("read", path))?;
    match Identity::decode(&block, Some(&ClusterKey::new(*key))) {
        Ok(found) if found.disk.0 == wanted.disk_id => {
            return Ok(format!("`{shown}` was formatted before"));
        }
        Ok(_) | Err(_) if block.iter().any(|byte| *byte != 0) => {
            return Err(refused(path, Code::Conflict)
                .because("something else was written to it meanwhile")
                .hint(
                    "`stead cluster destroy NAME` gives this creation up; nothing is overwritten",
                ));
        }
        Ok(_) | Err(_) => {}
    }
    let bytes = size(&mut disk, path)?;
    let geometry = geometry(path, bytes)?;
    let made = format::quorum_disk(config, *key, geometry);
    let pieces = made.map_err(|e| refused(path, Code::Invalid).because(e.to_string()))?;
    // The identity is last: with it the disk is one that was formatted completely.
    let (last, first) = pieces.split_last().expect("a formatting writes something");
    for pieces in [first, std::slice::from_ref(last)] {
        for (offset, bytes) in pieces {
            disk.write_all_at(bytes, *offset).map_err(failed("write", path))?;
        }
        disk.sync_all().map_err(failed("write", path))?;
    }
    Ok(format!("formatted `{shown}` for {} nodes", geometry.slots() / 2))
}

/// Makes it blank, if it is the one of this cluster; says what was done.
pub(super) fn wipe(wanted: &QuorumDisk, keys: &[[u8; 32]]) -> Result<String, Reason> {
    let path = &wanted.path;
    let shown = path.display();
    let kept = |why: &str| Ok(format!("`{shown}` is left as it is: {why}"));
    if !path.exists() {
        return kept("it is not there");
    }
    let mut disk = open(path)?;
    let mut block = vec![0; Identity::BYTES as usize];
    if disk.read_exact_at(&mut block, Identity::OFFSET).is_err() {
        return kept("it cannot be read");
    }
    let read = keys.iter().map(|key| Identity::decode(&block, Some(&ClusterKey::new(*key))));
    let found = read.reduce(|found, next| found.or(next)).ok_or(());
    let found = found.and_then(|found| found.map_err(drop));
    if found.is_ok_and(|found| found.disk.0 != wanted.disk_id)
        || (found.is_err() && block.iter().any(|byte| *byte != 0))
    {
        return kept("it is not of this cluster");
    }
    let bytes = size(&mut disk, path)?.min(LABELS_BYTES as u64);
    let zeros = vec![0; LABELS_BYTES];
    // The identity last: until then a repetition knows it.
    for range in [4096..bytes as usize, 0..4096.min(bytes as usize)] {
        let at = range.start as u64;
        disk.write_all_at(&zeros[range], at).map_err(failed("write", path))?;
        disk.sync_all().map_err(failed("write", path))?;
    }
    Ok(format!("`{shown}` is blank again"))
}

/// Nobody else may have a device: one that is mounted is refused by the kernel.
fn open(path: &Path) -> Result<File, Reason> {
    let is_device = fs::metadata(path).is_ok_and(|found| found.file_type().is_block_device());
    let alone = if is_device { libc::O_EXCL } else { 0 };
    let opened = OpenOptions::new().read(true).write(true).custom_flags(alone).open(path);
    opened.map_err(|error| match error.kind() {
        io::ErrorKind::ResourceBusy => refused(path, Code::Conflict)
            .because("it is in use on this host")
            .hint(format!("`lsblk {}` shows by what", path.display())),
        _ => failed("open", path)(error),
    })
}

fn open_or_make(path: &Path) -> Result<File, Reason> {
    if !path.exists() {
        let made = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
        made.map_err(failed("make", path))?;
    }
    let mut disk = open(path)?;
    if size(&mut disk, path)? == 0 {
        disk.set_len(FILE_BYTES).map_err(failed("make room in", path))?;
        match fallocate(&disk, FallocateFlags::empty(), 0, FILE_BYTES) {
            // A file system that cannot, finds room when it is needed.
            Ok(()) | Err(rustix::io::Errno::OPNOTSUPP) => {}
            Err(errno) => return Err(failed("make room in", path)(errno.into())),
        }
    }
    Ok(disk)
}

fn size(disk: &mut File, path: &Path) -> Result<u64, Reason> {
    disk.seek(SeekFrom::End(0)).map_err(failed("measure", path))
}

fn geometry(path: &Path, bytes: u64) -> Result<Geometry, Reason> {
    let nodes = (bytes / BYTES_PER_NODE).clamp(2, NODES_MAX);
    Geometry::plan(bytes, nodes as u32).map_err(|error| {
        refused(path, Code::Invalid).because(error.to_string()).hint("512 MiB are for four nodes")
    })
}

fn refused(path: &Path, code: Code) -> Reason {
    Reason::new(code, format!("cannot make `{}` the quorum disk", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_holds_something_is_too_small_or_is_no_disk_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("q");
        assert_eq!(check(&path), Ok(()));
        let code = |path: &Path| check(path).unwrap_err().code;
        assert_eq!(code(Path::new("q")), Code::Invalid);
        assert_eq!(code(folder.path()), Code::Invalid);
        assert_eq!(code(Path::new("/dev/no-such-disk")), Code::NotFound);
        assert_eq!(code(&folder.path().join("no/q")), Code::NotFound);
        fs::write(&path, b"mine").unwrap();
        assert_eq!(code(&path), Code::Invalid);
        let file = OpenOptions::new().write(true).open(&path).unwrap();
        file.set_len(FILE_BYTES).unwrap();
        let told = check(&path).unwrap_err();
        assert!(told.to_string().contains("not blank") && told.hint.unwrap().contains("dd if"));
        file.set_len(0).unwrap();
        file.set_len(FILE_BYTES).unwrap();
        assert_eq!(check(&path), Ok(()));
    }
}
