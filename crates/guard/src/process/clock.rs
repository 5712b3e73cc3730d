//! The guard's clock and its one timer, both CLOCK_BOOTTIME: it runs on in suspend.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::time::{
    ClockId, Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, clock_gettime,
    timerfd_create, timerfd_settime,
};
use stead_model::{Span, Time};

const NANOS: u64 = 1_000_000_000;

/// Now, in nanoseconds since boot.
pub(super) fn boot_time() -> Time {
    let now = clock_gettime(ClockId::Boottime);
    Time(now.tv_sec as u64 * NANOS + now.tv_nsec as u64)
}

/// The time that the machine has spent suspended. Too small if the guard is held up between the
/// two readings, never too large.
pub(super) fn suspended() -> Span {
    let boot = boot_time();
    let running = clock_gettime(ClockId::Monotonic);
    Span(boot.0.saturating_sub(running.tv_sec as u64 * NANOS + running.tv_nsec as u64))
}

/// A timer that makes `poll` return.
#[derive(Debug)]
pub(super) struct Timer(OwnedFd);

impl Timer {
    pub(super) fn new() -> io::Result<Self> {
        let flags = TimerfdFlags::CLOEXEC | TimerfdFlags::NONBLOCK;
        Ok(Self(timerfd_create(TimerfdClockId::Boottime, flags)?))
    }

    /// Sets it to that time; a past one fires at once, `None` never.
    pub(super) fn set(&self, at: Option<Time>) {
        let at = at.map_or(0, |at| at.0.max(1));
        let value = Timespec { tv_sec: (at / NANOS) as i64, tv_nsec: (at % NANOS) as i64 };
        let zero = Timespec { tv_sec: 0, tv_nsec: 0 };
        let timer = Itimerspec { it_interval: zero, it_value: value };
        timerfd_settime(&self.0, TimerfdTimerFlags::ABSTIME, &timer)
            .expect("an own timer takes any time since boot");
    }

    /// Forgets that it fired.
    pub(super) fn clear(&self) {
        // Fails when it did not fire.
        let _ = rustix::io::read(&self.0, &mut [0; 8]);
    }
}

impl AsFd for Timer {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
