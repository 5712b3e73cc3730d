//! `generic-service`: a systemd service of the node, over D-Bus.
//!
//! | online | offline |
//! |---|---|
//! | the unit is looked at: it exists, and nobody else starts it | systemd stops it |
//! | the drop-in; what runs already is stopped | whatever is left is killed by the guard |
//! | the guard admits its control group and makes the condition of its start | the guard is told |
//! | systemd starts it, and it lives where the guard looks | the drop-in is removed |
//!
//! *Invariants.* I-OWN: PID 1 starts its processes, so a start must depend on what only the guard
//! makes, and the guard must have the control group before the first process is in it. What the
//! guard does at the end of a lease needs neither systemd nor this process (`guard/process/units`).
//!
//! Health is what systemd says without being asked, and what the kernel says of the control group
//! ([`watch`]). A systemd that does not answer is *unknown*, never a failure.

mod bus;
mod bytes;
mod drop_in;
mod systemd;
mod watch;

use std::fs;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use stead_model::order::Fitness;
use stead_model::resource::Health;
use stead_model::resource_type::UNIT;
use stead_model::unit;
use stead_model::wire::guard::{InstanceId, Thing, UnitUndo};

use super::program::{PATH, words};
use crate::host::check::{self, CheckSpec, Verdict};
use crate::resource_type::{
    Apart, Call, Cancel, Checked, Context, Fault, Life, Properties, ResourceType,
};
use bus::BusError;
use systemd::{Done, State, Systemd};
use watch::{Watch, Watched, folder_of, is_empty, members};

/// A killed unit that is not gone within this time waits in the kernel.
const KILL_LIMIT: Duration = Duration::from_secs(5);
/// What is tidied up after a kill; the slot waits for a terminate a little longer.
const TIDY_LIMIT: Duration = Duration::from_secs(3);
/// A check that takes longer is ended, and health is unknown.
const CHECK_LIMIT: Duration = Duration::from_secs(10);

/// A service.
#[derive(Debug)]
pub(super) struct GenericService {
    name: String,
    start_limit: Duration,
    stop_limit: Duration,
    check: Option<Vec<String>>,
    context: Context,
    acting: Mutex<Acting>,
}

/// What it does on the node.
#[derive(Debug, Default)]
struct Acting {
    /// What the guard holds, or held until it ended it.
    instance: Option<InstanceId>,
    watch: Option<Watch>,
}

impl GenericService {
    pub(super) fn open(properties: &Properties, context: Context) -> Result<Self, Fault> {
        Ok(Self {
            name: properties.needed(UNIT)?.to_owned(),
            start_limit: properties.time("start-timeout")?,
            stop_limit: properties.time("stop-timeout")?,
            check: properties.text("check").map(|text| words("check", text)).transpose()?,
            context,
            acting: Mutex::default(),
        })
    }

    fn systemd(&self) -> Result<Systemd, Fault> {
        Ok(Systemd::of(&self.context.root, &self.name)?)
    }

    /// Why this node cannot have it as a resource, if it cannot.
    fn unfit(&self, systemd: &mut Systemd) -> Result<Option<String>, BusError> {
        let name = &self.name;
        if let Err(why) = unit::check(name) {
            return Ok(Some(format!("unit `{name}` cannot be a resource: {why}")));
        }
        let setup = systemd.setup()?;
        Ok(match (setup.load.as_str(), setup.file.as_str()) {
            ("loaded", _) if setup.id != *name => {
                Some(format!("unit `{name}` is another name of `{}`: give that one", setup.id))
            }
            ("loaded", "enabled" | "enabled-runtime") => Some(format!(
                "unit `{name}` is enabled: systemd would start it at boot; \
                 `systemctl disable --now {name}` on every node"
            )),
            ("loaded", _) if setup.essential => {
                Some(format!("unit `{name}` is not started and stopped like a service"))
            }
            ("loaded", _) if !setup.wanted_by.is_empty() => {
                let others = setup.wanted_by.join("`, `");
                Some(format!("unit `{name}` is started by `{others}`, too: disable that first"))
            }
            ("loaded", _) if !setup.triggered_by.is_empty() => {
                let others = setup.triggered_by.join(" ");
                Some(format!(
                    "unit `{name}` is started by {others}, too; \
                     `systemctl disable --now {others}` on every node"
                ))
            }
            ("loaded", _) => None,
            ("not-found", _) => Some(format!("unit `{name}` is not installed on this node")),
            ("masked", _) => {
                Some(format!("unit `{name}` is masked on this node; `systemctl unmask {name}`"))
            }
            (load, _) => Some(format!("unit `{name}` cannot be used: systemd says `{load}`")),
        })
    }

    /// Makes it the cluster's: from here on nobody but the guard lets it start.
    fn take(&self, systemd: &mut Systemd, call: &Call) -> Result<(), Fault> {
        let root = &self.context.root;
        let folder = unit::condition(root, &self.name);
        let failed = |what: &str, why: std::io::Error| Fault::Failed(format!("{what}: {why}"));
        if let Some(folder) = folder.parent() {
            fs::create_dir_all(folder).map_err(|why| failed("its condition", why))?;
        }
        drop_in::write(root, &self.name).map_err(|why| failed("its drop-in", why))?;
        let condition = unit::condition(root, &self.name).to_string_lossy().into_owned();
        let holds = |effective: &systemd::Effective| {
            effective.restart == "no" && effective.conditions.contains(&condition)
        };
        if systemd.is_stale()? || !holds(&systemd.effective()?) {
            systemd.reload()?;
        }
        let effective = systemd.effective()?;
        if !holds(&effective) {
            let restart = effective.restart;
            return Err(Fault::Failed(format!(
                "another drop-in of `{0}` undoes stead's: `systemctl cat {0}` (Restart={restart})",
                self.name
            )));
        }
        self.stop_stranger(systemd, call)
    }

    /// Whatever runs was not admitted: started by hand, or by an earlier owner.
    fn stop_stranger(&self, systemd: &mut Systemd, call: &Call) -> Result<(), Fault> {
        if systemd.acts()? {
            let text = "it ran already, and was not started by stead: it is stopped first";
            self.context.push.notice(text);
            self.stop(systemd, call)?;
        }
        Ok(())
    }

    fn stop(&self, systemd: &mut Systemd, call: &Call) -> Result<(), Fault> {
        match systemd.stop(self.stop_limit, &call.cancel)? {
            Done::Result(_) if !systemd.acts()? => Ok(()),
            Done::Result(result) => Err(Fault::Failed(format!("it did not stop: `{result}`"))),
            Done::TooLate => Err(Fault::Failed("it did not stop in time".into())),
            Done::Cancelled => Err(cancelled()),
        }
    }

    /// Starts what was admitted.
    fn start(&self, systemd: &mut Systemd, call: &Call) -> Result<(), Fault> {
        // Earlier failures count for systemd's own limit of starts; the cluster has its own.
        let _ = systemd.reset_failed();
        let done = systemd.start(self.start_limit, &call.cancel)?;
        let how = match (done, systemd.state()?) {
            (Done::Cancelled, _) => return Err(cancelled()),
            (Done::TooLate, _) => {
                let s = self.start_limit.as_secs_f64();
                return Err(Fault::Failed(format!("it did not start within {s} s")));
            }
            (Done::Result(_), State::Active) => return Ok(()),
            (Done::Result(_), State::Ended(how)) => how,
            (Done::Result(result), State::Changing(how)) => format!("{how}, `{result}`"),
        };
        Err(Fault::Failed(format!("it does not run: {how}; `systemctl status {}`", self.name)))
    }

    fn watch(&self) -> Result<(), Fault> {
        let (root, name) = (self.context.root.clone(), self.name.clone());
        let watch = Watch::start(Watched { root, name }, self.context.push.clone());
        let watch = watch.map_err(|why| Fault::Failed(format!("it cannot be watched: {why}")))?;
        self.acting().watch = Some(watch);
        Ok(())
    }

    /// Gives the unit back to its node: it is inactive and nothing of it is left.
    fn give_back(&self, systemd: &mut Systemd) {
        let undone = drop_in::remove(&self.context.root, &self.name);
        // One that did not fail is not there to be reset.
        let _ = systemd.reset_failed();
        let reloaded = systemd.reload();
        if let Err(why) = undone.map_err(BusError::from).and(reloaded) {
            // It stays the cluster's, which does no harm.
            self.context.push.notice(format!("its drop-in is left: {why}"));
        }
    }

    /// Has the guard kill what a stop left, and proves that it is gone.
    fn clear(&self, instance: InstanceId, cancel: &Cancel) -> Result<(), Fault> {
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

    fn acting(&self) -> MutexGuard<'_, Acting> {
        self.acting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ResourceType for GenericService {
    fn online(&self, call: &Call) -> Result<(), Fault> {
        let mut systemd = self.systemd()?;
        if let Some(why) = self.unfit(&mut systemd)? {
            return Err(Fault::Failed(why));
        }
        self.take(&mut systemd, call)?;
        let group = systemd.control_group()?;
        folder_of(&group).ok_or_else(no_groups)?;
        let undo = UnitUndo { unit: self.name.clone(), cgroup: group.clone() };
        let instance = self.context.guard.admit(&call.claim, Thing::Unit(undo), &call.cancel)?;
        self.acting().instance = Some(instance);
        self.start(&mut systemd, call)?;
        let present = systemd.present_group()?;
        if !present.is_empty() && present != group {
            return Err(Fault::Failed(format!("it runs in {present}, not in {group}")));
        }
        self.watch()
    }

    fn adopt(&self, _call: &Call, instance: InstanceId) -> Result<(), Fault> {
        self.acting().instance = Some(instance);
        // A systemd that does not answer now is no reason to stop it.
        if let Ok(mut systemd) = self.systemd()
            && let Ok(State::Ended(how)) = systemd.state()
        {
            return Err(Fault::Failed(how));
        }
        self.watch()
    }

    fn offline(&self, call: &Call) -> Result<(), Fault> {
        let Some(instance) = self.acting().instance else { return Ok(()) };
        drop(self.acting().watch.take());
        let mut systemd = self.systemd()?;
        self.stop(&mut systemd, call)?;
        let group = folder_of(&systemd.control_group()?).ok_or_else(no_groups)?;
        if !is_empty(&group) {
            self.clear(instance, &call.cancel)?;
        }
        self.context.guard.released(instance);
        self.acting().instance = None;
        self.give_back(&mut systemd);
        Ok(())
    }

    fn looks_alive(&self, _call: &Call) -> Checked {
        let acting = self.acting();
        let not = || (Health::Bad, "it is not in service".into());
        acting.watch.as_ref().map_or_else(not, Watch::seen)
    }

    fn is_alive(&self, call: &Call) -> Checked {
        let light = match self.systemd().and_then(|mut systemd| Ok(systemd.state()?)) {
            Ok(State::Active) => (Health::Good, String::new()),
            Ok(State::Changing(how)) => (Health::Unknown, format!("it is {how}")),
            Ok(State::Ended(how)) => (Health::Bad, how),
            Err(why) => (Health::Unknown, why.to_string()),
        };
        let Some(argv) = self.check.as_ref().filter(|_| light.0 == Health::Good) else {
            return light;
        };
        let env = [PATH.to_owned()];
        let spec = CheckSpec { argv, env: &env, cwd: "/", user: None };
        match check::run(&spec, CHECK_LIMIT, || call.cancel.is_asked()) {
            Verdict::Works => light,
            Verdict::Fails(why) => (Health::Bad, why),
            Verdict::Unknown(why) => (Health::Unknown, why),
            Verdict::GivenUp => (Health::Unknown, "the check was given up".into()),
        }
    }

    fn processes(&self) -> Vec<i32> {
        let group = self.systemd().ok().and_then(|mut systemd| systemd.control_group().ok());
        group.and_then(|group| folder_of(&group)).map(|it| members(&it)).unwrap_or_default()
    }

    fn probe(&self) -> Option<String> {
        // A systemd that does not answer is found out when it is to start something.
        self.systemd().ok().and_then(|mut systemd| self.unfit(&mut systemd).ok().flatten())
    }

    fn fitness(&self, _apart: &Apart) -> Fitness {
        let systemd = Systemd::of(&self.context.root, &self.name);
        let missing = match systemd.and_then(|mut systemd| self.unfit(&mut systemd)) {
            Ok(missing) => missing,
            Err(why @ BusError::NoSystemd(_)) => Some(why.to_string()),
            Err(
                why @ (BusError::Silent
                | BusError::Broken(_)
                | BusError::Garbage
                | BusError::Refused { .. }),
            ) => return Fitness::Unsure(why.to_string()),
        };
        Fitness::lacking(missing.map(|why| format!("`{UNIT}`: {why}")).into_iter().collect())
    }

    fn ended(&self, call: &Call) -> Result<(), Fault> {
        let instance = self.acting().instance.take();
        if instance.is_none() && !drop_in::is_there(&self.context.root, &self.name) {
            return Ok(());
        }
        // The guard proved that nothing of it runs and that nothing can: what follows is tidiness.
        if let Ok(mut systemd) = self.systemd()
            && let Ok(Done::Result(_)) = systemd.stop(TIDY_LIMIT, &call.cancel)
            && let Ok(false) = systemd.acts()
        {
            if let Some(instance) = instance {
                self.context.guard.released(instance);
            }
            self.give_back(&mut systemd);
        }
        Ok(())
    }

    fn close(&self) {
        drop(self.acting().watch.take());
    }
}

impl From<BusError> for Fault {
    fn from(error: BusError) -> Self {
        Self::Failed(error.to_string())
    }
}

fn no_groups() -> Fault {
    Fault::Failed("this node has no cgroup2 file system, by which alone a unit is killed".into())
}

fn cancelled() -> Fault {
    Fault::Failed("it was cancelled".into())
}
