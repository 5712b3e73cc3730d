//! Reads and writes under way, with the time by which each must have ended.

use std::collections::BTreeMap;

use stead_core::Ticket;
use stead_model::Time;

/// What is under way.
#[derive(Default, Debug)]
pub(crate) struct Pending {
    tickets: BTreeMap<Ticket, Option<Time>>,
    deadlines: BTreeMap<(Time, Ticket), ()>,
}

impl Pending {
    /// A read or write began; `until`: the time by which it must have ended, if any.
    pub(crate) fn began(&mut self, ticket: Ticket, until: Option<Time>) {
        self.tickets.insert(ticket, until);
        if let Some(until) = until {
            self.deadlines.insert((until, ticket), ());
        }
    }

    /// Its completion came; `false`: it was given up before and the completion means nothing.
    pub(crate) fn ended(&mut self, ticket: Ticket) -> bool {
        let Some(until) = self.tickets.remove(&ticket) else { return false };
        if let Some(until) = until {
            self.deadlines.remove(&(until, ticket));
        }
        true
    }

    /// When the next one is given up.
    pub(crate) fn next_deadline(&self) -> Option<Time> {
        self.deadlines.keys().next().map(|(until, _)| *until)
    }

    /// Gives up one whose time has come.
    pub(crate) fn give_up(&mut self, now: Time) -> Option<Ticket> {
        let (until, ticket) = *self.deadlines.keys().next()?;
        if until > now {
            return None;
        }
        self.ended(ticket);
        Some(ticket)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_ends_once_by_completion_or_by_time() {
        let mut pending = Pending::default();
        pending.began(Ticket(1), Some(Time(10)));
        pending.began(Ticket(2), None);
        pending.began(Ticket(3), Some(Time(20)));
        assert_eq!(pending.next_deadline(), Some(Time(10)));
        assert_eq!(pending.give_up(Time(9)), None);
        assert!(pending.ended(Ticket(2)));
        assert_eq!(pending.give_up(Time(10)), Some(Ticket(1)));
        assert!(!pending.ended(Ticket(1)), "a late completion means nothing");
        assert!(pending.ended(Ticket(3)));
        assert_eq!((pending.next_deadline(), pending.give_up(Time(99))), (None, None));
    }
}
