//! One guard with a real monitor, on a folder of its own.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::process::{Child, Command, ExitCode};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use rustix::time::{ClockId, clock_gettime};
use serde::Serialize;
use serde::de::DeserializeOwned;
use stead_guard::process::{GuardOptions, NodeService, run_with};
use stead_model::order::{
    Action, GuardOrder, GuardReport, GuardStatus, OnlineSpec, Outcome, ResourceOrder,
    ResourceReport,
};
use stead_model::server::VirtualServer;
use stead_model::wire::codec;
use stead_model::wire::guard::{GuardToNode, NodeToGuard};
use stead_model::wire::monitor::{MonitorToNode, NodeToMonitor, Question};
use stead_model::wire::{guard, monitor};
use stead_model::{Epoch, Incarnation, LeaseNumber, OrderId, Span, Time};
use tempfile::TempDir;

/// Long enough for a machine that does much else; nothing waits that long when all is well.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);
/// The stop grace of the stories: generous, so that a slow machine does not fail them.
pub(crate) const GRACE: Span = Span::from_secs(4);
/// A lease that does not end by itself.
pub(crate) const LONG: Span = Span::from_secs(600);

pub(crate) fn be_guard(args: &[String]) -> ExitCode {
    let own = std::env::current_exe().unwrap().to_string_lossy().into_owned();
    let root = PathBuf::from(&args[0]);
    let socket = root.join("node.sock").to_string_lossy().into_owned();
    run_with(GuardOptions {
        own: vec![own.clone(), "as-guard".into(), args[0].clone()],
        node: vec![own.clone(), "as-body".into(), socket],
        monitor: vec![own.clone(), "as-monitor".into()],
        init: vec![own, "as-init".into()],
        root,
        grace: GRACE,
        watchdog: None,
        service: NodeService { user: None, port: 7410, quorum: None },
    })
}

/// Hands bytes between the guard and the story until one of them ends.
pub(crate) fn be_body(socket: &str) -> ExitCode {
    let guard = stead_resmon::guard_connection().unwrap();
    let story = UnixStream::connect(socket).unwrap();
    let (mut a, mut b) = (guard.try_clone().unwrap(), story.try_clone().unwrap());
    let (mut c, mut d) = (story, guard);
    thread::spawn(move || io::copy(&mut a, &mut b).map(|_| std::process::exit(0)));
    io::copy(&mut c, &mut d).ok();
    ExitCode::SUCCESS
}

/// A guard, its monitor, and the story in place of the node service.
pub(crate) struct World {
    pub(crate) guard: Leash,
    to_guard: Talk,
    /// The monitor that is spoken to, and its slot; 0 is the shared one.
    to_monitor: Talk,
    slot: u8,
    /// The other ones.
    aside: BTreeMap<u8, Talk>,
    root: TempDir,
    order_last: u64,
    pub(crate) lease: u64,
    pub(crate) epoch: u64,
}

impl World {
    pub(crate) fn start() -> Self {
        Self::start_by(Command::new(std::env::current_exe().unwrap()))
    }

    /// Starts the guard by this command.
    pub(crate) fn start_by(mut command: Command) -> Self {
        let root = tempfile::tempdir().unwrap();
        let listener = UnixListener::bind(root.path().join("node.sock")).unwrap();
        command.arg("as-guard").arg(root.path()).env("STEAD_ROOT", root.path());
        let guard = Leash(command.spawn().unwrap());
        let to_guard = Talk::new(accept(&listener));
        let to_monitor = connect(&root, 0);
        let mut world = Self {
            guard,
            to_guard,
            to_monitor,
            slot: 0,
            aside: BTreeMap::new(),
            root,
            order_last: 0,
            lease: 0,
            epoch: 2,
        };
        world.to_guard.send(&NodeToGuard::Hello { version: guard::VERSION });
        world.hello(1);
        world.renew(LONG);
        world
    }

    /// Says hello to the monitor as that node service.
    pub(crate) fn hello(&mut self, service: u64) {
        let service = Incarnation(service);
        let version = monitor::VERSION;
        self.to_monitor.send(&NodeToMonitor::Hello { version, service });
        while !matches!(self.to_monitor.next(), MonitorToNode::Hello { .. }) {}
    }

    /// From now on the monitor with that number is spoken to.
    pub(crate) fn turn_to(&mut self, slot: u8) {
        if slot == self.slot {
            return;
        }
        let new = self.aside.remove(&slot);
        let is_new = new.is_none();
        let talk = new.unwrap_or_else(|| connect(&self.root, slot));
        let old = std::mem::replace(&mut self.to_monitor, talk);
        self.aside.insert(self.slot, old);
        self.slot = slot;
        if is_new {
            self.hello(1);
        }
    }

    /// Has the guard start a resource's own monitor, and turns to it.
    pub(crate) fn own_monitor(&mut self, resource: &str) -> u8 {
        self.tell_guard(&NodeToGuard::OwnMonitor(resource.into()));
        let slot = loop {
            if let GuardToNode::Report(GuardReport::OwnMonitorReady(own)) = self.to_guard.next()
                && own.resource.as_str() == resource
            {
                break own.slot;
            }
        };
        self.aside.remove(&slot);
        if self.slot == slot {
            // The one before it is gone.
            self.to_monitor = connect(&self.root, slot);
            self.hello(1);
        }
        self.turn_to(slot);
        slot
    }

    pub(crate) fn tell_guard(&mut self, message: &NodeToGuard) {
        self.to_guard.send(message);
    }

    /// Gives the guard the next lease, of this length from now on.
    pub(crate) fn renew(&mut self, length: Span) -> Time {
        self.lease += 1;
        let (number, until) = (LeaseNumber(self.lease), now() + length);
        self.to_guard.send(&NodeToGuard::Order(GuardOrder::Lease { number, until }));
        self.guard_report(|r| matches!(r, GuardReport::LeaseSet { number: n, .. } if *n == number));
        until
    }

    pub(crate) fn guard_report(&mut self, wanted: impl Fn(&GuardReport) -> bool) {
        loop {
            if let GuardToNode::Report(report) = self.to_guard.next()
                && wanted(&report)
            {
                return;
            }
        }
    }

    /// Has the guard stop everything, and waits until it is done.
    pub(crate) fn hard_stop(&mut self) {
        let why = "a story wants it".to_owned();
        self.to_guard.send(&NodeToGuard::Order(GuardOrder::HardStop { why }));
        self.guard_report(|report| matches!(report, GuardReport::HardStopDone { .. }));
    }

    /// The next warning of the guard: its code and text.
    pub(crate) fn guard_notice(&mut self) -> (String, String) {
        loop {
            if let GuardToNode::Notice { warning: true, code, text } = self.to_guard.next() {
                return (code, text);
            }
        }
    }

    pub(crate) fn status(&mut self) -> GuardStatus {
        self.to_guard.send(&NodeToGuard::Status);
        loop {
            if let GuardToNode::Status(status) = self.to_guard.next() {
                return status;
            }
        }
    }

    /// Gives an order; tells its number.
    pub(crate) fn order(&mut self, resource: &str, action: Action) -> OrderId {
        self.order_last += 1;
        let order = self.written(resource, action);
        self.to_monitor.send(&NodeToMonitor::Order(order));
        OrderId(self.order_last)
    }

    /// An order with the last number.
    pub(crate) fn written(&self, resource: &str, action: Action) -> ResourceOrder {
        ResourceOrder {
            order: OrderId(self.order_last),
            group: "web".into(),
            resource: resource.into(),
            epoch: Epoch(self.epoch),
            lease: LeaseNumber(self.lease),
            action,
        }
    }

    pub(crate) fn send(&mut self, message: &NodeToMonitor) {
        self.to_monitor.send(message);
    }

    /// Gives an order and waits for its answer.
    pub(crate) fn ask(&mut self, resource: &str, action: Action) -> Outcome {
        let order = self.order(resource, action);
        self.answer(order)
    }

    /// The next report about an order that is no health and no notice.
    pub(crate) fn answer(&mut self, order: OrderId) -> Outcome {
        loop {
            let report = self.report();
            let aside = matches!(report.outcome, Outcome::Health(..) | Outcome::Notice(_));
            if report.order == order && !aside {
                return report.outcome;
            }
        }
    }

    /// The next notice about an order.
    pub(crate) fn notice(&mut self, order: OrderId) -> String {
        loop {
            let report = self.report();
            if let Outcome::Notice(text) = report.outcome
                && report.order == order
            {
                return text;
            }
        }
    }

    pub(crate) fn report(&mut self) -> ResourceReport {
        loop {
            if let MonitorToNode::Report(report) = self.to_monitor.next() {
                return report;
            }
        }
    }

    pub(crate) fn logs(&mut self, resource: &str) -> String {
        let (request, resource) = (7, resource.into());
        self.to_monitor.send(&NodeToMonitor::Logs { request, resource, bytes_max: 1 << 20 });
        loop {
            if let MonitorToNode::Logs { output, .. } = self.to_monitor.next() {
                return String::from_utf8(output.unwrap()).unwrap();
            }
        }
    }

    /// Asks the programs of external types.
    pub(crate) fn question(&mut self, question: Question) -> Result<String, String> {
        self.to_monitor.send(&NodeToMonitor::Ask { request: 9, question });
        loop {
            if let MonitorToNode::Logs { request: 9, output } = self.to_monitor.next() {
                return output.map(|bytes| String::from_utf8(bytes).unwrap());
            }
        }
    }

    /// The monitor's process.
    pub(crate) fn monitor_pid(&self) -> i32 {
        self.to_monitor.peer()
    }

    /// Waits until the present monitor is dead and the next one is ready.
    pub(crate) fn next_monitor(&mut self) {
        io::copy(&mut self.to_monitor.stream, &mut io::sink()).ok();
        let old = self.monitor_pid();
        eventually("a new monitor listens", || {
            self.to_monitor = connect(&self.root, self.slot);
            self.to_monitor.peer() != old
        });
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.root.path().join(name)
    }

    /// A witness of life: whoever opens `$ROOT/NAME` for writing is seen until it is dead.
    pub(crate) fn witness(&self, name: &str) -> Witness {
        let path = self.path(name);
        let mode = rustix::fs::Mode::from_raw_mode(0o600);
        rustix::fs::mknodat(rustix::fs::CWD, &path, rustix::fs::FileType::Fifo, mode, 0).unwrap();
        let nonblock = rustix::fs::OFlags::NONBLOCK.bits().cast_signed();
        Witness(File::options().read(true).custom_flags(nonblock).open(path).unwrap())
    }

    /// What it takes to bring an application online that runs a shell script.
    pub(crate) fn script(&self, script: &str, more: &[(&str, &str)]) -> OnlineSpec {
        let file = self.path(&format!("script{}", self.order_last));
        fs::write(&file, script).unwrap();
        let command = format!("/bin/sh {}", file.display());
        let env = format!("ROOT={}", self.root.path().display());
        let own = [("command", command.as_str()), ("env", env.as_str())];
        spec("generic-application", &[&own, more].concat())
    }
}

/// A process that does not outlive its story.
pub(crate) struct Leash(pub(crate) Child);

impl Leash {
    /// Its number.
    pub(crate) fn id(&self) -> u32 {
        self.0.id()
    }
}

impl Drop for Leash {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

pub(crate) fn spec(kind: &str, properties: &[(&str, &str)]) -> OnlineSpec {
    let properties = properties.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned()));
    OnlineSpec {
        kind: kind.into(),
        properties: properties.collect::<BTreeMap<_, _>>(),
        looks_alive_ms: 5_000,
        is_alive_ms: 60_000,
        pending_timeout_ms: 180_000,
        server: VirtualServer::default(),
        first: false,
        separate: false,
    }
}

/// The reading end of a named pipe.
pub(crate) struct Witness(File);

impl Witness {
    /// Waits until somebody wrote a line.
    pub(crate) fn wait_for_life(&mut self) {
        let mut byte = [0];
        eventually("the application lives", || matches!(self.0.read(&mut byte), Ok(1)));
    }

    /// Whether a process still holds the other end.
    pub(crate) fn lives(&mut self) -> bool {
        !matches!(self.0.read(&mut [0; 64]), Ok(0))
    }
}

struct Talk {
    stream: UnixStream,
    received: Vec<u8>,
}

impl Talk {
    fn new(stream: UnixStream) -> Self {
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        Self { stream, received: Vec::new() }
    }

    fn send<M: Serialize>(&mut self, message: &M) {
        self.stream.write_all(&codec::encode(message)).unwrap();
    }

    fn next<M: DeserializeOwned>(&mut self) -> M {
        let mut chunk = [0; 4096];
        loop {
            if let Some((message, used)) = codec::decode(&self.received).unwrap() {
                self.received.drain(..used);
                return message;
            }
            let got = self.stream.read(&mut chunk).expect("a message comes in time");
            assert!(got > 0, "the other side is gone");
            self.received.extend_from_slice(&chunk[..got]);
        }
    }

    fn peer(&self) -> i32 {
        let peer = rustix::net::sockopt::socket_peercred(&self.stream).unwrap();
        peer.pid.as_raw_nonzero().get()
    }
}

fn accept(listener: &UnixListener) -> UnixStream {
    listener.set_nonblocking(true).unwrap();
    let mut found = None;
    eventually("the guard starts a node service", || {
        found = listener.accept().ok();
        found.is_some()
    });
    let (stream, _) = found.unwrap();
    stream.set_nonblocking(false).unwrap();
    stream
}

fn connect(root: &TempDir, slot: u8) -> Talk {
    let name = monitor::socket_name((slot > 0).then_some(slot));
    let path = root.path().join("run/stead").join(name);
    let mut found = None;
    eventually("the monitor listens", || {
        found = UnixStream::connect(&path).ok();
        found.is_some()
    });
    Talk::new(found.unwrap())
}

pub(crate) fn send_signal(pid: i32, signal: Signal) {
    kill_process(Pid::from_raw(pid).unwrap(), signal).unwrap();
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
