//! Records in the journal of systemd, with fields, where the node's stderr goes there anyway.
//!
//! The journal's native protocol: one datagram per record, `NAME=value` lines. A journal that takes
//! nothing right now loses the record and holds nobody up; the node's own file has it.

use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixDatagram;
use std::path::Path;

use rustix::fs::fstat;
use stead_model::record::{Level, Record};

const SOCKET: &str = "/run/systemd/journal/socket";
/// What systemd tells a service whose stderr is the journal: device and inode of that stream.
const VARIABLE: &str = "JOURNAL_STREAM";

/// The journal, as one who only tells.
#[derive(Debug)]
pub(crate) struct Journald(UnixDatagram);

impl Journald {
    /// The journal, if this process has its stderr there.
    pub(crate) fn of_stderr() -> Option<Self> {
        let told = std::env::var(VARIABLE).ok()?;
        let stderr = fstat(std::io::stderr()).ok()?;
        let (device, inode) = (stderr.st_dev, stderr.st_ino);
        if told == format!("{device}:{inode}") { Self::at(Path::new(SOCKET)) } else { None }
    }

    fn at(socket: &Path) -> Option<Self> {
        // A path that is no socket is a host without a journal.
        std::fs::metadata(socket).ok().filter(|found| found.mode() & 0o170_000 == 0o140_000)?;
        let journal = UnixDatagram::unbound().ok()?;
        journal.connect(socket).ok()?;
        journal.set_nonblocking(true).ok()?;
        Some(Self(journal))
    }

    /// Tells a record; what the journal does not take at once is left out there.
    pub(crate) fn tell(&self, record: &Record) {
        let _ = self.0.send(&datagram(record));
    }
}

fn datagram(record: &Record) -> Vec<u8> {
    // As syslog numbers them.
    let priority = match record.level {
        Level::Info => 6,
        Level::Warning => 4,
        Level::Error => 3,
    };
    let number = |id: u64| (id != 0).then(|| id.to_string());
    let fields = [
        ("MESSAGE", Some(format!("{}: {}", record.code, record.text))),
        ("PRIORITY", Some(priority.to_string())),
        ("SYSLOG_IDENTIFIER", Some("stead".to_owned())),
        ("STEAD_CODE", Some(record.code.clone())),
        ("STEAD_NODE", Some(record.node.0.to_string())),
        ("STEAD_NUMBER", number(record.number)),
        ("STEAD_GROUP", record.group.as_ref().map(ToString::to_string)),
        ("STEAD_RESOURCE", record.resource.as_ref().map(ToString::to_string)),
        ("STEAD_ID", number(record.id.0)),
        ("STEAD_CAUSE", record.cause.and_then(|cause| number(cause.0))),
        ("STEAD_ENTRY", record.entry.map(|entry| entry.index.0.to_string())),
    ];
    let mut bytes = Vec::with_capacity(512);
    for (name, value) in fields {
        if let Some(value) = value {
            field(&mut bytes, name, &value);
        }
    }
    bytes
}

/// A field: one line, or with its length where the value has several.
fn field(bytes: &mut Vec<u8>, name: &str, value: &str) {
    bytes.extend_from_slice(name.as_bytes());
    if value.contains('\n') {
        bytes.push(b'\n');
        bytes.extend_from_slice(&(value.len() as u64).to_le_bytes());
    } else {
        bytes.push(b'=');
    }
    bytes.extend_from_slice(value.as_bytes());
    bytes.push(b'\n');
}

#[cfg(test)]
mod tests {
    use super::*;
    use stead_model::{CauseId, LogIndex, NodeId, UtcMillis};

    fn record(text: &str) -> Record {
        Record {
            number: 41,
            at: UtcMillis(0),
            boot_ns: 0,
            node: NodeId(2),
            level: Level::Warning,
            code: "group-failed".into(),
            group: Some("web".into()),
            resource: None,
            text: text.into(),
            id: CauseId(0),
            cause: Some(CauseId(7)),
            entry: Some(stead_model::record::OfEntry {
                index: LogIndex(9),
                change: 0,
                at: UtcMillis(0),
                decided: false,
            }),
        }
    }

    #[test]
    fn a_record_comes_with_its_fields_and_no_text_adds_one() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("socket");
        let there = UnixDatagram::bind(&path).unwrap();
        let journal = Journald::at(&path).unwrap();
        let mut bytes = [0; 4096];
        journal.tell(&record("it ended"));
        let count = there.recv(&mut bytes).unwrap();
        let told = "MESSAGE=group-failed: it ended\nPRIORITY=4\nSYSLOG_IDENTIFIER=stead\n\
            STEAD_CODE=group-failed\nSTEAD_NODE=2\nSTEAD_NUMBER=41\nSTEAD_GROUP=web\n\
            STEAD_CAUSE=7\nSTEAD_ENTRY=9\n";
        assert_eq!(String::from_utf8_lossy(&bytes[..count]), told);
        journal.tell(&record("a\nSTEAD_CODE=forged"));
        let count = there.recv(&mut bytes).unwrap();
        let mut begins = b"MESSAGE\n".to_vec();
        begins.extend_from_slice(&33_u64.to_le_bytes());
        begins.extend_from_slice(b"group-failed: a\nSTEAD_CODE=forged\nPRIORITY=4\n");
        assert!(bytes[..count].starts_with(&begins), "{:?}", &bytes[..count]);
    }

    #[test]
    fn a_journal_that_takes_nothing_holds_nobody_up() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("socket");
        assert!(Journald::at(&path).is_none(), "there is none");
        std::fs::write(&path, b"").unwrap();
        assert!(Journald::at(&path).is_none(), "it is no socket");
        std::fs::remove_file(&path).unwrap();
        let there = UnixDatagram::bind(&path).unwrap();
        let journal = Journald::at(&path).unwrap();
        // Nobody reads: all of these return, more than any queue holds.
        for _ in 0..100_000 {
            journal.tell(&record("x"));
        }
        drop(there);
        journal.tell(&record("gone"));
    }
}
