//! The trace: one hash over everything that happens, lines only when somebody wants to read them.
//!
//! Two runs of a seed must have equal hashes; a violation is repeated with lines to show its story.

use std::collections::VecDeque;
use std::fmt;

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
}

impl Trace {
    /// An empty trace.
    #[must_use]
    pub const fn new(detail: Detail) -> Self {
        Self { hash: 0, detail, lines: VecDeque::new(), story: Vec::new() }
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
            let line = format!("{} {}", Stamp(now), line());
            if self.wants_lines() {
                self.keep(format!("{line}   <<<<"));
            }
            self.story.push(line);
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

/// A true moment as people read it: seconds and milliseconds.
#[derive(Clone, Copy, Debug)]
pub struct Stamp(pub Instant);

impl fmt::Display for Stamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:>3}.{:06}", self.0 / 1_000_000_000, self.0 / 1_000 % 1_000_000)
    }
}
