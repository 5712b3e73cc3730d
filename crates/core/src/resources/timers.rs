//! Times at which something is to be looked at again, the next one at hand.

use std::collections::{BTreeMap, BTreeSet};

use stead_model::Time;

/// One time for each of many names.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Timers<K: Ord> {
    times: BTreeMap<K, Time>,
    order: BTreeSet<(Time, K)>,
}

impl<K: Ord + Clone> Timers<K> {
    /// None is set.
    pub(super) const fn new() -> Self {
        Self { times: BTreeMap::new(), order: BTreeSet::new() }
    }

    /// Sets the time of a name, or clears it.
    pub(super) fn set(&mut self, name: &K, at: Option<Time>) {
        if self.get(name) == at {
            return;
        }
        if let Some(was) = self.times.remove(name) {
            self.order.remove(&(was, name.clone()));
        }
        if let Some(at) = at {
            self.times.insert(name.clone(), at);
            self.order.insert((at, name.clone()));
        }
    }

    /// The time of a name.
    pub(super) fn get(&self, name: &K) -> Option<Time> {
        self.times.get(name).copied()
    }

    /// The first of all times.
    pub(super) fn next(&self) -> Option<Time> {
        self.order.first().map(|(at, _)| *at)
    }

    /// Whose time has come, by name.
    pub(super) fn due(&self, now: Time) -> BTreeSet<K> {
        let come = self.order.iter().take_while(|(at, _)| *at <= now);
        come.map(|(_, name)| name.clone()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_has_one_time_and_the_first_comes_first() {
        let mut timers = Timers::new();
        assert_eq!(timers.next(), None);
        timers.set(&"a", Some(Time(5)));
        timers.set(&"b", Some(Time(3)));
        timers.set(&"a", Some(Time(2)));
        assert_eq!((timers.next(), timers.due(Time(1))), (Some(Time(2)), BTreeSet::new()));
        assert_eq!(timers.due(Time(3)), BTreeSet::from(["a", "b"]));
        timers.set(&"a", None);
        timers.set(&"a", None);
        assert_eq!((timers.next(), timers.due(Time(9))), (Some(Time(3)), BTreeSet::from(["b"])));
    }
}
