//! The two ways out: data on stdout, talk on stderr.

use std::io::{self, ErrorKind, Write};

use serde::Serialize;

/// Writes data. When the reader has gone (`stead … | head -1`), nothing is left to do.
pub(crate) fn data(text: &str) {
    let mut out = io::stdout().lock();
    let written = out.write_all(text.as_bytes()).and_then(|()| out.flush());
    match written {
        Ok(()) => {}
        Err(error) if error.kind() == ErrorKind::BrokenPipe => std::process::exit(0),
        Err(error) => {
            talk(&format!("error: cannot write to standard output\n  cause: {error}"));
            std::process::exit(1);
        }
    }
}

/// Writes a value as JSON, for people who read along with line breaks.
pub(crate) fn json(value: &impl Serialize) {
    let text = serde_json::to_string_pretty(value).expect("our own types have text keys only");
    data(&format!("{text}\n"));
}

/// Writes a value as one line of JSON.
pub(crate) fn json_line(value: &impl Serialize) {
    let text = serde_json::to_string(value).expect("our own types have text keys only");
    data(&format!("{text}\n"));
}

/// Says something; whether anybody listens does not matter.
pub(crate) fn talk(text: &str) {
    drop(writeln!(io::stderr().lock(), "{text}"));
}
