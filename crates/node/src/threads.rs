//! Threads of the service: a panic in one ends the service with a clear last line.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread::{Builder, JoinHandle};

use tokio::runtime::Runtime;
use tokio::sync::watch;

use crate::inbox::{Inbox, Item};

/// Stack of a thread; only what is used is ever backed by memory.
const STACK_BYTES: usize = 512 << 10;

/// Starts a thread. Its panic reaches the core thread as [`Item::Fatal`].
pub(crate) fn start(
    name: &str,
    inbox: Arc<Inbox>,
    body: impl FnOnce() + Send + 'static,
) -> io::Result<JoinHandle<()>> {
    let own_name = name.to_owned();
    let guarded = move || {
        if let Err(panic) = catch_unwind(AssertUnwindSafe(body)) {
            let why = format!("thread `{own_name}` ended in a panic: {}", words(&*panic));
            inbox.push(Item::Fatal(why));
        }
    };
    Builder::new().name(name.into()).stack_size(STACK_BYTES).spawn(guarded)
}

/// Threads that serve others over sockets: they end with the service, and their sockets with them.
#[derive(Debug)]
pub(crate) struct Serving {
    running: watch::Sender<()>,
    threads: Vec<JoinHandle<()>>,
}

impl Serving {
    pub(crate) fn new() -> Self {
        Self { running: watch::Sender::new(()), threads: Vec::new() }
    }

    /// Starts a thread that works until the end of the service at the latest.
    pub(crate) fn start(
        &mut self,
        name: &str,
        (inbox, runtime): (Arc<Inbox>, Runtime),
        work: impl Future<Output = ()> + Send + 'static,
    ) -> io::Result<()> {
        let mut running = self.running.subscribe();
        let until_the_end = async move {
            tokio::select! {
                () = work => {}
                _ = running.changed() => {}
            }
        };
        let body = move || {
            runtime.block_on(until_the_end);
            // A name that is still being looked up holds nobody up.
            runtime.shutdown_background();
        };
        self.threads.push(start(name, inbox, body)?);
        Ok(())
    }
}

impl Drop for Serving {
    /// Afterwards the addresses are free.
    fn drop(&mut self) {
        self.running.send_replace(());
        for thread in self.threads.drain(..) {
            // A panic was told when it happened.
            let _ = thread.join();
        }
    }
}

/// A runtime for one thread: no workers, no pool until somebody blocks.
pub(crate) fn runtime() -> io::Result<Runtime> {
    tokio::runtime::Builder::new_current_thread().enable_all().max_blocking_threads(1).build()
}

/// Completes when the process is told to end; never without `signals`.
pub(crate) async fn told_to_stop(signals: bool) {
    use tokio::signal::unix::{SignalKind, signal};
    if signals && let Ok(mut terminate) = signal(SignalKind::terminate()) {
        terminate.recv().await;
        return;
    }
    std::future::pending::<()>().await;
}

/// What a panic said.
pub(crate) fn words(panic: &(dyn std::any::Any + Send)) -> &str {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("without words")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_is_told_with_the_thread_and_its_words() {
        let inbox = Arc::new(Inbox::new().unwrap());
        start("doomed", Arc::clone(&inbox), || panic!("of {}", 7)).unwrap();
        use rustix::event::{PollFd, PollFlags, Timespec, poll};
        let mut fds = [PollFd::new(&*inbox, PollFlags::IN)];
        poll(&mut fds, Some(&Timespec { tv_sec: 20, tv_nsec: 0 })).unwrap();
        let Some(Item::Fatal(why)) = inbox.pop() else { panic!("nothing was told") };
        assert_eq!(why, "thread `doomed` ended in a panic: of 7");
    }
}
