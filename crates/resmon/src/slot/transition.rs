//! What follows when a call returns, something ends, or a time limit passes.

use stead_model::order::Outcome;
use stead_model::resource::Health;
use stead_model::usage::Usage;
use stead_model::{Span, Time};

use super::{CHECK_LIMIT, CallNumber, Check, Finding, Output, Returned, Slot, State, Verb, Watch};

impl Slot {
    /// Calls the type.
    pub(super) fn call(&mut self, verb: Verb, out: &mut Vec<Output>) -> CallNumber {
        self.call_last = CallNumber(self.call_last.0 + 1);
        out.push(Output::Call { call: self.call_last, verb });
        self.call_last
    }

    pub(super) fn returned(
        &mut self,
        now: Time,
        call: CallNumber,
        result: Returned,
        out: &mut Vec<Output>,
    ) {
        match &mut self.state {
            State::Starting { call: c, spec, .. } if *c == call => {
                let spec = spec.clone();
                match result {
                    Returned::Done => self.come_online(now, &spec, out),
                    Returned::Refused(why) => self.start_failed(now, Outcome::Refused(why), out),
                    Returned::Failed(why) => self.start_failed(now, Outcome::Failed(why), out),
                    Returned::Health(..) => {}
                }
            }
            State::Stopping { call: c, .. } if *c == call => match result {
                Returned::Done => self.stopped(now, Outcome::Offline, out),
                Returned::Failed(_) | Returned::Refused(_) | Returned::Health(..) => {
                    self.terminate(now, Outcome::Offline, out);
                }
            },
            State::Online(watch) if watch.is_waiting_for(call) => {
                let changed = watch.answered(result);
                if let Some((health, detail)) = changed {
                    self.report(Outcome::Health(health, detail), out);
                }
            }
            // A call that was given up.
            State::Offline
            | State::Unwatched
            | State::Starting { .. }
            | State::Online(_)
            | State::Stopping { .. }
            | State::Terminating { .. }
            | State::Stuck { .. } => {}
        }
    }

    /// What was begun is ended before the failure is told. A stop that waits is its answer.
    fn start_failed(&mut self, now: Time, outcome: Outcome, out: &mut Vec<Output>) {
        self.terminate(now, outcome, out);
        self.take_queued(now, out);
    }

    pub(super) fn terminated(
        &mut self,
        now: Time,
        result: Result<(), String>,
        out: &mut Vec<Output>,
    ) {
        match (&self.state, result) {
            (State::Terminating { then, .. } | State::Stuck { then }, Ok(())) => {
                let then = then.clone();
                self.stopped(now, then, out);
            }
            (State::Terminating { then, .. }, Err(why)) => {
                let then = then.clone();
                self.stuck(then, why, out);
            }
            (State::Stuck { .. }, Err(_)) => {}
            (
                State::Offline
                | State::Unwatched
                | State::Starting { .. }
                | State::Online(_)
                | State::Stopping { .. },
                Ok(()) | Err(_),
            ) => {}
        }
    }

    /// Nothing of it acts any more.
    fn stopped(&mut self, now: Time, outcome: Outcome, out: &mut Vec<Output>) {
        self.state = State::Offline;
        self.report(outcome, out);
        self.take_queued(now, out);
    }

    fn stuck(&mut self, then: Outcome, why: String, out: &mut Vec<Output>) {
        self.state = State::Stuck { then };
        self.report(Outcome::StopFailed(why), out);
    }

    /// What the guard ran ended by itself. While it is started or stopped the call sees that.
    pub(super) fn ended(&mut self, now: Time, how: String, out: &mut Vec<Output>) {
        match &self.state {
            State::Unwatched => self.state = State::Offline,
            State::Online(_) => {
                out.push(Output::Cancel);
                self.stopped(now, Outcome::Failed(how), out);
            }
            State::Offline
            | State::Starting { .. }
            | State::Stopping { .. }
            | State::Terminating { .. }
            | State::Stuck { .. } => {}
        }
    }

    pub(super) fn failed(&mut self, now: Time, why: String, out: &mut Vec<Output>) {
        if matches!(self.state, State::Online(_)) {
            self.terminate(now, Outcome::Failed(why), out);
        }
    }

    pub(super) fn late(&mut self, now: Time, out: &mut Vec<Output>) {
        match &mut self.state {
            State::Starting { call, until, spec } if *until <= now => {
                out.push(Output::Capture { call: *call });
                let limit = Span::from_millis(spec.pending_timeout_ms);
                let why = format!("it did not come online within {} ms", limit.as_millis());
                self.start_failed(now, Outcome::Failed(why), out);
            }
            State::Stopping { call, until } if *until <= now => {
                out.push(Output::Capture { call: *call });
                self.terminate(now, Outcome::Offline, out);
            }
            State::Terminating { until, then } if *until <= now => {
                let then = then.clone();
                self.stuck(then, "it did not end when it was killed".into(), out);
            }
            State::Online(watch) if watch.next() <= now => self.check_due(now, out),
            State::Offline
            | State::Unwatched
            | State::Starting { .. }
            | State::Online(_)
            | State::Stopping { .. }
            | State::Terminating { .. }
            | State::Stuck { .. } => {}
        }
    }

    /// The probe says something else than before.
    pub(super) fn probed(&mut self, health: Health, detail: String, out: &mut Vec<Output>) {
        let State::Online(watch) = &mut self.state else { return };
        watch.probed = Some((health, detail));
        if let Some((health, detail)) = watch.changed() {
            self.report(Outcome::Health(health, detail), out);
        }
    }

    /// What its programs use was measured: told when that is another step than before.
    pub(super) fn used(&mut self, used: Usage, out: &mut Vec<Output>) {
        let State::Online(watch) = &mut self.state else { return };
        let step = used.in_steps(watch.used);
        if watch.used.replace(step) != Some(step) {
            self.report(Outcome::Used(step), out);
        }
    }

    /// The next light check is due now.
    pub(super) fn look_soon(&mut self, now: Time) {
        if let State::Online(watch) = &mut self.state {
            watch.looks_at = now;
        }
    }

    /// Begins a check, or tells that the one under way hangs.
    fn check_due(&mut self, now: Time, out: &mut Vec<Output>) {
        let State::Online(watch) = &mut self.state else { return };
        match watch.check {
            Check::None => {
                let (verb, every) = watch.take_due(now);
                let call = self.call(verb, out);
                let State::Online(watch) = &mut self.state else { return };
                let unknown_at = now + every.min(CHECK_LIMIT);
                watch.check = Check::Running { call, since: now, unknown_at };
            }
            Check::Running { call, since, .. } => {
                watch.check = Check::Late { call };
                out.push(Output::Capture { call });
                let ms = now.since(since).as_millis();
                let why = format!("a check has not answered for {ms} ms");
                watch.checked = Some((Health::Unknown, why));
                let (health, why) = watch.verdict();
                watch.told = health;
                self.report(Outcome::Health(health, why), out);
            }
            Check::Late { .. } => {}
        }
    }
}

impl Watch {
    fn is_waiting_for(&self, wanted: CallNumber) -> bool {
        match self.check {
            Check::None => false,
            Check::Running { call, .. } | Check::Late { call } => call == wanted,
        }
    }

    /// The check that is due; the thorough one wins.
    fn take_due(&mut self, now: Time) -> (Verb, Span) {
        if self.is_at <= now {
            self.is_at = now + self.is_every;
            self.looks_at = self.looks_at.max(now + self.looks_every);
            (Verb::IsAlive, self.is_every)
        } else {
            self.looks_at = now + self.looks_every;
            (Verb::LooksAlive, self.looks_every)
        }
    }

    /// The check answered; tells what changed.
    fn answered(&mut self, result: Returned) -> Option<Finding> {
        self.check = Check::None;
        self.checked = Some(match result {
            Returned::Health(health, detail) => (health, detail),
            Returned::Done => (Health::Good, String::new()),
            Returned::Failed(why) | Returned::Refused(why) => (Health::Unknown, why),
        });
        self.changed()
    }

    /// Tells what checks and probe say together, if that is new.
    fn changed(&mut self) -> Option<Finding> {
        let verdict = self.verdict();
        let changed = self.told != verdict.0;
        self.told = verdict.0;
        changed.then_some(verdict)
    }

    /// The worse of what checks and probe said last; what has not said anything yet is left out.
    fn verdict(&self) -> Finding {
        let badness = |finding: &&Finding| match finding.0 {
            Health::Good => 0,
            Health::Unknown => 1,
            Health::Bad => 2,
        };
        // Of two that are equally bad the last one counts: the checks of the type.
        let said = self.probed.iter().chain(&self.checked).max_by_key(badness);
        said.cloned().unwrap_or_default()
    }
}
