//! Checkers: one file per promise, each watching from outside and knowing the history.
//!
//! | promise | file |
//! |---|---|
//! | I-OWN: one node at a time | `own.rs` |
//! | I-PLACE: never beside what it must not run beside | `apart.rs` |
//! | I-QUORUM: nothing after lease and grace | `quorum.rs` |
//! | I-STOP-START: start after known stop, epochs grow | `stop_start.rs` |
//! | I-DEP: order of dependencies | `dep.rs` |
//! | I-ACK: acknowledged stays; missed changes come first | `ack.rs` |
//! | I-AGREE: same changes, same order | `agree.rs` |
//! | one leader per term | `election.rs` |
//! | I-CONVERGE: online in time, then still | `converge.rs` |
//! | I-WHY: every change of owner has a cause | `why.rs` |
//!
//! Not here: panics and halts of a core, which the world itself reports as `NO-PANIC`.

pub mod ack;
pub mod agree;
pub mod apart;
pub mod converge;
pub mod dep;
pub mod election;
pub mod own;
pub mod quorum;
pub mod stop_start;
pub mod why;

use std::fmt;

/// The name of a promise.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Promise {
    /// A resource acts on one node at a time.
    Own,
    /// Nothing acts after lease and grace.
    Quorum,
    /// A group starts after it is known stopped.
    StopStart,
    /// Dependencies come first and go last.
    Dep,
    /// What was acknowledged stays.
    Ack,
    /// All apply the same.
    Agree,
    /// One leader per term.
    Election,
    /// All is online in time and then still.
    Converge,
    /// Every change of owner has a cause.
    Why,
    /// No core panics or gives up without a broken disk.
    NoPanic,
    /// An expectation of a script is met.
    Script,
    /// Groups that must not run beside each other do not.
    Place,
}

impl Promise {
    /// All of them.
    pub const ALL: [Self; 12] = [
        Self::Own,
        Self::Quorum,
        Self::StopStart,
        Self::Dep,
        Self::Ack,
        Self::Agree,
        Self::Election,
        Self::Converge,
        Self::Why,
        Self::NoPanic,
        Self::Script,
        Self::Place,
    ];

    /// Its name in text.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Own => "I-OWN",
            Self::Quorum => "I-QUORUM",
            Self::StopStart => "I-STOP-START",
            Self::Dep => "I-DEP",
            Self::Ack => "I-ACK",
            Self::Agree => "I-AGREE",
            Self::Election => "ELECTION",
            Self::Converge => "I-CONVERGE",
            Self::Why => "I-WHY",
            Self::NoPanic => "NO-PANIC",
            Self::Script => "SCRIPT",
            Self::Place => "I-PLACE",
        }
    }

    /// The promise of that name.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|promise| promise.name() == name)
    }
}

impl fmt::Display for Promise {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A broken promise.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Violation {
    /// Which.
    pub promise: Promise,
    /// What was seen.
    pub text: String,
}

impl Violation {
    /// A broken promise.
    #[must_use]
    pub const fn new(promise: Promise, text: String) -> Self {
        Self { promise, text }
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.promise, self.text)
    }
}

/// What a checker says.
pub type Verdict = Result<(), Violation>;

/// All checkers with what they remember.
#[derive(Default, Debug)]
pub struct Checkers {
    /// I-OWN.
    pub own: own::Own,
    /// I-PLACE.
    pub apart: apart::Apart,
    /// I-QUORUM.
    pub quorum: quorum::Quorum,
    /// I-STOP-START.
    pub stop_start: stop_start::StopStart,
    /// I-DEP.
    pub dep: dep::Dep,
    /// I-ACK.
    pub ack: ack::Ack,
    /// I-AGREE.
    pub agree: agree::Agree,
    /// One leader per term.
    pub election: election::Election,
    /// I-CONVERGE.
    pub converge: converge::Converge,
    /// I-WHY.
    pub why: why::Why,
    /// The newest generation of histories that was seen.
    generation: u32,
}

impl Checkers {
    /// Whether no newer history was seen than one of this generation: what an older one has is no
    /// more what counts (R13).
    pub fn reaches(&mut self, generation: u32) -> bool {
        if generation > self.generation {
            self.generation = generation;
            self.dep.forget();
        }
        generation == self.generation
    }
}
