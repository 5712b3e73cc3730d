//! `ocf:PROVIDER:AGENT`: any agent of the Open Cluster Framework, in the place of a resource type.
//!
//! | here | the agent |
//! |---|---|
//! | online | `monitor`; what runs already is stopped; at a first start `validate-all`; `start` |
//! | offline | `stop`; then whatever it left running is killed |
//! | is-alive | `monitor` at the level `check-level` |
//! | looks-alive | nothing, unless a process that `start` left behind ended: then `monitor` |
//! | terminate | the guard kills all of it and undoes what it knows; then `stop` |
//!
//! All actions run in one place under the guard ([`super::place`]), so a daemon that forks away
//! can be killed at any time. What runs before `start` was not started there, at boot for one: it
//! is stopped first, or the end of the lease would not reach it.
//!
//! *What an agent does besides starting processes* the guard does not see. An address of `IPaddr2`
//! and a mount of `Filesystem` are admitted with their undo like those of our own types
//! ([`undo`]). Everything else of that kind only `stop` takes away: a stop that fails is a resource
//! that could not be stopped, never an offline one.

pub(crate) mod catalogue;
mod judge;
mod metadata;
mod table;
mod undo;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use stead_model::ocf::{self, is_parameter};
use stead_model::order::{Fitness, OnlineSpec};
use stead_model::resource::Health;
use stead_model::resource_type::{LIMITS, PROBE as PROBE_TABLE};
use stead_model::wire::guard::{Claim, InstanceId, ProgramSpec};

use super::installed;
use super::place::{Place, Ran};
use super::program::{PATH, Told};
use crate::resource_type::{
    Apart, Call, Cancel, Checked, Context, Fault, Properties, ResourceType, Settles,
};

/// Where agents are.
const ROOT: &str = "/usr/lib/ocf";
/// `start` and `stop` take as long as the pending timeout gives them, which cancels the call.
const ACTION_LIMIT: Duration = Duration::from_secs(24 * 3600);
/// The code of an action that an agent does not have.
const UNIMPLEMENTED: i32 = 3;
/// A `stop` after the guard killed everything.
const LAST_STOP_LIMIT: Duration = Duration::from_secs(60);

/// An agent's resource.
#[derive(Debug)]
pub(super) struct Ocf {
    agent: PathBuf,
    provider: String,
    name: String,
    parameters: BTreeMap<String, String>,
    check_level: String,
    check_limit: Duration,
    pending_ms: u64,
    is_alive_ms: u64,
    reach: ocf::Reach,
    context: Context,
    told: Told,
    place: Place,
    undone: Mutex<Option<InstanceId>>,
    /// Whether an action that changes something was begun.
    begun: AtomicU8,
    /// Whether something that `start` left running ended since the last check.
    stirred: AtomicU8,
    last: Mutex<Checked>,
}

/// What an exit code means.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Meaning {
    Done,
    NotRunning,
    Degraded,
    Failed(&'static str),
}

impl Ocf {
    pub(super) fn open(
        spec: &OnlineSpec,
        properties: &Properties,
        context: Context,
    ) -> Result<Self, Fault> {
        let agent = ocf::agent(&spec.kind);
        let agent = agent.ok_or_else(|| Fault::Failed(format!("`{}` is no agent", spec.kind)))?;
        let common = |name: &str| PROBE_TABLE.iter().chain(LIMITS).any(|p| p.name == name);
        let own = |name: &str| is_parameter(name) && !common(name);
        let parameters = spec.properties.iter().filter(|(name, _)| own(name));
        let parameters = parameters.map(|(n, v)| (n.clone(), v.clone())).collect();
        Ok(Self {
            agent: PathBuf::from(ROOT).join("resource.d").join(agent.provider).join(agent.name),
            provider: agent.provider.to_owned(),
            name: agent.name.to_owned(),
            check_level: properties.needed("check-level")?.to_owned(),
            check_limit: properties.time("check-timeout")?,
            pending_ms: spec.pending_timeout_ms,
            is_alive_ms: spec.is_alive_ms,
            reach: ocf::reach(agent, &parameters),
            parameters,
            told: Told::of(&context),
            place: Place::new(context.clone()),
            context,
            undone: Mutex::new(None),
            begun: AtomicU8::new(0),
            stirred: AtomicU8::new(0),
            last: Mutex::new((Health::Unknown, String::new())),
        })
    }

    /// What is run for an action.
    fn action(&self, claim: &Claim, action: &str, level: &str) -> ProgramSpec {
        let (limit, interval) = match action {
            // An interval of 0 is a probe.
            "monitor" if level != PROBE => (self.check_limit.as_millis(), self.is_alive_ms),
            _ => (u128::from(self.pending_ms), 0),
        };
        let own = [
            PATH.to_owned(),
            "LC_ALL=C".to_owned(),
            format!("OCF_ROOT={ROOT}"),
            "OCF_RA_VERSION_MAJOR=1".to_owned(),
            "OCF_RA_VERSION_MINOR=1".to_owned(),
            format!("OCF_RESOURCE_INSTANCE={}", claim.resource),
            format!("OCF_RESOURCE_PROVIDER={}", self.provider),
            format!("OCF_RESOURCE_TYPE={}", self.name),
            format!("OCF_CHECK_LEVEL={}", if level == PROBE { "0" } else { level }),
            format!("OCF_RESKEY_CRM_meta_name={action}"),
            format!("OCF_RESKEY_CRM_meta_timeout={limit}"),
            format!("OCF_RESKEY_CRM_meta_interval={interval}"),
        ];
        let given = self.parameters.iter().map(|(n, v)| format!("OCF_RESKEY_{n}={v}"));
        ProgramSpec {
            argv: vec![self.agent.to_string_lossy().into_owned(), action.to_owned()],
            env: own.into_iter().chain(self.told.variables(claim)).chain(given).collect(),
            cwd: "/".into(),
            user: None,
            name: claim.resource.as_str().to_owned(),
        }
    }

    /// Runs an action that the pending timeout bounds.
    fn act(&self, call: &Call, action: &str) -> Result<Meaning, Fault> {
        let settles = if action == "start" { Settles::Yes } else { Settles::No };
        let level = if action == "monitor" { PROBE } else { "0" };
        let program = self.action(&call.claim, action, level);
        match self.place.run(program, settles, (ACTION_LIMIT, &call.cancel)) {
            Ran::Code(code, said) => match meaning(code) {
                Meaning::Failed(what) => {
                    let why = reason(&said);
                    Err(Fault::Failed(format!("agent `{}`: {action}: {what}{why}", self.name)))
                }
                fine => Ok(fine),
            },
            Ran::Broken(why) => {
                Err(Fault::Failed(format!("agent `{}`: {action}: {why}", self.name)))
            }
            Ran::TooLate | Ran::Cancelled => Err(Fault::Failed("it was cancelled".into())),
        }
    }

    /// Asks the agent whether its parameters can work; one that cannot tell does not matter.
    fn validate(&self, call: &Call) -> Result<(), Fault> {
        let program = self.action(&call.claim, "validate-all", "10");
        match self.place.run(program, Settles::No, (self.check_limit, &call.cancel)) {
            Ran::Code(code, said) => match meaning(code) {
                Meaning::Failed(what) if code != UNIMPLEMENTED => {
                    let why = reason(&said);
                    Err(Fault::Failed(format!("agent `{}` refuses it: {what}{why}", self.name)))
                }
                Meaning::Done | Meaning::NotRunning | Meaning::Degraded | Meaning::Failed(_) => {
                    Ok(())
                }
            },
            Ran::Broken(_) | Ran::TooLate => Ok(()),
            Ran::Cancelled => Err(Fault::Failed("it was cancelled".into())),
        }
    }

    /// Whatever runs was not started in the place: at boot, by hand, or by an earlier owner.
    fn stop_strangers(&self, call: &Call) -> Result<(), Fault> {
        let found = self.act(call, "monitor");
        if matches!(found, Ok(Meaning::NotRunning)) {
            return Ok(());
        }
        if matches!(found, Ok(Meaning::Done | Meaning::Degraded)) {
            let text = "it ran already, and was not started by stead: it is stopped first";
            self.context.push.notice(text);
        }
        self.act(call, "stop").map(drop)
    }

    /// Has the agent stop what the guard ended, in a new place, which is ended, too.
    fn stop_again(&self, call: &Call) -> Result<(), Fault> {
        self.place.make(call)?;
        let program = self.action(&call.claim, "stop", "0");
        let ran = self.place.run(program, Settles::No, (LAST_STOP_LIMIT, &call.cancel));
        self.place.clear(&call.cancel)?;
        let why = match ran {
            Ran::Code(code, said) => match meaning(code) {
                Meaning::Done | Meaning::NotRunning => return Ok(()),
                Meaning::Degraded => "it is degraded".into(),
                Meaning::Failed(what) => format!("{what}{}", reason(&said)),
            },
            Ran::Broken(why) => why,
            Ran::TooLate | Ran::Cancelled => "it did not end in time".into(),
        };
        Err(Fault::Failed(format!("agent `{}`: stop: {why}", self.name)))
    }

    /// Runs `monitor` and tells what it found.
    fn check(&self, claim: &Claim, level: &str, cancel: &Cancel) -> Checked {
        self.stirred.store(0, Ordering::SeqCst);
        let program = self.action(claim, "monitor", level);
        let ran = self.place.run(program, Settles::No, (self.check_limit, cancel));
        let found = match ran {
            Ran::Code(code, said) => match meaning(code) {
                Meaning::Done => (Health::Good, String::new()),
                Meaning::Degraded => (Health::Good, format!("degraded{}", reason(&said))),
                Meaning::NotRunning => {
                    (Health::Bad, format!("the agent says that it does not run{}", reason(&said)))
                }
                Meaning::Failed(what) => {
                    (Health::Bad, format!("the agent's check: {what}{}", reason(&said)))
                }
            },
            Ran::Broken(why) => (Health::Unknown, format!("the agent's check {why}")),
            Ran::TooLate => {
                let limit = self.check_limit.as_millis();
                (Health::Unknown, format!("the agent's check did not end within {limit} ms"))
            }
            Ran::Cancelled => (Health::Unknown, "the check was given up".into()),
        };
        *lock(&self.last) = found.clone();
        found
    }
}

/// Not a level: an action that asks whether something runs before anything was started.
const PROBE: &str = "probe";

impl ResourceType for Ocf {
    fn online(&self, call: &Call) -> Result<(), Fault> {
        if !self.agent.is_file() {
            let there = self.agent.display();
            return Err(Fault::Failed(format!("the agent is not installed here: no {there}")));
        }
        undo::make_folder();
        *lock(&self.undone) = undo::admit(&self.reach, &self.context, call)?;
        self.place.make(call)?;
        self.begun.store(1, Ordering::SeqCst);
        self.stop_strangers(call)?;
        if call.first {
            self.validate(call)?;
        }
        match self.act(call, "start")? {
            Meaning::Done | Meaning::Degraded => {
                undo::made(&self.reach, &self.context, *lock(&self.undone));
                Ok(())
            }
            Meaning::NotRunning | Meaning::Failed(_) => {
                Err(Fault::Failed("the agent started it, and says that it does not run".into()))
            }
        }
    }

    fn adopt(&self, call: &Call, _instance: InstanceId) -> Result<(), Fault> {
        self.begun.store(1, Ordering::SeqCst);
        *lock(&self.undone) = undo::find(&self.reach, &self.context, &call.claim);
        self.place.find(&call.claim)?;
        match self.check(&call.claim, "0", &call.cancel) {
            (Health::Good | Health::Unknown, _) => Ok(()),
            (Health::Bad, why) => Err(Fault::Failed(why)),
        }
    }

    fn offline(&self, call: &Call) -> Result<(), Fault> {
        undo::unmaking(&self.reach, &self.context, *lock(&self.undone));
        match self.act(call, "stop")? {
            Meaning::Done | Meaning::NotRunning => {}
            Meaning::Degraded | Meaning::Failed(_) => {
                return Err(Fault::Failed("the agent did not stop it".into()));
            }
        }
        self.place.clear(&call.cancel)?;
        if let Some(instance) = lock(&self.undone).take() {
            self.context.guard.released(instance);
        }
        self.begun.store(0, Ordering::SeqCst);
        Ok(())
    }

    fn looks_alive(&self, call: &Call) -> Checked {
        if self.stirred.swap(0, Ordering::SeqCst) == 0 {
            return lock(&self.last).clone();
        }
        self.check(&call.claim, "0", &call.cancel)
    }

    fn is_alive(&self, call: &Call) -> Checked {
        self.check(&call.claim, &self.check_level, &call.cancel)
    }

    fn acts_beyond(&self) -> bool {
        true
    }

    fn stirred(&self) {
        self.stirred.store(1, Ordering::SeqCst);
    }

    fn ended(&self, call: &Call) -> Result<(), Fault> {
        if self.begun.load(Ordering::SeqCst) == 0 {
            return Ok(());
        }

        match (self.stop_again(call), &self.reach) {
            (Ok(()), _) => {
                self.begun.store(0, Ordering::SeqCst);
                Ok(())
            }
            // They are dead, whatever the agent says.
            (Err(_), ocf::Reach::Processes) => Ok(()),
            (
                Err(why),
                ocf::Reach::Address(_) | ocf::Reach::FileSystem { .. } | ocf::Reach::Unknown,
            ) => Err(why),
        }
    }

    fn fitness(&self, _apart: &Apart) -> Fitness {
        if let Some(missing) = installed::program("type", &self.agent, &Apart::default()) {
            return Fitness::Unfit(vec![missing]);
        }
        let agent = ocf::Agent { provider: &self.provider, name: &self.name };
        let table = match metadata::of(agent) {
            Ok(table) => table,
            Err(why) => return Fitness::Unsure(why),
        };
        let misfits = judge::misfits(&table, &self.parameters, &self.check_level);
        let check_ms = u64::try_from(self.check_limit.as_millis()).unwrap_or(u64::MAX);
        let advice = judge::advice(&table, self.pending_ms, check_ms);
        match misfits.is_empty() && !advice.is_empty() {
            true => Fitness::Advised(advice),
            false => Fitness::lacking(misfits),
        }
    }

    fn close(&self) {}
}

/// What an exit code of OCF 1.1 means.
fn meaning(code: i32) -> Meaning {
    match code {
        0 | 8 => Meaning::Done,
        7 => Meaning::NotRunning,
        190 | 191 => Meaning::Degraded,
        1 => Meaning::Failed("it failed"),
        2 => Meaning::Failed("a parameter is wrong"),
        3 => Meaning::Failed("the agent cannot do that"),
        4 => Meaning::Failed("it is not permitted"),
        5 => Meaning::Failed("what it needs is not installed here"),
        6 => Meaning::Failed("it is not configured as it must be"),
        9 => Meaning::Failed("it failed while promoted"),
        _ => Meaning::Failed("it ended with a code that OCF does not know"),
    }
}

/// What the agent said was the reason, else the last line of its output.
fn reason(said: &str) -> String {
    let lines = || said.lines().map(str::trim).filter(|line| !line.is_empty());
    let told = lines().rev().find_map(|line| line.strip_prefix("ocf-exit-reason:"));
    let line: String = told.or_else(|| lines().next_back()).unwrap_or_default().into();
    let line: String = line.chars().filter(|c| !c.is_control()).collect();
    if line.is_empty() { String::new() } else { format!(": {line}") }
}

fn lock<T>(what: &Mutex<T>) -> MutexGuard<'_, T> {
    what.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reason_is_what_the_agent_calls_so() {
        assert_eq!(reason("x\nocf-exit-reason:no such disk\nlast\n"), ": no such disk");
        assert_eq!(reason("first\n\nlast line\n \n"), ": last line");
        assert_eq!(reason(""), "");
    }

    #[test]
    fn only_three_codes_are_no_failure() {
        let fine = |code: &i32| !matches!(meaning(*code), Meaning::Failed(_));
        assert_eq!((0..256).filter(fine).collect::<Vec<_>>(), [0, 7, 8, 190, 191]);
    }
}
