//! Makes the health probes that administrators attach to resources.
//!
//! One thread for all of them, which begins with the first probe and waits in one poll: a probe
//! costs a socket or a process while it is under way and nothing between. It only looks; what its
//! findings mean is decided by the slot of the resource.
//!
//! Health is three-valued here, too: a probe that hangs or cannot be made says *unknown*, unless
//! its administrator wants a hang to be a failure.

mod attempt;
mod command;

use std::collections::BTreeMap;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};
use stead_model::ResourceId;
use stead_model::probe::{Probe, ProbePlan};
use stead_model::resource::Health;

use crate::monitor::STACK_BYTES;
use attempt::{Attempt, Seen};

/// Where findings go.
pub(crate) type Tell = Arc<dyn Fn(Found) + Send + Sync>;

/// A resource's probe says something else than before.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Found {
    pub(crate) resource: ResourceId,
    /// As given to [`Prober::watch`].
    pub(crate) token: u64,
    pub(crate) health: Health,
    pub(crate) detail: String,
}

/// The way to the thread that probes.
pub(crate) struct Prober {
    tell: Tell,
    thread: Mutex<Option<Link>>,
}

struct Link {
    orders: Sender<Order>,
    bell: Arc<OwnedFd>,
}

enum Order {
    Watch { resource: ResourceId, token: u64, plan: ProbePlan },
    Forget(ResourceId),
}

/// Makes a probe once and waits for what it sees.
///
/// # Errors
/// It does not work, or could not be made.
pub(crate) fn once(what: &Probe, limit: Duration) -> Result<(), String> {
    let seen = match Attempt::begin(what, Instant::now() + limit) {
        Err(seen) => seen,
        Ok(mut attempt) => loop {
            if let Some(seen) = attempt.step(Instant::now()) {
                break seen;
            }
            let mut wanted = attempt.awaits();
            // An interrupted wait only means to look earlier.
            let _ = poll(&mut wanted, Some(&Timespec { tv_sec: 1, tv_nsec: 0 }));
        },
    };
    match seen {
        Seen::Works => Ok(()),
        Seen::Fails(why) | Seen::Hangs(why) | Seen::CannotTell(why) => Err(why),
    }
}

impl Prober {
    pub(crate) fn new(tell: Tell) -> Self {
        Self { tell, thread: Mutex::new(None) }
    }

    /// From now on this probe is made, in the place of an earlier one.
    ///
    /// # Errors
    /// There is no thread to make it.
    pub(crate) fn watch(
        &self,
        resource: ResourceId,
        token: u64,
        plan: ProbePlan,
    ) -> io::Result<()> {
        let mut thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner);
        if thread.is_none() {
            *thread = Some(Link::start(Arc::clone(&self.tell))?);
        }
        if let Some(link) = &*thread {
            link.order(Order::Watch { resource, token, plan });
        }
        Ok(())
    }

    /// From now on it is not probed any more.
    pub(crate) fn forget(&self, resource: ResourceId) {
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(link) = &*thread {
            link.order(Order::Forget(resource));
        }
    }
}

impl std::fmt::Debug for Prober {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Prober")
    }
}

impl Link {
    fn start(tell: Tell) -> io::Result<Self> {
        let bell = Arc::new(eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?);
        let (orders, taken) = channel();
        let round =
            Round { tell, orders: taken, bell: Arc::clone(&bell), targets: BTreeMap::new() };
        let builder = thread::Builder::new().name("probes".into()).stack_size(STACK_BYTES);
        builder.spawn(move || round.run())?;
        Ok(Self { orders, bell })
    }

    fn order(&self, order: Order) {
        // The thread ends with the monitor only.
        drop(self.orders.send(order));
        // A bell that cannot count any further is readable already.
        let _ = rustix::io::write(&self.bell, &1_u64.to_ne_bytes());
    }
}

/// All that the thread has.
struct Round {
    tell: Tell,
    orders: Receiver<Order>,
    bell: Arc<OwnedFd>,
    targets: BTreeMap<ResourceId, Target>,
}

/// One resource that is probed.
#[derive(Debug)]
struct Target {
    token: u64,
    plan: ProbePlan,
    next: Instant,
    attempt: Option<Attempt>,
    failed: u32,
    unknown: u32,
    told: Option<Health>,
}

impl Round {
    fn run(mut self) {
        loop {
            self.take_orders();
            self.step();
            self.wait();
        }
    }

    fn take_orders(&mut self) {
        let mut rung = [0; 8];
        let _ = rustix::io::read(&self.bell, &mut rung);
        while let Ok(order) = self.orders.try_recv() {
            match order {
                Order::Watch { resource, token, plan } => {
                    drop(self.targets.insert(resource, Target::new(token, plan)));
                }
                Order::Forget(resource) => drop(self.targets.remove(&resource)),
            }
        }
    }

    /// Begins what is due and takes up what can go on.
    fn step(&mut self) {
        let now = Instant::now();
        for (resource, target) in &mut self.targets {
            if let Some((health, detail)) = target.step(now) {
                let resource = resource.clone();
                (self.tell)(Found { resource, token: target.token, health, detail });
            }
        }
    }

    fn wait(&self) {
        let mut fds = vec![PollFd::from_borrowed_fd(self.bell.as_fd(), PollFlags::IN)];
        let attempts = || self.targets.values().filter_map(|target| target.attempt.as_ref());
        fds.extend(attempts().flat_map(Attempt::awaits));
        let due = self.targets.values().map(Target::due).min();
        let left = due.map(|due| due.saturating_duration_since(Instant::now()));
        let left = left.and_then(|left| Timespec::try_from(left).ok());
        // An interrupted or failed wait only means to look earlier.
        let _ = poll(&mut fds, left.as_ref());
    }
}

impl Target {
    fn new(token: u64, plan: ProbePlan) -> Self {
        let next = Instant::now() + plan.interval;
        Self { token, plan, next, attempt: None, failed: 0, unknown: 0, told: None }
    }

    /// When it must be looked at without an event.
    fn due(&self) -> Instant {
        self.attempt.as_ref().map_or(self.next, Attempt::until)
    }

    /// Goes on as far as it can; gives what is to be told.
    fn step(&mut self, now: Instant) -> Option<(Health, String)> {
        if self.attempt.is_none() && self.next <= now {
            self.next = now + self.plan.interval;
            match Attempt::begin(&self.plan.what, now + self.plan.timeout) {
                Ok(attempt) => self.attempt = Some(attempt),
                Err(seen) => return self.saw(seen),
            }
        }
        let seen = self.attempt.as_mut()?.step(now)?;
        self.attempt = None;
        self.saw(seen)
    }

    /// Counts what a probe saw. What failed counts until one works; what is unknown says nothing
    /// about it.
    fn saw(&mut self, seen: Seen) -> Option<(Health, String)> {
        let hang_fails = self.plan.hang_fails;
        let (health, times, why) = match seen {
            Seen::Works => {
                (self.failed, self.unknown) = (0, 0);
                (Health::Good, self.plan.failures, String::new())
            }
            Seen::Hangs(why) if !hang_fails => self.saw_nothing(why),
            Seen::CannotTell(why) => self.saw_nothing(why),
            Seen::Fails(why) | Seen::Hangs(why) => {
                self.failed = self.failed.saturating_add(1);
                self.unknown = 0;
                (Health::Bad, self.failed, why)
            }
        };
        if times < self.plan.failures || self.told == Some(health) {
            return None;
        }
        self.told = Some(health);
        let what = &self.plan.what;
        let row = if times > 1 { format!(", {times} times in a row") } else { String::new() };
        let detail = if why.is_empty() { why } else { format!("probe {what}: {why}{row}") };
        Some((health, detail))
    }

    fn saw_nothing(&mut self, why: String) -> (Health, u32, String) {
        self.unknown = self.unknown.saturating_add(1);
        (Health::Unknown, self.unknown, why)
    }
}

#[cfg(test)]
mod tests;
