//! `generic-script`: one script, or one command per entry point.
//!
//! | entry point | when | needed |
//! |---|---|---|
//! | `open` | before `online` | no |
//! | `online` | returns when it serves; what it leaves running stays | yes |
//! | `looks-alive`, `is-alive` | the light and the thorough check | no |
//! | `offline` | returns when nothing of it acts | no: what runs is killed |
//! | `terminate` | after the guard killed everything, for what is no process | no |
//! | `close` | after `offline` | no |
//!
//! A script is called with the name of the entry point. Code 0 means done, or good; [`NONE`] that
//! there is no such entry point; of a check [`UNKNOWN`] that nothing is known; anything else that
//! it failed. All of them run in one place under the guard ([`super::place`]), which kills what
//! they leave at the end of the lease. What a script does besides starting processes the guard
//! cannot undo: only `terminate` does.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use stead_model::order::{Fitness, OnlineSpec};
use stead_model::resource::Health;
use stead_model::wire::guard::InstanceId;

use super::installed;
use super::place::{Place, Ran, last_line};
use super::program::{Manner, words};
use crate::resource_type::{
    Apart, Call, Checked, Context, Fault, Properties, ResourceType, Settles,
};

/// The code of a script that has no such entry point.
const NONE: i32 = 3;
/// The code of a check that could not find out.
const UNKNOWN: i32 = 75;
/// The pending timeout bounds what starts and stops, and cancels the call.
const ACTION_LIMIT: Duration = Duration::from_secs(24 * 3600);
/// A `terminate` after the guard killed everything.
const TERMINATE_LIMIT: Duration = Duration::from_secs(60);

/// A script.
#[derive(Debug)]
pub(super) struct GenericScript {
    /// Command of each entry point that there may be.
    commands: BTreeMap<&'static str, Vec<String>>,
    /// Those that have no command of their own.
    of_script: BTreeSet<&'static str>,
    manner: Manner,
    check_limit: Duration,
    place: Place,
    /// Whether something was begun that a terminate must end.
    begun: AtomicU8,
}

const ENTRY_POINTS: [&str; 7] =
    ["open", "online", "looks-alive", "is-alive", "offline", "terminate", "close"];

/// How an entry point ended.
enum Came {
    Done,
    /// There is none.
    None,
    Failed(i32, String),
    Broken(String),
}

impl GenericScript {
    pub(super) fn open(
        spec: &OnlineSpec,
        properties: &Properties,
        context: Context,
    ) -> Result<Self, Fault> {
        let script = properties.text("script");
        let (mut commands, mut of_script) = (BTreeMap::new(), BTreeSet::new());
        for point in ENTRY_POINTS {
            let name = format!("{point}-command");
            let own = spec.properties.get(&name).map(|text| words(&name, text)).transpose()?;
            let by_script = || script.map(|script| vec![script.to_owned(), point.to_owned()]);
            if own.is_none() {
                of_script.insert(point);
            }
            if let Some(command) = own.or_else(by_script) {
                commands.insert(point, command);
            }
        }
        if !commands.contains_key("online") {
            return Err(Fault::Failed("neither `script` nor `online-command` is given".into()));
        }
        Ok(Self {
            commands,
            of_script,
            manner: Manner::of(properties, &context)?,
            check_limit: properties.time("check-timeout")?,
            place: Place::new(context),
            begun: AtomicU8::new(0),
        })
    }

    /// Runs an entry point.
    fn enter(&self, point: &str, call: &Call, limit: Duration) -> Result<Came, Fault> {
        let Some(argv) = self.commands.get(point) else { return Ok(Came::None) };
        let program = self.manner.spec(&call.claim, argv)?;
        let settles = if point == "online" { Settles::Yes } else { Settles::No };
        Ok(match self.place.run(program, settles, (limit, &call.cancel)) {
            Ran::Code(0, _) => Came::Done,
            Ran::Code(NONE, _) => Came::None,
            Ran::Code(code, said) => Came::Failed(code, last_line(&said)),
            Ran::Broken(why) => Came::Broken(why),
            Ran::TooLate => Came::Broken(format!("did not end within {} ms", limit.as_millis())),
            Ran::Cancelled => Came::Broken("was cancelled".into()),
        })
    }

    /// Runs an entry point that must not fail.
    fn must(&self, point: &str, call: &Call, limit: Duration) -> Result<(), Fault> {
        match self.enter(point, call, limit)? {
            Came::Done | Came::None => Ok(()),
            Came::Failed(code, said) => {
                Err(Fault::Failed(format!("`{point}` ended with code {code}{said}")))
            }
            Came::Broken(why) => Err(Fault::Failed(format!("`{point}` {why}"))),
        }
    }

    fn check(&self, point: &str, call: &Call) -> Checked {
        match self.enter(point, call, self.check_limit) {
            Ok(Came::Done | Came::None) => (Health::Good, String::new()),
            Ok(Came::Failed(UNKNOWN, said)) => {
                (Health::Unknown, format!("`{point}` does not know{said}"))
            }
            Ok(Came::Failed(code, said)) => {
                (Health::Bad, format!("`{point}` ended with code {code}{said}"))
            }
            Ok(Came::Broken(why)) => (Health::Unknown, format!("`{point}` {why}")),
            Err(fault) => (Health::Unknown, fault.to_string()),
        }
    }
}

impl ResourceType for GenericScript {
    fn online(&self, call: &Call) -> Result<(), Fault> {
        self.place.make(call)?;
        self.begun.store(1, Ordering::SeqCst);
        self.must("open", call, ACTION_LIMIT)?;
        match self.enter("online", call, ACTION_LIMIT)? {
            Came::None => Err(Fault::Failed("it has no entry point `online`".into())),
            Came::Done => Ok(()),
            Came::Failed(code, said) => {
                Err(Fault::Failed(format!("`online` ended with code {code}{said}")))
            }
            Came::Broken(why) => Err(Fault::Failed(format!("`online` {why}"))),
        }
    }

    fn adopt(&self, call: &Call, _instance: InstanceId) -> Result<(), Fault> {
        self.begun.store(1, Ordering::SeqCst);
        self.place.find(&call.claim)
    }

    fn offline(&self, call: &Call) -> Result<(), Fault> {
        self.must("offline", call, ACTION_LIMIT)?;
        self.must("close", call, ACTION_LIMIT)?;
        self.place.clear(&call.cancel)?;
        self.begun.store(0, Ordering::SeqCst);
        Ok(())
    }

    fn looks_alive(&self, call: &Call) -> Checked {
        self.check("looks-alive", call)
    }

    fn is_alive(&self, call: &Call) -> Checked {
        self.check("is-alive", call)
    }

    fn acts_beyond(&self) -> bool {
        true
    }

    fn ended(&self, call: &Call) -> Result<(), Fault> {
        if self.begun.load(Ordering::SeqCst) == 0 || !self.commands.contains_key("terminate") {
            return Ok(());
        }
        self.place.make(call)?;
        let ended = self.must("terminate", call, TERMINATE_LIMIT);
        self.place.clear(&call.cancel)?;
        ended.inspect(|()| self.begun.store(0, Ordering::SeqCst))
    }

    fn fitness(&self, apart: &Apart) -> Fitness {
        let mut missing = installed::manner(&self.manner, apart);
        let mut seen = BTreeSet::new();
        for (point, argv) in &self.commands {
            let own = format!("{point}-command");
            let property = if self.of_script.contains(point) { "script" } else { &own };
            if seen.insert(argv.first()) {
                missing.extend(installed::command(property, argv, &self.manner, apart));
            }
        }
        Fitness::lacking(missing)
    }

    fn close(&self) {}
}
