//! The scribe: an application that appends `EPOCH NODE BOOT_NS` to a file and syncs every line, so
//! that what is in the file was acknowledged. It knows nothing of stead, and stead nothing of it.
//!
//! It ends with the first write that fails: whoever reads the file later finds no line of an owner
//! behind the first one of the next.

use std::ffi::OsString;
use std::fs::OpenOptions;
use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;
use std::thread;
use std::time::Duration;

use crate::clock;
use crate::stamp;

/// The subcommand of the program that leads to [`main`].
pub const SUBCOMMAND: &str = "lab-scribe";

/// One line that was acknowledged.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Line {
    /// The epoch in which the application was started.
    pub epoch: u64,
    /// Number of the node.
    pub node: u64,
    /// CLOCK_BOOTTIME in nanoseconds, before it was written.
    pub boot_ns: u64,
}

/// Entry point of the hidden subcommand `lab-scribe FILE`: writes until it is killed or fails.
pub fn main(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let Some(path) = arguments.into_iter().next() else {
        let _ = writeln!(io::stderr(), "error: `{SUBCOMMAND}` needs a file");
        return ExitCode::from(2);
    };
    match run(Path::new(&path)) {
        Ok(never) => match never {},
        Err(error) => {
            let _ = writeln!(io::stderr(), "error: cannot write {}: {error}", path.display());
            ExitCode::FAILURE
        }
    }
}

fn run(path: &Path) -> io::Result<std::convert::Infallible> {
    let mut file = OpenOptions::new().append(true).create(true).open(path)?;
    let (node, epoch) = (stamp::node(), stamp::number_in("STEAD_EPOCH"));
    loop {
        // One write per line: a reader sees it whole or not at all.
        let line = format!("{epoch} {node} {}\n", clock::boot_ns());
        file.write_all(line.as_bytes())?;
        file.sync_data()?;
        thread::sleep(INTERVAL);
    }
}

/// The lines of a scribe in the order of the file.
///
/// # Errors
/// Names the first line that is none.
pub fn parse(text: &str) -> Result<Vec<Line>, String> {
    let line = |line: &str| {
        let mut words = line.split(' ').map(|word| word.parse().ok());
        let mut next = || words.next().flatten();
        let mut parsed = || Some(Line { epoch: next()?, node: next()?, boot_ns: next()? });
        parsed().ok_or_else(|| format!("`{line}` is no line of a scribe"))
    };
    text.lines().map(line).collect()
}

/// As a busy database.
const INTERVAL: Duration = Duration::from_millis(2);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_torn_line_is_told() {
        let lines = parse("3 1 100\n4 2 200\n").unwrap();
        assert_eq!(lines[1], Line { epoch: 4, node: 2, boot_ns: 200 });
        assert_eq!(parse("3 1 100\n4 2\n").unwrap_err(), "`4 2` is no line of a scribe");
    }
}
