//! What answers, pushes and missed deadlines do to one resource.
//!
//! Only the answer to the last call counts, which the holding checks. What nothing of acts any
//! more is `Offline`; whether it is started again is judged by the holding, which knows whether it
//! shall run at all.

use stead_model::order::Outcome;
use stead_model::resource::{Health, ResourceConfig};
use stead_model::{Span, Time};

use super::machine::{Happened, How, Machine, STUCK_PAUSE, State, Stop, Then, Watch};

impl Machine {
    /// The answer to the last call, or a push that repeats its number.
    pub fn reported(&mut self, now: Time, outcome: Outcome) -> Happened {
        match outcome {
            Outcome::Online => self.said_online(),
            Outcome::Offline => self.said_down(None),
            Outcome::Failed(why) => self.said_down(Some(why)),
            Outcome::StopFailed(why) => self.said_stop_failed(now, why),
            Outcome::Refused(why) => self.said_refused(why),
            Outcome::Health(health, text) => self.said_health(health, text),
            Outcome::Notice(text) => Happened::Notice(text),
            Outcome::Used(used) => {
                self.used = Some(used).filter(|_| self.is_online());
                Happened::Nothing
            }
            // The answer to a probe, which is no call to this resource.
            Outcome::Free | Outcome::Taken(_) | Outcome::Fitness(_) => Happened::Nothing,
            // Nor is this one to a resource that is here.
            Outcome::Forgotten(_) | Outcome::Remains(_) => Happened::Nothing,
        }
    }

    fn said_online(&mut self) -> Happened {
        match &mut self.state {
            State::Starting(call) => {
                let watch = call.take().map_or(Watch::Nobody, Watch::Monitor);
                self.state = State::Online(watch);
                self.detail = None;
                Happened::CameOnline
            }
            State::Online(Watch::Asked(call)) => {
                self.state = State::Online(Watch::Monitor(call.clone()));
                Happened::Adopted
            }
            State::Offline | State::Online(_) | State::Stopping(..) => Happened::Nothing,
            State::Stuck { .. } | State::Failed(_) => Happened::Nothing,
        }
    }

    fn said_down(&mut self, failed: Option<String>) -> Happened {
        let happened = match &self.state {
            State::Offline | State::Failed(_) | State::Stuck { .. } => return Happened::Nothing,
            State::Starting(_) => {
                let why = || "it went offline while it was being started".to_owned();
                Happened::Failed(failed.unwrap_or_else(why))
            }
            State::Online(_) => {
                Happened::Failed(failed.unwrap_or_else(|| "it ended by itself".to_owned()))
            }
            State::Stopping(_, stop) => match &stop.then {
                Then::Rest => Happened::WentOffline,
                Then::Failure(why) => Happened::Failed(why.clone()),
            },
        };
        self.rest();
        happened
    }

    fn rest(&mut self) {
        self.state = State::Offline;
        self.health = Health::Unknown;
        self.detail = None;
        self.failing = None;
        self.running = None;
        self.used = None;
    }

    fn said_stop_failed(&mut self, now: Time, why: String) -> Happened {
        let stop = match &self.state {
            State::Offline | State::Failed(_) | State::Stuck { .. } => return Happened::Nothing,
            State::Starting(_) | State::Online(_) => {
                Stop { how: How::AtOnce, then: Then::Failure(why.clone()), stuck: 0 }
            }
            State::Stopping(_, stop) => stop.clone(),
        };
        self.stuck(now, why.clone(), stop);
        Happened::StopFailed(why)
    }

    fn stuck(&mut self, now: Time, why: String, stop: Stop) {
        let stop = Stop { how: How::AtOnce, stuck: stop.stuck + 1, ..stop };
        self.detail = Some(format!("could not be stopped: {why}"));
        self.state = State::Stuck { why, again: now + STUCK_PAUSE, stop };
    }

    /// The lease of the call was over: nothing was done. A start is given up, a stop and an
    /// adoption are tried again under a newer lease; usually a hard stop comes first.
    fn said_refused(&mut self, why: String) -> Happened {
        let Some(lease) = self.call().map(|c| c.lease) else { return Happened::Nothing };
        match &mut self.state {
            State::Offline | State::Failed(_) | State::Stuck { .. } => return Happened::Nothing,
            State::Starting(_) => self.rest(),
            State::Online(watch) => *watch = Watch::Nobody,
            State::Stopping(call, _) => *call = None,
        }
        self.refused = Some(lease);
        Happened::Refused(why)
    }

    fn said_health(&mut self, health: Health, text: String) -> Happened {
        if !self.is_online() {
            return Happened::Nothing;
        }
        self.health = health;
        self.detail = match health {
            // Well, and worth a word all the same.
            Health::Good => Some(text.clone()).filter(|text| !text.is_empty()),
            Health::Unknown | Health::Bad => Some(text.clone()),
        };
        match (health, &self.failing) {
            (Health::Bad, None) => {
                self.failing = Some(text.clone());
                Happened::Unwell(text)
            }
            (Health::Good | Health::Unknown | Health::Bad, _) => Happened::Nothing,
        }
    }

    /// The time of [`Machine::due`] came: what is to be done now.
    pub fn timed_out(&mut self, now: Time) -> Happened {
        if self.due().is_none_or(|due| now < due) {
            return Happened::Nothing;
        }
        match &self.state {
            State::Starting(_) => {
                let why = "it did not come online in time".to_owned();
                Happened::TimedOut(Then::Failure(why))
            }
            State::Stopping(_, Stop { how: How::Gracefully, then, .. }) => {
                Happened::TimedOut(then.clone())
            }
            State::Stopping(_, stop @ Stop { how: How::AtOnce, .. }) => {
                let (why, stop) = ("it does not answer to be terminated".to_owned(), stop.clone());
                self.stuck(now, why.clone(), stop);
                Happened::StopFailed(why)
            }
            State::Online(_) => {
                let why = "no monitor could say in time whether it works".to_owned();
                self.state = State::Online(Watch::Nobody);
                self.failing = Some(why.clone());
                Happened::Unwell(why)
            }
            State::Failed(why) => {
                let text = format!("{why}; it is tried again");
                self.try_again();
                Happened::Retried(text)
            }
            State::Offline | State::Stuck { .. } => Happened::Nothing,
        }
    }

    /// Judges a failure by the restart policy: whether it is to be started again in place, and
    /// which restart within the window that is.
    pub fn judge(&mut self, now: Time, config: &ResourceConfig, why: &str) -> Option<u32> {
        let period = Span::from_secs(config.policy.restart_period_s);
        self.restarts.retain(|at| now.since(*at) < period);
        let done = u32::try_from(self.restarts.len()).unwrap_or(u32::MAX);
        if done < config.policy.restarts() {
            self.restarts.push(now);
            self.detail = Some(why.to_owned());
            return Some(done + 1);
        }
        self.state = State::Failed(why.to_owned());
        self.detail = Some(why.to_owned());
        let after = config.policy.retry_after_s;
        self.retry = (after > 0).then(|| now + Span::from_secs(after));
        None
    }
}
