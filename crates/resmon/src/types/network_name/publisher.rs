//! Publishes a name in the background: a failover does not wait for DNS.
//!
//! ```text
//!  publish ─► a thread ─► registered ──► the thread ends
//!  look again ─┘   ▲         │ trouble
//!                  └─ pause ─┘           1 s, then twice as long each time, at most 60 s
//! ```
//!
//! There is a thread only while something is to be done. What becomes of it is told when it
//! changes, and shown with the health of the name.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use crate::dns::{Content, Intent, Registration, Trouble};
use crate::monitor::STACK_BYTES;
use crate::resource_type::{Cancel, Context, Fault};

/// The pause before another try, at first and at most.
const PAUSE_FIRST: Duration = Duration::from_secs(1);
const PAUSE_LONGEST: Duration = Duration::from_secs(60);

/// Publishes one name.
#[derive(Debug)]
pub(super) struct Publisher {
    context: Context,
    closed: Cancel,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    wanted: Option<Wanted>,
    at_work: AtWork,
    /// What was told last; `None`: nothing yet.
    told: Option<Result<String, String>>,
}

/// What shall be published.
#[derive(Clone, Debug)]
pub(super) struct Wanted {
    pub(super) registration: Registration,
    pub(super) content: Content,
    pub(super) intent: Intent,
}

#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
enum AtWork {
    #[default]
    No,
    Yes,
}

/// What a try came to.
enum Came {
    Published(String),
    /// There is nothing to be done by this owner any more.
    Over,
    Trouble(Trouble),
}

impl Publisher {
    pub(super) fn new(context: Context) -> Arc<Self> {
        let closed = context.new_cancel();
        Arc::new(Self { context, closed, state: Mutex::default() })
    }

    /// From now on this is to be published.
    pub(super) fn publish(self: &Arc<Self>, wanted: Wanted) {
        self.state().wanted = Some(wanted);
        self.context.ring();
        self.look();
    }

    /// Nothing is to be published any more; what is stays.
    pub(super) fn stop(&self) {
        self.state().wanted = None;
        self.context.ring();
    }

    /// Publishes now, and tries again for a while where no server answers.
    ///
    /// # Errors
    /// It is not published: the name cannot come online (`require-dns`).
    pub(super) fn publish_now(
        self: &Arc<Self>,
        wanted: Wanted,
        (limit, cancel): (Duration, &Cancel),
    ) -> Result<(), Fault> {
        let end = std::time::Instant::now() + limit;
        let mut pause = PAUSE_FIRST;
        loop {
            let trouble = match attempt(&wanted) {
                Came::Published(text) => {
                    let mut state = self.state();
                    state.wanted = Some(wanted);
                    self.tell(&mut state, Ok(text));
                    return Ok(());
                }
                Came::Over => {
                    return Err(Fault::Failed("it was published by a later owner".into()));
                }
                Came::Trouble(trouble) => trouble,
            };
            let again = matches!(trouble, Trouble::Silent { .. } | Trouble::Garbled { .. });
            let late = std::time::Instant::now() + pause > end;
            if !again || late || cancel.sleep(pause) == crate::resource_type::Slept::Cancelled {
                return Err(Fault::Failed(format!(
                    "it is not in DNS, which it requires: {trouble}"
                )));
            }
            pause = (pause * 2).min(PAUSE_LONGEST);
        }
    }

    /// What is wrong, if something is known to be.
    pub(super) fn trouble(&self) -> Option<String> {
        match &self.state().told {
            Some(Err(why)) => Some(why.clone()),
            Some(Ok(_)) | None => None,
        }
    }

    /// Looks whether it is still published, unless that is being done.
    pub(super) fn look(self: &Arc<Self>) {
        let mut state = self.state();
        if state.wanted.is_none() || state.at_work == AtWork::Yes {
            return;
        }
        state.at_work = AtWork::Yes;
        let own = Arc::clone(self);
        let builder = thread::Builder::new().name("dns".into()).stack_size(STACK_BYTES);
        if let Err(why) = builder.spawn(move || own.work()) {
            state.at_work = AtWork::No;
            self.tell(&mut state, Err(format!("no thread to publish it: {why}")));
        }
    }

    /// Ends its thread.
    pub(super) fn close(&self) {
        self.stop();
        self.context.ask(&self.closed);
    }

    fn work(&self) {
        let mut pause = PAUSE_FIRST;
        while let Some(wanted) = self.next() {
            let came = attempt(&wanted);
            let mut state = self.state();
            let is_wanted = |state: &State| {
                let now = state.wanted.as_ref();
                now.is_some_and(|now| now.intent.is_same(&wanted.intent))
            };
            if !is_wanted(&state) {
                pause = PAUSE_FIRST;
                continue;
            }
            match came {
                Came::Published(text) => {
                    self.tell(&mut state, Ok(text));
                    state.at_work = AtWork::No;
                    return;
                }
                Came::Over => state.wanted = None,
                Came::Trouble(why) => {
                    self.tell(&mut state, Err(format!("it is not in DNS as it should be: {why}")));
                    drop(state);
                    // Sooner if something else is wanted.
                    let changed = || (!is_wanted(&self.state())).then_some(());
                    let _ = self.closed.wait_for(pause, changed);
                    pause = (pause * 2).min(PAUSE_LONGEST);
                }
            }
        }
    }

    /// What is to be done; with nothing left the thread ends.
    fn next(&self) -> Option<Wanted> {
        let mut state = self.state();
        let wanted = state.wanted.clone().filter(|_| !self.closed.is_asked());
        if wanted.is_none() {
            state.at_work = AtWork::No;
        }
        wanted
    }

    /// Tells what is new.
    fn tell(&self, state: &mut State, said: Result<String, String>) {
        if state.told.as_ref() != Some(&said) {
            let (Ok(text) | Err(text)) = said.clone();
            self.context.push.notice(text);
            state.told = Some(said);
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn attempt(wanted: &Wanted) -> Came {
    let Wanted { registration, content, intent } = wanted;
    match intent.act(|| registration.publish(content)) {
        None | Some(Err(Trouble::Later(_))) => Came::Over,
        Some(Err(trouble)) => Came::Trouble(trouble),
        Some(Ok(beside)) => {
            let addresses: Vec<String> =
                content.addresses.iter().map(ToString::to_string).collect();
            let name = registration.full_name();
            let mut text = format!("`{name}` is {} in DNS", addresses.join(", "));
            for said in beside {
                text.push_str("; ");
                text.push_str(&said);
            }
            Came::Published(text)
        }
    }
}
