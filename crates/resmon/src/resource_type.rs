//! What a resource type must do.
//!
//! Every call may block; it runs in a thread of its own and only that thread waits. Calls may
//! overlap: [`ResourceType::close`] comes while another one hangs. A type starts nothing that the
//! guard did not admit: it asks through [`GuardPort::admit`] with the [`Cancel`] of its call.
//!
//! The property tables are in `stead_model::resource_type`, so that the leader can refuse a wrong
//! property before anything is committed.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use rustix::event::{EventfdFlags, eventfd};
use stead_model::ResourceId;
use stead_model::note::Note;
use stead_model::order::{Fitness, OnlineSpec};
use stead_model::resource::Health;
use stead_model::resource_type::{builtin, parse_time_ms};
use stead_model::server::VirtualServer;
use stead_model::wire::guard::{Claim, InstanceId, Refusal};
use stead_netlink::Mac;

pub use crate::bell::{Cancel, Slept};
use crate::dns::Lines;
pub use crate::guard_port::{ActEnd, AdmitError, GuardPort, Held, Life, Settles};
use crate::slot::Who;

/// A resource of some type, opened with its properties.
pub trait ResourceType: Send + Sync {
    /// Starts it; returns when it serves.
    ///
    /// # Errors
    /// It does not; what was begun may be left to the guard, which ends it.
    fn online(&self, call: &Call) -> Result<(), Fault>;

    /// Watches what the guard runs since an earlier monitor. Nothing is restarted.
    ///
    /// # Errors
    /// It cannot be used as it is.
    fn adopt(&self, call: &Call, instance: InstanceId) -> Result<(), Fault>;

    /// Stops it gracefully, then less so; returns when nothing of it acts.
    ///
    /// # Errors
    /// Something may still act; the monitor then lets the guard end it.
    fn offline(&self, call: &Call) -> Result<(), Fault>;

    /// The light check.
    fn looks_alive(&self, call: &Call) -> Checked;

    /// The thorough check.
    fn is_alive(&self, call: &Call) -> Checked;

    /// Whether it may act although what the guard runs for it ended: then that end is no proof.
    fn acts_beyond(&self) -> bool {
        false
    }

    /// It was ordered again with other properties that need no restart, or stands on other
    /// addresses now.
    fn ordered_again(&self, spec: &OnlineSpec) {
        let _ = spec;
    }

    /// Processes of it that the guard did not start, with all that they started: for what it uses.
    fn processes(&self) -> Vec<i32> {
        Vec::new()
    }

    /// Something that one of its acts left running ended; a light check follows.
    fn stirred(&self) {}

    /// Something of the type's own, asked by an administrator.
    ///
    /// # Errors
    /// There is no such code, or it did not work.
    fn control(&self, call: &Call, code: &str, text: &str) -> Result<String, Fault> {
        let _ = (call, text);
        Err(Fault::Failed(format!("its type has no control code `{code}`")))
    }

    /// All that the guard ran for it was ended; tells whether it may still act all the same.
    ///
    /// # Errors
    /// It may.
    fn ended(&self, call: &Call) -> Result<(), Fault> {
        let _ = call;
        Ok(())
    }

    /// What takes away what it left elsewhere when it went for good: it does not run, and this
    /// open one is for nothing else. Carried out in a thread, again where it fails. `None`: it
    /// leaves nothing.
    fn leaves(&self, claim: &Claim) -> Option<Leaving> {
        let _ = claim;
        None
    }

    /// Looks whether a stranger has what it would need here, before a planned move: one sentence
    /// that names it. It runs elsewhere meanwhile and is not started by this. By default there is
    /// nothing to look at.
    fn probe(&self) -> Option<String> {
        None
    }

    /// Looks whether it could run here, before it is made so: what is missing is a sentence each,
    /// with the property that names it. Nothing is started and nothing is changed, and what lies
    /// below `apart` is not looked at. By default nothing is needed.
    fn fitness(&self, apart: &Apart) -> Fitness {
        let _ = apart;
        Fitness::Fit
    }

    /// From now on it begins nothing any more; ends its own threads. After this returned, what
    /// the guard runs for it is ended.
    fn close(&self);
}

/// Where disks of the cluster are mounted on their owners: whatever is there comes with them.
#[derive(Clone, Default, Debug)]
pub struct Apart(pub BTreeSet<PathBuf>);

impl Apart {
    /// Whether a path is on such a disk.
    #[must_use]
    pub fn holds(&self, path: &Path) -> bool {
        self.0.iter().any(|mount| path.starts_with(mount))
    }
}

/// What a check found, with a detail for people.
pub type Checked = (Health, String);

/// Takes something away; tells what, empty if there was nothing, or what stays and why.
pub type Leaving = Box<dyn FnMut() -> Result<String, String> + Send>;

/// One call: for whom, and how it is told to return early.
#[derive(Clone, Debug)]
pub struct Call {
    /// Whether an administrator has just put it in service; see `OnlineSpec::first`.
    pub first: bool,
    /// For whom and by which right.
    pub claim: Claim,
    /// Asked when it shall return early.
    pub cancel: Cancel,
}

/// Why a call did not do what it should.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Fault {
    /// The guard refused by right of the lease: no fault of the resource.
    #[error("{0}")]
    Refused(String),
    /// It does not work.
    #[error("{0}")]
    Failed(String),
}

/// What a type may use.
#[derive(Clone, Debug)]
pub struct Context {
    /// The guard.
    pub guard: Arc<GuardPort>,
    /// The nodes of the cluster on the wire.
    pub nodes: Arc<ClusterMacs>,
    /// What former owners left.
    pub notes: Arc<Notes>,
    /// Where it says what it noticed by itself.
    pub push: Push,
    /// The virtual server that it stands on or is part of.
    pub server: Arc<VirtualServer>,
    pub(crate) lines: Arc<Lines>,
    /// Folder that stands for `/`.
    pub root: PathBuf,
    pub(crate) bell: Arc<crate::bell::Bell>,
}

/// The way by which a type says what it noticed by itself.
#[derive(Clone)]
pub struct Push(pub(crate) Arc<dyn Fn(Pushed) + Send + Sync>);

/// What a type noticed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Pushed {
    /// It failed.
    Failed(String),
    /// Somebody should know.
    Notice(String),
    /// A check would find something: it is due now.
    Look,
    /// For whoever owns it later.
    Note(Vec<u8>),
}

/// The notes of other nodes' monitors.
#[derive(Debug, Default)]
pub struct Notes(Mutex<BTreeMap<ResourceId, Note>>);

impl Notes {
    /// What an earlier owner left of a resource.
    #[must_use]
    pub fn of(&self, claim: &Claim) -> Option<Vec<u8>> {
        let notes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let note = notes.get(&claim.resource).filter(|note| note.epoch < claim.epoch);
        note.map(|note| note.bytes.clone())
    }

    /// Another node has a note.
    pub(crate) fn take(&self, note: Note) {
        let mut notes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if notes.get(&note.resource).is_none_or(|known| note.replaces(known)) {
            notes.insert(note.resource.clone(), note);
        }
    }
}

/// MAC addresses of the cluster's nodes.
#[derive(Debug, Default)]
pub struct ClusterMacs(Mutex<KnownMacs>);

#[derive(Debug, Default)]
struct KnownMacs {
    /// As the nodes said themselves.
    told: BTreeSet<Mac>,
    /// As the neighbour table had them at some time.
    seen: BTreeSet<Mac>,
    /// Who wants to know when the nodes say something.
    listeners: Vec<Weak<OwnedFd>>,
}

impl Context {
    /// A [`Cancel`] for a thread of the type's own.
    #[must_use]
    pub fn new_cancel(&self) -> Cancel {
        Cancel::new(Arc::clone(&self.bell))
    }

    /// Makes everyone who waits look again.
    pub(crate) fn ring(&self) {
        self.bell.ring();
    }

    /// Asks a [`Cancel`] of [`Self::new_cancel`].
    pub fn ask(&self, cancel: &Cancel) {
        cancel.ask();
    }
}

impl Push {
    /// It failed.
    pub fn failed(&self, why: impl Into<String>) {
        (self.0)(Pushed::Failed(why.into()));
    }

    /// A check would find something. Unlike a failure it leaves it as it is: what stands on it is
    /// stopped first.
    pub fn look(&self) {
        (self.0)(Pushed::Look);
    }

    /// Somebody should know.
    pub fn notice(&self, text: impl Into<String>) {
        (self.0)(Pushed::Notice(text.into()));
    }

    /// For whoever owns it later; it takes the place of what was said before. At most
    /// [`stead_model::note::NOTE_BYTES_MAX`] bytes, and not often: all nodes are told.
    pub fn note(&self, bytes: Vec<u8>) {
        (self.0)(Pushed::Note(bytes));
    }
}

impl std::fmt::Debug for Push {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Push")
    }
}

impl ClusterMacs {
    /// A descriptor that becomes readable whenever the nodes said something.
    pub(crate) fn listen(&self) -> io::Result<Arc<OwnedFd>> {
        let bell = Arc::new(eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?);
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.listeners.push(Arc::downgrade(&bell));
        Ok(bell)
    }

    /// Whether a node of the cluster has this MAC address.
    #[must_use]
    pub fn contains(&self, mac: Mac) -> bool {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.told.contains(&mac) || known.seen.contains(&mac)
    }

    /// Takes what the nodes say, in the place of what they said before.
    pub fn tell(&self, macs: impl IntoIterator<Item = Mac>) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.told = macs.into_iter().collect();
        known.listeners.retain(|bell| {
            let Some(bell) = bell.upgrade() else { return false };
            // One that cannot count any further is readable already.
            let _ = rustix::io::write(&bell, &1_u64.to_ne_bytes());
            true
        });
    }

    /// Adds what was learned.
    pub fn learn(&self, macs: impl IntoIterator<Item = Mac>) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).seen.extend(macs);
    }
}

impl From<AdmitError> for Fault {
    fn from(error: AdmitError) -> Self {
        match error {
            AdmitError::Refused(Refusal::NotStarted(why)) => Self::Failed(why),
            AdmitError::Refused(refusal) => Self::Refused(refusal.to_string()),
            AdmitError::Cancelled | AdmitError::Silent => Self::Failed(error.to_string()),
        }
    }
}

impl From<&Who> for Claim {
    fn from(who: &Who) -> Self {
        Self {
            group: who.group.clone(),
            resource: who.resource.clone(),
            epoch: who.epoch,
            lease: who.lease,
        }
    }
}

/// The properties of one resource, with the defaults of its type.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Properties {
    kind: String,
    given: BTreeMap<String, String>,
}

impl Properties {
    /// The properties of an order.
    #[must_use]
    pub fn of(spec: &OnlineSpec) -> Self {
        Self { kind: spec.kind.clone(), given: spec.properties.clone() }
    }

    /// A property, or its default.
    #[must_use]
    pub fn text(&self, name: &str) -> Option<&str> {
        let default = || {
            let table = builtin(&self.kind)?.properties;
            table.iter().find(|p| p.name == name)?.default
        };
        self.given.get(name).map(String::as_str).or_else(default)
    }

    /// A property that must be there.
    ///
    /// # Errors
    /// It is not.
    pub fn needed(&self, name: &str) -> Result<&str, Fault> {
        self.text(name)
            .ok_or_else(|| Fault::Failed(format!("property `{name}` of the resource is missing")))
    }

    /// A length of time.
    ///
    /// # Errors
    /// It is missing or no time.
    pub fn time(&self, name: &str) -> Result<Duration, Fault> {
        let ms = parse_time_ms(self.needed(name)?);
        ms.map(Duration::from_millis)
            .map_err(|_| Fault::Failed(format!("property `{name}` is no time")))
    }

    /// Whether a flag is set.
    #[must_use]
    pub fn flag(&self, name: &str) -> bool {
        self.text(name) == Some("true")
    }
}
