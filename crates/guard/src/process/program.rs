//! One admitted program: its init, how it is killed, how it ended.
//!
//! The guard clones the init into its own namespaces and control group and only then sends it
//! what to start, so nothing of the application ever runs outside them. The connection stays
//! open: its end tells the init that the guard died, its last message tells the guard how the
//! application ended.

use std::ffi::CString;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use stead_model::ResourceId;
use stead_model::wire::codec;
use stead_model::wire::guard::{ExitStatus, InstanceId, Limits, ProgramSpec};

use super::cgroup::{Cgroup, CgroupParcel, CgroupTree};
use super::child::ProcessParcel;
use super::handover::{Kept, Luggage};
use super::limits::{Limited, Limiters};
use super::privilege::Privilege;
use crate::init::{InitOrder, InitReport, InitSpec};
use crate::sys::{self, Place, Spawn, Spawned};

/// Number of the descriptor an init gets its orders on.
pub(crate) const INIT_FD: i32 = 3;

/// What all programs of a guard share.
#[derive(Debug)]
pub(super) struct ProgramHost {
    /// Command of the init.
    pub(super) init_argv: Vec<String>,
    /// Folder of the output files.
    pub(super) log_folder: PathBuf,
    /// The control groups, where there are some.
    pub(super) cgroups: Option<CgroupTree>,
    /// What holds their limits.
    pub(super) limiters: Limiters,
    /// Whether namespaces may be made; turned off when the kernel refuses.
    pub(super) namespaces: Namespaces,
    /// What programs get back.
    pub(super) privilege: Privilege,
}

/// Whether programs get their own PID, IPC and mount namespace.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(super) enum Namespaces {
    /// They do, as far as known.
    Used,
    /// The kernel refused.
    Refused(String),
}

/// A running program.
#[derive(Debug)]
pub(super) struct Program {
    /// Its init.
    init: Spawned,
    place: Place,
    cgroup: Option<Cgroup>,
    limited: Limited,
    connection: UnixStream,
    received: Vec<u8>,
    hearing: Hearing,
    /// What its init said that the kernel refused, until the guard tells it.
    hidden: Vec<String>,
}

/// What is left of a program whose init ended.
#[derive(Debug)]
pub(super) enum Remains {
    /// Nothing: the kernel killed its whole PID namespace.
    Nothing,
    /// What lives in its control group, which is being killed.
    InGroup(Cgroup),
    /// What it left without namespaces and control group: children of the guard from now on.
    Orphans,
}

/// A program on its way to the program that takes over the guard.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct ProgramParcel {
    init: ProcessParcel,
    place: Place,
    cgroup: Option<CgroupParcel>,
    #[serde(default)]
    limited: Limited,
    connection: Kept,
    received: Vec<u8>,
    hearing: Hearing,
}

/// [`Remains`] on their way to the program that takes over the guard.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum RemainsParcel {
    Nothing,
    InGroup(CgroupParcel),
    Orphans,
}

impl Remains {
    pub(super) fn hand_over(&self, luggage: &mut Luggage) -> RemainsParcel {
        match self {
            Self::Nothing => RemainsParcel::Nothing,
            Self::InGroup(cgroup) => RemainsParcel::InGroup(cgroup.hand_over(luggage)),
            Self::Orphans => RemainsParcel::Orphans,
        }
    }

    pub(super) fn take_over(parcel: RemainsParcel) -> io::Result<Self> {
        Ok(match parcel {
            RemainsParcel::Nothing => Self::Nothing,
            RemainsParcel::InGroup(cgroup) => Self::InGroup(Cgroup::take_over(cgroup)?),
            RemainsParcel::Orphans => Self::Orphans,
        })
    }

    /// What to wait for until nothing is left.
    pub(super) fn poll_for(&self) -> Option<BorrowedFd<'_>> {
        match self {
            Self::InGroup(cgroup) => Some(cgroup.poll_for()),
            Self::Nothing | Self::Orphans => None,
        }
    }

    /// Whether nothing is left; `orphans` are those of the whole guard.
    pub(super) fn are_gone(&self, orphans: usize) -> bool {
        match self {
            Self::Nothing => true,
            // A group that cannot be read proves nothing.
            Self::InGroup(cgroup) if cgroup.is_empty().unwrap_or(false) => {
                drop(cgroup.remove());
                true
            }
            Self::InGroup(_) => false,
            Self::Orphans => orphans == 0,
        }
    }
}

/// What the guard still waits to hear from an init.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
enum Hearing {
    /// Whether the application was executed.
    Start,
    /// Nothing: the end of the application is the death of the init.
    End,
    /// It is an agent's place: how acts ended, again and again.
    Acts,
}

impl ProgramHost {
    /// Makes an agent's place; directly before it, the guard's decisions admitted it.
    pub(super) fn place(
        &mut self,
        instance: InstanceId,
        name: String,
        limits: Limits,
    ) -> io::Result<Program> {
        // An empty command is what says so.
        let spec = ProgramSpec { name, ..ProgramSpec::default() };
        let program = self.begin(instance, (spec, limits), Place::OwnGroup)?;
        Ok(Program { hearing: Hearing::Acts, ..program })
    }

    /// Starts a program; directly before it, the guard's decisions admitted it.
    pub(super) fn start(
        &mut self,
        instance: InstanceId,
        spec: ProgramSpec,
        limits: Limits,
    ) -> io::Result<Program> {
        self.begin(instance, (spec, limits), Place::OwnNamespaces)
    }

    fn begin(
        &mut self,
        instance: InstanceId,
        (spec, limits): (ProgramSpec, Limits),
        place: Place,
    ) -> io::Result<Program> {
        if !ResourceId::is_valid(&spec.name) {
            return Err(io::Error::other(format!("`{}` is no name of a resource", spec.name)));
        }
        let (connection, theirs) = UnixStream::pair()?;
        connection.set_nonblocking(true)?;
        // The control group is the second of two kill switches; a start does not fail for it.
        let name = format!("{}.{}", spec.name, instance.0);
        let cgroup = self.cgroups.as_ref().and_then(|tree| tree.create(&name).ok());
        let (init, place) = self.clone_init(theirs.as_fd(), place)?;
        let hearing = Hearing::Start;
        let (received, hidden, limited) = (Vec::new(), Vec::new(), Limited::default());
        let mut program =
            Program { init, place, cgroup, limited, connection, received, hearing, hidden };
        let entered = self.limiters.enter(&name, program.pid(), limits);
        let started = entered.and_then(|limited| {
            program.limited = limited;
            program.settle(&self.log_folder, spec)
        });
        if started.is_err() {
            program.kill();
        }
        started.map(|()| program)
    }

    fn clone_init(
        &mut self,
        theirs: BorrowedFd<'_>,
        wanted: Place,
    ) -> io::Result<(Spawned, Place)> {
        let argv = c_strings(&self.init_argv)?;
        let null = File::options().read(true).write(true).open("/dev/null")?;
        let env = c_strings(&[format!("STEAD_INIT_FD={INIT_FD}")])?;
        let stderr = io::stderr();
        let fds = [(null.as_fd(), 0), (null.as_fd(), 1), (stderr.as_fd(), 2), (theirs, INIT_FD)];
        let limits = self.privilege.programs;
        let program = argv.first().ok_or_else(|| io::Error::other("no init command"))?;
        let spawn = |place| {
            let confine = None;
            Spawn { program, argv: &argv, env: &env, fds: &fds, place, limits, confine }
        };
        if wanted == Place::OwnNamespaces && self.namespaces == Namespaces::Used {
            match sys::spawn(&spawn(Place::OwnNamespaces)) {
                Ok(init) => return Ok((init, Place::OwnNamespaces)),
                Err(e) if e.raw_os_error() == Some(libc::EAGAIN) => return Err(e),
                Err(e) => self.namespaces = Namespaces::Refused(e.to_string()),
            }
        }
        Ok((sys::spawn(&spawn(Place::OwnGroup))?, Place::OwnGroup))
    }
}

impl Program {
    pub(super) fn hand_over(&self, luggage: &mut Luggage) -> ProgramParcel {
        ProgramParcel {
            init: ProcessParcel::pack(&self.init, luggage),
            place: self.place,
            cgroup: self.cgroup.as_ref().map(|cgroup| cgroup.hand_over(luggage)),
            limited: self.limited.clone(),
            connection: luggage.keep(&self.connection),
            received: self.received.clone(),
            hearing: self.hearing,
        }
    }

    pub(super) fn take_over(parcel: ProgramParcel) -> io::Result<Self> {
        Ok(Self {
            init: parcel.init.unpack()?,
            place: parcel.place,
            cgroup: parcel.cgroup.map(Cgroup::take_over).transpose()?,
            limited: parcel.limited,
            connection: UnixStream::from(parcel.connection.take()?),
            received: parcel.received,
            hearing: parcel.hearing,
            hidden: Vec::new(),
        })
    }

    /// Puts the init into its control group and tells it what to start.
    fn settle(&mut self, log_folder: &std::path::Path, program: ProgramSpec) -> io::Result<()> {
        self.cgroup = self.cgroup.take().and_then(|group| group.entered_by(self.init.pid));
        let log = log_folder.join(format!("{}.log", program.name));
        let namespaces = self.place == Place::OwnNamespaces;
        let spec = InitSpec { program, log, namespaces };
        // A new socket pair takes far more than one specification.
        self.connection.write_all(&codec::encode(&spec))
    }

    /// Process number of the init.
    pub(super) fn pid(&self) -> i32 {
        self.init.pid
    }

    /// Sends a signal to the application, by way of its init.
    pub(super) fn signal(&self, signal: i32) -> io::Result<()> {
        sys::signal(&self.init.pidfd, signal)
    }

    /// Kills the application and all its children. What fails has died already.
    pub(super) fn kill(&mut self) {
        if let Some(cgroup) = &mut self.cgroup {
            drop(cgroup.kill());
        }
        drop(sys::signal(&self.init.pidfd, libc::SIGKILL));
        match self.place {
            Place::OwnNamespaces => {}
            // The group's number is free for others only after the init was waited for.
            Place::OwnGroup | Place::Beside => drop(sys::kill(-self.init.pid, libc::SIGKILL)),
        }
    }

    /// After the init was waited for: how the application ended, and what it may have left.
    pub(super) fn ended(mut self) -> (ExitStatus, Remains) {
        if let Some(cgroup) = &mut self.cgroup {
            drop(cgroup.kill());
        }
        let status = match self.limited.killed_for_memory() {
            0 => self.status(),
            kills => ExitStatus::OutOfMemory { kills, limit_bytes: self.limited.memory_limit() },
        };
        self.limited.remove();
        let remains = match (self.place, self.cgroup) {
            (Place::OwnNamespaces, cgroup) => {
                drop(cgroup.map(|cgroup| cgroup.remove()));
                Remains::Nothing
            }
            (Place::OwnGroup | Place::Beside, Some(cgroup)) => Remains::InGroup(cgroup),
            (Place::OwnGroup | Place::Beside, None) => Remains::Orphans,
        };
        (status, remains)
    }

    fn status(&mut self) -> ExitStatus {
        let mut ended = ExitStatus::Unknown;
        while let Some(report) = self.next_report() {
            match report {
                InitReport::Started | InitReport::Acted(_) | InitReport::Stirred => {}
                InitReport::Hidden(_) => {}
                InitReport::Ended(status) => ended = status,
            }
        }
        ended
    }

    /// What to wait for until the application was executed.
    pub(super) fn poll_for(&self) -> Option<BorrowedFd<'_>> {
        (self.hearing != Hearing::End).then(|| self.connection.as_fd())
    }

    /// Whether it is an agent's place.
    pub(super) fn is_place(&self) -> bool {
        self.hearing == Hearing::Acts
    }

    /// Tells the init of an agent's place what to do.
    ///
    /// # Errors
    /// It does not take it; it is killed then, for half an order may have reached it.
    pub(super) fn order(&mut self, order: &InitOrder) -> io::Result<()> {
        // An act is far smaller than what the socket takes.
        self.connection.write_all(&codec::encode(order)).inspect_err(|_| self.kill())
    }

    /// Whether it is known since this call that the application was executed.
    pub(super) fn has_started(&mut self) -> bool {
        if self.hearing != Hearing::Start {
            return false;
        }
        let report = loop {
            match self.next_report() {
                Some(InitReport::Hidden(what)) => self.hidden.push(what),
                other => break other,
            }
        };
        match report {
            Some(InitReport::Started) => {
                self.hearing = Hearing::End;
                true
            }
            Some(report @ InitReport::Ended(_)) => {
                self.hearing = Hearing::End;
                self.received = codec::encode(&report);
                false
            }
            // Acts are those of a place, which is not asked here.
            Some(InitReport::Acted(_) | InitReport::Stirred | InitReport::Hidden(_)) | None => {
                false
            }
        }
    }

    /// Processes of it that the kernel killed for lack of memory since the last call, and the
    /// limit of memory that it has.
    pub(super) fn news_of_memory(&mut self) -> Option<(u64, Option<u64>)> {
        let kills = self.limited.news_of_memory()?;
        Some((kills, self.limited.memory_limit()))
    }

    /// What the kernel refused to show of its virtual server, since the last call.
    pub(super) fn take_hidden(&mut self) -> Vec<String> {
        std::mem::take(&mut self.hidden)
    }

    /// What the init of an agent's place tells next.
    pub(super) fn next_of_place(&mut self) -> Option<InitReport> {
        self.is_place().then(|| self.next_report()).flatten()
    }

    fn next_report(&mut self) -> Option<InitReport> {
        let mut chunk = [0; 1024];
        loop {
            match self.connection.read(&mut chunk) {
                Ok(got) if got > 0 => self.received.extend_from_slice(&chunk[..got]),
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => break,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                // Closed: to poll it any longer would keep the guard busy. A place whose init does
                // not listen is of no use.
                Ok(_) | Err(_) => {
                    self.hearing = Hearing::End;
                    break;
                }
            }
        }
        let (report, used) = codec::decode(&self.received).ok()??;
        self.received.drain(..used);
        Some(report)
    }
}

/// Strings for the kernel.
pub(super) fn c_strings(texts: &[String]) -> io::Result<Vec<CString>> {
    let convert = |text: &String| CString::new(text.as_bytes()).map_err(io::Error::other);
    texts.iter().map(convert).collect()
}
