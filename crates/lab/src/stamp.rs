//! The witness: an application that stamps (node, epoch, CLOCK_BOOTTIME) every millisecond into a
//! preallocated file of its node. It knows nothing of stead, and stead nothing of it; where two
//! nodes' stamps overlap in time, something ran on both.
//!
//! The file is a ring of fixed records without header, one place per millisecond of the clock, so
//! that a new life needs not look where the last one ended. A record never written is zero. One
//! that is read while it is written, or whose writer was killed between two pages, is not whole
//! and says nothing: records have a check and do not cross pages.

use std::ffi::OsString;
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::ExitCode;
use std::thread;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::clock;

/// The subcommand of the program that leads to [`main`].
pub const SUBCOMMAND: &str = "lab-stamp";

/// What was seen: this node ran the application, in this epoch, at this moment.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub struct Stamp {
    /// CLOCK_BOOTTIME in nanoseconds.
    pub boot_ns: u64,
    /// Number of the node.
    pub node: u64,
    /// The epoch in which the application was started.
    pub epoch: u64,
}

/// Entry point of the hidden subcommand `lab-stamp FILE`: stamps until it is killed.
pub fn main(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let Some(path) = arguments.into_iter().next() else {
        let _ = writeln!(io::stderr(), "error: `{SUBCOMMAND}` needs a file");
        return ExitCode::from(2);
    };
    match run(Path::new(&path)) {
        Ok(never) => match never {},
        Err(error) => {
            let _ = writeln!(io::stderr(), "error: cannot stamp into {}: {error}", path.display());
            ExitCode::FAILURE
        }
    }
}

fn run(path: &Path) -> io::Result<std::convert::Infallible> {
    let file = preallocated(path)?;
    let (node, epoch) = (node(), number_in("STEAD_EPOCH"));
    loop {
        let stamp = Stamp { boot_ns: clock::boot_ns(), node, epoch };
        file.write_all_at(&stamp.to_bytes(), stamp.offset())?;
        thread::sleep(INTERVAL);
    }
}

/// All stamps of a file in the order of time; a missing file has none.
pub fn read(path: &Path) -> io::Result<Vec<Stamp>> {
    let mut bytes = Vec::new();
    match File::open(path) {
        Ok(mut file) => file.read_to_end(&mut bytes)?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let (records, _) = bytes.as_chunks::<{ RECORD_BYTES as usize }>();
    let mut stamps: Vec<Stamp> = records.iter().filter_map(Stamp::from_bytes).collect();
    stamps.sort_unstable();
    Ok(stamps)
}

impl Stamp {
    /// Its place in the file.
    fn offset(self) -> u64 {
        self.boot_ns / 1_000_000 % RECORDS * RECORD_BYTES
    }

    fn to_bytes(self) -> [u8; RECORD_BYTES as usize] {
        let mut bytes = [0; RECORD_BYTES as usize];
        let fields = [self.boot_ns, self.node, self.epoch, self.check()];
        for (place, field) in bytes.chunks_exact_mut(8).zip(fields) {
            place.copy_from_slice(&field.to_le_bytes());
        }
        bytes
    }

    fn from_bytes(bytes: &[u8; RECORD_BYTES as usize]) -> Option<Self> {
        let (fields, _) = bytes.as_chunks::<8>();
        let [boot_ns, node, epoch, check] = *fields else { return None };
        let number = u64::from_le_bytes;
        let stamp = Self { boot_ns: number(boot_ns), node: number(node), epoch: number(epoch) };
        (stamp.check() == number(check)).then_some(stamp)
    }

    /// Never zero for what is zero.
    const fn check(self) -> u64 {
        !(self.boot_ns ^ self.node.rotate_left(48) ^ self.epoch.rotate_left(24))
    }
}

/// Room for all stamps is made first, so that stamping never waits for a file system to find some.
fn preallocated(path: &Path) -> io::Result<File> {
    let opened = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path);
    let file = opened?;
    if file.metadata()?.len() < RECORDS * RECORD_BYTES {
        file.set_len(RECORDS * RECORD_BYTES)?;
        let flags = rustix::fs::FallocateFlags::empty();
        // A file system that cannot, finds room when it is needed.
        let _ = rustix::fs::fallocate(&file, flags, 0, RECORDS * RECORD_BYTES);
    }
    Ok(file)
}

/// Number of the node: at the end of its host name.
pub(crate) fn node() -> u64 {
    let name = rustix::system::uname().nodename().to_string_lossy().into_owned();
    let digits = name.trim_start_matches(|c: char| !c.is_ascii_digit());
    digits.parse().unwrap_or(0)
}

pub(crate) fn number_in(variable: &str) -> u64 {
    let text = std::env::var(variable).unwrap_or_default();
    text.trim_start_matches(|c: char| !c.is_ascii_digit()).parse().unwrap_or(0)
}

/// A whole number of records is in a page.
const RECORD_BYTES: u64 = 32;
/// Some 17 minutes of milliseconds.
const RECORDS: u64 = 1 << 20;
const INTERVAL: Duration = Duration::from_millis(1);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stamps_are_read_in_the_order_of_time_without_the_unused_places() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("stamps");
        assert_eq!(read(&path).unwrap(), []);
        let file = preallocated(&path).unwrap();
        let at_ms = |ms, node| Stamp { boot_ns: ms * 1_000_000 + 5, node, epoch: 7 };
        let wrapped = at_ms(RECORDS + 1, 1);
        for stamp in [at_ms(1, 1), at_ms(3, 2), at_ms(2, 1), wrapped] {
            file.write_all_at(&stamp.to_bytes(), stamp.offset()).unwrap();
        }
        assert_eq!(read(&path).unwrap(), [at_ms(2, 1), at_ms(3, 2), wrapped]);
        assert_eq!(file.metadata().unwrap().len(), RECORDS * RECORD_BYTES);
    }

    #[test]
    fn a_stamp_that_is_not_whole_says_nothing() {
        let new = Stamp { boot_ns: 8_860_600_123_456, node: 1, epoch: 3 };
        let lap_before = Stamp { boot_ns: 7_811_600_123_456, node: 1, epoch: 2 };
        for old in [[0; RECORD_BYTES as usize], lap_before.to_bytes()] {
            for cut in 0..=RECORD_BYTES as usize {
                let mut bytes = old;
                bytes[..cut].copy_from_slice(&new.to_bytes()[..cut]);
                let whole = [Stamp::from_bytes(&old), Some(new)];
                let read = Stamp::from_bytes(&bytes);
                assert!(read.is_none() || whole.contains(&read), "after {cut} bytes: {read:?}");
            }
        }
        assert_eq!(4096 % RECORD_BYTES, 0, "a record would cross pages");
    }
}
