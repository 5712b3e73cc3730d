//! The soak: many seeds, all promises, and counters that prove what was visited.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use stead_core::Fault;

use crate::checkers::Violation;
use crate::run;
use crate::tally::Tally;
use crate::trace::Detail;

/// Seeds that once failed, one per line: number, then its story.
pub const SEEDS: &str = include_str!("../seeds.txt");

/// How long to soak.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Budget {
    /// So many seeds.
    Seeds(u64),
    /// So much CPU time, over all threads.
    Cpu(Duration),
}

/// What to soak.
#[derive(Clone, Debug)]
pub struct Soak {
    /// The first seed.
    pub from: u64,
    /// How long.
    pub budget: Budget,
    /// The planted fault, if one.
    pub planted: Option<Fault>,
    /// Seeds that are run first.
    pub first: Vec<u64>,
    /// How many threads.
    pub threads: usize,
    /// Whether to go on after a violation.
    pub keep_going: bool,
}

/// How a soak ended.
#[derive(Debug, Default)]
pub struct Result {
    /// Counts over all runs.
    pub tally: Tally,
    /// Broken promises by seed, lowest seed first.
    pub broken: Vec<(u64, Violation)>,
    /// Wall time.
    pub took: Duration,
}

/// The recorded seeds.
#[must_use]
pub fn recorded() -> Vec<u64> {
    let lines = SEEDS.lines().map(str::trim).filter(|l| !l.is_empty() && !l.starts_with('#'));
    lines.filter_map(|l| l.split_whitespace().next()?.parse().ok()).collect()
}

/// Seeds in the order in which they are run.
struct Queue {
    first: Vec<u64>,
    from: u64,
    next: AtomicU64,
    stop: AtomicBool,
}

impl Queue {
    fn take(&self) -> u64 {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let first = self.first.get(number as usize).copied();
        first.unwrap_or_else(|| self.from + number - self.first.len() as u64)
    }

    fn taken(&self) -> u64 {
        self.next.load(Ordering::Relaxed)
    }
}

/// Soaks; `seen` is called after every run.
pub fn soak(soak: &Soak, seen: &(dyn Fn(u64, Option<&Violation>) + Sync)) -> Result {
    let queue = Queue {
        first: soak.first.clone(),
        from: soak.from,
        next: AtomicU64::new(0),
        stop: AtomicBool::new(false),
    };
    let begun = Instant::now();
    let result = Mutex::new(Result::default());
    std::thread::scope(|scope| {
        for _ in 0..soak.threads.max(1) {
            scope.spawn(|| work(soak, &queue, &result, seen));
        }
    });
    let mut result = result.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
    result.broken.sort_by_key(|(seed, _)| *seed);
    result.took = begun.elapsed();
    result
}

fn work(
    soak: &Soak,
    queue: &Queue,
    result: &Mutex<Result>,
    seen: &(dyn Fn(u64, Option<&Violation>) + Sync),
) {
    let begun = Instant::now();
    let threads = soak.threads.max(1) as u32;
    let more = || match soak.budget {
        Budget::Seeds(seeds) => queue.taken() < seeds + soak.first.len() as u64,
        Budget::Cpu(time) => begun.elapsed() * threads < time,
    };
    while more() && !queue.stop.load(Ordering::Relaxed) {
        let seed = queue.take();
        let outcome = run::seed(seed, soak.planted, Detail::Hash);
        seen(seed, outcome.violation.as_ref());
        let mut result = result.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        result.tally.add(&outcome.tally);
        if let Some(violation) = outcome.violation {
            result.broken.push((seed, violation));
            queue.stop.fetch_or(!soak.keep_going, Ordering::Relaxed);
        }
    }
}
