//! What the children say and what the guard answers.

use std::io;

use stead_model::ResourceId;
use stead_model::wire::guard::{
    Act, Acted, Claim, ExitStatus, GuardToMonitor, GuardToNode, InstanceId, Limits, MonitorId,
    MonitorToGuard, NodeToGuard, Refusal, Running, Thing, VERSION,
};

use super::child::Child;
use super::clock::boot_time;
use super::hand::Task;
use super::link::LinkError;
use super::program::{Namespaces, Program};
use super::{GuardProcess, Notice, say_broken};
use crate::admission::{Input, Output};
use crate::init::{InitOrder, InitReport};

impl GuardProcess {
    /// Takes all whole messages of the node service.
    pub(super) fn hear_node(&mut self) {
        let (messages, broken) = hear(&mut self.node);
        for message in messages {
            self.node_said(message);
        }
        say_broken("node service", broken);
    }

    fn node_said(&mut self, message: NodeToGuard) {
        match message {
            NodeToGuard::Hello { version } => {
                if version != VERSION {
                    self.notice(wrong_version("node service", version));
                }
                let once = std::mem::take(&mut self.last_words);
                for notice in self.notices.clone().into_iter().chain(self.dirty.clone()).chain(once)
                {
                    self.tell_node(&notice.message());
                }
                let status = self.guard.begin_service();
                self.tell_node(&GuardToNode::Status(status));
            }
            NodeToGuard::Order(order) => self.feed(Input::Order(order)),
            NodeToGuard::Status => self.tell_status(),
            NodeToGuard::OwnMonitor(resource) => self.feed(Input::OwnMonitorWanted(resource)),
            NodeToGuard::EndOwnMonitor(resource) => self.feed(Input::OwnMonitorEnded(resource)),
            NodeToGuard::Replace { monitor, silent } => self.replace_monitor(&monitor, silent),
        }
    }

    fn tell_status(&mut self) {
        let status = self.guard.status();
        self.tell_node(&GuardToNode::Status(status));
    }

    pub(super) fn monitor_said(&mut self, from: MonitorId, message: MonitorToGuard) {
        match message {
            MonitorToGuard::Hello { version } => {
                if version != VERSION {
                    self.notice(wrong_version("monitor", version));
                }
                let inventory = self.inventory(from);
                self.tell_monitor(from, &GuardToMonitor::Inventory(inventory));
                self.feed(Input::MonitorReady(from));
                self.monitor_is_new(from);
            }
            MonitorToGuard::Admit { request, claim, thing, limits } => {
                let answer = match self.admit(from, claim, (thing, limits)) {
                    Ok((instance, pid)) => GuardToMonitor::Admitted { request, instance, pid },
                    Err(refusal) => GuardToMonitor::Refused { request, refusal },
                };
                self.tell_monitor(from, &answer);
            }
            MonitorToGuard::Signal { instance, signal } => {
                if let Some(program) = self.programs.get(&instance) {
                    // Fails only when it ended; its end is an event.
                    drop(program.signal(signal));
                }
            }
            MonitorToGuard::Act { instance, act } => self.act(from, instance, act),
            MonitorToGuard::EndAct { instance, number } => {
                if let Some(place) = self.place(instance) {
                    // Where that fails, it was killed as a whole.
                    drop(place.order(&InitOrder::End(number)));
                }
            }
            MonitorToGuard::Kill { instance } => self.end(instance),
            MonitorToGuard::Released { instance } => self.released(instance),
            MonitorToGuard::Mounted { instance } => {
                // It comes with the message; without it the mount point is what there is.
                let root = self.monitors.speak(from, |link| Ok(link.descriptor()));
                if let Ok(Some(Some(root))) = root {
                    self.mounts.made(instance, root);
                }
            }
            MonitorToGuard::Unmounting { instance } => {
                // Where that fails, the monitor finds it busy and has it detached.
                let _ = self.mounts.put_hand(instance, Task::LetGo);
            }
        }
    }

    /// Decides and, if it is a program, starts it directly afterwards.
    fn admit(
        &mut self,
        monitor: MonitorId,
        claim: Claim,
        (thing, limits): (Thing, Limits),
    ) -> Result<(InstanceId, Option<u32>), Refusal> {
        let kind = thing.kind();
        let admit = Input::Admit { monitor, claim: claim.clone(), kind };
        let mut answer = Err(Refusal::Stopping);
        for output in self.guard.handle(boot_time(), admit) {
            match output {
                Output::Admitted(instance) => answer = Ok(instance),
                Output::Refused(refusal) => answer = Err(refusal),
                other => self.carry_out(other),
            }
        }
        let instance = answer?;
        match thing {
            Thing::Mark => Ok((instance, None)),
            Thing::Address(undo) => {
                self.address_came(instance, undo.address);
                self.addresses.insert(instance, undo);
                Ok((instance, None))
            }
            Thing::Mount(undo) => match self.mounts.add(instance, claim, undo) {
                Ok(()) => Ok((instance, None)),
                Err(why) => {
                    self.feed(Input::Gone(instance));
                    Err(Refusal::NotStarted(format!("it could not be written down: {why}")))
                }
            },
            Thing::Unit(undo) => match self.units.add(instance, claim, undo) {
                Ok(()) => Ok((instance, None)),
                Err(why) => {
                    self.feed(Input::Gone(instance));
                    Err(Refusal::NotStarted(why.to_string()))
                }
            },
            Thing::Program(spec) => {
                let started = self.host.start(instance, spec, limits);
                self.began(instance, started)
            }
            Thing::Agent(name) => {
                let placed = self.host.place(instance, name, limits);
                self.began(instance, placed)
            }
        }
    }

    fn began(
        &mut self,
        instance: InstanceId,
        program: io::Result<Program>,
    ) -> Result<(InstanceId, Option<u32>), Refusal> {
        match program {
            Ok(program) => {
                let pid = program.pid().cast_unsigned();
                self.programs.insert(instance, program);
                self.tell_if_without_namespaces();
                Ok((instance, Some(pid)))
            }
            Err(why) => {
                self.feed(Input::Gone(instance));
                Err(Refusal::NotStarted(why.to_string()))
            }
        }
    }

    /// Runs something in an agent's place, which was admitted with all that runs there; a stop
    /// that is due is begun first.
    fn act(&mut self, from: MonitorId, instance: InstanceId, act: Act) {
        self.feed(Input::Deadline);
        let (number, stopping) = (act.number, self.guard.is_stopping());
        let why = match self.place(instance) {
            None => "its place is gone".to_owned(),
            Some(_) if stopping => Refusal::Stopping.to_string(),
            Some(place) => match place.order(&InitOrder::Act(act)) {
                Ok(()) => return,
                Err(why) => why.to_string(),
            },
        };
        let (status, said) = (ExitStatus::NotExecuted(why), String::new());
        let acted = Acted { number, status, said };
        self.tell_monitor(from, &GuardToMonitor::Acted { instance, acted });
    }

    fn place(&mut self, instance: InstanceId) -> Option<&mut Program> {
        self.programs.get_mut(&instance).filter(|program| program.is_place())
    }

    /// Tells the monitor which applications were executed.
    pub(super) fn hear_programs(&mut self) {
        let started = self
            .programs
            .iter_mut()
            .filter_map(|(instance, program)| program.has_started().then_some(*instance));
        for instance in started.collect::<Vec<_>>() {
            self.tell_host_of(instance, &GuardToMonitor::Started { instance });
        }
        let hidden = self.programs.values_mut().flat_map(Program::take_hidden);
        for what in hidden.collect::<Vec<_>>() {
            self.tell_hidden(&what);
        }
        for (instance, report) in self.of_places() {
            self.tell_memory(instance);
            let message = match report {
                InitReport::Started => GuardToMonitor::Started { instance },
                InitReport::Acted(acted) => GuardToMonitor::Acted { instance, acted },
                InitReport::Stirred => GuardToMonitor::Stirred { instance },
                InitReport::Hidden(what) => {
                    self.tell_hidden(&what);
                    continue;
                }
                InitReport::Ended(_) => continue,
            };
            self.tell_host_of(instance, &message);
        }
    }

    /// Something of an agent's place ended: the kernel may have killed it for lack of memory.
    fn tell_memory(&mut self, instance: InstanceId) {
        let news = self.programs.get_mut(&instance).and_then(Program::news_of_memory);
        let (Some((kills, limit_bytes)), Some(resource)) = (news, self.resource_of(instance))
        else {
            return;
        };
        let how = ExitStatus::OutOfMemory { kills, limit_bytes };
        let text = format!("of resource `{resource}` something {how}");
        self.notice_now(&Notice::warning("out-of-memory", text));
    }

    fn tell_host_of(&mut self, instance: InstanceId, message: &GuardToMonitor) {
        if let Some(resource) = self.resource_of(instance) {
            self.tell_host(&resource, message);
        }
    }

    fn tell_hidden(&mut self, what: &str) {
        let text = format!("a virtual server is not seen whole: {what}");
        self.notice(Notice::warning("server-hidden", text));
    }

    /// What the agents' places told, those that have something to tell.
    fn of_places(&mut self) -> Vec<(InstanceId, InitReport)> {
        let mut told = Vec::new();
        for instance in std::mem::take(&mut self.spoke) {
            let Some(place) = self.programs.get_mut(&instance) else { continue };
            while let Some(report) = place.next_of_place() {
                told.push((instance, report));
            }
        }
        told
    }

    fn tell_if_without_namespaces(&mut self) {
        if let Namespaces::Refused(why) = &self.host.namespaces {
            let text = format!(
                "applications run without namespaces of their own ({why}): \
                 what they leave behind is killed one by one"
            );
            self.notice(Notice::warning("no-namespaces", text));
        }
    }

    /// An address, mount, mark or unit is gone by the monitor's own doing.
    fn released(&mut self, instance: InstanceId) {
        if !self.units.release(instance) {
            self.undo(instance);
        } else if !self.programs.contains_key(&instance) {
            self.addresses.remove(&instance);
            self.mounts.forget(instance);
            self.undo_again.remove(&instance);
            self.address_went(instance);
            self.feed(Input::Gone(instance));
        }
    }

    /// All that runs and that this monitor hosts.
    fn inventory(&self, id: MonitorId) -> Vec<Running> {
        let only = self.monitors.only_for(id);
        let own = self.guard.own_monitors();
        let hosts = |resource: &ResourceId| match only {
            Some(only) => only == resource,
            None => !own.has(resource),
        };
        let things = self.guard.things().filter(|(_, claim, _)| hosts(&claim.resource));
        let running = things.map(|(instance, claim, kind)| Running {
            instance,
            claim: claim.clone(),
            kind,
            pid: self.programs.get(&instance).map(|p| p.pid().cast_unsigned()),
        });
        running.collect()
    }
}

/// What the child said since last time, and why it cannot be spoken to any more.
pub(super) fn hear<M: serde::de::DeserializeOwned>(
    child: &mut Child,
) -> (Vec<M>, Option<LinkError>) {
    let mut messages = Vec::new();
    let result = child.speak(|link| {
        link.flush()?;
        let filled = link.fill();
        while let Some(message) = link.next()? {
            messages.push(message);
        }
        filled
    });
    (messages, result.err())
}

fn wrong_version(child: &str, version: u16) -> Notice {
    let text = format!("the {child} speaks version {version}, the guard {VERSION}");
    Notice::warning("guard-version", format!("{text}: restart the guard to finish the upgrade"))
}
