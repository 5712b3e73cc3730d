//! What the program prints: data on standard output, talk on standard error.

use std::error::Error;
use std::io::{self, Write};

/// A line for whoever watches.
pub(crate) fn talk(line: &str) {
    // Without anybody to hear it the figures still count.
    let _ = writeln!(io::stderr(), "{}", line.trim_end());
}

/// What was asked for.
pub(crate) fn data(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.flush()
}

/// An error with all its causes in one line.
pub(crate) fn chain(error: &dyn Error) -> String {
    let mut line = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        line.push_str(": ");
        line.push_str(&error.to_string());
        cause = error.source();
    }
    line
}
