//! What a type implements, and what it is given.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::protocol::{Checked, Description, Opening, Said};

/// A resource of a type; one program is one resource.
///
/// Each call has a thread of its own. stead makes one after the other, except that
/// [`Self::terminate`] may come at any time. What they return is one sentence for people.
pub trait Resource: Send + Sync + Sized + 'static {
    /// What the type is.
    fn describe() -> Description;

    /// Reads the properties and touches nothing.
    ///
    /// # Errors
    /// A property is wrong; those that do not fit the description are refused before.
    fn open(setup: Setup) -> Result<Self, String>;

    /// Starts it; returns when it serves. What an earlier life of the program left, which may
    /// have ended at any point, is cleaned up or taken over.
    ///
    /// # Errors
    /// It does not work.
    fn online(&self, call: &Call) -> Result<(), String>;

    /// Stops it gracefully; returns when nothing of it acts. One that is offline is no error.
    ///
    /// # Errors
    /// Something may still act; stead then kills the program and all it started.
    fn offline(&self, call: &Call) -> Result<(), String>;

    /// The thorough check.
    fn is_alive(&self, call: &Call) -> Checked;

    /// The light check. Default: the thorough one.
    fn looks_alive(&self, call: &Call) -> Checked {
        self.is_alive(call)
    }

    /// Ends all of it at once, whatever else is under way, also what an earlier life of the
    /// program left. Default: [`Self::offline`]. stead has killed all processes before.
    ///
    /// # Errors
    /// Something may still act.
    fn terminate(&self, call: &Call) -> Result<(), String> {
        self.offline(call)
    }

    /// Something of the type's own. Default: there are no codes.
    ///
    /// # Errors
    /// There is no such code, or it did not work.
    fn control(&self, call: &Call, code: &str, text: &str) -> Result<String, String> {
        let _ = (call, text);
        Err(format!("there is no control code `{code}`"))
    }

    /// The program ends after this. Default: nothing.
    fn close(&self) {}
}

/// What a resource is opened with.
#[derive(Clone, Debug)]
pub struct Setup {
    /// Its name.
    pub resource: String,
    /// Name of its group.
    pub group: String,
    /// The epoch of the ownership, which only grows: a fencing token to hand on.
    pub epoch: u64,
    /// Where it says what it notices by itself.
    pub teller: Teller,
    properties: BTreeMap<String, String>,
}

impl Setup {
    pub(crate) fn new(opening: Opening, teller: Teller) -> Self {
        let Opening { resource, group, epoch, properties } = opening;
        Self { resource, group, epoch, teller, properties }
    }

    /// A property.
    #[must_use]
    pub fn text(&self, name: &str) -> Option<&str> {
        self.properties.get(name).map(String::as_str)
    }

    /// A property that must be there.
    ///
    /// # Errors
    /// It is not.
    pub fn needed(&self, name: &str) -> Result<&str, String> {
        self.text(name).ok_or_else(|| format!("property `{name}` is missing"))
    }

    /// A property that must be there, as a path.
    ///
    /// # Errors
    /// It is missing.
    pub fn path(&self, name: &str) -> Result<PathBuf, String> {
        self.needed(name).map(PathBuf::from)
    }

    /// A property that must be there, read as a number or the like.
    ///
    /// # Errors
    /// It is missing or cannot be read.
    pub fn parsed<T: FromStr>(&self, name: &str) -> Result<T, String> {
        let text = self.needed(name)?;
        text.parse().map_err(|_| format!("property `{name}` cannot be `{text}`"))
    }
}

/// Where a resource says what it notices by itself.
#[derive(Clone)]
pub struct Teller(pub(crate) Arc<dyn Fn(&Said) + Send + Sync>);

impl Teller {
    /// It failed. stead acts on that at once: there is no need for a check to find it.
    pub fn broke(&self, text: impl Into<String>) {
        (self.0)(&Said::Broke { text: text.into() });
    }

    /// Somebody should know.
    pub fn notice(&self, text: impl Into<String>) {
        (self.0)(&Said::Notice { text: text.into() });
    }
}

impl fmt::Debug for Teller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Teller")
    }
}

/// One call.
#[derive(Clone, Debug)]
pub struct Call {
    id: u64,
    teller: Teller,
    cancelled: Arc<(Mutex<bool>, Condvar)>,
}

/// The call shall return early.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Cancelled;

impl Call {
    pub(crate) fn new(id: u64, teller: Teller) -> Self {
        Self { id, teller, cancelled: Arc::default() }
    }

    /// Whether it shall return early.
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        *self.cancelled.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Says what it does or waits for.
    pub fn progress(&self, text: impl Into<String>) {
        (self.teller.0)(&Said::Progress { id: self.id, text: text.into() });
    }

    /// Waits for that time.
    ///
    /// # Errors
    /// The call was cancelled meanwhile, or before.
    pub fn wait(&self, time: Duration) -> Result<(), Cancelled> {
        let end = Instant::now() + time;
        let mut cancelled = self.cancelled.0.lock().unwrap_or_else(PoisonError::into_inner);
        while !*cancelled {
            let Some(left) = end.checked_duration_since(Instant::now()) else { return Ok(()) };
            let waited = self.cancelled.1.wait_timeout(cancelled, left);
            cancelled = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        Err(Cancelled)
    }

    pub(crate) fn cancel(&self) {
        *self.cancelled.0.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.cancelled.1.notify_all();
    }
}

impl fmt::Display for Cancelled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("it was cancelled")
    }
}

impl From<Cancelled> for String {
    fn from(cancelled: Cancelled) -> Self {
        cancelled.to_string()
    }
}
