//! The clocks of this node: the boot clock for everything that safety hangs on, the wall clock
//! for policy and people.

use std::time::{SystemTime, UNIX_EPOCH};

use rustix::time::{ClockId, clock_gettime};
use stead_model::{Span, Time, UtcMillis};

/// Now on CLOCK_BOOTTIME: goes on during suspend, never jumps.
pub(crate) fn now() -> Time {
    let at = clock_gettime(ClockId::Boottime);
    Time(at.tv_sec as u64 * 1_000_000_000 + at.tv_nsec as u64)
}

/// The time that the machine has spent suspended.
pub(crate) fn suspended() -> Span {
    let boot = now();
    let running = clock_gettime(ClockId::Monotonic);
    let running = Time(running.tv_sec as u64 * 1_000_000_000 + running.tv_nsec as u64);
    boot.since(running)
}

/// Now on the wall clock; zero before 1970.
pub(crate) fn utc() -> UtcMillis {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    UtcMillis(since.as_millis() as u64)
}
