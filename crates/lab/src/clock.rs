//! The one clock of all measurements: CLOCK_BOOTTIME, the same in every namespace of the machine.

use std::thread;
use std::time::{Duration, Instant};

use rustix::time::ClockId;

/// Nanoseconds since the machine started, suspend included.
pub fn boot_ns() -> u64 {
    let now = rustix::time::clock_gettime(ClockId::Boottime);
    now.tv_sec.unsigned_abs() * 1_000_000_000 + now.tv_nsec.unsigned_abs()
}

/// Asks again and again until there is an answer or the time is over.
pub(crate) fn wait_for<T>(limit: Duration, mut ask: impl FnMut() -> Option<T>) -> Option<T> {
    let end = Instant::now() + limit;
    loop {
        if let Some(answer) = ask() {
            return Some(answer);
        }
        if Instant::now() >= end {
            return None;
        }
        thread::sleep(BETWEEN_QUESTIONS);
    }
}

const BETWEEN_QUESTIONS: Duration = Duration::from_millis(5);
