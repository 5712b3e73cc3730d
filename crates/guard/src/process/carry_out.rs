//! Carrying out what the guard decided.

use std::io;

use stead_model::ResourceId;
use stead_model::order::GuardReport;
use stead_model::wire::guard::{ExitStatus, GuardToMonitor, GuardToNode, InstanceId};

use super::clock::boot_time;
use super::hand::Task;
use super::{Ending, GuardProcess, Notice};
use crate::admission::{Input, Output};

impl GuardProcess {
    /// Lets the guard decide and carries out what follows.
    pub(super) fn feed(&mut self, input: Input) {
        for output in self.guard.handle(boot_time(), input) {
            self.carry_out(output);
        }
    }

    pub(super) fn carry_out(&mut self, output: Output) {
        match output {
            Output::Pass { until } => self.addresses_pass(until),
            Output::Dark => self.addresses_dark(),
            Output::Report(report) => {
                if matches!(report, GuardReport::HardStopDone { .. }) {
                    self.dirty = None;
                }
                self.tell_node(&GuardToNode::Report(report));
            }
            Output::KillMonitor(id) => self.monitors.kill(id),
            Output::Kill(instance) => self.kill_program(instance),
            Output::ShutDown(instance) => {
                // Where that fails, the hand that detaches it later shuts it down as well.
                let _ = self.mounts.put_hand(instance, Task::ShutDown);
            }
            Output::Undo(instance) => self.undo(instance),
            Output::StartMonitor => self.monitors.want_shared(),
            Output::StartOwnMonitor(own) => self.monitors.want_own(own),
            Output::ForgetOwnMonitors(resources) => self.monitors.forget(&resources),
            Output::Overdue { monitors, things } => self.tell_overdue(monitors.len(), &things),
            Output::Finished => self.ending = Ending::Finished,
            // Answers to an admission, which is asked for and answered in one place.
            Output::Admitted(_) | Output::Refused(_) => {}
        }
    }

    /// The grace is over and something is left. Told again to every node service until it is gone.
    fn tell_overdue(&mut self, monitors: usize, things: &[InstanceId]) {
        let mut text = format!(
            "the stop grace is over and {monitors} monitors and {} things are left{}",
            things.len(),
            self.reset_follows()
        );
        let mounts: Vec<&str> = things.iter().filter_map(|id| self.mounts.what(*id)).collect();
        let code = if mounts.is_empty() { "stop-overdue" } else { "node-dirty" };
        if !mounts.is_empty() {
            let mounts = mounts.join(", ");
            text += &format!(
                ", among them {mounts}: this node is dirty and asks for no lease until no mount of \
                 them is left in any namespace; end what uses them (`fuser -vm`), bring the path \
                 to the disk back, or restart the node"
            );
        }
        let notice = Notice::warning(code, text);
        self.notice_now(&notice);
        self.dirty = Some(notice);
    }

    /// Ends a thing at once, whatever it is.
    pub(super) fn end(&mut self, instance: InstanceId) {
        if self.programs.contains_key(&instance) {
            self.kill_program(instance);
        } else if self.units.contains(instance)
            || self.addresses.contains_key(&instance)
            || self.mounts.contains(instance)
        {
            self.undo(instance);
        } else {
            self.gone(instance, ExitStatus::Unknown);
        }
    }

    /// Nothing is left of a thing.
    pub(super) fn gone(&mut self, instance: InstanceId, status: ExitStatus) {
        let resource = self.resource_of(instance);
        self.feed(Input::Gone(instance));
        if let Some(resource) = resource {
            self.tell_host(&resource, &GuardToMonitor::Exited { instance, status });
        }
    }

    /// For which resource something was admitted.
    pub(super) fn resource_of(&self, instance: InstanceId) -> Option<ResourceId> {
        self.guard.claim(instance).map(|claim| claim.resource.clone())
    }

    pub(super) fn kill_program(&mut self, instance: InstanceId) {
        if let Some(program) = self.programs.get_mut(&instance) {
            program.kill();
        } else if self.units.contains(instance) {
            self.undo(instance);
        }
    }

    /// Takes an address or a mount away, or kills a unit; what fails is tried again a few
    /// milliseconds later.
    pub(super) fn undo(&mut self, instance: InstanceId) {
        self.undo_again.remove(&instance);
        if let Err(why) = self.units.kill(instance) {
            self.undo_again.insert(instance);
            let text = format!("a unit could not be ended: {why}");
            self.notice(Notice::warning("unit-not-ended", text));
        }
        if self.mounts.put_hand(instance, Task::Detach).is_err() {
            self.undo_again.insert(instance);
        }
        let Some(undo) = self.addresses.get(&instance) else { return };
        let result = match &mut self.undoer {
            Ok(undoer) => undoer.undo(undo),
            Err(why) => Err(io::Error::other(why.to_string())),
        };
        match result {
            Ok(()) => {
                self.addresses.remove(&instance);
                self.address_went(instance);
                self.gone(instance, ExitStatus::Unknown);
            }
            Err(why) => {
                let text = format!("{} could not be removed: {why}", undo.what);
                self.undo_again.insert(instance);
                self.notice(Notice::warning("address-not-removed", text));
            }
        }
    }

    pub(super) fn undo_what_failed(&mut self) {
        let again: Vec<InstanceId> = self.undo_again.iter().copied().collect();
        again.into_iter().for_each(|instance| self.undo(instance));
    }
}
