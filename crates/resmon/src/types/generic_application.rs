//! `generic-application`: a program that runs in the foreground.
//!
//! The guard clones it under the small init; its death comes from there without a poll. Stopping
//! is a ladder: the stop signal, then after the stop timeout a kill of all its processes.
//!
//! A program that runs need not serve yet: a database recovers first. Where there is a `check`, it
//! is online when that ends with 0 for the first time.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use stead_model::order::Fitness;
use stead_model::resource::Health;
use stead_model::resource_type::signal_number;
use stead_model::wire::guard::{ExitStatus, InstanceId, Thing};

use super::installed;
use super::program::{Manner, words, wrong};
use crate::host::check::{self, CheckSpec, Verdict};
use crate::resource_type::{
    Apart, Call, Cancel, Checked, Context, Fault, Life, Properties, ResourceType,
};

/// A program that is not executed within this time waits for something that hangs.
const EXECUTE_LIMIT: Duration = Duration::from_secs(60);
/// A killed program that is not gone within this time waits in the kernel.
const KILL_LIMIT: Duration = Duration::from_secs(5);
/// A check that has not ended by then hangs; the slot reports unknown health after the same time.
const CHECK_LIMIT: Duration = Duration::from_secs(10);
/// The pause between two checks of a program that starts, at first and at most.
const PAUSE_FIRST: Duration = Duration::from_millis(10);
const PAUSE_LONGEST: Duration = Duration::from_millis(100);

/// An application.
#[derive(Debug)]
pub(super) struct GenericApplication {
    argv: Vec<String>,
    manner: Manner,
    stop_signal: i32,
    stop_timeout: Duration,
    check: Option<Vec<String>>,
    context: Context,
    instance: Mutex<Option<InstanceId>>,
}

impl GenericApplication {
    pub(super) fn open(properties: &Properties, context: Context) -> Result<Self, Fault> {
        let argv = words("command", properties.needed("command")?)?;
        let check = properties.text("check").map(|text| words("check", text)).transpose()?;
        let stop_signal = properties.needed("stop-signal")?;
        Ok(Self {
            argv,
            manner: Manner::of(properties, &context)?,
            stop_signal: signal_number(stop_signal).ok_or_else(|| wrong("stop-signal"))?,
            stop_timeout: properties.time("stop-timeout")?,
            check,
            context,
            instance: Mutex::new(None),
        })
    }

    fn instance(&self) -> Option<InstanceId> {
        *self.instance.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn hold(&self, instance: InstanceId) {
        *self.instance.lock().unwrap_or_else(PoisonError::into_inner) = Some(instance);
    }

    /// Waits for the end; tells whether it came.
    fn ends_within(&self, instance: InstanceId, limit: Duration, cancel: &Cancel) -> bool {
        let ended = |life: &Life| matches!(life, Life::Ended(_));
        ended(&self.context.guard.wait_for(instance, limit, cancel, ended))
    }

    fn runs(&self) -> bool {
        let life = self.instance().map(|instance| self.context.guard.life(instance));
        matches!(life, Some(Life::Admitted | Life::Started))
    }

    /// Runs the check once, as the user of the application, until it ends, the application does,
    /// or the call is cancelled.
    fn ask(&self, argv: &[String], cancel: &Cancel) -> Verdict {
        let user = match self.manner.user() {
            Ok(user) => user,
            Err(why) => return Verdict::Unknown(why),
        };
        let spec = CheckSpec { argv, env: &self.manner.env, cwd: &self.manner.cwd, user };
        check::run(&spec, CHECK_LIMIT, || cancel.is_asked() || !self.runs())
    }

    /// Waits until the check is good; the limit is the pending timeout, which cancels the call.
    fn answers(&self, instance: InstanceId, cancel: &Cancel) -> Result<(), Fault> {
        let Some(argv) = &self.check else { return Ok(()) };
        let mut pause = PAUSE_FIRST;
        loop {
            if self.ask(argv, cancel) == Verdict::Works {
                return Ok(());
            }
            let ended = |life: &Life| matches!(life, Life::Ended(_));
            match self.context.guard.wait_for(instance, pause, cancel, ended) {
                Life::Ended(status) => return Err(Fault::Failed(sentence(&status))),
                Life::Admitted | Life::Started if cancel.is_asked() => {
                    return Err(Fault::Failed("it was cancelled".into()));
                }
                Life::Admitted | Life::Started => {}
            }
            pause = (pause * 3 / 2).min(PAUSE_LONGEST);
        }
    }
}

impl ResourceType for GenericApplication {
    fn online(&self, call: &Call) -> Result<(), Fault> {
        let spec = self.manner.spec(&call.claim, &self.argv)?;
        let guard = &self.context.guard;
        let instance = guard.admit(&call.claim, Thing::Program(spec), &call.cancel)?;
        self.hold(instance);
        let executed = |life: &Life| !matches!(life, Life::Admitted);
        match guard.wait_for(instance, EXECUTE_LIMIT, &call.cancel, executed) {
            Life::Started => self.answers(instance, &call.cancel),
            Life::Ended(status) => Err(Fault::Failed(sentence(&status))),
            Life::Admitted if call.cancel.is_asked() => {
                Err(Fault::Failed("it was cancelled".into()))
            }
            Life::Admitted => Err(Fault::Failed("its program is still being executed".into())),
        }
    }

    fn adopt(&self, _call: &Call, instance: InstanceId) -> Result<(), Fault> {
        self.hold(instance);
        Ok(())
    }

    fn offline(&self, call: &Call) -> Result<(), Fault> {
        let Some(instance) = self.instance() else { return Ok(()) };
        let guard = &self.context.guard;
        guard.signal(instance, self.stop_signal);
        if self.ends_within(instance, self.stop_timeout, &call.cancel) {
            return Ok(());
        }
        guard.kill(instance);
        if self.ends_within(instance, KILL_LIMIT, &call.cancel) {
            return Ok(());
        }
        Err(Fault::Failed("its processes do not end although they were killed".into()))
    }

    fn looks_alive(&self, _call: &Call) -> Checked {
        if self.runs() {
            (Health::Good, String::new())
        } else {
            (Health::Bad, "the program does not run".into())
        }
    }

    fn is_alive(&self, call: &Call) -> Checked {
        let light = self.looks_alive(call);
        let Some(argv) = self.check.as_ref().filter(|_| light.0 == Health::Good) else {
            return light;
        };
        match self.ask(argv, &call.cancel) {
            Verdict::Works => light,
            Verdict::Fails(why) => (Health::Bad, why),
            Verdict::Unknown(why) => (Health::Unknown, why),
            Verdict::GivenUp => (Health::Unknown, "the check was given up".into()),
        }
    }

    fn fitness(&self, apart: &Apart) -> Fitness {
        let mut missing = installed::manner(&self.manner, apart);
        let commands = [("command", Some(&self.argv)), ("check", self.check.as_ref())];
        missing.extend(commands.into_iter().filter_map(|(property, argv)| {
            installed::command(property, argv?, &self.manner, apart)
        }));
        Fitness::lacking(missing)
    }

    fn close(&self) {}
}

/// How a program ended, as a sentence. One that ends well, although it should stay, most likely
/// left a daemon behind, which does not live on.
pub(crate) fn sentence(status: &ExitStatus) -> String {
    let advice = match status {
        ExitStatus::Code(0) => {
            ": if it goes on in the background, it must be told to stay in the foreground"
        }
        ExitStatus::Code(_)
        | ExitStatus::Signal(_)
        | ExitStatus::NotExecuted(_)
        | ExitStatus::Unknown
        | ExitStatus::OutOfMemory { .. } => "",
    };
    format!("the program {status}{advice}")
}
