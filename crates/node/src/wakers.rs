//! What wakes the core thread: one epoll set and one timer on the boot clock.
//!
//! The timer is absolute: after a suspend, a stop or a long stall it fires at once.

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};

use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};
use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create,
    timerfd_settime,
};
use stead_model::Time;

use crate::monitors::Slot;

/// Who woke the core thread.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Waker {
    /// The deadline.
    Timer,
    /// The guard.
    Guard,
    /// Another thread.
    Inbox,
    /// The resource monitor whose conversation has this number.
    Monitor(Slot),
    /// A datagram on the network with this index.
    Network(usize),
}

const NETWORKS_FROM: u64 = 16;
const MONITORS_FROM: u64 = 1 << 32;

impl Waker {
    const fn code(self) -> u64 {
        match self {
            Self::Timer => 0,
            Self::Guard => 1,
            Self::Inbox => 2,
            Self::Monitor(slot) => MONITORS_FROM + slot as u64,
            Self::Network(index) => NETWORKS_FROM + index as u64,
        }
    }

    const fn of(code: u64) -> Self {
        match code {
            0 => Self::Timer,
            1 => Self::Guard,
            2 => Self::Inbox,
            MONITORS_FROM.. => Self::Monitor((code - MONITORS_FROM) as Slot),
            code => Self::Network((code - NETWORKS_FROM) as usize),
        }
    }
}

/// The set and the timer.
pub(crate) struct Wakers {
    set: OwnedFd,
    timer: OwnedFd,
    armed: Option<Time>,
}

impl std::fmt::Debug for Wakers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Wakers").field("armed", &self.armed).finish_non_exhaustive()
    }
}

impl Wakers {
    pub(crate) fn new() -> io::Result<Self> {
        let set = epoll::create(CreateFlags::CLOEXEC)?;
        let flags = TimerfdFlags::CLOEXEC | TimerfdFlags::NONBLOCK;
        let timer = timerfd_create(TimerfdClockId::Boottime, flags)?;
        let wakers = Self { set, timer, armed: None };
        wakers.add(&wakers.timer, Waker::Timer)?;
        Ok(wakers)
    }

    /// Waits on a descriptor from now on.
    pub(crate) fn add(&self, fd: impl AsFd, waker: Waker) -> io::Result<()> {
        let data = EventData::new_u64(waker.code());
        Ok(epoll::add(&self.set, fd, data, EventFlags::IN)?)
    }

    /// Waits also for room to send, or no longer.
    pub(crate) fn want_room(&self, fd: impl AsFd, waker: Waker, wanted: bool) -> io::Result<()> {
        let data = EventData::new_u64(waker.code());
        let room = if wanted { EventFlags::OUT } else { EventFlags::empty() };
        Ok(epoll::modify(&self.set, fd, data, EventFlags::IN | room)?)
    }

    /// Sets the deadline.
    pub(crate) fn arm(&mut self, at: Option<Time>) -> io::Result<()> {
        if at == self.armed {
            return Ok(());
        }
        // Zero would disarm; the first nanosecond of the clock is long over.
        let ns = at.map_or(0, |at| at.0.max(1));
        let it_value =
            Timespec { tv_sec: (ns / 1_000_000_000) as i64, tv_nsec: (ns % 1_000_000_000) as i64 };
        let it_interval = Timespec { tv_sec: 0, tv_nsec: 0 };
        let when = Itimerspec { it_interval, it_value };
        timerfd_settime(&self.timer, TimerfdTimerFlags::ABSTIME, &when)?;
        self.armed = at;
        Ok(())
    }

    /// Waits until somebody wakes; fills `woken`.
    pub(crate) fn wait(&mut self, woken: &mut Vec<Waker>) -> io::Result<()> {
        woken.clear();
        let mut ready = [const { MaybeUninit::<epoll::Event>::uninit() }; 16];
        let ready = match epoll::wait(&self.set, &mut ready[..], None) {
            Ok((ready, _)) => ready,
            Err(rustix::io::Errno::INTR) => return Ok(()),
            Err(error) => return Err(error.into()),
        };
        for event in ready {
            let waker = Waker::of(event.data.u64());
            if waker == Waker::Timer {
                let _ = rustix::io::read(&self.timer, &mut [0; 8]);
                self.armed = None;
            }
            woken.push(waker);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock;
    use stead_model::Span;

    #[test]
    fn wakers_are_told_apart() {
        let all = [Waker::Timer, Waker::Guard, Waker::Inbox, Waker::Monitor(0), Waker::Monitor(32)];
        for waker in all.into_iter().chain([Waker::Network(0), Waker::Network(99)]) {
            assert_eq!(Waker::of(waker.code()), waker);
        }
    }

    #[test]
    fn a_deadline_wakes_when_it_has_come_and_also_when_it_is_long_over() {
        let mut wakers = Wakers::new().unwrap();
        let mut woken = Vec::new();
        for span in [Span::from_millis(5), Span::ZERO] {
            let at = clock::now() + span;
            wakers.arm(Some(at)).unwrap();
            wakers.wait(&mut woken).unwrap();
            assert_eq!(woken, [Waker::Timer]);
            assert!(clock::now() >= at);
        }
        wakers.arm(Some(Time(0))).unwrap();
        wakers.wait(&mut woken).unwrap();
        assert_eq!(woken, [Waker::Timer]);
    }
}
