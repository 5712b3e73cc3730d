//! The trace: one hash over everything that happens, lines only when somebody wants to read them.
//!
//! Two runs of a seed must have equal hashes; a violation is repeated with lines to show its story.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;

use stead_model::record::Record;

use crate::clock::Instant;
use crate::rng::mix;

/// How much of a run is kept as text.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Detail {
    /// Nothing: the fast way.
    Hash,
    /// Milestones: one dense line per change of state.
    Story,
    /// The last lines of everything.
    Tail(usize),
    /// Every event and effect.
    Full,
}

/// What a run leaves behind.
#[derive(Debug)]
pub struct Trace {
    hash: u64,
    detail: Detail,
    lines: VecDeque<String>,
    story: Vec<String>,
    recent: BTreeMap<String, Instant>,
}

/// The same words again within this time, from whichever node, are no news.
const NEWS_AFTER_NS: u64 = 1_000_000_000;

impl Trace {
    /// An empty trace.
    #[must_use]
    pub const fn new(detail: Detail) -> Self {
        Self { hash: 0, detail, lines: VecDeque::new(), story: Vec::new(), recent: BTreeMap::new() }
    }

    /// Mixes a number into the hash.
    pub const fn mix(&mut self, number: u64) {
        self.hash = mix(self.hash ^ number);
    }

    /// The hash so far.
    #[must_use]
    pub const fn hash(&self) -> u64 {
        self.hash
    }

    /// Whether lines are kept.
    #[must_use]
    pub const fn wants_lines(&self) -> bool {
        matches!(self.detail, Detail::Full | Detail::Tail(_))
    }

    /// Whether milestones are kept.
    #[must_use]
    pub const fn wants_story(&self) -> bool {
        !matches!(self.detail, Detail::Hash)
    }

    /// Keeps a line, if lines are wanted.
    pub fn line(&mut self, now: Instant, line: impl FnOnce() -> String) {
        if self.wants_lines() {
            self.keep(format!("{} {}", Stamp(now), line()));
        }
    }

    /// Keeps a milestone, if the story is wanted.
    pub fn milestone(&mut self, now: Instant, line: impl FnOnce() -> String) {
        if self.wants_story() {
            let line = line();
            if self.wants_lines() {
                self.keep(format!("{} {line}   <<<<", Stamp(now)));
            }
            self.story.push(format!("{} {line}", Hundredths(now)));
        }
    }

    /// Keeps what a node recorded, if the story is wanted and no other node just said the same.
    pub fn recorded(&mut self, now: Instant, record: &Record) {
        if !self.wants_story() {
            return;
        }
        let words = format!("{}: {}", record.code, record.text);
        let last = self.recent.insert(words, now);
        if last.is_none_or(|last| now >= last + NEWS_AFTER_NS) {
            self.milestone(now, || record.to_string());
        } else {
            self.line(now, || record.to_string());
        }
    }

    fn keep(&mut self, line: String) {
        if let Detail::Tail(limit) = self.detail
            && self.lines.len() >= limit
        {
            self.lines.pop_front();
        }
        self.lines.push_back(line);
    }

    /// All lines kept.
    pub fn lines(&self) -> impl Iterator<Item = &str> {
        self.lines.iter().map(String::as_str)
    }

    /// All milestones.
    #[must_use]
    pub fn story(&self) -> &[String] {
        &self.story
    }
}

/// A true moment as stories tell it: a change of a millisecond is no other story.
struct Hundredths(Instant);

impl fmt::Display for Hundredths {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:>3}.{:02}", self.0 / 1_000_000_000, self.0 / 10_000_000 % 100)
    }
}

/// A true moment as people read it: seconds and microseconds.
#[derive(Clone, Copy, Debug)]
pub struct Stamp(pub Instant);

impl fmt::Display for Stamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:>3}.{:06}", self.0 / 1_000_000_000, self.0 / 1_000 % 1_000_000)
    }
}
