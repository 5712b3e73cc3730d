//! An agent's place under the guard: programs run there one after the other, and what they leave
//! running stays there, for the guard to kill.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use stead_model::wire::guard::{Claim, ExitStatus, InstanceId, ProgramSpec, Thing, ThingKind};

use crate::resource_type::{ActEnd, Call, Cancel, Context, Fault, Life, Settles};

/// A killed place that is not gone within this time waits in the kernel.
const KILL_LIMIT: Duration = Duration::from_secs(5);

/// The place of one resource.
#[derive(Debug)]
pub(super) struct Place {
    context: Context,
    instance: Mutex<Option<InstanceId>>,
}

/// How a program in it ended.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Ran {
    /// With this code, and the end of its output.
    Code(i32, String),
    /// It was ended by a signal that was not ours, or could not be executed.
    Broken(String),
    /// It did not end in time, and was killed.
    TooLate,
    /// The call was cancelled.
    Cancelled,
}

impl Place {
    pub(super) fn new(context: Context) -> Self {
        Self { context, instance: Mutex::new(None) }
    }

    /// Asks the guard for the place.
    pub(super) fn make(&self, call: &Call) -> Result<(), Fault> {
        let name = call.claim.resource.as_str().to_owned();
        let thing = Thing::Agent(name);
        let instance = self.context.guard.admit(&call.claim, thing, &call.cancel)?;
        *self.held() = Some(instance);
        Ok(())
    }

    /// Finds the place that the guard holds since an earlier monitor.
    pub(super) fn find(&self, claim: &Claim) -> Result<(), Fault> {
        let found = self.context.guard.thing_of(&claim.resource, ThingKind::Program);
        *self.held() = found;
        found.map(drop).ok_or_else(|| Fault::Failed("nothing of it runs any more".into()))
    }

    /// Runs a program in it.
    pub(super) fn run(
        &self,
        program: ProgramSpec,
        settles: Settles,
        (limit, cancel): (Duration, &Cancel),
    ) -> Ran {
        let Some(instance) = *self.held() else {
            return Ran::Broken("it has no place to run in".into());
        };
        match self.context.guard.act(instance, (program, settles), limit, cancel) {
            ActEnd::Ended(ExitStatus::Code(code), said) => Ran::Code(code, said),
            ActEnd::Ended(status, _) => Ran::Broken(status.to_string()),
            ActEnd::TooLate => Ran::TooLate,
            ActEnd::Cancelled => Ran::Cancelled,
            ActEnd::PlaceGone => Ran::Broken("was ended with all of the resource".into()),
        }
    }

    /// Kills whatever is left in it.
    pub(super) fn clear(&self, cancel: &Cancel) -> Result<(), Fault> {
        let Some(instance) = self.held().take() else { return Ok(()) };
        let guard = &self.context.guard;
        guard.kill(instance);
        let ended = |life: &Life| matches!(life, Life::Ended(_));
        match guard.wait_for(instance, KILL_LIMIT, cancel, ended) {
            Life::Ended(_) => Ok(()),
            Life::Admitted | Life::Started => {
                Err(Fault::Failed("its processes do not end although they were killed".into()))
            }
        }
    }

    fn held(&self) -> MutexGuard<'_, Option<InstanceId>> {
        self.instance.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The last line of an output, behind a colon.
pub(super) fn last_line(said: &str) -> String {
    let line = said.lines().map(str::trim).rfind(|line| !line.is_empty()).unwrap_or_default();
    let line: String = line.chars().filter(|c| !c.is_control()).collect();
    if line.is_empty() { line } else { format!(": {line}") }
}
