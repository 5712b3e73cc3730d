//! The node's boot clock.

use rustix::time::{ClockId, clock_gettime};
use stead_model::Time;

/// Now, in nanoseconds since boot (CLOCK_BOOTTIME).
pub(crate) fn boot_time() -> Time {
    let now = clock_gettime(ClockId::Boottime);
    Time(now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64)
}
