//! The supervisor of a lab (`lab-supervisor DIR`): the one process that owns everything of it.
//!
//! It holds the switch, is the parent of every machine's PID 1 and answers on the control socket.
//! Whatever ends it ends the lab: machines die with their parent, namespaces with their last
//! process, cables with their namespaces. Only directories and empty cgroups can be left, which
//! `lab down` removes.
//!
//! One thread does it all, one request at a time; nothing here waits for a cluster, only for the
//! kernel. (Open ports have threads of their own.)

mod birth;
mod cgroup;
mod forward;
mod held;
mod machine;
mod slot;
mod slow;
mod switch;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io::{self, Write};
use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use rustix::thread::UnshareFlags;
use serde::{Deserialize, Serialize};
use stead_model::NodeId;

use crate::cabling::Station;
use crate::clock;
use crate::control::{self, Answer, LabStatus, OpenPort, Power, Request};
use crate::disks::{DiskStatus, Disks};
use crate::fault::{Fault, Jitter};
use crate::home::LabDirs;
use crate::missing::{self, Missing};
use crate::ready;
use crate::record::LabRecord;
use crate::step::{Step, StepError, chain};

use cgroup::LabCgroup;
pub(crate) use cgroup::fingerprint;
pub(crate) use cgroup::remove_left_by as remove_cgroups_left_by;
use machine::Life;
pub(crate) use slot::WWW_DIR;
use slot::{Born, Slot};
use switch::Switch;

/// The subcommand of the program that leads to [`main`].
pub const SUBCOMMAND: &str = "lab-supervisor";

/// What a new supervisor says on its standard output, one line, before it says no more.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) enum FirstWord {
    /// All machines have power.
    Ready,
    Failed(String),
}

/// Entry point of the hidden subcommand `lab-supervisor`; the argument is the lab's runtime
/// directory.
pub fn main(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let Some(dir) = arguments.into_iter().next() else {
        return ExitCode::from(2);
    };
    let mut supervisor = match Supervisor::begin(Path::new(&dir)) {
        Ok(supervisor) => supervisor,
        Err(error) => {
            say(&FirstWord::Failed(chain(&error)));
            return ExitCode::FAILURE;
        }
    };
    say(&FirstWord::Ready);
    match supervisor.serve() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            log(&chain(&error));
            ExitCode::FAILURE
        }
    }
}

/// Whoever started the supervisor may be gone; the lab goes on.
fn say(word: &FirstWord) {
    let line = serde_json::to_string(word).unwrap_or_default();
    let _ = writeln!(io::stdout(), "{line}");
    // Nothing more will be said; a reader shall see the end.
    let _ = rustix::stdio::dup2_stdout(io::stderr());
}

/// A line into the supervisor's log.
fn log(line: &str) {
    let _ = writeln!(io::stderr(), "{}: {line}", clock::boot_ns());
}

#[derive(Debug)]
struct Supervisor {
    record: LabRecord,
    listener: UnixListener,
    switch: Switch,
    cgroups: Option<LabCgroup>,
    disks: Option<Disks>,
    slots: Vec<Slot>,
    cuts: Vec<Fault>,
    jitters: Vec<Jitter>,
    ports: Vec<OpenPort>,
    missing: Vec<Missing>,
}

/// Whether to go on serving.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Next {
    Serve,
    End,
}

impl Supervisor {
    /// Makes switch and machines and gives all of them power.
    fn begin(runtime: &Path) -> Result<Self, StepError> {
        let dirs = LabDirs { runtime: runtime.to_owned(), state: runtime.to_owned() };
        let record = LabRecord::read(&dirs)?;
        // Not the terminal's: Ctrl-C there is for whoever types.
        let _ = rustix::process::setsid();
        let ordinary_user = !rustix::process::geteuid().is_root();
        if ordinary_user {
            become_root_of_own()?;
        }
        let socket = record.dirs.control();
        let listener = UnixListener::bind(&socket).step("listen on", socket.display())?;
        let cgroups = LabCgroup::create(&record.name, &record.dirs);
        let missing = missing::find(ordinary_user, cgroups.is_some());
        let with_disks = !ordinary_user && record.served_disks().next().is_some();
        let disks = if with_disks { Some(Disks::start(&record)?) } else { None };
        let slots = record.stations().map(Slot::new).collect();
        let mut supervisor = Self {
            switch: Switch::create()?,
            record,
            listener,
            cgroups,
            disks,
            slots,
            cuts: Vec::new(),
            jitters: Vec::new(),
            ports: Vec::new(),
            missing,
        };
        for index in 0..supervisor.slots.len() {
            if let Err(error) = supervisor.power_on(index) {
                // The machines that began die with this process; an empty cgroup would be left.
                let _ = supervisor.power_off_all();
                return Err(error);
            }
        }
        Ok(supervisor)
    }

    fn serve(&mut self) -> Result<(), StepError> {
        loop {
            if self.wait()? {
                match self.listener.accept() {
                    Ok((stream, _)) => {
                        if self.converse(stream) == Next::End {
                            return Ok(());
                        }
                    }
                    Err(error) => log(&format!("cannot accept a request: {error}")),
                }
            }
            self.look_after_machines();
        }
    }

    /// Waits until somebody asks (`true`) or a machine has something to say.
    fn wait(&self) -> Result<bool, StepError> {
        let lives = self.slots.iter().filter_map(|slot| slot.life.as_ref());
        let fds: Vec<BorrowedFd<'_>> = std::iter::once(self.listener.as_fd())
            .chain(lives.flat_map(Life::watched))
            .chain(self.switch.watched())
            .collect();
        Ok(ready::any(&fds, IDLE_LIMIT).step("wait for", "requests")?[0])
    }

    /// Takes in reports and ends.
    fn look_after_machines(&mut self) {
        self.switch.collect();
        for slot in &mut self.slots {
            if let Some(trouble) = slot.look() {
                log(&format!("{}: {trouble}", slot.station));
            }
            if slot.life.is_none() && slot.plugged {
                slot.plugged = false;
                if let Err(error) = self.switch.unplug(slot.station) {
                    log(&chain(&error));
                }
            }
            if let (Station::Node(node), Some(disks)) = (slot.station, &mut self.disks)
                && let Err(error) = disks.follow(node, slot.power())
            {
                log(&chain(&error));
            }
        }
    }

    /// One request and its answer. A caller that goes away or talks nonsense is not our trouble.
    fn converse(&mut self, mut stream: UnixStream) -> Next {
        let limits = stream
            .set_read_timeout(Some(control::QUESTION_LIMIT))
            .and_then(|()| stream.set_write_timeout(Some(control::QUESTION_LIMIT)));
        let Ok(request) = limits.and_then(|()| control::receive::<Request>(&stream)) else {
            return Next::Serve;
        };
        self.look_after_machines();
        let next = if request == Request::Down { Next::End } else { Next::Serve };
        let answer = self.answer(request).unwrap_or_else(|error| Answer::Refused(chain(&error)));
        if let Err(error) = control::send(&mut stream, &answer) {
            log(&format!("cannot answer: {error}"));
        }
        next
    }

    fn answer(&mut self, request: Request) -> Result<Answer, StepError> {
        let boot_ns = clock::boot_ns();
        match request {
            Request::Status => return Ok(Answer::Status(self.status())),
            Request::OpenPort(target) => return self.open_port(target).map(Answer::Port),
            Request::Crash(node) => self.crash(node)?,
            Request::Start(node) => {
                let index = self.index(node, &[Power::Off])?;
                self.power_on(index)?;
            }
            Request::Stop(node) => {
                let running = [Power::Booting, Power::On, Power::Failed];
                self.life(node, &running)?.stop()?;
            }
            Request::Freeze(node) => self.life(node, &[Power::On])?.freeze()?,
            Request::Thaw(node) => self.thaw(node)?,
            Request::Hang(node) => self.hang(node)?,
            Request::Cut(cut) => self.cut(cut)?,
            Request::Jitter(jitter) => self.jitter(jitter)?,
            Request::Heal => {
                self.cuts.clear();
                self.jitters.clear();
                self.apply_faults()?;
            }
            Request::SetDisk { node, disk, condition } => {
                let node = self.known(node)?;
                self.disks()?.set(node, &disk, condition)?;
            }
            Request::Down => self.power_off_all()?,
        }
        Ok(Answer::Done { boot_ns })
    }

    fn power_on(&mut self, index: usize) -> Result<(), StepError> {
        let slot = &mut self.slots[index];
        let name = slot.station.name();
        let cgroup = match &self.cgroups {
            Some(cgroups) => Some(cgroups.machine(&name)?),
            None => None,
        };
        let devices = match (slot.station, &mut self.disks) {
            (Station::Node(node), Some(disks)) => disks.attach(node)?,
            (Station::Node(_) | Station::Client, _) => Vec::new(),
        };
        slot.power_on(&self.record, Born { cgroup, devices }, &self.switch)?;
        // Cuts name ports and hold for the new ones, too.
        if self.jitters.is_empty() { Ok(()) } else { self.apply_faults() }
    }

    /// Disk paths and ports first, then the processes: what they were about to say or write, they
    /// do not, and what their kernel still flushes reaches no disk. The paths hang until the ports
    /// are down, so that no error of a disk is told to anybody.
    fn crash(&mut self, node: NodeId) -> Result<(), StepError> {
        let index = self.index(node, &Power::WITH_PROCESSES)?;
        self.stall_disks(node, true)?;
        let slot = &mut self.slots[index];
        self.switch.ports_down(slot.station)?;
        if let Some(disks) = &mut self.disks {
            disks.end(node)?;
        }
        slot.power_off()?;
        slot.plugged = false;
        self.switch.unplug(slot.station)?;
        self.apply_faults()
    }

    fn hang(&mut self, node: NodeId) -> Result<(), StepError> {
        let life = self.life(node, &[Power::On, Power::Frozen])?;
        if life.power == Power::On {
            life.freeze()?;
        }
        life.power = Power::Hung;
        self.switch.hold(Station::Node(node))?;
        self.stall_disks(node, true)?;
        self.apply_faults()
    }

    /// Its kernel gets what was kept for it before its processes go on.
    fn thaw(&mut self, node: NodeId) -> Result<(), StepError> {
        let hung = self.life(node, &[Power::Frozen, Power::Hung])?.power == Power::Hung;
        if hung {
            self.switch.release(Station::Node(node))?;
            self.stall_disks(node, false)?;
            self.life(node, &[Power::Hung])?.power = Power::Frozen;
            self.apply_faults()?;
        }
        self.life(node, &[Power::Frozen])?.thaw()
    }

    fn cut(&mut self, fault: Fault) -> Result<(), StepError> {
        let cut = fault.cut;
        let known = |station| self.slots.iter().any(|slot| slot.station == station);
        if let Some(stranger) = cut.stations().into_iter().find(|station| !known(*station)) {
            return Err(StepError::new("cut off", stranger, "the lab has no such node"));
        }
        if let [from, to] = cut.stations()[..]
            && from == to
        {
            return Err(StepError::new("cut", cut, "a machine has no cable to itself"));
        }
        if cut.cuts().is_empty() {
            return Err(StepError::new("cut", cut, "there is no such cable"));
        }
        if !self.cuts.contains(&fault) {
            self.cuts.push(fault);
        }
        self.apply_faults()
    }

    /// Of several for one cable the last one counts.
    fn jitter(&mut self, jitter: Jitter) -> Result<(), StepError> {
        if !self.slots.iter().any(|slot| slot.station == jitter.station) {
            let none = "the lab has no such node";
            return Err(StepError::new("slow down", jitter.station, none));
        }
        if jitter.cables().next().is_none() {
            return Err(StepError::new("slow down", jitter, "there is no such cable"));
        }
        self.jitters.push(jitter);
        self.apply_faults()
    }

    /// Makes cables as ill as they shall be: slow ones first, for cuts hold for the stand-ins of
    /// their ports as well.
    fn apply_faults(&mut self) -> Result<(), StepError> {
        let mut slow = BTreeMap::new();
        for cable in self.jitters.iter().flat_map(|jitter| jitter.cables()) {
            slow.insert((cable.station, cable.network), cable);
        }
        let carries = |station| {
            let slot = self.slots.iter().find(|slot| slot.station == station);
            slot.is_some_and(|slot| slot.plugged && slot.power() != Power::Hung)
        };
        slow.retain(|(station, _), _| carries(*station));
        let slow: Vec<_> = slow.into_values().collect();
        self.switch.set_slow(&slow)?;
        let cuts: Vec<_> = self.cuts.iter().flat_map(Fault::cuts).collect();
        self.switch.set_cuts(&cuts)
    }

    /// In words.
    fn faults(&self) -> impl Iterator<Item = String> {
        let cuts = self.cuts.iter().map(ToString::to_string);
        cuts.chain(self.jitters.iter().map(ToString::to_string))
    }

    fn open_port(&mut self, target: SocketAddr) -> Result<SocketAddr, StepError> {
        if let Some(open) = self.ports.iter().find(|port| port.target == target) {
            return Ok(open.local);
        }
        let client = self.slots.iter().find(|slot| slot.station == Station::Client);
        let life = client.and_then(|slot| slot.life.as_ref());
        let life = life.ok_or_else(|| StepError::new("open a port to", target, "no client"))?;
        let port = forward::open(target, life.network()?).step("open a port to", target)?;
        self.ports.push(port);
        Ok(port.local)
    }

    /// All die at the same time, then each is waited for.
    fn power_off_all(&mut self) -> Result<(), StepError> {
        if let Some(disks) = &mut self.disks {
            disks.end_all()?;
        }
        for slot in &mut self.slots {
            slot.power_off()?;
        }
        self.cgroups.as_ref().map_or(Ok(()), LabCgroup::remove)
    }

    fn stall_disks(&self, node: NodeId, stalled: bool) -> Result<(), StepError> {
        self.disks.as_ref().map_or(Ok(()), |disks| disks.stall(node, stalled))
    }

    fn disks(&mut self) -> Result<&mut Disks, StepError> {
        let none = || StepError::new("find", "a disk", "the lab has none");
        self.disks.as_mut().ok_or_else(none)
    }

    /// The node, if the lab has it.
    fn known(&self, node: NodeId) -> Result<NodeId, StepError> {
        if self.record.node_ids().any(|known| known == node) {
            return Ok(node);
        }
        let count = format!("the lab has {} nodes", self.record.nodes);
        Err(StepError::new("find", Station::Node(node), count))
    }

    fn index(&self, node: NodeId, wanted: &[Power]) -> Result<usize, StepError> {
        let station = Station::Node(node);
        let index = self.slots.iter().position(|slot| slot.station == station);
        let index = index.ok_or_else(|| {
            StepError::new("find", station, format!("the lab has {} nodes", self.record.nodes))
        })?;
        let power = self.slots[index].power();
        if wanted.contains(&power) {
            return Ok(index);
        }
        Err(StepError::new("do that to", station, format!("it is {}", power.word())))
    }

    fn life(&mut self, node: NodeId, wanted: &[Power]) -> Result<&mut Life, StepError> {
        let index = self.index(node, wanted)?;
        let life = self.slots[index].life.as_mut();
        life.ok_or_else(|| StepError::new("find the processes of", Station::Node(node), "none"))
    }

    fn status(&self) -> LabStatus {
        let client = self.slots.iter().find(|slot| slot.station == Station::Client);
        LabStatus {
            name: self.record.name.clone(),
            supervisor_pid: std::process::id(),
            quorum: self.record.quorum,
            profile: self.record.profile,
            version: self.record.version.clone(),
            nodes: self.slots.iter().filter_map(Slot::status).collect(),
            client_pid: client.and_then(|slot| slot.life.as_ref()).map(Life::pid),
            cuts: self.faults().collect(),
            ports: self.ports.clone(),
            missing: self.missing.clone(),
            disks: self.disks.as_ref().map_or_else(Vec::new, disk_status),
        }
    }
}

/// A server that does not answer has no disks to show.
fn disk_status(disks: &Disks) -> Vec<DiskStatus> {
    disks.status().unwrap_or_else(|error| {
        log(&chain(&error));
        Vec::new()
    })
}

/// Without root: a user namespace in which this user is root. The process has one thread.
#[expect(unsafe_code, reason = "rustix marks every unshare unsafe")]
fn become_root_of_own() -> Result<(), StepError> {
    let uid_map = format!("0 {} 1", rustix::process::geteuid().as_raw());
    let gid_map = format!("0 {} 1", rustix::process::getegid().as_raw());
    // SAFETY: the process has one thread, and no memory or descriptor is unshared.
    let made = unsafe { rustix::thread::unshare_unsafe(UnshareFlags::NEWUSER) };
    made.map_err(NoUserNamespace).step("make", "a user namespace")?;
    for (file, text) in [("setgroups", "deny"), ("uid_map", &uid_map), ("gid_map", &gid_map)] {
        let path = format!("/proc/self/{file}");
        std::fs::write(&path, text).step("write", path)?;
    }
    Ok(())
}

/// The usual reason has a cure.
#[derive(Debug, thiserror::Error)]
#[error(
    "{0}; run as root, or allow it: \
     `sysctl kernel.unprivileged_userns_clone=1` (Debian before 11), \
     `sysctl kernel.apparmor_restrict_unprivileged_userns=0` (Ubuntu), \
     `sysctl user.max_user_namespaces=10000`"
)]
struct NoUserNamespace(rustix::io::Errno);

/// Nothing depends on it; a wait without limit is only harder to look at.
const IDLE_LIMIT: Duration = Duration::from_secs(3600);
