//! The watchdog: resets the node when the guard gives no sign of life, or when what must be stopped
//! is not gone after the grace.
//!
//! A sign is given several times within the timeout, and only while nothing is overdue. A guard
//! that is frozen or killed gives none; it does not close the device in order either, so the
//! watchdog goes on counting until the next guard has opened it. A guard that ends in order has
//! stopped everything and says so (the "magic close" of the kernel's interface), and the watchdog
//! rests. One that was built with *nowayout* does not.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use stead_model::config::WatchdogConfig;
use stead_model::{Span, Time};

use super::clock::boot_time;
use super::handover::{Kept, Luggage};
use super::{GuardProcess, Notice};
use crate::sys;

/// Signs of life within the timeout: two may come late before it matters.
const SIGNS: u64 = 4;
/// What the kernel takes for "everything is in order, rest" when the device is closed.
const REST: &[u8] = b"V";

/// An armed watchdog.
#[derive(Debug)]
pub(super) struct Watchdog {
    device: File,
    timeout_s: u32,
    next: Time,
}

/// Why a watchdog cannot be used.
#[derive(Debug, thiserror::Error)]
pub(super) enum WatchdogError {
    /// It cannot be opened.
    #[error("{path} cannot be opened: {source}")]
    Open {
        /// The device.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It does not take the timeout.
    #[error("{path} does not take a timeout of {timeout_s} s: {source}")]
    Timeout {
        /// The device.
        path: PathBuf,
        /// What it was told, in seconds.
        timeout_s: u32,
        /// Why.
        source: io::Error,
    },
}

impl Watchdog {
    /// Arms it: from now on it resets the node unless signs come.
    fn arm(config: &WatchdogConfig) -> Result<Self, WatchdogError> {
        let path = config.device.as_path();
        let open = |source| WatchdogError::Open { path: path.to_owned(), source };
        let options = OpenOptions::new().write(true).custom_flags(libc::O_NONBLOCK).open(path);
        Self::set(options.map_err(open)?, path, config.timeout_s)
    }

    fn set(mut device: File, path: &Path, timeout_s: u32) -> Result<Self, WatchdogError> {
        match sys::set_watchdog_timeout(device.as_fd(), timeout_s) {
            // A device may round; what it took counts.
            Ok(timeout_s) => Ok(Self { device, timeout_s, next: Time(0) }),
            Err(source) => {
                // It counts since it was opened.
                drop(device.write_all(REST));
                Err(WatchdogError::Timeout { path: path.to_owned(), timeout_s, source })
            }
        }
    }

    fn sign(&mut self, now: Time) -> io::Result<()> {
        self.next = now + Span(Span::from_secs(u64::from(self.timeout_s)).0 / SIGNS);
        self.device.write_all(b".")
    }

    /// Takes it along over an exec.
    pub(super) fn hand_over(&self, luggage: &mut Luggage) -> Kept {
        luggage.keep(&self.device)
    }
}

/// Arms the watchdog that is configured, or goes on with the one of the former program; says what
/// came of it.
pub(super) fn begin(
    config: Option<&WatchdogConfig>,
    former: Option<Kept>,
    notices: &mut Vec<Notice>,
) -> Option<Watchdog> {
    notices.retain(|notice| !CODES.contains(&notice.code.as_str()));
    let former = former.and_then(|kept| kept.take().ok()).map(File::from);
    let Some(config) = config else {
        // Configured no more: it rests.
        if let Some(mut device) = former {
            drop(device.write_all(REST));
        }
        return None;
    };
    let armed = match former {
        Some(device) => Watchdog::set(device, &config.device, config.timeout_s),
        None => Watchdog::arm(config),
    };
    let device = config.device.display();
    match armed {
        Ok(watchdog) => {
            let text = format!(
                "{device} resets this node {} s after the guard's last sign of life",
                watchdog.timeout_s
            );
            notices.push(Notice::info(ARMED, text));
            Some(watchdog)
        }
        Err(why) => {
            let text = format!(
                "no watchdog: {why}; a node that hangs is not reset. hint: load its module, or \
                 take `watchdog` out of the configuration"
            );
            notices.push(Notice::warning(MISSING, text));
            None
        }
    }
}

const ARMED: &str = "watchdog-armed";
const MISSING: &str = "watchdog-missing";
const CODES: [&str; 2] = [ARMED, MISSING];

impl GuardProcess {
    /// Gives the sign of life when it is due, and not while something is overdue.
    pub(super) fn show_life(&mut self) {
        let now = boot_time();
        if self.guard.is_overdue() {
            return;
        }
        let due = self.watchdog.as_mut().filter(|watchdog| watchdog.next <= now);
        if let Some(Err(why)) = due.map(|watchdog| watchdog.sign(now)) {
            let text = format!("the watchdog does not take the guard's sign of life: {why}");
            self.notice(Notice::warning("watchdog-deaf", text));
        }
    }

    /// When the next sign of life is due.
    pub(super) fn next_sign(&self) -> Option<Time> {
        self.watchdog.as_ref().filter(|_| !self.guard.is_overdue()).map(|watchdog| watchdog.next)
    }

    /// What becomes of a node on which something is overdue.
    pub(super) fn reset_follows(&self) -> String {
        self.watchdog.as_ref().map_or_else(String::new, |watchdog| {
            let timeout_s = watchdog.timeout_s;
            format!("; the watchdog resets this node within {timeout_s} s unless they end")
        })
    }

    /// Everything is stopped and the guard ends: the watchdog rests.
    pub(super) fn rest(&mut self) {
        if let Some(mut watchdog) = self.watchdog.take() {
            // If it does not listen it resets the node, which harms nobody else.
            drop(watchdog.device.write_all(REST));
        }
    }
}
