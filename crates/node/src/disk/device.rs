//! A file or block device of fixed size, read and written durably.
//!
//! Shared media are opened with O_DIRECT where the file system can: what another node wrote must
//! never be hidden by a page that this node kept.

use std::io::{self, IoSlice, IoSliceMut};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use rustix::fs::{FileType, Mode, OFlags, SeekFrom};
use rustix::io::{Errno, ReadWriteFlags};
use thiserror::Error;

/// Unit of direct reads and writes.
pub(crate) const ALIGN_BYTES: usize = 4096;

/// Whether the page cache may stand between this node and the device.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Caching {
    /// It may: nobody else writes there.
    Own,
    /// It must not, where that can be had.
    Shared,
}

/// A device.
#[derive(Debug)]
pub(crate) struct BlockDev {
    path: PathBuf,
    file: OwnedFd,
    direct: bool,
    size_bytes: u64,
}

/// Why a device cannot be opened.
#[derive(Debug, Error)]
pub(crate) enum DeviceError {
    #[error("cannot open `{}`: {source}", path.display())]
    Open { path: PathBuf, source: io::Error },
    #[error("`{}` is neither a file nor a block device", path.display())]
    Kind { path: PathBuf },
    #[error("`{}` is empty: it is not formatted", path.display())]
    Empty { path: PathBuf },
}

impl BlockDev {
    /// Opens an existing file or device.
    pub(crate) fn open(path: &Path, caching: Caching) -> Result<Self, DeviceError> {
        let failed =
            |e: Errno| DeviceError::Open { path: path.to_owned(), source: io::Error::from(e) };
        let (file, direct) = open_file(path, caching).map_err(failed)?;
        let status = rustix::fs::fstat(&file).map_err(failed)?;
        match FileType::from_raw_mode(status.st_mode) {
            FileType::RegularFile | FileType::BlockDevice => {}
            _ => return Err(DeviceError::Kind { path: path.to_owned() }),
        }
        let size_bytes = rustix::fs::seek(&file, SeekFrom::End(0)).map_err(failed)?;
        if size_bytes == 0 {
            return Err(DeviceError::Empty { path: path.to_owned() });
        }
        Ok(Self { path: path.to_owned(), file, direct, size_bytes })
    }

    /// Whether the page cache is left out.
    #[cfg(test)]
    pub(crate) const fn is_direct(&self) -> bool {
        self.direct
    }

    /// Reads; short only at the end of the device.
    pub(crate) fn read(&self, offset: u64, length: u64) -> Result<Vec<u8>, String> {
        self.check(offset, length as usize)?;
        let length = length.min(self.size_bytes.saturating_sub(offset)) as usize;
        let mut buffer = Aligned::new(length.next_multiple_of(ALIGN_BYTES));
        let mut done = 0;
        while done < length {
            let rest = &mut buffer.bytes_mut()[done..];
            let at = offset + done as u64;
            let flags = ReadWriteFlags::empty();
            match rustix::io::preadv2(&self.file, &mut [IoSliceMut::new(rest)], at, flags) {
                Ok(0) => break,
                Ok(n) => done += n,
                Err(Errno::INTR) => {}
                Err(error) => return Err(self.failed("read", offset, error)),
            }
        }
        Ok(buffer.into_vec(done.min(length)))
    }

    /// Writes; returns when the bytes are durable.
    pub(crate) fn write(&self, offset: u64, parts: &[&[u8]]) -> Result<(), String> {
        let length: usize = parts.iter().map(|p| p.len()).sum();
        self.check(offset, length)?;
        if offset.checked_add(length as u64).is_none_or(|end| end > self.size_bytes) {
            let what = format!("write of {length} bytes at {offset} goes beyond the end of");
            return Err(format!("{what} `{}` ({} bytes)", self.path.display(), self.size_bytes));
        }
        let mut buffer = Aligned::new(length);
        let mut filled = 0;
        for part in parts {
            buffer.bytes_mut()[filled..filled + part.len()].copy_from_slice(part);
            filled += part.len();
        }
        let mut done = 0;
        while done < length {
            let rest = [IoSlice::new(&buffer.bytes()[done..])];
            let at = offset + done as u64;
            match rustix::io::pwritev2(&self.file, &rest, at, ReadWriteFlags::DSYNC) {
                Ok(0) => return Err(self.failed("write", offset, Errno::IO)),
                Ok(n) => done += n,
                Err(Errno::INTR) => {}
                Err(error) => return Err(self.failed("write", offset, error)),
            }
        }
        Ok(())
    }

    fn check(&self, offset: u64, length: usize) -> Result<(), String> {
        let aligned =
            offset.is_multiple_of(ALIGN_BYTES as u64) && length.is_multiple_of(ALIGN_BYTES);
        if self.direct && !aligned {
            let what = format!("{length} bytes at {offset} of `{}`", self.path.display());
            return Err(format!("{what} are not aligned to {ALIGN_BYTES}"));
        }
        Ok(())
    }

    fn failed(&self, verb: &str, offset: u64, error: Errno) -> String {
        let error = io::Error::from(error);
        format!("cannot {verb} `{}` at {offset}: {error}", self.path.display())
    }
}

fn open_file(path: &Path, caching: Caching) -> Result<(OwnedFd, bool), Errno> {
    let flags = OFlags::RDWR | OFlags::DSYNC | OFlags::CLOEXEC;
    match caching {
        Caching::Own => {}
        Caching::Shared => {
            match rustix::fs::open(path, flags | OFlags::DIRECT, Mode::empty()) {
                Ok(file) => return Ok((file, true)),
                // The file system knows no O_DIRECT: coherent on one kernel all the same.
                Err(Errno::INVAL) => {}
                Err(error) => return Err(error),
            }
        }
    }
    Ok((rustix::fs::open(path, flags, Mode::empty())?, false))
}

/// Memory that begins at a multiple of [`ALIGN_BYTES`].
struct Aligned {
    memory: Vec<u8>,
    start: usize,
    length: usize,
}

impl Aligned {
    fn new(length: usize) -> Self {
        let memory = vec![0; length + ALIGN_BYTES];
        let start = memory.as_ptr().align_offset(ALIGN_BYTES);
        Self { memory, start, length }
    }

    fn bytes(&self) -> &[u8] {
        &self.memory[self.start..self.start + self.length]
    }

    fn bytes_mut(&mut self) -> &mut [u8] {
        &mut self.memory[self.start..self.start + self.length]
    }

    fn into_vec(mut self, length: usize) -> Vec<u8> {
        self.memory.copy_within(self.start..self.start + length, 0);
        self.memory.truncate(length);
        self.memory
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(bytes: usize) -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("disk");
        std::fs::write(&path, vec![0; bytes]).unwrap();
        (folder, path)
    }

    #[test]
    fn what_is_written_is_read_with_and_without_the_page_cache() {
        let (_folder, path) = file(8 * ALIGN_BYTES);
        let own = BlockDev::open(&path, Caching::Own).unwrap();
        let shared = BlockDev::open(&path, Caching::Shared).unwrap();
        assert!(!own.is_direct());
        let (a, b) = ([1; ALIGN_BYTES], [2; 2 * ALIGN_BYTES]);
        shared.write(4096, &[&a, &b]).unwrap();
        let expected = [&a[..], &b[..]].concat();
        assert_eq!(shared.read(4096, 3 * 4096).unwrap(), expected);
        assert_eq!(own.read(4096, 3 * 4096).unwrap(), expected);
        own.write(5, &[b"odd"]).unwrap();
        assert_eq!(&shared.read(0, 4096).unwrap()[4..9], b"\0odd\0");
    }

    #[test]
    fn reads_are_short_only_at_the_end_and_writes_never_grow_the_device() {
        let (_folder, path) = file(3 * ALIGN_BYTES);
        let device = BlockDev::open(&path, Caching::Shared).unwrap();
        assert_eq!(device.read(2 * 4096, 4 * 4096).unwrap().len(), 4096);
        assert_eq!(device.read(9 * 4096, 4096).unwrap().len(), 0);
        let error = device.write(2 * 4096, &[&[1; 8192]]).unwrap_err();
        assert!(error.contains("beyond the end"), "{error}");
        if device.is_direct() {
            let error = device.write(1, &[&[1; 8]]).unwrap_err();
            assert!(error.contains("not aligned"), "{error}");
        }
    }

    #[test]
    fn an_absent_empty_or_foreign_path_is_named() {
        let (folder, path) = file(0);
        let error = |path: &Path| BlockDev::open(path, Caching::Own).unwrap_err().to_string();
        assert!(error(&path).contains("not formatted"));
        assert!(error(&folder.path().join("no")).contains("cannot open"));
        assert!(error(Path::new("/dev/null")).contains("neither"));
    }
}
