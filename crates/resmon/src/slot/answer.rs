//! Orders: begun, queued or answered at once.

use stead_model::order::{Action, OnlineSpec, Outcome, ResourceOrder, ResourceReport};
use stead_model::{OrderId, Span, Time};

use super::{Output, Slot, State, TERMINATE_LIMIT, Verb, Watch, Who, starts};

impl Slot {
    pub(super) fn ordered(&mut self, now: Time, order: ResourceOrder, out: &mut Vec<Output>) {
        if let Some(answer) = self.answer.as_ref().filter(|a| a.order == order.order) {
            out.push(Output::Report(answer.clone()));
            return;
        }
        let queued = self.queued.as_ref().map(|queued| queued.order);
        if self.order == Some(order.order) || queued == Some(order.order) {
            return;
        }
        match order.action {
            Action::Online(_) | Action::Adopt(_) => self.start_ordered(now, order, out),
            Action::Offline => self.stop_ordered(now, order, out),
            Action::Terminate => {
                self.follow(&order);
                self.terminate(now, Outcome::Offline, out);
            }
            // Starts and stops nothing: it is carried out beside the slots.
            Action::Probe(_) | Action::Fit(_) | Action::Forget(_) => {}
        }
    }

    fn start_ordered(&mut self, now: Time, order: ResourceOrder, out: &mut Vec<Output>) {
        let same = self.epoch == order.epoch;
        match &mut self.state {
            State::Offline => self.start(now, order, out),
            State::Unwatched if same => self.start(now, order, out),
            State::Starting { .. } if same => {
                (self.order, self.lease) = (Some(order.order), order.lease);
            }
            State::Online(watch) if same => {
                if let Action::Online(spec) | Action::Adopt(spec) = &order.action {
                    watch.ordered_again(now, spec);
                }
                (self.order, self.lease) = (Some(order.order), order.lease);
                self.report(Outcome::Online, out);
            }
            State::Unwatched | State::Online(_) => {
                let why = format!("it still runs for {}", self.epoch);
                refuse(&order, Outcome::Refused(why), out);
            }
            State::Stuck { .. } => {
                let why = "it could not be stopped before".to_owned();
                refuse(&order, Outcome::StopFailed(why), out);
            }
            State::Starting { .. } | State::Stopping { .. } | State::Terminating { .. } => {
                self.queued = Some(order);
            }
        }
    }

    /// Begins to start or adopt it.
    fn start(&mut self, now: Time, order: ResourceOrder, out: &mut Vec<Output>) {
        self.follow(&order);
        let who = Who {
            group: order.group,
            resource: order.resource,
            epoch: order.epoch,
            lease: order.lease,
        };
        let (verb, spec) = match order.action {
            Action::Online(spec) => (Verb::Online(who, spec.clone()), spec),
            Action::Adopt(spec) => (Verb::Adopt(who, spec.clone()), spec),
            Action::Offline | Action::Terminate => return,
            Action::Probe(_) | Action::Fit(_) | Action::Forget(_) => return,
        };
        let call = self.call(verb, out);
        let until = now + Span::from_millis(spec.pending_timeout_ms);
        self.state = State::Starting { call, until, spec };
    }

    fn stop_ordered(&mut self, now: Time, order: ResourceOrder, out: &mut Vec<Output>) {
        match &self.state {
            State::Offline => {
                self.follow(&order);
                self.report(Outcome::Offline, out);
            }
            State::Starting { .. } => {
                self.queued = Some(order);
                out.push(Output::Cancel);
            }
            State::Online(watch) => {
                let until = now + watch.pending;
                self.follow(&order);
                let call = self.call(Verb::Offline, out);
                self.state = State::Stopping { call, until };
            }
            State::Stopping { .. } => {
                self.queued = self.queued.take().filter(|queued| !starts(&queued.action));
                self.order = Some(order.order);
            }
            // Nothing is known of how it stops gracefully.
            State::Unwatched | State::Stuck { .. } | State::Terminating { .. } => {
                self.follow(&order);
                self.terminate(now, Outcome::Offline, out);
            }
        }
    }

    /// Ends it at once; afterwards `then` is reported.
    pub(super) fn terminate(&mut self, now: Time, then: Outcome, out: &mut Vec<Output>) {
        match &mut self.state {
            State::Terminating { then: planned, .. } => {
                *planned = then;
                return;
            }
            State::Starting { .. } | State::Online(_) | State::Stopping { .. } => {
                out.push(Output::Cancel);
            }
            State::Offline | State::Unwatched | State::Stuck { .. } => {}
        }
        self.state = State::Terminating { until: now + TERMINATE_LIMIT, then };
        out.push(Output::Terminate);
    }

    /// From now on reports answer this order.
    fn follow(&mut self, order: &ResourceOrder) {
        self.order = Some(order.order);
        self.group = order.group.clone();
        self.epoch = order.epoch;
        self.lease = order.lease;
    }

    /// Takes up the order that waited.
    pub(super) fn take_queued(&mut self, now: Time, out: &mut Vec<Output>) {
        if let Some(order) = self.queued.take() {
            self.ordered(now, order, out);
        }
    }

    pub(super) fn come_online(&mut self, now: Time, spec: &OnlineSpec, out: &mut Vec<Output>) {
        self.state = State::Online(Watch::new(now, spec, self.phase));
        self.report(Outcome::Online, out);
        self.take_queued(now, out);
    }

    /// Reports by the order followed; without one (its service is gone) there is nobody to tell.
    pub(super) fn report(&mut self, outcome: Outcome, out: &mut Vec<Output>) {
        let Some(order) = self.order else { return };
        let answers = match &outcome {
            Outcome::Health(..) | Outcome::Notice(_) | Outcome::Used(_) => false,
            Outcome::Online
            | Outcome::Offline
            | Outcome::Failed(_)
            | Outcome::StopFailed(_)
            | Outcome::Refused(_)
            | Outcome::Free
            | Outcome::Taken(_)
            | Outcome::Fitness(_)
            | Outcome::Forgotten(_)
            | Outcome::Remains(_) => true,
        };
        let report = self.written(order, outcome);
        if answers {
            self.answer = Some(report.clone());
        }
        out.push(Output::Report(report));
    }

    fn written(&self, order: OrderId, outcome: Outcome) -> ResourceReport {
        ResourceReport {
            order,
            group: self.group.clone(),
            resource: self.resource.clone(),
            epoch: self.epoch,
            outcome,
        }
    }
}

/// Answers an order that is not followed.
fn refuse(order: &ResourceOrder, outcome: Outcome, out: &mut Vec<Output>) {
    out.push(Output::Report(ResourceReport {
        order: order.order,
        group: order.group.clone(),
        resource: order.resource.clone(),
        epoch: order.epoch,
        outcome,
    }));
}
