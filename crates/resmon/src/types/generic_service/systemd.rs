//! What is asked of systemd about one unit, and what it is told to do.

use std::path::Path;
use std::time::{Duration, Instant};

use super::bus::{Bus, BusError};
use super::bytes::{Method, Value};
use crate::resource_type::Cancel;

/// Systemd answers at once, or it hangs: then nothing is known.
pub(super) const ANSWER_LIMIT: Duration = Duration::from_secs(3);
/// Loading all units anew takes longer on a node with many.
const RELOAD_LIMIT: Duration = Duration::from_secs(60);
/// How soon a call that is told to return does.
const LOOK_AGAIN: Duration = Duration::from_millis(50);

const MANAGER_PATH: &str = "/org/freedesktop/systemd1";
const MANAGER: &str = "org.freedesktop.systemd1.Manager";
const UNIT: &str = "org.freedesktop.systemd1.Unit";
const SERVICE: &str = "org.freedesktop.systemd1.Service";
const PROPERTIES: &str = "org.freedesktop.DBus.Properties";

/// One unit, over one connection.
#[derive(Debug)]
pub(super) struct Systemd {
    bus: Bus,
    name: String,
    path: String,
}

/// What a unit does.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum State {
    /// It runs, or is there without processes.
    Active,
    /// It is on its way, or a job for it waits.
    Changing(String),
    /// It does not run: how it ended.
    Ended(String),
}

/// How a unit is set up.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Setup {
    /// Its name; another one may be an alias.
    pub(super) id: String,
    /// `loaded`, `not-found`, `masked` …
    pub(super) load: String,
    /// `enabled`, `disabled`, `static` …; empty where there is no file.
    pub(super) file: String,
    /// Whether the node needs it before or after everything else.
    pub(super) essential: bool,
    /// Who else starts it.
    pub(super) wanted_by: Vec<String>,
    /// Sockets, timers and paths that are active and start it.
    pub(super) triggered_by: Vec<String>,
}

/// What the drop-in came to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Effective {
    /// `Restart=`.
    pub(super) restart: String,
    /// Files whose presence is a condition.
    pub(super) conditions: Vec<String>,
}

impl Systemd {
    /// Connects and loads the unit.
    pub(super) fn of(root: &Path, name: &str) -> Result<Self, BusError> {
        let bus = Bus::connect(root, Instant::now() + ANSWER_LIMIT)?;
        let mut systemd = Self { bus, name: name.to_owned(), path: String::new() };
        systemd.path = systemd.manage("LoadUnit", &[name])?.text().to_owned();
        Ok(systemd)
    }

    /// The connection.
    pub(super) fn bus(&mut self) -> &mut Bus {
        &mut self.bus
    }

    /// The connection.
    pub(super) fn line(&self) -> &Bus {
        &self.bus
    }

    /// Its object.
    pub(super) fn path(&self) -> &str {
        &self.path
    }

    /// What it does.
    pub(super) fn state(&mut self) -> Result<State, BusError> {
        let active = self.unit("ActiveState")?.text().to_owned();
        let job = self.unit("Job")?;
        let waits = job.list().first().is_some_and(|number| number.number() != 0);
        Ok(match active.as_str() {
            "active" | "reloading" => State::Active,
            "inactive" | "failed" if !waits => State::Ended(self.how_it_ended()?),
            _ => State::Changing(active),
        })
    }

    /// Whether it runs or is on its way, a job that waits aside.
    pub(super) fn acts(&mut self) -> Result<bool, BusError> {
        let active = self.unit("ActiveState")?;
        Ok(!matches!(active.text(), "inactive" | "failed"))
    }

    /// One sentence part.
    fn how_it_ended(&mut self) -> Result<String, BusError> {
        /// `CLD_EXITED`, `CLD_KILLED` and `CLD_DUMPED` of `siginfo_t`.
        const EXITED: u64 = 1;
        const KILLED: [u64; 2] = [2, 3];
        let result = self.get(SERVICE, "Result")?.text().to_owned();
        let code = self.get(SERVICE, "ExecMainCode")?.number();
        let status = self.get(SERVICE, "ExecMainStatus")?.number();
        Ok(match (code, result.as_str()) {
            (EXITED, "success" | "exit-code") => format!("its main process ended with {status}"),
            (code, "success" | "signal" | "core-dump") if KILLED.contains(&code) => {
                format!("its main process was ended by signal {status}")
            }
            (_, "success") => "it is inactive".to_owned(),
            (_, result) => format!("systemd says `{result}`"),
        })
    }

    /// How it is set up.
    pub(super) fn setup(&mut self) -> Result<Setup, BusError> {
        let id = self.unit("Id")?.text().to_owned();
        let load = self.unit("LoadState")?.text().to_owned();
        let file = self.unit("UnitFileState")?.text().to_owned();
        let lacks = |value: &Value| value.number() == 0;
        let essential = lacks(&self.unit("DefaultDependencies")?)
            || !lacks(&self.unit("RefuseManualStart")?)
            || !lacks(&self.unit("RefuseManualStop")?);
        let mut wanted_by = Vec::new();
        for property in ["WantedBy", "RequiredBy", "BoundBy"] {
            wanted_by.extend(texts(&self.unit(property)?));
        }
        let mut triggered_by = texts(&self.unit("TriggeredBy")?);
        let mut at = 0;
        while let Some(name) = triggered_by.get(at) {
            let path = self.manage("LoadUnit", &[&name.clone()])?.text().to_owned();
            match self.get_of(&path, UNIT, "ActiveState")?.text() {
                "inactive" | "failed" => drop(triggered_by.remove(at)),
                _ => at += 1,
            }
        }
        Ok(Setup { id, load, file, essential, wanted_by, triggered_by })
    }

    /// What its drop-ins came to, whatever their order.
    pub(super) fn effective(&mut self) -> Result<Effective, BusError> {
        let restart = self.get(SERVICE, "Restart")?.text().to_owned();
        let all = self.unit("Conditions")?;
        let plain = all.list().iter().filter_map(|condition| match condition.list() {
            [kind, trigger, negate, what, ..] => {
                let counts = kind.text() == "ConditionPathExists";
                let counts = counts && trigger.number() == 0 && negate.number() == 0;
                counts.then(|| what.text().to_owned())
            }
            _ => None,
        });
        Ok(Effective { restart, conditions: plain.collect() })
    }

    /// The control group that its processes live in, or will.
    pub(super) fn control_group(&mut self) -> Result<String, BusError> {
        let root = self.get_of(MANAGER_PATH, MANAGER, "ControlGroup")?.text().to_owned();
        let slice = self.get(SERVICE, "Slice")?.text().to_owned();
        Ok(format!("{root}{}/{}", slice_folder(&slice), self.name))
    }

    /// The control group that it lives in; empty where it has none.
    pub(super) fn present_group(&mut self) -> Result<String, BusError> {
        Ok(self.get(SERVICE, "ControlGroup")?.text().to_owned())
    }

    /// Has systemd read all unit files anew.
    pub(super) fn reload(&mut self) -> Result<(), BusError> {
        self.manage_for("Reload", &[], RELOAD_LIMIT).map(drop)
    }

    /// Whether its files changed since systemd read them.
    pub(super) fn is_stale(&mut self) -> Result<bool, BusError> {
        Ok(self.unit("NeedDaemonReload")?.number() != 0)
    }

    /// Forgets that it failed.
    pub(super) fn reset_failed(&mut self) -> Result<(), BusError> {
        let name = self.name.clone();
        self.manage("ResetFailedUnit", &[&name]).map(drop)
    }

    /// Starts it and waits until that is done; gives the result of the job.
    pub(super) fn start(&mut self, limit: Duration, cancel: &Cancel) -> Result<Done, BusError> {
        self.job("StartUnit", "replace", (limit, cancel))
    }

    /// Stops it and waits until that is done. No ordering is waited for: while `stead.service` is
    /// stopped itself, the stop of a unit that is ordered before it would wait for that, and that
    /// for us.
    pub(super) fn stop(&mut self, limit: Duration, cancel: &Cancel) -> Result<Done, BusError> {
        self.job("StopUnit", "ignore-dependencies", (limit, cancel))
    }

    fn job(
        &mut self,
        method: &str,
        mode: &str,
        (limit, cancel): (Duration, &Cancel),
    ) -> Result<Done, BusError> {
        let name = self.name.clone();
        let end = Instant::now() + limit;
        let job = self.manage(method, &[&name, mode])?.text().to_owned();
        loop {
            let now = Instant::now();
            if cancel.is_asked() {
                return Ok(Done::Cancelled);
            }
            if now >= end {
                return Ok(Done::TooLate);
            }
            let Some(signal) = self.bus.signal(end.min(now + LOOK_AGAIN))? else { continue };
            if signal.member == "JobRemoved"
                && let [_, path, _, result] = &signal.body[..]
                && path.text() == job
            {
                return Ok(Done::Result(result.text().to_owned()));
            }
        }
    }

    fn unit(&mut self, property: &str) -> Result<Value, BusError> {
        self.get(UNIT, property)
    }

    fn get(&mut self, interface: &str, property: &str) -> Result<Value, BusError> {
        let path = self.path.clone();
        self.get_of(&path, interface, property)
    }

    fn get_of(&mut self, path: &str, of: &str, property: &str) -> Result<Value, BusError> {
        let arguments = &[of, property];
        let method = Method { path, interface: PROPERTIES, member: "Get", arguments };
        first(self.bus.call(&method, Instant::now() + ANSWER_LIMIT)?)
    }

    fn manage(&mut self, member: &str, arguments: &[&str]) -> Result<Value, BusError> {
        self.manage_for(member, arguments, ANSWER_LIMIT)
    }

    fn manage_for(
        &mut self,
        member: &str,
        arguments: &[&str],
        limit: Duration,
    ) -> Result<Value, BusError> {
        let method = Method { path: MANAGER_PATH, interface: MANAGER, member, arguments };
        let answer = self.bus.call(&method, Instant::now() + limit)?;
        // Some answers are empty.
        Ok(answer.into_iter().next().unwrap_or(Value::Number(0)))
    }
}

/// How a job ended.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Done {
    /// With this result: `done`, `failed`, `timeout`, `dependency`, `canceled` …
    Result(String),
    /// It has not, within its limit.
    TooLate,
    /// The call was told to return.
    Cancelled,
}

fn first(answer: Vec<Value>) -> Result<Value, BusError> {
    answer.into_iter().next().ok_or(BusError::Garbage)
}

fn texts(value: &Value) -> Vec<String> {
    value.list().iter().map(|text| text.text().to_owned()).collect()
}

/// Where the control groups of a slice are, below that of systemd: `a-b.slice` lies in `a.slice`.
fn slice_folder(slice: &str) -> String {
    let Some(stem) = slice.strip_suffix(".slice").filter(|stem| *stem != "-") else {
        return String::new();
    };
    let ends = stem.match_indices('-').map(|(at, _)| at).chain([stem.len()]);
    ends.map(|end| format!("/{}.slice", &stem[..end])).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slices_lie_in_one_another() {
        assert_eq!(slice_folder("system.slice"), "/system.slice");
        assert_eq!(slice_folder("a-b-c.slice"), "/a.slice/a-b.slice/a-b-c.slice");
        assert_eq!(slice_folder("-.slice"), "");
        assert_eq!(slice_folder(""), "");
    }
}
