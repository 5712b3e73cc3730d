//! One resource in the monitor: its decisions, its opened type, the calls that run.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use rustix::thread::gettid;
use stead_model::order::{Action, OnlineSpec, ResourceOrder, ResourceReport};
use stead_model::probe::ProbePlan;
use stead_model::resource::Health;
use stead_model::resource_type::parse_size;
use stead_model::wire::guard::{Claim, Limits};
use stead_model::{Epoch, ResourceId};

use super::crew::{Crew, Errand};
use super::{Heard, HeardSender, STACK_BYTES};
use crate::bell::{Bell, Cancel};
use crate::dns::Lines;
use crate::guard_port::GuardPort;
use crate::host::capture::{self, Suspects};
use crate::host::clock::boot_time;
use crate::host::usage::Gauge;
use crate::prober::{Found, Prober};
use crate::resource_type::{Call, ClusterMacs, Context, Fault, Notes, Push, ResourceType};
use crate::slot::{CallNumber, Input, Output, Phase, Returned, Slot, Verb, Who};
use crate::types;

/// A kill waits this long for a look at what it kills; the look itself may hang.
const CAPTURE_LIMIT: Duration = Duration::from_millis(300);
/// The guard kills at once; this bounds the thread that waits for it.
const END_LIMIT: Duration = Duration::from_secs(60);

/// What all seats share.
#[derive(Debug)]
pub(super) struct Desk {
    pub(super) guard: Arc<GuardPort>,
    pub(super) nodes: Arc<ClusterMacs>,
    pub(super) notes: Arc<Notes>,
    pub(super) lines: Arc<Lines>,
    pub(super) root: PathBuf,
    pub(super) crew: Crew,
    pub(super) sender: HeardSender,
    pub(super) prober: Prober,
}

impl Desk {
    /// For a type that is opened to look at something, without a seat: nobody hears what it says
    /// by itself.
    pub(super) fn apart(&self, spec: &OnlineSpec) -> Context {
        Context {
            guard: Arc::clone(&self.guard),
            nodes: Arc::clone(&self.nodes),
            notes: Arc::clone(&self.notes),
            push: Push(Arc::new(|_| {})),
            server: Arc::new(spec.server.clone()),
            lines: Arc::clone(&self.lines),
            root: self.root.clone(),
            bell: Arc::default(),
        }
    }
}

/// One resource.
pub(super) struct Seat {
    pub(super) slot: Slot,
    /// Rung when something of this resource changes.
    bell: Arc<Bell>,
    /// Counts how often the type was opened, to tell what an old one pushes.
    pub(super) opening: u64,
    opened: Option<(Arc<dyn ResourceType>, Claim)>,
    /// The calls that have not returned, given up ones included.
    running: Vec<Running>,
    /// The last look at what was being done.
    captured: Arc<AtomicBool>,
    /// The probe that is being made, and how often there was another one.
    probe: Option<ProbePlan>,
    pub(super) probing: u64,
    /// Measures what its programs use; anew with every start.
    gauge: Arc<Mutex<Gauge>>,
}

/// A call that has not returned.
struct Running {
    call: CallNumber,
    cancel: Cancel,
    /// Number of its thread; 0 before that runs.
    thread: Arc<AtomicI32>,
}

impl Seat {
    pub(super) fn new(slot: Slot, guard: &GuardPort) -> Self {
        let phase = Phase::of(slot.resource());
        Self {
            bell: guard.bell(slot.resource()),
            slot: slot.in_phase(phase),
            opening: 0,
            opened: None,
            running: Vec::new(),
            captured: Arc::new(AtomicBool::new(true)),
            probe: None,
            probing: 0,
            gauge: Arc::default(),
        }
    }

    /// The epoch of what is open.
    pub(super) fn epoch(&self) -> Option<Epoch> {
        self.opened.as_ref().map(|(_, claim)| claim.epoch)
    }

    /// The type that is open, and a call beside those that the slot makes.
    pub(super) fn open_call(&self) -> Option<(Arc<dyn ResourceType>, Call)> {
        let (kind, claim) = self.opened.clone()?;
        let cancel = Cancel::new(Arc::clone(&self.bell));
        Some((kind, Call { first: false, claim, cancel }))
    }

    /// What the end of something that the guard ran for it means.
    pub(super) fn end_means(&self, how: String) -> Input {
        match &self.opened {
            Some((kind, _)) if kind.acts_beyond() => Input::Failed(how),
            Some(_) | None => Input::Ended(how),
        }
    }

    /// What is open was ordered again.
    pub(super) fn ordered_again(&self, order: &ResourceOrder) {
        let fits = |claim: &Claim| claim.epoch == order.epoch;
        if let (Action::Adopt(spec), Some((kind, claim))) = (&order.action, &self.opened)
            && fits(claim)
        {
            kind.ordered_again(spec);
        }
    }

    /// Something that the resource left running ended.
    pub(super) fn stirred(&self) {
        if let Some((kind, _)) = &self.opened {
            kind.stirred();
        }
    }

    pub(super) fn call_returned(&mut self, call: CallNumber) {
        self.running.retain(|running| running.call != call);
    }

    /// Lets the slot decide and does what it wants; gives what is to be reported.
    pub(super) fn feed(
        &mut self,
        desk: &Desk,
        resource: &ResourceId,
        input: Input,
    ) -> Vec<ResourceReport> {
        let mut reports = Vec::new();
        let outputs = self.slot.handle(boot_time(), input);
        let looks = outputs.iter().any(|output| matches!(output, Output::Capture { .. }));
        for output in outputs {
            match output {
                Output::Report(report) => reports.push(report),
                // The terminate that follows cancels after the look: a cancelled stop may kill.
                Output::Cancel if looks => {}
                Output::Cancel => self.cancel_calls(),
                Output::Call { call, verb } => self.call(desk, resource, call, verb),
                Output::Terminate => self.terminate(desk, resource),
                Output::Capture { call } => self.capture(desk, resource, call),
            }
        }
        if self.slot.is_offline() {
            self.opened = None;
        }
        self.settle_probe(desk, resource);
        reports
    }

    /// Has the probe made that the slot wants now.
    fn settle_probe(&mut self, desk: &Desk, resource: &ResourceId) {
        if self.slot.probe() == self.probe.as_ref() {
            return;
        }
        self.probe = self.slot.probe().cloned();
        self.probing += 1;
        let Some(plan) = self.probe.clone() else { return desk.prober.forget(resource.clone()) };
        if let Err(why) = desk.prober.watch(resource.clone(), self.probing, plan) {
            let detail = format!("its probe cannot be made: {why}");
            let (resource, token, health) = (resource.clone(), self.probing, Health::Unknown);
            drop(desk.sender.send(Heard::Probed(Found { resource, token, health, detail })));
        }
    }

    fn cancel_calls(&self) {
        self.running.iter().for_each(|running| running.cancel.ask());
    }

    /// Has a thread call the type. A call that still runs is given up: it may hang.
    fn call(&mut self, desk: &Desk, resource: &ResourceId, call: CallNumber, verb: Verb) {
        self.cancel_calls();
        let errand = match &verb {
            Verb::Online(..) | Verb::Adopt(..) | Verb::Offline => Errand::Order,
            Verb::LooksAlive | Verb::IsAlive => Errand::Check,
        };
        let is_thorough = matches!(verb, Verb::IsAlive);
        let work = match self.prepare(desk, resource, &verb) {
            Ok((kind, claim)) => {
                let cancel = Cancel::new(Arc::clone(&self.bell));
                let thread = Arc::new(AtomicI32::new(0));
                let own = Arc::clone(&thread);
                self.running.push(Running { call, cancel: cancel.clone(), thread });
                let guard = Arc::clone(&desk.guard);
                let context = Call { first: is_first(&verb), claim, cancel };
                Ok(move || {
                    own.store(gettid().as_raw_nonzero().get(), Ordering::SeqCst);
                    perform(&*kind, &verb, &context, &guard)
                })
            }
            Err(fault) => Err(fault.into()),
        };
        let (sender, name) = (desk.sender.clone(), resource.clone());
        let tell = move |result| {
            drop(sender.send(Heard::Returned { resource: name.clone(), call, result }));
        };
        let gauge = is_thorough.then(|| self.gauge(desk, resource));
        match work {
            Err(result) => tell(result),
            Ok(work) => desk.crew.call(errand, move || {
                tell(guarded(work));
                gauge.into_iter().for_each(|measure| measure());
            }),
        }
    }

    /// What measures, after a thorough check, what its programs use.
    fn gauge(&self, desk: &Desk, resource: &ResourceId) -> impl FnOnce() + Send + use<> {
        let kind = self.opened.as_ref().map(|(kind, _)| Arc::clone(kind));
        let (gauge, guard) = (Arc::clone(&self.gauge), Arc::clone(&desk.guard));
        let (sender, resource) = (desk.sender.clone(), resource.clone());
        move || {
            let program = guard.running(&resource).and_then(|(_, held)| held.pid);
            let mut roots = kind.map(|kind| kind.processes()).unwrap_or_default();
            roots.extend(program.map(u32::cast_signed));
            let mut gauge = gauge.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(used) = gauge.look(boot_time(), &roots) {
                drop(sender.send(Heard::Used { resource, used }));
            }
        }
    }

    /// The opened type; a start opens it anew.
    fn prepare(
        &mut self,
        desk: &Desk,
        resource: &ResourceId,
        verb: &Verb,
    ) -> Result<(Arc<dyn ResourceType>, Claim), Fault> {
        match verb {
            Verb::Online(who, spec) | Verb::Adopt(who, spec) => {
                let opened = self.open(desk, resource, who, spec)?;
                self.opened = Some(opened.clone());
                self.gauge = Arc::default();
                Ok(opened)
            }
            Verb::Offline | Verb::LooksAlive | Verb::IsAlive => {
                self.opened.clone().ok_or_else(|| Fault::Failed("it is not open".into()))
            }
        }
    }

    fn open(
        &mut self,
        desk: &Desk,
        resource: &ResourceId,
        who: &Who,
        spec: &OnlineSpec,
    ) -> Result<(Arc<dyn ResourceType>, Claim), Fault> {
        self.opening += 1;
        desk.guard.limit(resource, limits(spec));
        let (opening, sender, resource) = (self.opening, desk.sender.clone(), resource.clone());
        let push = Push(Arc::new(move |pushed| {
            drop(sender.send(Heard::Pushed { resource: resource.clone(), opening, pushed }));
        }));
        let context = Context {
            guard: Arc::clone(&desk.guard),
            nodes: Arc::clone(&desk.nodes),
            notes: Arc::clone(&desk.notes),
            push,
            server: Arc::new(spec.server.clone()),
            lines: Arc::clone(&desk.lines),
            root: desk.root.clone(),
            bell: Arc::clone(&self.bell),
        };
        Ok((types::open(spec, context)?, Claim::from(who)))
    }

    /// Looks, in a thread of its own, at what the call and the resource's programs do.
    fn capture(&mut self, desk: &Desk, resource: &ResourceId, call: CallNumber) {
        let late = self.running.iter().find(|running| running.call == call);
        let thread = late.map(|late| late.thread.load(Ordering::SeqCst)).filter(|tid| *tid != 0);
        let program = desk.guard.running(resource).and_then(|(_, held)| held.pid);
        let roots = program.map(u32::cast_signed).into_iter().collect();
        let suspects = Suspects { thread, roots };
        let done = Arc::new(AtomicBool::new(false));
        self.captured = Arc::clone(&done);
        let bell = Arc::clone(&self.bell);
        let (sender, resource) = (desk.sender.clone(), resource.clone());
        // Told before the terminate goes on: it is what comes first.
        let tell = move |Captured(text)| {
            drop(sender.send(Heard::Captured { resource: resource.clone(), text }));
            done.store(true, Ordering::SeqCst);
            bell.ring();
        };
        in_thread(move || Captured(capture::describe(&suspects)), tell);
    }

    /// Ends all that the guard runs for it. First every call is cancelled and the type closed,
    /// so that nothing new is admitted or added behind it.
    fn terminate(&mut self, desk: &Desk, resource: &ResourceId) {
        let cancels: Vec<Cancel> = self.running.iter().map(|call| call.cancel.clone()).collect();
        let (bell, captured) = (Arc::clone(&self.bell), Arc::clone(&self.captured));
        let kind = self.opened.as_ref().map(|(kind, _)| Arc::clone(kind));
        let claim = Claim::from(&self.slot.who());
        let call = Call { first: false, claim, cancel: Cancel::new(Arc::clone(&self.bell)) };
        let (guard, name) = (Arc::clone(&desk.guard), resource.clone());
        let work = move || {
            bell.wait(Some(CAPTURE_LIMIT), || captured.load(Ordering::SeqCst).then_some(()));
            cancels.iter().for_each(Cancel::ask);
            if let Some(kind) = &kind {
                drop(catch_unwind(AssertUnwindSafe(|| kind.close())));
            }
            guard.end_all(&name, END_LIMIT)?;
            match kind {
                Some(kind) => kind.ended(&call).map_err(|fault| fault.to_string()),
                None => Ok(()),
            }
        };
        let (sender, resource) = (desk.sender.clone(), resource.clone());
        let tell = move |result| {
            drop(sender.send(Heard::Terminated { resource: resource.clone(), result }));
        };
        in_thread(work, tell);
    }
}

/// Runs something in a new thread and tells how it went.
pub(super) fn in_thread<T: Troubled + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
    tell: impl Fn(T) + Send + Clone + 'static,
) {
    let builder = thread::Builder::new().stack_size(STACK_BYTES);
    let in_vain = tell.clone();
    let spawned = builder.spawn(move || tell(guarded(work)));
    if let Err(why) = spawned {
        in_vain(T::trouble(format!("no thread to run it: {why}")));
    }
}

/// Does it, and makes a panic an answer.
fn guarded<T: Troubled>(work: impl FnOnce() -> T) -> T {
    let result = catch_unwind(AssertUnwindSafe(work));
    result.unwrap_or_else(|_| T::trouble("the resource type panicked".into()))
}

/// What can also say that it did not come about.
pub(super) trait Troubled: Send {
    fn trouble(why: String) -> Self;
}

/// What a look came to.
struct Captured(String);

impl Troubled for Captured {
    fn trouble(why: String) -> Self {
        Self(format!("it is not known what it does: {why}"))
    }
}

impl Troubled for Returned {
    fn trouble(why: String) -> Self {
        Self::Failed(why)
    }
}

impl Troubled for Result<(), String> {
    fn trouble(why: String) -> Self {
        Err(why)
    }
}

fn perform(kind: &dyn ResourceType, verb: &Verb, call: &Call, guard: &GuardPort) -> Returned {
    let running = || guard.running(&call.claim.resource);
    let done = |result: Result<(), Fault>| match result {
        Ok(()) => Returned::Done,
        Err(fault) => fault.into(),
    };
    match verb {
        Verb::Online(..) => match running() {
            Some((instance, held)) if held.claim.epoch == call.claim.epoch => {
                done(kind.adopt(call, instance))
            }
            Some(_) | None => done(kind.online(call)),
        },
        Verb::Adopt(..) => match running() {
            Some((instance, _)) => done(kind.adopt(call, instance)),
            None => Returned::Failed("nothing of it runs any more".into()),
        },
        Verb::Offline => done(kind.offline(call)),
        Verb::LooksAlive => health(kind.looks_alive(call)),
        Verb::IsAlive => health(kind.is_alive(call)),
    }
}

/// What its programs may take, by its properties.
fn limits(spec: &OnlineSpec) -> Limits {
    let given = |name: &str| spec.properties.get(name);
    Limits {
        memory_bytes: given("memory-limit").and_then(|size| parse_size(size)),
        processes: given("process-limit").and_then(|number| number.parse().ok()),
    }
}

/// Whether an administrator has just put it in service.
fn is_first(verb: &Verb) -> bool {
    match verb {
        Verb::Online(_, spec) => spec.first,
        Verb::Adopt(..) | Verb::Offline | Verb::LooksAlive | Verb::IsAlive => false,
    }
}

fn health((health, detail): (Health, String)) -> Returned {
    Returned::Health(health, detail)
}

impl From<Fault> for Returned {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::Refused(why) => Self::Refused(why),
            Fault::Failed(why) => Self::Failed(why),
        }
    }
}
