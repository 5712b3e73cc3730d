//! `ext:NAME`: a program of others that speaks stead's protocol ([`crate::external`]).
//!
//! | here | the program |
//! |---|---|
//! | online | is started in its place, `describe`, properties are judged, `open`, `online` |
//! | offline | `offline`, `close`; then whatever is left in the place is killed |
//! | looks-alive, is-alive | the same |
//! | adopt | goes on talking with the one that runs; `is-alive` |
//! | terminate | the guard kills all; `terminate` in a new place, if it acts beyond processes |
//!
//! The program and all it starts live in one place under the guard ([`super::place`]) and end with
//! the lease. A program that ends by itself, breaks the rules of the protocol or says `broke` has
//! failed at once; one that does not answer a check leaves health unknown.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use stead_model::external::program;
use stead_model::order::{Fitness, OnlineSpec};
use stead_model::resource::Health;
use stead_model::wire::guard::{Claim, InstanceId, ProgramSpec};
use stead_resource_sdk::protocol::{
    self, Ask, Checked as Found, Description, Opening, Told as Answer,
};

use super::place::{Place, Ran, last_line};
use super::program::{PATH, Told};
use crate::external::session::{End, Heard, Past, Session, Tell};
use crate::external::stage::Pipes;
use crate::external::{SHORT_LIMIT, catalogue, described, inspection, sentence, table, why};
use crate::resource_type::{
    Apart, Call, Checked, Context, Fault, Properties, Push, ResourceType, Settles,
};

/// The pending timeout bounds `online` and `offline`, and cancels the call.
const ACTION_LIMIT: Duration = Duration::from_secs(24 * 3600);
/// A `terminate` after the guard killed everything.
const TERMINATE_LIMIT: Duration = Duration::from_secs(60);
/// A control code that takes longer is given up; who asked waits for it.
const CONTROL_LIMIT: Duration = Duration::from_secs(20);
/// Progress is told no oftener than this.
const PROGRESS_EVERY: Duration = Duration::from_secs(5);

/// A resource of an external type.
#[derive(Debug)]
pub(super) struct External {
    name: String,
    spec: OnlineSpec,
    check_limit: Duration,
    context: Context,
    told: Told,
    place: Place,
    session: Mutex<Option<Arc<Session>>>,
    /// One of the constants below.
    reach: AtomicU8,
}

/// Nothing was begun that must be ended.
const NOTHING: u8 = 0;
/// Processes.
const PROCESSES: u8 = 1;
/// That, and what only the program knows.
const BEYOND: u8 = 2;

impl External {
    pub(super) fn open(
        spec: &OnlineSpec,
        properties: &Properties,
        context: Context,
    ) -> Result<Self, Fault> {
        let name = program(&spec.kind);
        let name = name.ok_or_else(|| Fault::Failed(format!("`{}` is no program", spec.kind)))?;
        Ok(Self {
            name: name.to_owned(),
            spec: spec.clone(),
            check_limit: properties.time("check-timeout")?,
            told: Told::of(&context),
            place: Place::new(context.clone()),
            context,
            session: Mutex::default(),
            reach: AtomicU8::new(NOTHING),
        })
    }

    /// Starts the program in a new place and opens the resource there.
    fn enter(&self, call: &Call) -> Result<(Arc<Session>, Description), Fault> {
        let program = catalogue::find(&self.context.root, &self.name).map_err(Fault::Failed)?;
        self.place.make(call)?;
        let session = self.start(call, program)?;
        let description = self.describe(&session, call)?;
        let properties = table::settle(&description, &self.spec.properties);
        let properties = properties.map_err(|reason| Fault::Failed(reason.to_string()))?;
        let opening = Opening {
            resource: call.claim.resource.to_string(),
            group: call.claim.group.to_string(),
            epoch: call.claim.epoch.0,
            properties,
        };
        self.must(&session, Ask::Open(opening), SHORT_LIMIT, call)?;
        Ok((session, description))
    }

    fn start(&self, call: &Call, program: PathBuf) -> Result<Arc<Session>, Fault> {
        let pipes = self.pipes(&call.claim);
        let no_pipes = |e| Fault::Failed(format!("no pipes for its program: {e}"));
        pipes.make().map_err(no_pipes)?;
        let act = ProgramSpec {
            argv: pipes.command(&program).map_err(no_pipes)?,
            env: [vec![PATH.to_owned()], self.told.variables(&call.claim)].concat(),
            cwd: "/".into(),
            user: None,
            name: call.claim.resource.as_str().to_owned(),
        };
        match self.place.run(act, Settles::Yes, (SHORT_LIMIT, &call.cancel)) {
            Ran::Code(0, _) => {}
            Ran::Code(_, said) => {
                return Err(Fault::Failed(format!(
                    "its program was not started{}",
                    last_line(&said)
                )));
            }
            Ran::Broken(why) => {
                return Err(Fault::Failed(format!("its program was not started: {why}")));
            }
            Ran::TooLate => {
                return Err(Fault::Failed("its program was not started in time".into()));
            }
            Ran::Cancelled => return Err(Fault::Failed("it was cancelled".into())),
        }
        let ended = || Fault::Failed("its program ended at once".into());
        self.talk(pipes.open().map_err(|_| ended())?, Past::None)
    }

    fn talk(
        &self,
        ends: (std::os::fd::OwnedFd, std::os::fd::OwnedFd),
        past: Past,
    ) -> Result<Arc<Session>, Fault> {
        let tell = teller(self.context.push.clone());
        let session = Session::begin(ends, past, Arc::clone(&self.context.bell), tell)
            .map_err(|e| Fault::Failed(format!("no conversation with its program: {e}")))?;
        *self.held() = Some(Arc::clone(&session));
        Ok(session)
    }

    fn describe(&self, session: &Session, call: &Call) -> Result<Description, Fault> {
        described(session, &self.name, &call.cancel).map_err(Fault::Failed)
    }

    /// Makes a call that must work.
    fn must(&self, session: &Session, ask: Ask, limit: Duration, call: &Call) -> Result<(), Fault> {
        match session.call(ask, limit, &call.cancel) {
            End::Done(_) => Ok(()),
            end @ (End::Failed(_) | End::Late(_) | End::Cancelled | End::Broken(_)) => {
                Err(Fault::Failed(why(end, &self.name)))
            }
        }
    }

    fn check(&self, ask: Ask, call: &Call) -> Checked {
        let Some(session) = self.held().clone() else {
            return (Health::Unknown, "there is no conversation with its program".into());
        };
        match session.ask::<Found>(ask, self.check_limit, &call.cancel) {
            Ok(found) => (health(found.health), sentence(&found.text)),
            Err(End::Broken(why)) => (Health::Bad, why),
            Err(end) => (Health::Unknown, why(end, &self.name)),
        }
    }

    fn settle(&self, description: &Description) {
        let reach = if description.beyond { BEYOND } else { PROCESSES };
        self.reach.store(reach, Ordering::SeqCst);
    }

    /// Ends the conversation and whatever is left in the place.
    fn leave(&self, call: &Call) -> Result<(), Fault> {
        self.hang_up();
        self.place.clear(&call.cancel)?;
        self.pipes(&call.claim).remove();
        Ok(())
    }

    fn hang_up(&self) {
        if let Some(session) = self.held().take() {
            session.end();
        }
    }

    fn pipes(&self, claim: &Claim) -> Pipes {
        Pipes::of(&self.context.root, &claim.resource)
    }

    fn held(&self) -> MutexGuard<'_, Option<Arc<Session>>> {
        self.session.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ResourceType for External {
    fn online(&self, call: &Call) -> Result<(), Fault> {
        let (session, description) = self.enter(call)?;
        self.settle(&description);
        self.must(&session, Ask::Online, ACTION_LIMIT, call)
    }

    fn adopt(&self, call: &Call, _instance: InstanceId) -> Result<(), Fault> {
        // Until it says how far it reaches.
        self.reach.store(BEYOND, Ordering::SeqCst);
        self.place.find(&call.claim)?;
        let ends = self.pipes(&call.claim).open();
        let ends = ends.map_err(|_| Fault::Failed("its program does not run any more".into()))?;
        let session = self.talk(ends, Past::Some)?;
        self.settle(&self.describe(&session, call)?);
        match self.check(Ask::IsAlive, call) {
            (Health::Good | Health::Unknown, _) => Ok(()),
            (Health::Bad, why) => Err(Fault::Failed(why)),
        }
    }

    fn offline(&self, call: &Call) -> Result<(), Fault> {
        let Some(session) = self.held().clone() else {
            return Err(Fault::Failed("there is no conversation with its program".into()));
        };
        self.must(&session, Ask::Offline, ACTION_LIMIT, call)?;
        self.reach.store(PROCESSES, Ordering::SeqCst);
        if let End::Late(why) = session.call(Ask::Close, SHORT_LIMIT, &call.cancel) {
            self.context.push.notice(format!("{why}: it is killed"));
        }
        self.leave(call)?;
        self.reach.store(NOTHING, Ordering::SeqCst);
        Ok(())
    }

    fn looks_alive(&self, call: &Call) -> Checked {
        self.check(Ask::LooksAlive, call)
    }

    fn is_alive(&self, call: &Call) -> Checked {
        self.check(Ask::IsAlive, call)
    }

    fn control(&self, call: &Call, code: &str, text: &str) -> Result<String, Fault> {
        let Some(session) = self.held().clone() else {
            return Err(Fault::Failed("there is no conversation with its program".into()));
        };
        let ask = Ask::Control { code: code.to_owned(), text: text.to_owned() };
        let answer = session.ask::<Answer>(ask, CONTROL_LIMIT, &call.cancel);
        answer.map(|told| told.text).map_err(|end| Fault::Failed(why(end, &self.name)))
    }

    fn acts_beyond(&self) -> bool {
        self.reach.load(Ordering::SeqCst) == BEYOND
    }

    fn stirred(&self) {
        if let Some(session) = self.held().clone() {
            session.over("its program ended by itself".into());
        }
    }

    fn ended(&self, call: &Call) -> Result<(), Fault> {
        self.hang_up();
        if !self.acts_beyond() {
            self.pipes(&call.claim).remove();
            return Ok(());
        }
        let ended = self
            .enter(call)
            .and_then(|(session, _)| self.must(&session, Ask::Terminate, TERMINATE_LIMIT, call));
        self.leave(call)?;
        ended.inspect(|()| self.reach.store(NOTHING, Ordering::SeqCst))
    }

    fn fitness(&self, _apart: &Apart) -> Fitness {
        inspection::fitness(&self.context.root, &self.name, &self.spec.properties)
    }

    fn close(&self) {
        self.hang_up();
    }
}

impl Drop for External {
    fn drop(&mut self) {
        self.hang_up();
    }
}

/// Hands on what a program says by itself.
fn teller(push: Push) -> Tell {
    let progress: Mutex<Option<Instant>> = Mutex::default();
    Box::new(move |heard| match heard {
        Heard::Broke(why) | Heard::Broken(why) => push.failed(why),
        Heard::Notice(text) => push.notice(text),
        Heard::Progress(text) => {
            let mut last = progress.lock().unwrap_or_else(PoisonError::into_inner);
            if last.is_none_or(|last| last.elapsed() >= PROGRESS_EVERY) {
                *last = Some(Instant::now());
                push.notice(format!("progress of {text}"));
            }
        }
    })
}

const fn health(health: protocol::Health) -> Health {
    match health {
        protocol::Health::Good => Health::Good,
        protocol::Health::Bad => Health::Bad,
        protocol::Health::Unknown => Health::Unknown,
    }
}
