//! What a guard hands to the program that takes its place in the same process (re-exec).
//!
//! Children, control groups and connections stay what they are: the process number does not
//! change, so neither does anybody's parent, and descriptors stay open under their numbers. All
//! else lies in a memory file: one frame (magic, version, checksum) around the number of the
//! format and JSON. A program refuses a format it does not know; within one, what is unknown is
//! passed over and what is missing has a default, so that a field can be added.
//!
//! Not here: when it happens, and what happens before and after (`upgrade`).

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{self, Read, Seek, Write};
use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};

use rustix::fs::{MemfdFlags, memfd_create};
use serde::{Deserialize, Serialize};
use stead_model::Time;
use stead_model::wire::codec;
use stead_model::wire::guard::{AddressUndo, ExitStatus, InstanceId, MonitorId};

use super::Notice;
use super::cgroup::TreeParcel;
use super::child::ChildParcel;
use super::limits::LimiterParcel;
use super::monitors::OwnParcel;
use super::mounts::MountsParcel;
use super::program::{Namespaces, ProgramParcel, RemainsParcel};
use super::units::UnitsParcel;
use crate::admission::Guard;
use crate::sys;

/// The environment variable with the number of the memory file's descriptor.
pub(super) const VARIABLE: &str = "STEAD_GUARD_STATE";

/// Format of what is handed over.
const FORMAT: u16 = 1;

/// Everything a guard hands over.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Handover {
    /// The process; the same before and after.
    pub(super) process: u32,
    /// Version of the program that hands over.
    pub(super) version: String,
    /// When it looked at the time last.
    pub(super) left_at: Time,
    pub(super) guard: Guard,
    pub(super) monitor_id: MonitorId,
    pub(super) node: ChildParcel,
    pub(super) monitor: ChildParcel,
    #[serde(default)]
    pub(super) own_monitors: Vec<OwnParcel>,
    pub(super) programs: BTreeMap<InstanceId, ProgramParcel>,
    pub(super) leaving: Vec<LeavingParcel>,
    pub(super) addresses: BTreeMap<InstanceId, AddressUndo>,
    #[serde(default)]
    pub(super) mounts: MountsParcel,
    #[serde(default)]
    pub(super) units: UnitsParcel,
    pub(super) undo_again: BTreeSet<InstanceId>,
    pub(super) notices: Vec<Notice>,
    pub(super) cgroups: Option<TreeParcel>,
    #[serde(default)]
    pub(super) limiters: Vec<LimiterParcel>,
    pub(super) namespaces: Namespaces,
    /// Limits of locked memory that applications get back, `(soft, hard)`.
    pub(super) memlock: (u64, u64),
    /// Limits of open files that applications get back, `(soft, hard)`.
    #[serde(default)]
    pub(super) files: Option<(u64, u64)>,
    /// The `oom_score_adj` that applications get back.
    #[serde(default)]
    pub(super) oom_score: i32,
    #[serde(default)]
    pub(super) watchdog: Option<Kept>,
}

/// A program whose init ended.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct LeavingParcel {
    pub(super) instance: InstanceId,
    pub(super) status: ExitStatus,
    pub(super) remains: RemainsParcel,
}

/// Why nothing can be taken over.
#[derive(Debug, thiserror::Error)]
pub(super) enum HandoverError {
    /// It cannot be read.
    #[error("the former guard's state cannot be read: {0}")]
    Read(#[from] io::Error),
    /// It is damaged.
    #[error("the former guard's state is damaged: {0}")]
    Damaged(String),
    /// It is of another format.
    #[error("the former guard's state has format {found}, this program knows {FORMAT}")]
    Format {
        /// The format found.
        found: u16,
    },
    /// It is not for this process.
    #[error("the state is that of process {0}")]
    Foreign(u32),
}

impl Handover {
    /// Writes it into a memory file, which is closed at exec like any other.
    pub(super) fn write(&self) -> io::Result<File> {
        let json = serde_json::to_string(self)?;
        let mut file = File::from(memfd_create("stead-guard-state", MemfdFlags::CLOEXEC)?);
        file.write_all(&codec::encode(&(FORMAT, json)))?;
        Ok(file)
    }

    /// Reads it from such a file.
    pub(super) fn read(mut file: File) -> Result<Self, HandoverError> {
        let mut bytes = Vec::new();
        file.rewind()?;
        file.read_to_end(&mut bytes)?;
        let damaged = |why: String| HandoverError::Damaged(why);
        let decoded = codec::decode::<(u16, String)>(&bytes).map_err(|e| damaged(e.to_string()))?;
        let Some(((format, json), _)) = decoded else {
            return Err(damaged("its end is missing".into()));
        };
        if format != FORMAT {
            return Err(HandoverError::Format { found: format });
        }
        serde_json::from_str(&json).map_err(|e| damaged(e.to_string()))
    }
}

/// The memory file this process was started with, if one.
pub(super) fn inherited() -> io::Result<Option<File>> {
    let Some(number) = std::env::var_os(VARIABLE) else { return Ok(None) };
    let number = number.to_str().and_then(|number| number.parse().ok());
    let number = number.ok_or_else(|| io::Error::other(format!("{VARIABLE} is no number")))?;
    Ok(Some(File::from(sys::inherited(number)?)))
}

/// Number of a descriptor that stays open over the exec.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
#[serde(transparent)]
pub(super) struct Kept(RawFd);

impl Kept {
    /// The descriptor, in the program that took over; once.
    pub(super) fn take(self) -> io::Result<OwnedFd> {
        sys::inherited(self.0)
    }
}

/// The descriptors that stay open over the exec.
#[derive(Default, Debug)]
pub(super) struct Luggage(Vec<RawFd>);

impl Luggage {
    /// Takes a descriptor along, which its owner keeps open until then.
    pub(super) fn keep(&mut self, fd: &impl AsFd) -> Kept {
        let number = fd.as_fd().as_raw_fd();
        self.0.push(number);
        Kept(number)
    }

    /// Whether they stay open at exec.
    pub(super) fn stays_open(&self, stays: bool) -> io::Result<()> {
        self.0.iter().try_for_each(|number| sys::stays_open(*number, stays))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use stead_model::{Incarnation, Span};

    fn handover() -> Handover {
        Handover {
            process: 7,
            version: "1.2.3".into(),
            left_at: Time(u64::MAX),
            guard: Guard::new(Incarnation(u64::MAX), Span::from_millis(200)),
            monitor_id: MonitorId(3),
            node: ChildParcel::default(),
            monitor: ChildParcel::default(),
            own_monitors: Vec::new(),
            programs: BTreeMap::new(),
            leaving: Vec::new(),
            addresses: BTreeMap::from([(
                InstanceId(9),
                AddressUndo {
                    what: "10.0.0.1".into(),
                    address: [10, 0, 0, 1].into(),
                    request: vec![0, 255],
                },
            )]),
            mounts: MountsParcel::default(),
            units: UnitsParcel::default(),
            undo_again: BTreeSet::from([InstanceId(9)]),
            notices: Vec::new(),
            cgroups: None,
            limiters: Vec::new(),
            namespaces: Namespaces::Used,
            memlock: (u64::MAX, 5),
            files: Some((1024, 4096)),
            oom_score: 200,
            watchdog: None,
        }
    }

    fn file(bytes: &[u8]) -> File {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(bytes).unwrap();
        file
    }

    #[test]
    fn what_is_written_is_read() {
        let read = Handover::read(handover().write().unwrap()).unwrap();
        assert_eq!(format!("{read:?}"), format!("{:?}", handover()));
    }

    #[test]
    fn what_is_damaged_or_strange_is_refused() {
        let mut bytes = Vec::new();
        let mut good = handover().write().unwrap();
        good.rewind().unwrap();
        good.read_to_end(&mut bytes).unwrap();
        for cut in [0, 1, 15, bytes.len() / 2, bytes.len() - 1] {
            let error = Handover::read(file(&bytes[..cut])).unwrap_err();
            assert!(matches!(error, HandoverError::Damaged(_)), "{cut}: {error}");
        }
        let middle = bytes.len() / 2;
        bytes[middle] ^= 4;
        let error = Handover::read(file(&bytes)).unwrap_err();
        assert!(error.to_string().contains("checksum"), "{error}");
        let later = codec::encode(&(FORMAT + 1, "{}".to_owned()));
        let error = Handover::read(file(&later)).unwrap_err();
        assert!(matches!(error, HandoverError::Format { found: 2 }), "{error}");
    }

    #[test]
    fn a_field_of_a_later_program_is_passed_over() {
        let json = serde_json::to_string(&handover()).unwrap();
        let json = json.replacen('{', "{\"of_later_versions\":[1],", 1);
        Handover::read(file(&codec::encode(&(FORMAT, json)))).unwrap();
    }
}
