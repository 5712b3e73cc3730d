//! The threads that call the types: a few at once, however many resources there are.
//!
//! ```text
//!   calls ──► checks, then orders, each in turn ──► at most `at_once` threads
//!                                                   + one for each call that takes long
//! ```
//!
//! Many calls at the same moment wait for each other: a start of an agent costs processor time,
//! and a thousand at once would only hinder each other. A call that takes long waits for
//! something, a device or a program, and takes no part in that: after [`LONG`] its place is given
//! to the next, so that hung calls hold nobody up. Checks come first: there are few of them, and
//! what they would find is not to wait for a group that comes online.
//!
//! Threads come with the calls and go a moment after the last one.

use std::collections::{BTreeMap, VecDeque};
use std::num::NonZero;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use stead_model::{Span, Time};

use super::STACK_BYTES;
use crate::host::clock::boot_time;

/// A call that takes this long does not count any more.
const LONG: Span = Span::from_secs(2);
/// Threads at all: a node on which so many calls hang has other troubles.
const THREADS_MAX: usize = 1024;
/// A thread without a call waits this long for the next.
const IDLE: Duration = Duration::from_secs(3);

/// What a thread is to do.
type Job = Box<dyn FnOnce() + Send>;

/// What kind of call it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Errand {
    /// A check.
    Check,
    /// A start, a stop, an adoption.
    Order,
}

/// The threads, and the calls that wait for one.
#[derive(Clone)]
pub(super) struct Crew(Arc<Shared>);

struct Shared {
    at_once: usize,
    state: Mutex<State>,
    work: Condvar,
}

#[derive(Default)]
struct State {
    checks: VecDeque<Job>,
    orders: VecDeque<Job>,
    /// When each call that runs began.
    busy: BTreeMap<u64, Time>,
    calls: u64,
    /// Threads that wait for a call, and all threads, those that are only starting included.
    idle: usize,
    threads: usize,
}

impl Crew {
    /// So many calls at once; by default a few for each processor.
    pub(super) fn new(at_once: Option<usize>) -> Self {
        let cores = || thread::available_parallelism().map_or(2, NonZero::get);
        let at_once = at_once.unwrap_or_else(|| (cores() * 8).clamp(16, 64));
        let (state, work) = (Mutex::default(), Condvar::new());
        Self(Arc::new(Shared { at_once, state, work }))
    }

    /// Has the job done by a thread, in its turn. One that panics takes its thread along.
    pub(super) fn call(&self, errand: Errand, job: impl FnOnce() + Send + 'static) {
        let mut state = self.0.lock();
        match errand {
            Errand::Check => state.checks.push_back(Box::new(job)),
            Errand::Order => state.orders.push_back(Box::new(job)),
        }
        self.hire(state);
    }

    /// When [`Crew::look`] has something to do.
    pub(super) fn next_deadline(&self) -> Option<Time> {
        let state = self.0.lock();
        if !state.has_work() || state.threads >= THREADS_MAX {
            return None;
        }
        let now = boot_time();
        let counted = state.busy.values().map(|since| *since + LONG).filter(|long| *long > now);
        counted.min()
    }

    /// Gives the places of calls that have taken long by now to those that wait.
    pub(super) fn look(&self) {
        self.hire(self.0.lock());
    }

    /// Wakes or starts a thread for a job, if one may be done.
    fn hire(&self, mut state: MutexGuard<'_, State>) {
        let now = boot_time();
        let counted = state.counted(now);
        // Those that wait for a call or are only starting.
        let ready = state.threads.saturating_sub(state.busy.len());
        let free = self.0.at_once.saturating_sub(counted + ready);
        let jobs = (state.checks.len() + state.orders.len()).saturating_sub(ready);
        let new = free.min(jobs).min(THREADS_MAX.saturating_sub(state.threads));
        state.threads += new;
        let wake = if state.has_work() { state.idle } else { 0 };
        drop(state);
        (0..wake).for_each(|_| self.0.work.notify_one());
        for _ in 0..new {
            let crew = Arc::clone(&self.0);
            let builder = thread::Builder::new().stack_size(STACK_BYTES);
            if builder.spawn(move || crew.work()).is_err() {
                self.0.lock().threads -= 1;
            }
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One thread: does jobs until none comes any more.
    fn work(&self) {
        let mut state = self.lock();
        loop {
            if let Some(job) = state.next(self.at_once) {
                state.calls += 1;
                let number = state.calls;
                state.busy.insert(number, boot_time());
                drop(state);
                // What it is worth is told by the job itself.
                drop(catch_unwind(AssertUnwindSafe(job)));
                state = self.lock();
                state.busy.remove(&number);
                continue;
            }
            state.idle += 1;
            let waited = self.work.wait_timeout(state, IDLE);
            let (again, timeout) = waited.unwrap_or_else(PoisonError::into_inner);
            state = again;
            state.idle -= 1;
            if timeout.timed_out() && !state.has_work() {
                state.threads -= 1;
                return;
            }
        }
    }
}

impl State {
    fn has_work(&self) -> bool {
        !self.checks.is_empty() || !self.orders.is_empty()
    }

    /// Calls that run and have not taken long yet.
    fn counted(&self, now: Time) -> usize {
        self.busy.values().filter(|since| now.since(**since) < LONG).count()
    }

    fn next(&mut self, at_once: usize) -> Option<Job> {
        if !self.has_work() || self.counted(boot_time()) >= at_once {
            return None;
        }
        self.checks.pop_front().or_else(|| self.orders.pop_front())
    }
}

impl std::fmt::Debug for Crew {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Crew").field("at_once", &self.0.at_once).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{RecvTimeoutError, channel};

    use super::*;

    const LIMIT: Duration = Duration::from_secs(60);

    #[test]
    fn so_many_at_once_and_checks_first() {
        let crew = Crew::new(Some(2));
        let (told, tell) = channel();
        let (go, gone) = channel::<()>();
        let gone = Arc::new(Mutex::new(gone));
        let held = |name: &'static str| {
            let (told, gone) = (told.clone(), Arc::clone(&gone));
            move || {
                told.send(name).unwrap();
                gone.lock().unwrap().recv().unwrap();
            }
        };
        let short = |name: &'static str| {
            let told = told.clone();
            move || told.send(name).unwrap()
        };
        crew.call(Errand::Order, held("one"));
        crew.call(Errand::Order, held("two"));
        let mut first = [tell.recv_timeout(LIMIT).unwrap(), tell.recv_timeout(LIMIT).unwrap()];
        first.sort_unstable();
        assert_eq!(first, ["one", "two"]);
        crew.call(Errand::Order, short("three"));
        crew.call(Errand::Check, short("check"));
        assert_eq!(crew.0.lock().threads, 2);
        go.send(()).unwrap();
        assert_eq!(tell.recv_timeout(LIMIT), Ok("check"));
        assert_eq!(tell.recv_timeout(LIMIT), Ok("three"));
        go.send(()).unwrap();
    }

    #[test]
    fn calls_that_take_long_hold_nobody_up() {
        let crew = Crew::new(Some(1));
        let (told, tell) = channel();
        let (go, gone) = channel::<()>();
        crew.call(Errand::Order, move || assert!(gone.recv().is_err()));
        let answer = told.clone();
        crew.call(Errand::Order, move || answer.send("behind it").unwrap());
        assert_eq!(tell.recv_timeout(Duration::from_millis(100)), Err(RecvTimeoutError::Timeout));
        let at = crew.next_deadline().expect("the long call is waited for");
        assert!(at > boot_time());
        while boot_time() < at {
            thread::sleep(Duration::from_millis(50));
        }
        crew.look();
        assert_eq!(tell.recv_timeout(LIMIT), Ok("behind it"));
        assert_eq!(crew.next_deadline(), None);
        drop(go);
        drop(told);
    }

    #[test]
    fn a_job_that_panics_leaves_the_others_alone() {
        let crew = Crew::new(Some(1));
        let (told, tell) = channel();
        crew.call(Errand::Order, || panic!("planted"));
        crew.call(Errand::Order, move || told.send(()).unwrap());
        assert_eq!(tell.recv_timeout(LIMIT), Ok(()));
    }
}
