//! The monitor's side of the conversation with the guard.
//!
//! Many threads ask, one reads the answers. What the guard runs is known here at any time. A call
//! that was cancelled is never admitted any more: that is checked under the same lock under which
//! a terminate looks for what must be ended, so nothing slips through between the two.

use std::collections::BTreeMap;
use std::io::{self, IoSlice, Read, Write};
use std::mem::MaybeUninit;
use std::os::fd::BorrowedFd;
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};
use stead_model::ResourceId;
use stead_model::wire::codec;
use stead_model::wire::guard::{
    Act, Acted, Claim, ExitStatus, GuardToMonitor, InstanceId, Limits, MonitorToGuard, ProgramSpec,
    Refusal, Thing, ThingKind, VERSION,
};

use crate::bell::{Bell, Cancel};
use crate::host::clock::boot_time;

/// The guard answers at once; this only ends the wait for a guard that is being replaced.
const ANSWER_LIMIT: Duration = Duration::from_secs(10);

/// Why something was not admitted.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum AdmitError {
    /// The guard refused.
    #[error("{0}")]
    Refused(Refusal),
    /// The call was cancelled before it could ask.
    #[error("it was cancelled")]
    Cancelled,
    /// The guard did not answer.
    #[error("the guard does not answer")]
    Silent,
}

/// Something the guard runs or ran.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Held {
    /// For whom.
    pub claim: Claim,
    /// Its kind.
    pub kind: ThingKind,
    /// Process number of a program's init, as the guard sees it.
    pub pid: Option<u32>,
    /// Whether it still acts.
    pub life: Life,
}

/// Whether a thing still acts.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Life {
    /// Admitted; a program is being executed.
    Admitted,
    /// A program was executed.
    Started,
    /// Nothing is left of it.
    Ended(ExitStatus),
}

/// What the guard told that concerns a resource's slot.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Ended {
    pub(crate) resource: ResourceId,
    pub(crate) status: ExitStatus,
}

/// The connection to the guard.
#[derive(Debug)]
pub struct GuardPort {
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// Rung when something of a resource changes.
    bells: BTreeMap<ResourceId, Arc<Bell>>,
    connection: UnixStream,
    request_last: u64,
    asked: BTreeMap<u64, (Claim, ThingKind)>,
    answers: BTreeMap<u64, Result<InstanceId, Refusal>>,
    things: BTreeMap<InstanceId, Held>,
    /// What the programs of resources may take, by their properties.
    limits: BTreeMap<ResourceId, Limits>,
    act_last: u64,
    /// Acts that are waited for, by whom, and how they ended.
    acts: BTreeMap<u64, (ResourceId, Option<Acted>)>,
}

/// How a program in an agent's place ended.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ActEnd {
    /// By itself: how, and the end of its output.
    Ended(ExitStatus, String),
    /// It did not end in time, and was killed.
    TooLate,
    /// The call was cancelled; it was killed.
    Cancelled,
    /// The whole place was ended.
    PlaceGone,
}

impl GuardPort {
    pub(crate) fn new(connection: UnixStream) -> Self {
        let state = State {
            bells: BTreeMap::new(),
            connection,
            request_last: 0,
            asked: BTreeMap::new(),
            answers: BTreeMap::new(),
            things: BTreeMap::new(),
            limits: BTreeMap::new(),
            // An act that an earlier monitor began may still end.
            act_last: boot_time().0,
            acts: BTreeMap::new(),
        };
        Self { state: Mutex::new(state) }
    }

    /// The bell of a resource.
    pub(crate) fn bell(&self, resource: &ResourceId) -> Arc<Bell> {
        Arc::clone(self.lock().bells.entry(resource.clone()).or_default())
    }

    /// Says hello: from now on the guard counts this monitor as ready.
    pub(crate) fn hello(&self) -> io::Result<()> {
        self.lock().send(&MonitorToGuard::Hello { version: VERSION })
    }

    /// Reads what the guard says until it is gone. `tell` is called for what ended.
    pub(crate) fn listen(
        &self,
        mut connection: UnixStream,
        mut tell: impl FnMut(GuardNews),
    ) -> io::Result<()> {
        let mut bytes = Vec::new();
        let mut chunk = [0; 4096];
        loop {
            while let Some((message, used)) = codec::decode(&bytes).map_err(io::Error::other)? {
                bytes.drain(..used);
                let mut state = self.lock();
                let resource = state.concerned(&message);
                let news = state.take(message);
                let bell = resource.and_then(|resource| state.bells.get(&resource).cloned());
                drop(state);
                // First the news, then the bell: whoever the bell wakes is behind the news.
                news.map(&mut tell);
                bell.inspect(|bell| bell.ring());
            }
            match connection.read(&mut chunk)? {
                0 => return Ok(()),
                got => bytes.extend_from_slice(&chunk[..got]),
            }
        }
    }

    /// What is admitted for a resource from now on may take no more than this.
    pub(crate) fn limit(&self, resource: &ResourceId, limits: Limits) {
        self.lock().limits.insert(resource.clone(), limits);
    }

    /// Asks whether something may run; a program is started with that.
    ///
    /// # Errors
    /// It may not; nothing of it acts.
    pub fn admit(
        &self,
        claim: &Claim,
        thing: Thing,
        cancel: &Cancel,
    ) -> Result<InstanceId, AdmitError> {
        let request = self.lock().ask(claim, thing, cancel)?;
        let bell = self.bell(&claim.resource);
        let answer = bell.wait(Some(ANSWER_LIMIT), || self.lock().answers.remove(&request));
        answer.ok_or(AdmitError::Silent)?.map_err(AdmitError::Refused)
    }

    /// Sends a signal to a program.
    pub fn signal(&self, instance: InstanceId, signal: i32) {
        self.lock().say(&MonitorToGuard::Signal { instance, signal });
    }

    /// Ends a thing at once; its end is told by the guard.
    pub fn kill(&self, instance: InstanceId) {
        self.lock().say(&MonitorToGuard::Kill { instance });
    }

    /// Runs a program in an agent's place, and waits for its end for at most `limit`.
    pub fn act(
        &self,
        instance: InstanceId,
        run: (ProgramSpec, Settles),
        limit: Duration,
        cancel: &Cancel,
    ) -> ActEnd {
        let number = match self.lock().begin_act(instance, run, cancel) {
            Ok(number) => number,
            Err(end) => return end,
        };
        let found = cancel.bell().wait(Some(limit), || {
            let mut state = self.lock();
            if let Some(Acted { status, said, .. }) = state.acts.get_mut(&number)?.1.take() {
                return Some(ActEnd::Ended(status, said));
            }
            let gone = state.things.get(&instance).is_none_or(Held::has_ended);
            drop(state);
            let early = if gone { ActEnd::PlaceGone } else { ActEnd::Cancelled };
            (gone || cancel.is_asked()).then_some(early)
        });
        let mut state = self.lock();
        state.acts.remove(&number);
        let end = found.unwrap_or(ActEnd::TooLate);
        if matches!(end, ActEnd::TooLate | ActEnd::Cancelled) {
            state.say(&MonitorToGuard::EndAct { instance, number });
        }
        end
    }

    /// Hands over a descriptor of what was mounted.
    pub fn mounted(&self, instance: InstanceId, root: BorrowedFd<'_>) {
        // If the guard is gone, so is everything it ran.
        drop(self.lock().send_with(&MonitorToGuard::Mounted { instance }, root));
    }

    /// Tells that a mount is about to be ended: the guard lets go of its descriptor.
    pub fn unmounting(&self, instance: InstanceId) {
        self.lock().say(&MonitorToGuard::Unmounting { instance });
    }

    /// Tells that nothing is left of an address, mount or mark.
    pub fn released(&self, instance: InstanceId) {
        let mut state = self.lock();
        let held = state.things.remove(&instance);
        state.say(&MonitorToGuard::Released { instance });
        drop(state);
        if let Some(held) = held {
            self.bell(&held.claim.resource).ring();
        }
    }

    /// What is known of a thing.
    #[must_use]
    pub fn life(&self, instance: InstanceId) -> Life {
        let ended = Life::Ended(ExitStatus::Unknown);
        self.lock().things.get(&instance).map_or(ended, |held| held.life.clone())
    }

    /// Waits until `look` likes what is known of a thing, or the call is cancelled, or for
    /// `limit`; tells what is known then.
    pub fn wait_for(
        &self,
        instance: InstanceId,
        limit: Duration,
        cancel: &Cancel,
        look: impl Fn(&Life) -> bool,
    ) -> Life {
        let found = cancel.bell().wait(Some(limit), || {
            let life = self.life(instance);
            (look(&life) || cancel.is_asked()).then_some(life)
        });
        found.unwrap_or_else(|| self.life(instance))
    }

    /// What of a resource acts now.
    #[must_use]
    pub fn running(&self, resource: &ResourceId) -> Option<(InstanceId, Held)> {
        let state = self.lock();
        let mut things = state.things.iter();
        things.find(|(_, h)| h.is_of(resource)).map(|(id, held)| (*id, held.clone()))
    }

    /// The thing of that kind that a resource has.
    #[must_use]
    pub fn thing_of(&self, resource: &ResourceId, kind: ThingKind) -> Option<InstanceId> {
        let state = self.lock();
        let mut things = state.things.iter();
        things.find(|(_, held)| held.is_of(resource) && held.kind == kind).map(|(id, _)| *id)
    }

    /// Everything that acts now.
    pub(crate) fn all_running(&self) -> Vec<Held> {
        let acts = |held: &&Held| !matches!(held.life, Life::Ended(_));
        self.lock().things.values().filter(acts).cloned().collect()
    }

    /// Ends all of a resource. All its calls were cancelled before.
    pub(crate) fn end_all(&self, resource: &ResourceId, limit: Duration) -> Result<(), String> {
        let mut killed = Vec::new();
        let ended = self.bell(resource).wait(Some(limit), || {
            let mut state = self.lock();
            let things = state.things.iter().filter(|(_, held)| held.is_of(resource));
            let left: Vec<InstanceId> = things.map(|(id, _)| *id).collect();
            for instance in left.iter().filter(|id| !killed.contains(*id)) {
                state.say(&MonitorToGuard::Kill { instance: *instance });
            }
            killed.extend(left.iter().copied());
            let asked = state.asked.values().any(|(claim, _)| claim.resource == *resource);
            (left.is_empty() && !asked).then_some(())
        });
        ended.ok_or_else(|| "the guard could not end it in time".to_owned())
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What the listener of the guard's connection tells.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum GuardNews {
    /// The first answer: what runs is known from now on.
    Inventory,
    /// Something ended by itself or was killed.
    Ended(Ended),
    /// Something that an agent's act left running ended.
    Stirred(ResourceId),
}

/// Whether the end of what an act leaves running shall be told.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Settles {
    /// It is the resource.
    Yes,
    /// It is of no interest.
    No,
}

impl Held {
    fn is_of(&self, resource: &ResourceId) -> bool {
        self.claim.resource == *resource && !self.has_ended()
    }

    const fn has_ended(&self) -> bool {
        matches!(self.life, Life::Ended(_))
    }
}

impl State {
    fn send(&mut self, message: &MonitorToGuard) -> io::Result<()> {
        self.connection.write_all(&codec::encode(message))
    }

    /// Sends a message with a descriptor, which comes along with its first bytes.
    fn send_with(
        &mut self,
        message: &MonitorToGuard,
        descriptor: BorrowedFd<'_>,
    ) -> io::Result<()> {
        let bytes = codec::encode(message);
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut beside = SendAncillaryBuffer::new(&mut space);
        let descriptors = [descriptor];
        let fits = beside.push(SendAncillaryMessage::ScmRights(&descriptors));
        assert!(fits, "the space is made for one descriptor");
        let flags = SendFlags::NOSIGNAL;
        let sent = sendmsg(&self.connection, &[IoSlice::new(&bytes)], &mut beside, flags)?;
        self.connection.write_all(&bytes[sent..])
    }

    /// Sends what need not arrive: if the guard is gone, so is everything it ran.
    fn say(&mut self, message: &MonitorToGuard) {
        drop(self.send(message));
    }

    fn ask(&mut self, claim: &Claim, thing: Thing, cancel: &Cancel) -> Result<u64, AdmitError> {
        if cancel.is_asked() {
            return Err(AdmitError::Cancelled);
        }
        self.request_last += 1;
        let request = self.request_last;
        self.asked.insert(request, (claim.clone(), thing.kind()));
        let claim = claim.clone();
        let limits = self.limits.get(&claim.resource).copied().unwrap_or_default();
        let sent = self.send(&MonitorToGuard::Admit { request, claim, thing, limits });
        sent.map(|()| request).map_err(|_| AdmitError::Silent)
    }

    fn begin_act(
        &mut self,
        instance: InstanceId,
        (program, settles): (ProgramSpec, Settles),
        cancel: &Cancel,
    ) -> Result<u64, ActEnd> {
        if cancel.is_asked() {
            return Err(ActEnd::Cancelled);
        }
        let place = self.things.get(&instance).ok_or(ActEnd::PlaceGone)?;
        self.act_last += 1;
        let number = self.act_last;
        self.acts.insert(number, (place.claim.resource.clone(), None));
        let settles = settles == Settles::Yes;
        self.say(&MonitorToGuard::Act { instance, act: Act { number, program, settles } });
        Ok(number)
    }

    /// The resource that a message is about.
    fn concerned(&self, message: &GuardToMonitor) -> Option<ResourceId> {
        match message {
            GuardToMonitor::Inventory(_) => None,
            GuardToMonitor::Admitted { request, .. } | GuardToMonitor::Refused { request, .. } => {
                self.asked.get(request).map(|(claim, _)| claim.resource.clone())
            }
            GuardToMonitor::Started { instance }
            | GuardToMonitor::Exited { instance, .. }
            | GuardToMonitor::Stirred { instance } => {
                self.things.get(instance).map(|held| held.claim.resource.clone())
            }
            GuardToMonitor::Acted { acted, .. } => {
                self.acts.get(&acted.number).map(|(resource, _)| resource.clone())
            }
        }
    }

    fn take(&mut self, message: GuardToMonitor) -> Option<GuardNews> {
        match message {
            GuardToMonitor::Inventory(running) => {
                for thing in running {
                    let (claim, kind, pid) = (thing.claim, thing.kind, thing.pid);
                    let held = Held { claim, kind, pid, life: Life::Started };
                    self.things.insert(thing.instance, held);
                }
                Some(GuardNews::Inventory)
            }
            GuardToMonitor::Admitted { request, instance, pid } => {
                let (claim, kind) = self.asked.remove(&request)?;
                let resource = claim.resource.clone();
                self.things.retain(|_, h| h.claim.resource != resource || h.is_of(&resource));
                self.things.insert(instance, Held { claim, kind, pid, life: Life::Admitted });
                self.answers.insert(request, Ok(instance));
                None
            }
            GuardToMonitor::Refused { request, refusal } => {
                self.asked.remove(&request);
                self.answers.insert(request, Err(refusal));
                None
            }
            GuardToMonitor::Started { instance } => {
                let held = self.things.get_mut(&instance)?;
                held.life = Life::Started;
                None
            }
            GuardToMonitor::Exited { instance, status } => {
                let held = self.things.get_mut(&instance)?;
                held.life = Life::Ended(status.clone());
                let resource = held.claim.resource.clone();
                Some(GuardNews::Ended(Ended { resource, status }))
            }
            GuardToMonitor::Acted { acted, .. } => {
                if let Some((_, place)) = self.acts.get_mut(&acted.number) {
                    *place = Some(acted);
                }
                None
            }
            GuardToMonitor::Stirred { instance } => {
                let resource = self.things.get(&instance)?.claim.resource.clone();
                Some(GuardNews::Stirred(resource))
            }
        }
    }
}
