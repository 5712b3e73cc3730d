//! What supervisor and PID 1 of a station say to each other: one JSON value per packet.

use std::collections::BTreeMap;
use std::io;
use std::net::Ipv4Addr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;

use rustix::net::{RecvFlags, SendFlags};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::disks::DiskDevice;

/// From the supervisor to PID 1.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) enum Order {
    /// The cables are there: make mounts and addresses and start the command.
    Boot(Box<MachineSpec>),
    /// Stop everything but PID 1 by signal.
    Freeze,
    /// Let everything go on.
    Thaw,
}

/// From PID 1 to the supervisor.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) enum Report {
    /// Mounts and addresses are there and the command, if any, was started.
    Booted,
    /// The machine cannot be made; PID 1 ends.
    NotBooted(String),
    /// The command ended and is started again.
    Restarting(String),
    /// The command ended too often.
    GaveUp(String),
    Frozen,
    Thawed,
}

/// One machine.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) struct MachineSpec {
    pub(crate) lab: String,
    pub(crate) hostname: String,
    /// Lines of `/etc/hosts`.
    pub(crate) hosts: String,
    /// An empty directory of the host; the machine's root is mounted there in its own namespace.
    pub(crate) mountpoint: PathBuf,
    /// Directories of the host that appear in the machine: (on the host, in the machine).
    pub(crate) binds: Vec<(PathBuf, PathBuf)>,
    pub(crate) interfaces: Vec<Interface>,
    /// Its cgroup directory on the host, where there are cgroups.
    pub(crate) cgroup: Option<PathBuf>,
    /// Its disks, where the lab has some.
    pub(crate) disks: Vec<DiskDevice>,
    /// The program, to be found in the machine as `stead`.
    pub(crate) program: PathBuf,
    /// What to start and keep running; empty: nothing.
    pub(crate) command: Vec<String>,
    /// Variables in its environment besides the usual ones.
    pub(crate) environment: BTreeMap<String, String>,
}

/// One interface of a machine.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) struct Interface {
    pub(crate) name: String,
    pub(crate) mac: [u8; 6],
    pub(crate) address: Ipv4Addr,
    pub(crate) prefix_len: u8,
}

/// One end of the line between supervisor and PID 1.
#[derive(Debug)]
pub(crate) struct Line(OwnedFd);

impl Line {
    pub(crate) fn new(fd: OwnedFd) -> Self {
        Self(fd)
    }

    pub(crate) fn send(&self, message: &impl Serialize) -> io::Result<()> {
        let bytes = serde_json::to_vec(message)?;
        let flags = SendFlags::NOSIGNAL | SendFlags::DONTWAIT;
        rustix::io::retry_on_intr(|| rustix::net::send(&self.0, &bytes, flags))?;
        Ok(())
    }

    /// The next message that is there already; `Ok(None)` when there is none yet, an error when the
    /// other end is gone.
    pub(crate) fn receive<T: DeserializeOwned>(&self) -> io::Result<Option<T>> {
        let mut buffer = vec![0; PACKET_BYTES_MAX];
        let received = rustix::net::recv(&self.0, &mut buffer, RecvFlags::DONTWAIT);
        match received {
            Ok((0, _)) => Err(io::ErrorKind::UnexpectedEof.into()),
            Ok((length, _)) => Ok(Some(serde_json::from_slice(&buffer[..length])?)),
            Err(rustix::io::Errno::AGAIN | rustix::io::Errno::INTR) => Ok(None),
            Err(errno) => Err(errno.into()),
        }
    }
}

impl AsFd for Line {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

const PACKET_BYTES_MAX: usize = 64 << 10;
