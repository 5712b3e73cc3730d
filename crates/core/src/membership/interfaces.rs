//! The interfaces of this node: as the kernel told them last, and what that is worth.
//!
//! ```text
//!            up again, for the patience              gone, for the patience
//!   Works ◄──────────────────────────── Wavers ────────────────────────────► Dead
//!     └────────────── changed ────────────► ▲ ◄──────────── changed ──────────┘
//! ```
//!
//! What wavers is given nothing and loses nothing. So an interface that flaps moves no group, nor
//! does a switch that starts anew: all nodes waver before the first one is dead, and again before
//! the first one works. What is found at the start is as it is.

use stead_model::network::{Interface, InterfaceReport, InterfaceState, Stand};
use stead_model::{NetworkId, Span, Time};

/// All interfaces of this node on networks of the cluster.
#[derive(Debug)]
pub(crate) struct Interfaces {
    all: Vec<Own>,
    patience: Span,
}

#[derive(Debug)]
struct Own {
    told: InterfaceReport,
    changed: Time,
}

impl Interfaces {
    pub(crate) const fn new(patience: Span) -> Self {
        Self { all: Vec::new(), patience }
    }

    /// The kernel says how all of them are; gives those whose state is another one than before,
    /// or not as it should be from the start.
    pub(crate) fn told(&mut self, now: Time, all: Vec<Interface>) -> Vec<Interface> {
        let mut news = Vec::new();
        let mut own = Vec::new();
        for interface in all {
            let is_up = interface.state == InterfaceState::Up;
            let was = self.all.iter().find(|own| own.told.interface.network == interface.network);
            let state = was.map(|was| was.told.interface.state);
            if state.unwrap_or(InterfaceState::Up) != interface.state {
                news.push(interface.clone());
            }
            let (stand, changed) = match was {
                None if is_up => (Stand::Works, now),
                None => (Stand::Dead, now),
                Some(was) if (was.told.interface.state == InterfaceState::Up) == is_up => {
                    (was.told.stand, was.changed)
                }
                Some(_) => (Stand::Wavers, now),
            };
            own.push(Own { told: InterfaceReport { interface, stand }, changed });
        }
        self.all = own;
        news
    }

    /// Judges what has lasted; whether anything was.
    pub(crate) fn settle(&mut self, now: Time) -> bool {
        let patience = self.patience;
        let mut settled = false;
        let wavers = self.all.iter_mut().filter(|own| own.told.stand == Stand::Wavers);
        for own in wavers.filter(|own| now.since(own.changed) >= patience) {
            own.told.stand = match own.told.interface.state {
                InterfaceState::Up => Stand::Works,
                InterfaceState::NoCarrier | InterfaceState::Down | InterfaceState::Absent => {
                    Stand::Dead
                }
            };
            settled = true;
        }
        settled
    }

    /// When [`Interfaces::settle`] has something to judge.
    pub(crate) fn deadline(&self) -> Option<Time> {
        let wavers = self.all.iter().filter(|own| own.told.stand == Stand::Wavers);
        wavers.map(|own| own.changed + self.patience).min()
    }

    /// What others are told.
    pub(crate) fn reports(&self) -> Vec<InterfaceReport> {
        self.all.iter().map(|own| own.told.clone()).collect()
    }

    /// As the kernel has them.
    pub(crate) fn seen(&self) -> Vec<Interface> {
        self.all.iter().map(|own| own.told.interface.clone()).collect()
    }

    /// The one on a network.
    pub(crate) fn on(&self, network: NetworkId) -> Option<&Interface> {
        let all = self.all.iter().map(|own| &own.told.interface);
        all.into_iter().find(|interface| interface.network == network)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stands(interfaces: &Interfaces) -> Vec<Stand> {
        interfaces.reports().iter().map(|report| report.stand).collect()
    }

    #[test]
    fn what_changes_wavers_until_it_has_lasted_and_flapping_is_no_end() {
        let ms = |ms| Time(Span::from_millis(ms).0);
        let all = |second| {
            let states = [(1, InterfaceState::Up), (2, second)];
            let of = |(n, state)| Interface { network: NetworkId(n), port: None, state };
            states.map(of).to_vec()
        };
        let mut own = Interfaces::new(Span::from_millis(300));
        assert_eq!(own.told(ms(0), all(InterfaceState::Up)), []);
        assert_eq!((stands(&own), own.deadline()), (vec![Stand::Works, Stand::Works], None));
        assert_eq!(own.told(ms(10), all(InterfaceState::NoCarrier)).len(), 1);
        assert_eq!(stands(&own), [Stand::Works, Stand::Wavers]);
        assert!(!own.settle(ms(309)) && own.deadline() == Some(ms(310)));
        assert_eq!(own.told(ms(309), all(InterfaceState::Up)).len(), 1);
        assert!(!own.settle(ms(310)), "it came back in time");
        assert_eq!(own.told(ms(320), all(InterfaceState::NoCarrier)).len(), 1);
        assert_eq!(own.told(ms(400), all(InterfaceState::Down)).len(), 1, "dead all the same");
        assert!(own.settle(ms(620)) && !own.settle(ms(621)));
        assert_eq!(stands(&own), [Stand::Works, Stand::Dead]);
        own.told(ms(700), all(InterfaceState::Up));
        assert_eq!(stands(&own), [Stand::Works, Stand::Wavers]);
        assert!(own.settle(ms(1000)));
        assert_eq!(stands(&own), [Stand::Works, Stand::Works]);
    }

    #[test]
    fn what_is_found_at_the_start_is_as_it_is() {
        let mut own = Interfaces::new(Span::from_millis(300));
        let state = InterfaceState::Absent;
        let news = own.told(Time(5), vec![Interface { network: NetworkId(1), port: None, state }]);
        assert_eq!((news.len(), stands(&own)), (1, vec![Stand::Dead]));
    }
}
