//! Work that takes no deadline: a thread does it, and is waited for so long.

use std::sync::mpsc;
use std::thread;
use std::time::Duration;

/// What came of it, unless it takes longer. A thread that takes longer ends with the program.
pub(super) fn within<T: Send + 'static>(
    limit: Duration,
    work: impl FnOnce() -> T + Send + 'static,
) -> Option<T> {
    let (tell, told) = mpsc::channel();
    thread::spawn(move || {
        // Whoever asked may have gone on without it.
        let _ = tell.send(work());
    });
    told.recv_timeout(limit).ok()
}
