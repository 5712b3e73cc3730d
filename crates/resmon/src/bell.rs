//! A bell for all threads of one resource: whoever changes something of it rings, whoever waits
//! looks.
//!
//! Types wait for a program to end, for a delay, for being told to stop: always for the first of
//! several things. One condition variable for all of a resource keeps that simple; what happens to
//! one resource wakes nobody of another.

use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// The bell.
#[derive(Debug, Default)]
pub(crate) struct Bell {
    lock: Mutex<()>,
    changed: Condvar,
}

impl Bell {
    /// Makes everyone who waits look again.
    pub(crate) fn ring(&self) {
        drop(self.lock.lock().unwrap_or_else(PoisonError::into_inner));
        self.changed.notify_all();
    }

    /// Waits until `look` finds something, at most `limit`; without a limit for ever.
    pub(crate) fn wait<T>(
        &self,
        limit: Option<Duration>,
        mut look: impl FnMut() -> Option<T>,
    ) -> Option<T> {
        let end = limit.map(|limit| Instant::now() + limit);
        let mut guard = self.lock.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            if let Some(found) = look() {
                return Some(found);
            }
            guard = match end {
                None => self.changed.wait(guard).unwrap_or_else(PoisonError::into_inner),
                Some(end) => {
                    let left = end.checked_duration_since(Instant::now())?;
                    let waited = self.changed.wait_timeout(guard, left);
                    waited.unwrap_or_else(PoisonError::into_inner).0
                }
            };
        }
    }
}

/// Tells a call that it shall return early.
#[derive(Clone, Debug)]
pub struct Cancel {
    bell: Arc<Bell>,
    asked: Arc<AtomicU8>,
}

/// How a sleep ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Slept {
    /// The time is over.
    Through,
    /// The call was cancelled.
    Cancelled,
}

impl Cancel {
    pub(crate) fn new(bell: Arc<Bell>) -> Self {
        Self { bell, asked: Arc::default() }
    }

    /// Whether the call shall return early.
    #[must_use]
    pub fn is_asked(&self) -> bool {
        self.asked.load(Ordering::SeqCst) != 0
    }

    /// Sleeps, at most until the call is cancelled.
    #[must_use]
    pub fn sleep(&self, time: Duration) -> Slept {
        match self.bell.wait(Some(time), || self.is_asked().then_some(())) {
            Some(()) => Slept::Cancelled,
            None => Slept::Through,
        }
    }

    /// Waits until `look` finds something, at most for `limit` or until the call is cancelled.
    /// Whoever changes what is looked at rings the bell.
    pub(crate) fn wait_for<T>(
        &self,
        limit: Duration,
        mut look: impl FnMut() -> Option<T>,
    ) -> Option<T> {
        let mut found = None;
        let _ = self.bell.wait(Some(limit), || {
            found = look();
            (found.is_some() || self.is_asked()).then_some(())
        });
        found
    }

    /// The bell that is rung when it is asked, and when something of its resource changes.
    pub(crate) fn bell(&self) -> &Bell {
        &self.bell
    }

    pub(crate) fn ask(&self) {
        self.asked.store(1, Ordering::SeqCst);
        self.bell.ring();
    }
}
