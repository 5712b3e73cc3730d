//! The keys of a cluster, and how one set follows another without a stop (decision 0037).
//!
//! ```text
//!   own, none ──► own, next ──► next, former ──► next, none        what a node believes
//!                 known         used             ended             phase of the rotation
//! ```
//!
//! The log, reports and views hold prints, which say nothing about the keys. The secrets are here
//! only on their way between executors, the core and streams, and in no `Debug`.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::ids::NodeId;

/// Names a set of keys: SHA-256 of the cluster key and the certificate of the authority.
#[derive(
    Clone,
    Copy,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Default,
    Debug,
    Serialize,
    Deserialize,
    utoipa::ToSchema,
)]
#[serde(transparent)]
pub struct Print(pub [u8; 32]);

impl fmt::Display for Print {
    /// As much as tells the sets of one cluster apart.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0[..4].iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// How far a rotation is.
#[derive(
    Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize, utoipa::ToSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum Phase {
    /// Every node gets the new keys and believes both; it can be abandoned.
    Known,
    /// Every node seals and signs with the new keys, and still believes the former ones.
    Used,
    /// Nobody believes the former keys any more.
    Ended,
}

impl Phase {
    /// The word for it.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Known => "known",
            Self::Used => "used",
            Self::Ended => "ended",
        }
    }
}

/// A rotation, as the log has it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Rotation {
    /// Counts rotations, abandoned ones too.
    pub number: u64,
    /// How far it is.
    pub phase: Phase,
    /// The node that makes the new keys.
    pub maker: NodeId,
    /// What they are named by, once they are made.
    pub print: Option<Print>,
}

impl fmt::Display for Rotation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { number, phase, maker, print } = self;
        match print {
            None => write!(f, "rotation {number} of the keys: {maker} makes new ones"),
            Some(print) => write!(f, "rotation {number} of the keys: {print} {}", phase.word()),
        }
    }
}

/// What a node believes besides its own set.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug, Serialize, Deserialize)]
pub enum Other<T> {
    /// Nothing.
    #[default]
    None,
    /// The set that follows, of the rotation of that number.
    Next(u64, T),
    /// The set that went before, of the rotation of that number.
    Former(u64, T),
}

impl<T> Other<T> {
    /// Something else of it.
    pub fn map<U>(self, change: impl FnOnce(T) -> U) -> Other<U> {
        match self {
            Self::None => Other::None,
            Self::Next(number, set) => Other::Next(number, change(set)),
            Self::Former(number, set) => Other::Former(number, change(set)),
        }
    }

    /// By reference.
    pub const fn as_ref(&self) -> Other<&T> {
        match self {
            Self::None => Other::None,
            Self::Next(number, set) => Other::Next(*number, set),
            Self::Former(number, set) => Other::Former(*number, set),
        }
    }

    /// What is believed.
    pub fn set(self) -> Option<T> {
        match self {
            Self::None => None,
            Self::Next(_, set) | Self::Former(_, set) => Some(set),
        }
    }
}

/// What a node says of its keys.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug, Serialize, Deserialize)]
pub struct Seals {
    /// The set that it seals and signs with.
    pub own: Print,
    /// What it believes besides.
    pub other: Other<Print>,
    /// The set under which it has seen all of the quorum disk while it believed two.
    pub disk: Option<Print>,
}

/// A cluster key and the set that it is of.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Key {
    /// The set.
    pub print: Print,
    /// The cluster key.
    pub bytes: [u8; 32],
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Key({})", self.print)
    }
}

/// A set that follows, with everything in it.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NewKeys {
    /// The rotation.
    pub number: u64,
    /// What it is named by.
    pub print: Print,
    /// The cluster key.
    pub key: [u8; 32],
    /// Certificate of the authority, PEM.
    pub authority: String,
    /// Its key, PEM.
    pub authority_key: String,
}

impl fmt::Debug for NewKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "NewKeys({} {})", self.number, self.print)
    }
}

/// What a node has: told by the executor at the start, and after each order.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Keys {
    /// What it seals and signs with.
    pub own: Key,
    /// What it believes besides.
    pub other: Other<Key>,
    /// What it can hand on to nodes that have not got it.
    pub new: Option<NewKeys>,
}

impl Keys {
    /// One set and no rotation.
    #[must_use]
    pub const fn only(own: Key) -> Self {
        Self { own, other: Other::None, new: None }
    }
}

/// What a node is to do with its keys. Each is safe to repeat.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum KeyOrder {
    /// Make a set, and keep it as the next one.
    Make(u64),
    /// Keep a set as the next one, if it is what it is named by.
    Keep(Box<NewKeys>),
    /// Seal and sign with the next one.
    Use(Print),
    /// Believe nothing but the own one, and forget the former one.
    End(Print),
    /// Forget the next one: its rotation was abandoned.
    Forget(u64),
}

impl fmt::Display for KeyOrder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Make(number) => write!(f, "make set {number}"),
            Self::Keep(new) => write!(f, "keep set {} ({})", new.number, new.print),
            Self::Use(print) => write!(f, "use {print}"),
            Self::End(print) => write!(f, "believe {print} only"),
            Self::Forget(number) => write!(f, "forget set {number}"),
        }
    }
}

/// What became of it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum KeyReport {
    /// The node has this now, durably, and goes by it.
    Has(Box<Keys>),
    /// It could not be done; nothing changed.
    Failed(String),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_do_not_show() {
        let print = Print([0xab; 32]);
        let key = Key { print, bytes: [90; 32] };
        let (authority, authority_key) = ("PUBLIC".to_owned(), "PRIVATE".to_owned());
        let new = NewKeys { number: 3, print, key: [90; 32], authority, authority_key };
        let keys = Keys { own: key, other: Other::Next(3, key), new: Some(new.clone()) };
        let shown = format!("{keys:?} {:?} {}", new, KeyOrder::Keep(Box::new(new.clone())));
        assert!(!shown.contains("90") && !shown.contains("PRIVATE"), "{shown}");
        assert!(shown.contains("keep set 3 (abababab)"), "{shown}");
    }
}
