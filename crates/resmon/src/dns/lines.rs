//! Who has the last word about a name.
//!
//! A monitor publishes and removes names in threads of its own, and each tries again for a while.
//! Of two that are about the same name only the later one is to be carried out, whatever order
//! their threads run in.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// All names that something was done about.
#[derive(Debug, Default)]
pub(crate) struct Lines(Mutex<BTreeMap<String, Arc<Line>>>);

#[derive(Debug, Default)]
struct Line {
    last: AtomicU64,
    turn: Mutex<()>,
}

/// What somebody wants done about a name; a later one replaces it.
#[derive(Clone, Debug)]
pub(crate) struct Intent {
    line: Arc<Line>,
    number: u64,
}

impl Lines {
    /// From now on this is what shall be done about the name.
    pub(crate) fn intend(&self, name: &str) -> Intent {
        let mut lines = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let line = Arc::clone(lines.entry(name.to_ascii_lowercase()).or_default());
        let number = line.last.fetch_add(1, Ordering::SeqCst) + 1;
        Intent { line, number }
    }
}

impl Intent {
    /// Whether both are one.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.line, &other.line) && self.number == other.number
    }

    /// Acts, while nobody else does about this name; `None` if somebody wants something else
    /// since.
    pub(crate) fn act<T>(&self, act: impl FnOnce() -> T) -> Option<T> {
        let _turn = self.line.turn.lock().unwrap_or_else(PoisonError::into_inner);
        (self.line.last.load(Ordering::SeqCst) == self.number).then(act)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_word_counts_for_each_name() {
        let lines = Lines::default();
        let publish = lines.intend("web.example.org");
        let other = lines.intend("db.example.org");
        assert_eq!(publish.act(|| 1), Some(1));
        let remove = lines.intend("WEB.example.org");
        assert_eq!(
            (publish.act(|| 1), remove.act(|| 2), other.act(|| 3)),
            (None, Some(2), Some(3))
        );
    }
}
