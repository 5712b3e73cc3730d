//! What happened to a disk, as the disk saw it: who changed the registrations, and which node
//! began to write after another. The judge outside of stead of who could write when.
//!
//! One line of JSON each in `NAME.history` beside the media.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use serde::{Deserialize, Serialize};
use stead_model::NodeId;
use stead_model::reservation::Request;

use crate::clock;
use crate::step::{Step, StepError};

/// One line.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Happened {
    /// CLOCK_BOOTTIME in nanoseconds.
    pub boot_ns: u64,
    /// The node of the path.
    pub node: NodeId,
    /// What it did.
    pub what: Deed,
    /// Registered nodes afterwards.
    pub registered: Vec<NodeId>,
    /// The node that holds the reservation afterwards.
    pub holder: Option<NodeId>,
}

/// What a node did to a disk.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Deed {
    /// It changed the registrations.
    Asked(Request),
    /// It wrote, and the last write before was another node's, or there was none since the
    /// registrations changed.
    Wrote,
    /// A write of it was refused, the first one since the registrations changed.
    Refused,
}

/// Where it is written.
#[derive(Debug)]
pub(super) struct History {
    file: Mutex<File>,
}

impl History {
    /// Goes on with the history of a disk.
    pub(super) fn open(media: &Path) -> Result<Self, StepError> {
        let path = path_of(media);
        let opened = OpenOptions::new().create(true).append(true).open(&path);
        let file = Mutex::new(opened.step("open", path.display())?);
        Ok(Self { file })
    }

    /// Writes a line.
    pub(super) fn note(
        &self,
        node: NodeId,
        what: Deed,
        (registered, holder): (Vec<NodeId>, Option<NodeId>),
    ) {
        let happened = Happened { boot_ns: clock::boot_ns(), node, what, registered, holder };
        let Ok(mut line) = serde_json::to_vec(&happened) else { return };
        line.push(b'\n');
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        // A missing line is found by whoever judges by it.
        let _ = file.write_all(&line);
    }
}

fn path_of(media: &Path) -> PathBuf {
    let mut name = media.as_os_str().to_owned();
    name.push(".history");
    name.into()
}

/// All that happened to the disk with that media.
pub(super) fn read(media: &Path) -> Result<Vec<Happened>, StepError> {
    let path = path_of(media);
    let text = std::fs::read_to_string(&path).step("read", path.display())?;
    let lines = text.lines().map(serde_json::from_str);
    lines.collect::<Result<_, _>>().step("understand", path.display())
}

impl std::fmt::Display for Happened {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { boot_ns, node, what, registered, holder } = self;
        let what = match what {
            Deed::Wrote => "writes".to_owned(),
            Deed::Refused => "is refused a write".to_owned(),
            Deed::Asked(Request::Register { key }) => format!("registers {key}"),
            Deed::Asked(Request::PreemptAndAbort { victim, .. }) => {
                format!("preempts {victim}")
            }
            Deed::Asked(other) => format!("{other:?}"),
        };
        write!(f, "{boot_ns} {node} {what}: registered {registered:?}, holder {holder:?}")
    }
}
