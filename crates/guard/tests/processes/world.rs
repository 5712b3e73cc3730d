//! One guard with its children, on a folder of its own.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::fd::{FromRawFd, OwnedFd};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{self, Child, Command, ExitCode};
use std::thread;
use std::time::{Duration, Instant};

use rustix::fs::{CWD, FileType, Mode, makedev, mknodat};
use rustix::process::{Pid, Signal, geteuid, kill_process};
use rustix::time::{ClockId, clock_gettime};
use serde::Serialize;
use serde::de::DeserializeOwned;
use stead_guard::process::{GuardOptions, NodeService, run_with};
use stead_model::config::WatchdogConfig;
use stead_model::order::{GuardOrder, GuardReport, GuardStatus};
use stead_model::wire::codec;
use stead_model::wire::guard::{
    Claim, ExitStatus, GuardToMonitor, GuardToNode, InstanceId, Limits, MonitorToGuard,
    NodeToGuard, ProgramSpec, Refusal, Running, Thing, VERSION,
};
use stead_model::{Epoch, LeaseNumber, Span, Time};
use tempfile::TempDir;

use crate::machine;

/// Long enough for a machine that does much else; nothing waits that long when all is well.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);
/// The stop grace of the stories: generous, so that a slow machine does not fail them.
pub(crate) const GRACE: Span = Span::from_secs(4);

pub(crate) fn be_guard(args: &[String]) -> ExitCode {
    let own = std::env::current_exe().unwrap().to_string_lossy().into_owned();
    let root = PathBuf::from(&args[0]);
    if args.get(1).is_some_and(|word| word == "--check-state") {
        return stead_guard::process::check_state();
    }
    if std::env::var_os("STEAD_GUARD_STATE").is_some() {
        // A program whose start takes long, where a story wants one.
        let pause = fs::read_to_string(root.join("pause-ms")).unwrap_or_default();
        thread::sleep(Duration::from_millis(pause.parse().unwrap_or_default()));
    }
    let body = |socket: &str| {
        vec![own.clone(), "as-body".into(), root.join(socket).to_string_lossy().into_owned()]
    };
    run_with(GuardOptions {
        own: vec![own.clone(), "as-guard".into(), args[0].clone()],
        node: body("node.sock"),
        monitor: body("monitor.sock"),
        init: vec![own.clone(), "as-init".into()],
        root: root.clone(),
        grace: GRACE,
        service: NodeService {
            user: std::env::var("STEAD_NODE_USER").ok(),
            port: 7410,
            quorum: Some((root.join("disks/quorum"), root.join("disks/quorum.lock.1"))),
        },
        watchdog: std::env::var_os(machine::VARIABLE)
            .map(|device| WatchdogConfig { device: device.into(), timeout_s: machine::TIMEOUT_S }),
    })
}

/// What a node service that somebody else has taken over would try: the file `probed` has what came
/// of it, where a story wants to know.
fn probe(socket: &Path) {
    let root = socket.parent().unwrap();
    if !socket.ends_with("node.sock") || !root.join("probe").exists() {
        return;
    }
    let runs = |words: &[&str]| {
        let mut command = Command::new(words[0]);
        command.args(&words[1..]).stderr(process::Stdio::null());
        command.status().is_ok_and(|status| status.success())
    };
    let writes = |path: &Path| OpenOptions::new().append(true).open(path).is_ok();
    let read = |name: &&str| fs::read(root.join("etc/stead").join(name)).is_ok();
    let reads = |names: &[&str]| names.iter().all(read);
    let replaces = |name: &str| {
        let (new, path) = (root.join("etc/stead/pki/made"), root.join("etc/stead").join(name));
        fs::write(&new, b"").is_ok() && fs::rename(&new, path).is_ok()
    };
    let tried = [
        ("starts programs", runs(&["true"])),
        ("makes a user namespace", runs(&["unshare", "--user", "true"])),
        ("mounts", runs(&["mount", "-t", "tmpfs", "none", "/mnt"])),
        ("writes beside its folders", fs::write(root.join("beside"), b"").is_ok()),
        ("removes the configuration", fs::remove_file(root.join("etc/stead/kept")).is_ok()),
        ("reads its keys", reads(&["cluster.key", "pki/node.key", "pki/ca.pem"])),
        ("replaces its certificates", replaces("pki/ca.pem") && replaces("cluster.key")),
        ("writes the quorum disk", writes(&root.join("disks/quorum"))),
    ];
    let can = tried.iter().filter(|(_, could)| *could).map(|(what, _)| *what);
    let probed = can.collect::<Vec<_>>().join(", ");
    fs::write(root.join("var/lib/stead/probed"), probed).unwrap();
}

/// Hands bytes between the guard and the story until one of them ends. A monitor of a resource's
/// own has a socket beside that of the shared one.
pub(crate) fn be_body(args: &[String]) -> ExitCode {
    let socket = match args {
        [shared, own, ..] if own == "--own" => Path::new(shared).with_file_name("own.sock"),
        _ => PathBuf::from(&args[0]),
    };
    probe(&socket);
    // SAFETY: the guard hands this descriptor over, and nothing else here uses it.
    #[expect(unsafe_code, reason = "a descriptor is inherited by number")]
    let guard = UnixStream::from(unsafe { OwnedFd::from_raw_fd(3) });
    let story = UnixStream::connect(socket).unwrap();
    let (mut a, mut b) = (guard.try_clone().unwrap(), story.try_clone().unwrap());
    let (mut c, mut d) = (story, guard);
    let up = thread::spawn(move || io::copy(&mut a, &mut b).map(|_| process::exit(0)));
    io::copy(&mut c, &mut d).ok();
    drop(up);
    ExitCode::SUCCESS
}

/// A guard and what speaks to it.
pub(crate) struct World {
    pub(crate) guard: Leash,
    pub(crate) node: Body,
    pub(crate) monitor: Body,
    root: TempDir,
    request: u64,
    unread: Option<io::PipeReader>,
}

impl World {
    pub(crate) fn start() -> Self {
        Self::start_by(|_| {})
    }

    /// Starts the guard from a copy of the program that may be replaced, see [`World::program`].
    pub(crate) fn start_from_copy() -> Self {
        let root = tempfile::tempdir().unwrap();
        let program = root.path().join("program");
        fs::copy(std::env::current_exe().unwrap(), &program).unwrap();
        Self::start_in(root, Command::new(program), |_| {})
    }

    /// Where that copy is.
    pub(crate) fn program(&self) -> PathBuf {
        self.path("program")
    }

    /// Puts another file in place of that copy, as an upgrade does.
    pub(crate) fn replace_program(&self, write: impl FnOnce(&Path)) {
        let new = self.path("program.new");
        write(&new);
        fs::rename(new, self.program()).unwrap();
    }

    /// Starts the guard as another user.
    pub(crate) fn start_as(user: u32) -> Self {
        Self::start_by(|command| {
            command.uid(user).gid(user);
        })
    }

    /// Starts a guard that is to start the node service as this user; what that can do is tried.
    pub(crate) fn start_confined(user: Option<&str>) -> Self {
        Self::start_confined_in(user, |_| {})
    }

    /// The same with a quorum disk that is a device of this group.
    pub(crate) fn start_with_device(user: &str, group: u32) -> Self {
        Self::start_confined_in(Some(user), |root| {
            let disk = root.join("disks/quorum");
            fs::remove_file(&disk).unwrap();
            // Nobody opens it: the number is that of no device.
            let (mode, number) = (Mode::from_raw_mode(0o660), makedev(259, 0x000f_fff0));
            mknodat(CWD, &disk, FileType::BlockDevice, mode, number).unwrap();
            std::os::unix::fs::chown(&disk, None, Some(group)).unwrap();
            fs::set_permissions(&disk, fs::Permissions::from_mode(0o660)).unwrap();
        })
    }

    fn start_confined_in(user: Option<&str>, change: impl FnOnce(&Path)) -> Self {
        // Not where every user may write.
        let root = tempfile::tempdir_in("/dev/shm").unwrap();
        let etc = root.path().join("etc/stead");
        fs::create_dir_all(&etc).unwrap();
        fs::create_dir(root.path().join("disks")).unwrap();
        let pki = etc.join("pki");
        fs::create_dir(&pki).unwrap();
        for name in ["ca.pem", "node.key"] {
            fs::write(pki.join(name), b"").unwrap();
            fs::set_permissions(pki.join(name), fs::Permissions::from_mode(0o600)).unwrap();
        }
        fs::set_permissions(&pki, fs::Permissions::from_mode(0o700)).unwrap();
        for path in ["etc/stead/cluster.key", "etc/stead/kept", "disks/quorum", "probe"] {
            fs::write(root.path().join(path), b"").unwrap();
        }
        fs::set_permissions(etc.join("cluster.key"), fs::Permissions::from_mode(0o600)).unwrap();
        // An earlier guard may have given them to somebody.
        for path in ["etc/stead/cluster.key", "etc/stead/pki/node.key", "disks/quorum"] {
            if geteuid().is_root() && user.is_none() {
                std::os::unix::fs::chown(root.path().join(path), Some(65534), None).unwrap();
            }
        }
        change(root.path());
        let own = std::env::current_exe().unwrap();
        Self::start_in(root, Command::new(own), |command| {
            command.envs(user.map(|user| ("STEAD_NODE_USER", user)));
        })
    }

    /// Starts a guard whose messages nobody reads: they go into a pipe that is full.
    pub(crate) fn start_mute() -> Self {
        let (reader, mut writer) = io::pipe().unwrap();
        rustix::io::ioctl_fionbio(&writer, true).unwrap();
        while writer.write(&[0; 4096]).is_ok() {}
        rustix::io::ioctl_fionbio(&writer, false).unwrap();
        let mut world = Self::start_by(|command| {
            command.stderr(writer);
        });
        world.unread = Some(reader);
        world
    }

    /// Starts a guard that may write control groups and gets no PID namespace from its kernel.
    pub(crate) fn start_without_namespaces() -> Self {
        let own = std::env::current_exe().unwrap();
        let script = "echo 0 >/proc/sys/user/max_pid_namespaces; exec \"$0\" \"$@\"";
        let mut command = Command::new("unshare");
        command.args(["--user", "--map-root-user", "sh", "-c", script]).arg(own);
        Self::start_with(command, |_| {})
    }

    fn start_by(change: impl FnOnce(&mut Command)) -> Self {
        Self::start_with(Command::new(std::env::current_exe().unwrap()), change)
    }

    pub(crate) fn start_with(command: Command, change: impl FnOnce(&mut Command)) -> Self {
        Self::start_in(tempfile::tempdir().unwrap(), command, change)
    }

    fn start_in(root: TempDir, mut command: Command, change: impl FnOnce(&mut Command)) -> Self {
        fs::set_permissions(root.path(), fs::Permissions::from_mode(0o777)).unwrap();
        let listen = |name: &str| {
            let path = root.path().join(name);
            let listener = UnixListener::bind(&path).unwrap();
            fs::set_permissions(path, fs::Permissions::from_mode(0o777)).unwrap();
            listener
        };
        let (node, monitor) = (listen("node.sock"), listen("monitor.sock"));
        command.arg("as-guard").arg(root.path());
        change(&mut command);
        let guard = Leash(command.spawn().unwrap());
        let (node, monitor) = (Body::accept(node), Body::accept(monitor));
        let mut world = Self { guard, node, monitor, root, request: 0, unread: None };
        world.node_hello();
        world.monitor_hello();
        world
    }

    /// Has a resource's own monitor started.
    pub(crate) fn own_monitor(&mut self, resource: &str) -> Body {
        let listener = UnixListener::bind(self.path("own.sock")).unwrap();
        self.node.send(&NodeToGuard::OwnMonitor(resource.into()));
        Body::accept(listener)
    }

    /// The node service says hello; gives the codes of the notices and the status.
    pub(crate) fn node_hello(&mut self) -> (Vec<String>, GuardStatus) {
        self.node.send(&NodeToGuard::Hello { version: VERSION });
        let mut codes = Vec::new();
        loop {
            match self.node.next::<GuardToNode>() {
                GuardToNode::Notice { code, .. } => codes.push(code),
                GuardToNode::Status(status) => return (codes, status),
                GuardToNode::Report(_) => {}
            }
        }
    }

    pub(crate) fn monitor_hello(&mut self) -> Vec<Running> {
        self.monitor.send(&MonitorToGuard::Hello { version: VERSION });
        loop {
            if let GuardToMonitor::Inventory(running) = self.monitor.next() {
                return running;
            }
        }
    }

    pub(crate) fn status(&mut self) -> GuardStatus {
        self.node.send(&NodeToGuard::Status);
        loop {
            if let GuardToNode::Status(status) = self.node.next() {
                return status;
            }
        }
    }

    /// Gives the guard a lease of this length from now on; tells its end.
    pub(crate) fn lease(&mut self, number: u64, length: Span) -> Time {
        let (number, until) = (LeaseNumber(number), now() + length);
        self.node.send(&NodeToGuard::Order(GuardOrder::Lease { number, until }));
        self.report(|r| matches!(r, GuardReport::LeaseSet { number: n, .. } if *n == number));
        until
    }

    /// Waits for a notice; gives its text.
    pub(crate) fn notice(&mut self, wanted: &str) -> String {
        loop {
            if let GuardToNode::Notice { code, text, .. } = self.node.next()
                && code == wanted
            {
                return text;
            }
        }
    }

    /// Waits for a report.
    pub(crate) fn report(&mut self, wanted: impl Fn(&GuardReport) -> bool) -> GuardReport {
        loop {
            if let GuardToNode::Report(report) = self.node.next()
                && wanted(&report)
            {
                return report;
            }
        }
    }

    /// Asks to start a shell script as resource `name`.
    pub(crate) fn admit(
        &mut self,
        name: &str,
        lease: u64,
        script: &str,
    ) -> Result<(InstanceId, i32), Refusal> {
        let argv = ["/bin/sh", "-c", script].map(String::from).to_vec();
        self.admit_spec(lease, ProgramSpec { argv, ..self.spec(name) })
    }

    pub(crate) fn spec(&self, name: &str) -> ProgramSpec {
        ProgramSpec {
            argv: Vec::new(),
            env: vec!["PATH=/usr/bin:/bin".into(), format!("ROOT={}", self.path("").display())],
            cwd: "/".into(),
            user: None,
            name: name.into(),
        }
    }

    pub(crate) fn admit_spec(
        &mut self,
        lease: u64,
        spec: ProgramSpec,
    ) -> Result<(InstanceId, i32), Refusal> {
        let name = spec.name.clone();
        let (instance, pid) = self.admit_thing(&name, lease, Thing::Program(spec))?;
        Ok((instance, pid.unwrap().cast_signed()))
    }

    /// Asks whether something may run as resource `name`.
    pub(crate) fn admit_thing(
        &mut self,
        name: &str,
        lease: u64,
        thing: Thing,
    ) -> Result<(InstanceId, Option<u32>), Refusal> {
        self.request += 1;
        let claim = Claim {
            group: "web".into(),
            resource: name.into(),
            epoch: Epoch(1),
            lease: LeaseNumber(lease),
        };
        let (request, limits) = (self.request, Limits::default());
        self.monitor.send(&MonitorToGuard::Admit { request, claim, thing, limits });
        loop {
            match self.monitor.next() {
                GuardToMonitor::Admitted { instance, pid, .. } => return Ok((instance, pid)),
                GuardToMonitor::Refused { refusal, .. } => return Err(refusal),
                GuardToMonitor::Inventory(_)
                | GuardToMonitor::Started { .. }
                | GuardToMonitor::Acted { .. }
                | GuardToMonitor::Stirred { .. }
                | GuardToMonitor::Exited { .. } => {}
            }
        }
    }

    /// Waits until a program was executed.
    pub(crate) fn started(&mut self, wanted: InstanceId) {
        while self.monitor.next::<GuardToMonitor>()
            != (GuardToMonitor::Started { instance: wanted })
        {}
    }

    /// Waits for the end of a program.
    pub(crate) fn exited(&mut self, wanted: InstanceId) -> ExitStatus {
        loop {
            if let GuardToMonitor::Exited { instance, status } = self.monitor.next()
                && instance == wanted
            {
                return status;
            }
        }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.root.path().join(name)
    }

    /// A witness of life: whoever opens `$ROOT/NAME` for writing is seen until it is dead.
    pub(crate) fn witness(&self, name: &str) -> Witness {
        let path = self.path(name);
        let mode = Mode::from_raw_mode(0o666);
        mknodat(CWD, &path, FileType::Fifo, mode, 0).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o666)).unwrap();
        let nonblock = rustix::fs::OFlags::NONBLOCK.bits().cast_signed();
        Witness(File::options().read(true).custom_flags(nonblock).open(path).unwrap())
    }
}

/// A process that does not outlive its story.
pub(crate) struct Leash(Child);

impl Leash {
    pub(crate) const fn new(child: Child) -> Self {
        Self(child)
    }

    /// Whether it has ended.
    pub(crate) fn has_ended(&mut self) -> bool {
        self.0.try_wait().unwrap().is_some()
    }

    /// Its number.
    pub(crate) fn id(&self) -> u32 {
        self.0.id()
    }

    /// Kills it.
    pub(crate) fn kill(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }

    /// Waits for its end.
    pub(crate) fn wait(&mut self) -> process::ExitStatus {
        self.0.wait().unwrap()
    }
}

impl Drop for Leash {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

/// The reading end of a named pipe.
pub(crate) struct Witness(File);

impl Witness {
    /// Waits until somebody wrote a line.
    pub(crate) fn wait_for_life(&mut self) {
        let mut byte = [0];
        let seen = || matches!(self.0.read(&mut byte), Ok(1));
        eventually("the application lives", seen);
    }

    /// Whether a process still holds the other end.
    pub(crate) fn lives(&mut self) -> bool {
        !matches!(self.0.read(&mut [0; 64]), Ok(0))
    }

    /// Waits until all who hold the other end are dead; tells when that was seen.
    pub(crate) fn wait_for_death(&mut self) -> Time {
        eventually("the application is dead", || !self.lives());
        now()
    }
}

/// The body of a node service or monitor.
pub(crate) struct Body {
    listener: UnixListener,
    stream: UnixStream,
    received: Vec<u8>,
    pub(crate) pid: i32,
}

impl Body {
    fn accept(listener: UnixListener) -> Self {
        let (stream, pid) = accept(&listener);
        Self { listener, stream, received: Vec::new(), pid }
    }

    /// What the kernel says of the process.
    pub(crate) fn status(&self) -> BTreeMap<String, String> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid)).unwrap();
        let fields = status.lines().filter_map(|line| line.split_once(':'));
        fields.map(|(name, value)| (name.to_owned(), value.trim().to_owned())).collect()
    }

    /// Waits for the next life of this child.
    pub(crate) fn reborn(&mut self) {
        (self.stream, self.pid) = accept(&self.listener);
        self.received.clear();
    }

    pub(crate) fn signal(&self, signal: Signal) {
        send_signal(self.pid, signal);
    }

    pub(crate) fn send<M: Serialize>(&mut self, message: &M) {
        self.stream.write_all(&codec::encode(message)).unwrap();
    }

    pub(crate) fn next<M: DeserializeOwned>(&mut self) -> M {
        let mut chunk = [0; 4096];
        loop {
            if let Some((message, used)) = codec::decode(&self.received).unwrap() {
                self.received.drain(..used);
                return message;
            }
            let got = self.stream.read(&mut chunk).expect("a message comes in time");
            assert!(got > 0, "the child is gone");
            self.received.extend_from_slice(&chunk[..got]);
        }
    }

    /// Waits until the body is dead.
    pub(crate) fn wait_for_death(&mut self) {
        io::copy(&mut self.stream, &mut io::sink()).unwrap();
    }
}

fn accept(listener: &UnixListener) -> (UnixStream, i32) {
    listener.set_nonblocking(true).unwrap();
    let mut found = None;
    eventually("a child connects", || {
        found = listener.accept().ok();
        found.is_some()
    });
    let (stream, _) = found.unwrap();
    stream.set_nonblocking(false).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let peer = rustix::net::sockopt::socket_peercred(&stream).unwrap();
    (stream, peer.pid.as_raw_nonzero().get())
}

pub(crate) fn send_signal(pid: i32, signal: Signal) {
    kill_process(Pid::from_raw(pid).unwrap(), signal).unwrap();
}

/// The children of a process.
pub(crate) fn children(pid: i32) -> Vec<i32> {
    let path = format!("/proc/{pid}/task/{pid}/children");
    let list = fs::read_to_string(Path::new(&path)).unwrap_or_default();
    list.split_whitespace().map(|pid| pid.parse().unwrap()).collect()
}

/// Waits until something is true.
pub(crate) fn eventually(what: &str, mut is_true: impl FnMut() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !is_true() {
        assert!(Instant::now() < end, "never seen within {PATIENCE:?}: {what}");
        thread::sleep(Duration::from_millis(1));
    }
}

/// Now on the guard's clock.
pub(crate) fn now() -> Time {
    let now = clock_gettime(ClockId::Boottime);
    Time(now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64)
}
