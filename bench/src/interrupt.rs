//! Ctrl-C and SIGTERM: the lab is ended before the program is.

use std::io;
use std::process;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use stead_lab::Home;
use tokio::runtime::Builder;
use tokio::signal::unix::{SignalKind, signal};

use crate::screen;

/// From now on either signal ends the lab of this name, then the program with exit code 130.
pub(crate) fn watch(lab: String, home: Home) -> io::Result<()> {
    let runtime = Builder::new_current_thread().enable_all().build()?;
    let (mut interrupted, mut terminated) = {
        let _inside = runtime.enter();
        (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?)
    };
    thread::spawn(move || {
        runtime.block_on(async {
            tokio::select! {
                _ = interrupted.recv() => {}
                _ = terminated.recv() => {}
            }
        });
        screen::talk("interrupted; the lab is ended");
        end(&lab, &home);
        let _nothing_of_ours_runs = hold_off();
        process::exit(EXIT_INTERRUPTED);
    });
    Ok(())
}

/// As long as this is kept the program is not ended by a signal: for what only its owner can end.
pub(crate) fn hold_off() -> MutexGuard<'static, ()> {
    static HELD_OFF: Mutex<()> = Mutex::new(());
    HELD_OFF.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The interrupted thread may be just about to make the lab: it is looked for a little longer.
fn end(lab: &str, home: &Home) {
    for _ in 0..LOOKS {
        if home.lab(lab).exists()
            && let Err(error) = stead_lab::down(home, Some(lab))
        {
            screen::talk(&screen::chain(&error));
        }
        thread::sleep(BETWEEN_LOOKS);
    }
}

const EXIT_INTERRUPTED: i32 = 130;
const LOOKS: u32 = 5;
const BETWEEN_LOOKS: Duration = Duration::from_millis(200);
