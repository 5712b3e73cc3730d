//! A client that writes 50 changes a second through the API, and remembers what was acknowledged.
//!
//! It writes growing numbers round robin into the environment of applications that never run, which
//! every view shows. A write that got no answer is repeated under its identity, at any node; the
//! next one waits for it, so what a register shows is never less than what it acknowledged.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use stead_api::{Client, ClientError};
use stead_lab::{Lab, boot_ns};
use stead_model::group::{Desired, GroupPolicy};
use stead_model::request::Request;
use stead_model::view::View;
use stead_model::{NodeId, RequestId};

use crate::{World, wait};

const GROUP: &str = "ledger";
const REGISTERS: u64 = 8;
/// 50 a second.
const INTERVAL: Duration = Duration::from_millis(20);
/// After this a write is repeated elsewhere.
const PATIENCE: Duration = Duration::from_millis(500);

/// A writer at work.
#[derive(Debug)]
pub struct Writer {
    ending: Arc<AtomicBool>,
    acknowledged: Arc<Mutex<Acknowledged>>,
    thread: Option<JoinHandle<()>>,
}

/// What was acknowledged.
#[derive(Clone, Default, Debug)]
pub struct Acknowledged {
    /// How many writes.
    pub count: u64,
    /// When the last one was, CLOCK_BOOTTIME nanoseconds.
    pub last_ns: u64,
    /// The last number of each register.
    registers: BTreeMap<u64, u64>,
    /// The highest index at which one is.
    pub index: u64,
}

impl Acknowledged {
    /// Whether a node knows all of it, in a view of it; else what it lacks.
    ///
    /// # Errors
    /// Names the register and what it shows.
    pub fn shown_in(&self, view: &View) -> Result<(), String> {
        let group = view.groups.iter().find(|g| g.group.as_str() == GROUP);
        let group = group.ok_or("it knows no register")?;
        for (register, number) in &self.registers {
            let name = format!("{GROUP}-{register}");
            let found = group.resources.iter().find(|r| r.resource.as_str() == name);
            let shown = found.and_then(|r| r.properties.get("env")).map(String::as_str);
            let shown = shown.and_then(|env| env.strip_prefix("N=")?.parse::<u64>().ok());
            if shown.is_none_or(|shown| shown < *number) {
                return Err(format!(
                    "register {register} shows {shown:?}, acknowledged {number}; i{} was \
                     acknowledged, it applied {}",
                    self.index, view.applied
                ));
            }
        }
        Ok(())
    }
}

impl Writer {
    /// Creates the registers and begins.
    #[must_use]
    pub fn start(world: &World) -> Self {
        create(world);
        let ending = Arc::new(AtomicBool::new(false));
        let acknowledged = Arc::new(Mutex::new(Acknowledged::default()));
        let lab = world.lab().clone();
        let (end, shared) = (Arc::clone(&ending), Arc::clone(&acknowledged));
        let thread = std::thread::spawn(move || Pen::new(lab, shared).write(&end));
        Self { ending, acknowledged, thread: Some(thread) }
    }

    /// What was acknowledged so far.
    #[must_use]
    pub fn acknowledged(&self) -> Acknowledged {
        self.acknowledged.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Waits until this many more writes were acknowledged.
    pub fn wait_more(&self, more: u64) {
        let wanted = self.acknowledged().count + more;
        wait("acknowledged writes", || {
            let count = self.acknowledged().count;
            if count >= wanted { Ok(()) } else { Err(format!("{count} of {wanted}")) }
        });
    }

    /// I-ACK: a node serves everything that was acknowledged until now.
    pub fn served_by(&self, world: &World, node: NodeId) {
        let wanted = self.acknowledged();
        wait(&format!("{node} serves all that was acknowledged"), || {
            let view = world.cluster().view(node).map_err(|error| error.to_string())?;
            wanted.shown_in(&view)
        });
    }

    fn end(&mut self) {
        self.ending.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.end();
    }
}

fn create(world: &World) {
    let group = || GROUP.into();
    world.ask(&Request::CreateGroup { group: group(), policy: GroupPolicy::default() });
    world.ask(&Request::SetGroupDesired { group: group(), desired: Desired::Offline });
    for register in 0..REGISTERS {
        world.ask(&Request::CreateResource {
            group: group(),
            resource: format!("{GROUP}-{register}").as_str().into(),
            kind: "generic-application".into(),
            properties: BTreeMap::from([("command".into(), "/bin/true".into())]),
        });
    }
}

/// The writing itself.
struct Pen {
    lab: Lab,
    shared: Arc<Mutex<Acknowledged>>,
    sockets: Vec<PathBuf>,
    /// Gives identities only; nobody is asked through it.
    identity: Client,
}

impl Pen {
    fn new(lab: Lab, shared: Arc<Mutex<Acknowledged>>) -> Self {
        let identity = Client::new(&PathBuf::new());
        Self { lab, shared, sockets: Vec::new(), identity }
    }

    fn write(mut self, ending: &AtomicBool) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let mut number = 0;
        while !ending.load(Ordering::Relaxed) {
            let next = Instant::now() + INTERVAL;
            number += 1;
            runtime.block_on(self.one(number, ending));
            std::thread::sleep(next.saturating_duration_since(Instant::now()));
        }
    }

    /// Writes one number until it is acknowledged.
    async fn one(&mut self, number: u64, ending: &AtomicBool) {
        let register = number % REGISTERS;
        let request = Request::SetResource {
            resource: format!("{GROUP}-{register}").as_str().into(),
            properties: BTreeMap::from([("env".into(), Some(format!("N={number}")))]),
        };
        let id = self.identity.next_request_id();
        while !ending.load(Ordering::Relaxed) {
            if let Some(index) = self.try_once(id, &request).await {
                let mut shared = self.shared.lock().unwrap_or_else(PoisonError::into_inner);
                shared.count += 1;
                shared.last_ns = boot_ns();
                shared.index = shared.index.max(index);
                shared.registers.insert(register, number);
                return;
            }
            tokio::time::sleep(INTERVAL).await;
        }
    }

    async fn try_once(&mut self, id: RequestId, request: &Request) -> Option<u64> {
        if self.sockets.is_empty() {
            let nodes = self.lab.record().node_ids();
            self.sockets = nodes.filter_map(|node| self.lab.api_socket(node).ok()).collect();
        }
        let socket = self.sockets.last()?.clone();
        let client = Client::new(&socket);
        let answer = tokio::time::timeout(PATIENCE, client.request_as(id, request)).await;
        match answer {
            Ok(Ok(done)) => return Some(done.index.0),
            // Another node may do better, and this one may have a new life by then.
            Ok(Err(ClientError::Refused(_) | ClientError::Unreachable { .. }))
            | Ok(Err(ClientError::Broken { .. } | ClientError::Silent { .. }))
            | Err(_) => drop(self.sockets.pop()),
        }
        None
    }
}
