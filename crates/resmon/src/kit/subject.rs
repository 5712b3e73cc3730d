//! One life of a program under test.

use std::cell::RefCell;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use stead_resource_sdk::protocol::{Ask, Checked, Description, Health, Opening, Told};

use super::{Kit, herd};
use crate::bell::{Bell, Cancel};
use crate::external::companion::Companion;
use crate::external::session::{End, Heard, Session};
use crate::external::{described, describing, why};

/// A program that runs.
pub(super) struct Life<'a> {
    kit: &'a Kit<'a>,
    companion: RefCell<Companion>,
    bell: Arc<Bell>,
    broke: Arc<Mutex<Option<String>>>,
}

impl<'a> Life<'a> {
    /// Starts the program.
    pub(super) fn begin(kit: &'a Kit<'a>) -> Result<Self, String> {
        let bell = Arc::new(Bell::default());
        let broke: Arc<Mutex<Option<String>>> = Arc::default();
        let heard = Arc::clone(&broke);
        let tell = Box::new(move |said| {
            if let Heard::Broke(why) = said {
                *heard.lock().unwrap_or_else(PoisonError::into_inner) = Some(why);
            }
        });
        let program = &kit.trials.program;
        let companion = Companion::start(program, Arc::clone(&bell), tell)
            .map_err(|e| format!("{} cannot be run: {e}", program.display()))?;
        Ok(Self { kit, companion: RefCell::new(companion), bell, broke })
    }

    /// Starts the program and opens the resource.
    pub(super) fn opened(kit: &'a Kit<'a>) -> Result<Self, String> {
        let life = Self::begin(kit)?;
        life.describe()?;
        life.open()?;
        Ok(life)
    }

    /// Starts the program and brings the resource online.
    pub(super) fn online(kit: &'a Kit<'a>) -> Result<Self, String> {
        let life = Self::opened(kit)?;
        life.must(Ask::Online)?;
        Ok(life)
    }

    pub(super) fn describe(&self) -> Result<Description, String> {
        let name = &self.kit.description.name;
        let cancel = self.cancel();
        let session = self.session();
        if name.is_empty() {
            // The first time: whatever it calls itself is its name.
            let ask = describing();
            let found: Description = session
                .ask(ask, self.kit.trials.call_limit, &cancel)
                .map_err(|end| reason("describe", end))?;
            return described(&session, &found.name, &cancel);
        }
        described(&session, name, &cancel)
    }

    pub(super) fn open(&self) -> Result<(), String> {
        let properties = self.kit.properties.clone();
        self.must(Ask::Open(opening(properties)))
    }

    /// Makes a call, and tells how it ended.
    pub(super) fn call(&self, ask: Ask, limit: Duration) -> End {
        self.session().call(ask, limit, &self.cancel())
    }

    /// Makes a call that must work.
    pub(super) fn must(&self, ask: Ask) -> Result<(), String> {
        let what = name(&ask);
        match self.call(ask, self.kit.trials.call_limit) {
            End::Done(_) => Ok(()),
            end @ (End::Failed(_) | End::Late(_) | End::Cancelled | End::Broken(_)) => {
                Err(reason(what, end))
            }
        }
    }

    /// Makes a check.
    pub(super) fn check(&self, ask: Ask) -> Result<Checked, String> {
        let what = name(&ask);
        let found = self.session().ask(ask, self.kit.trials.call_limit, &self.cancel());
        found.map_err(|end| reason(what, end))
    }

    pub(super) fn control(&self, code: &str, text: &str) -> Result<String, String> {
        let ask = Ask::Control { code: code.to_owned(), text: text.to_owned() };
        let told = self.session().ask::<Told>(ask, self.kit.trials.call_limit, &self.cancel());
        told.map(|told| told.text).map_err(|end| reason(&format!("control {code}"), end))
    }

    /// Says something that is no call.
    pub(super) fn babble(&self, bytes: &[u8]) -> Result<(), String> {
        self.session().babble(bytes)
    }

    /// It says that it works.
    pub(super) fn is_good(&self, when: &str) -> Result<(), String> {
        for ask in [Ask::IsAlive, Ask::LooksAlive] {
            let what = name(&ask);
            let Checked { health, text } = self.check(ask)?;
            if health != Health::Good {
                return Err(format!("{when}, and `{what}` says {health:?}: {text}"));
            }
        }
        Ok(())
    }

    /// It does not say that it works.
    pub(super) fn is_not_good(&self, when: &str) -> Result<(), String> {
        match self.check(Ask::IsAlive)?.health {
            Health::Good => Err(format!("{when}, and `is-alive` says good")),
            Health::Bad | Health::Unknown => Ok(()),
        }
    }

    /// What it said that broke.
    pub(super) fn broke(&self) -> Option<String> {
        self.broke.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn pid(&self) -> i32 {
        self.companion.borrow().pid()
    }

    pub(super) fn signal(&self, signal: Signal) {
        herd::signal(self.pid(), signal);
    }

    /// Whether its process is there.
    pub(super) fn runs(&self) -> bool {
        self.companion.borrow_mut().runs()
    }

    /// Waits for its end.
    pub(super) fn ends(&self) -> bool {
        let end = Instant::now() + self.kit.trials.patience;
        while self.runs() {
            if Instant::now() >= end {
                return false;
            }
            thread::sleep(herd::LOOK_AGAIN);
        }
        true
    }

    /// Nothing but the program itself is left.
    pub(super) fn is_alone(&self, when: &str) -> Result<(), String> {
        let end = Instant::now() + self.kit.trials.patience;
        loop {
            let left = herd::all_but(self.pid());
            if left.is_empty() {
                return Ok(());
            }
            if Instant::now() >= end {
                return Err(format!("{when}, and {} of its processes run", left.len()));
            }
            thread::sleep(herd::LOOK_AGAIN);
        }
    }

    /// Kills it, and what it started, as the guard does.
    pub(super) fn kill(self) {
        self.signal(Signal::KILL);
        drop(self);
        herd::sweep();
    }

    pub(super) fn session(&self) -> Arc<Session> {
        Arc::clone(&self.companion.borrow().session)
    }

    pub(super) fn cancel(&self) -> Cancel {
        Cancel::new(Arc::clone(&self.bell))
    }
}

/// An opening with these properties.
pub(super) fn opening(properties: std::collections::BTreeMap<String, String>) -> Opening {
    Opening { resource: "trial".into(), group: "trials".into(), epoch: 1, properties }
}

fn reason(what: &str, end: End) -> String {
    match end {
        End::Failed(text) => format!("`{what}` failed: {text}"),
        end @ (End::Done(_) | End::Late(_) | End::Cancelled | End::Broken(_)) => {
            let told = why(end, "");
            let told = told.strip_prefix("resource type `ext:`: ").map(str::to_owned);
            format!("`{what}`: {}", told.unwrap_or_else(|| "no answer".to_owned()))
        }
    }
}

fn name(ask: &Ask) -> &'static str {
    crate::external::session::name(ask)
}
