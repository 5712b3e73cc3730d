//! The ready-made empty ext4 file system that a new disk begins with: no tool is needed for it.
//!
//! Only what is not zero is kept, as runs; `assets/README.md` tells how it was made. The file
//! system has no checksums, so that every disk can get a UUID and a label of its own by writing
//! them down.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;

use rustix::rand::GetRandomFlags;

use crate::step::{Step, StepError};

/// ```text
///   "STEADIMG" | size_bytes u64 | runs: offset u64, length u32, kind u8, (bytes | one byte)
/// ```
/// All numbers little endian.
const PACKED: &[u8] = include_bytes!("../../assets/empty-ext4.img.runs");

/// Makes a disk's file: sparse, with an empty ext4 file system of its own UUID, labelled with the
/// disk's name.
pub(super) fn write_new(path: &Path, label: &str) -> Result<(), StepError> {
    let opened = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
    let file = opened.step("make the disk", path.display())?;
    let written = unpack(PACKED, &file).and_then(|()| name(&file, label));
    written.step("write the disk", path.display())
}

/// Gives the file system a UUID and a label.
fn name(file: &File, label: &str) -> io::Result<()> {
    let mut uuid = [0_u8; 16];
    rustix::rand::getrandom(&mut uuid, GetRandomFlags::empty())?;
    uuid[6] = (uuid[6] & 0x0f) | 0x40;
    uuid[8] = (uuid[8] & 0x3f) | 0x80;
    file.write_all_at(&uuid, SUPERBLOCK + 0x68)?;
    let mut text = [0; 16];
    for (to, from) in text.iter_mut().zip(label.bytes()) {
        *to = from;
    }
    file.write_all_at(&text, SUPERBLOCK + 0x78)
}

fn unpack(packed: &[u8], file: &File) -> io::Result<()> {
    let mut rest = packed.strip_prefix(MAGIC).ok_or(io::ErrorKind::InvalidData)?;
    file.set_len(u64::from_le_bytes(take(&mut rest)?))?;
    while !rest.is_empty() {
        let offset = u64::from_le_bytes(take(&mut rest)?);
        let length = u32::from_le_bytes(take(&mut rest)?) as usize;
        match take::<1>(&mut rest)? {
            [LITERAL] => {
                let (bytes, after) = rest.split_at_checked(length).ok_or(SHORT)?;
                file.write_all_at(bytes, offset)?;
                rest = after;
            }
            [FILL] => {
                let [byte] = take::<1>(&mut rest)?;
                file.write_all_at(&vec![byte; length], offset)?;
            }
            [_] => return Err(io::ErrorKind::InvalidData.into()),
        }
    }
    Ok(())
}

fn take<const N: usize>(rest: &mut &[u8]) -> io::Result<[u8; N]> {
    let (bytes, after) = rest.split_first_chunk::<N>().ok_or(SHORT)?;
    *rest = after;
    Ok(*bytes)
}

/// Where ext4 keeps its superblock.
const SUPERBLOCK: u64 = 1024;
const MAGIC: &[u8] = b"STEADIMG";
const LITERAL: u8 = 0;
const FILL: u8 = 1;
const SHORT: io::ErrorKind = io::ErrorKind::UnexpectedEof;

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt;

    use super::*;

    fn superblock(path: &Path) -> Vec<u8> {
        let mut bytes = vec![0; 1024];
        File::open(path).unwrap().read_exact_at(&mut bytes, SUPERBLOCK).unwrap();
        bytes
    }

    #[test]
    fn a_new_disk_is_sparse_ext4_with_an_identity_of_its_own() {
        let dir = tempfile::tempdir().unwrap();
        let (one, two) = (dir.path().join("one"), dir.path().join("two"));
        write_new(&one, "data").unwrap();
        write_new(&two, "a-name-that-is-longer").unwrap();
        let found = std::fs::metadata(&one).unwrap();
        assert_eq!(found.len(), 512 << 20);
        assert!(found.blocks() * 512 < 1 << 20, "{} blocks", found.blocks());
        let (first, second) = (superblock(&one), superblock(&two));
        assert_eq!(first[0x38..0x3a], [0x53, 0xef], "no ext4");
        assert_ne!(first[0x68..0x78], second[0x68..0x78], "one UUID for all");
        assert_eq!(&first[0x78..0x7d], b"data\0");
        assert_eq!(&second[0x78..0x88], b"a-name-that-is-l");
        assert!(write_new(&one, "again").is_err());
    }

    #[test]
    fn a_damaged_image_is_not_unpacked() {
        let file = tempfile::tempfile().unwrap();
        assert!(unpack(&PACKED[..PACKED.len() - 1], &file).is_err());
        assert!(unpack(b"something", &file).is_err());
        let mut unknown = PACKED[..16].to_vec();
        unknown.extend([0; 12]);
        unknown.push(9);
        assert!(unpack(&unknown, &file).is_err());
    }
}
