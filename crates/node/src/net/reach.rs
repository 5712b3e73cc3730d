//! What the core thread hears and the streams thread wants to know: who was heard over which
//! network, when, and in which life.

use std::sync::atomic::{AtomicU64, Ordering};

use stead_model::profile::Timing;
use stead_model::{Incarnation, Span, Time};

use super::Route;

/// Shared between the two threads; indexes are those of [`super::Peers::routes`].
#[derive(Debug)]
pub(crate) struct Reach {
    heard: Vec<Heard>,
    /// A route is fresh if it was heard within this time of the freshest.
    fresh: Span,
}

#[derive(Default, Debug)]
struct Heard {
    at: AtomicU64,
    incarnation: AtomicU64,
}

/// What a datagram changed in the knowledge of a route.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum News {
    /// Nothing.
    None,
    /// It is heard again after silence, or by another life of the peer.
    Back,
}

impl Heard {
    fn copy(&self) -> Self {
        Self {
            at: AtomicU64::new(self.at.load(Ordering::Relaxed)),
            incarnation: AtomicU64::new(self.incarnation.load(Ordering::Relaxed)),
        }
    }
}

impl Reach {
    pub(crate) fn new(routes: usize, timing: &Timing) -> Self {
        let heard = (0..routes).map(|_| Heard::default()).collect();
        Self { heard, fresh: timing.heartbeat * 3 }
    }

    /// The same knowledge for other routes than before.
    pub(crate) fn of(&self, before: &[Route], now: &[Route]) -> Self {
        let known = |route: &Route| {
            let former = before.iter().position(|known| known == route);
            former.map(|former| self.heard[former].copy()).unwrap_or_default()
        };
        Self { heard: now.iter().map(known).collect(), fresh: self.fresh }
    }

    /// Something came over a route.
    pub(crate) fn hear(&self, route: usize, now: Time, incarnation: Incarnation) -> News {
        let heard = &self.heard[route];
        let before = heard.at.swap(now.0, Ordering::Relaxed);
        let life = heard.incarnation.swap(incarnation.0, Ordering::Relaxed);
        let silent = now.since(Time(before)) > self.fresh;
        if silent || life != incarnation.0 { News::Back } else { News::None }
    }

    /// When a route was last heard; zero: never.
    pub(crate) fn last(&self, route: usize) -> Time {
        Time(self.heard[route].at.load(Ordering::Relaxed))
    }

    /// Whether something came over a route of late.
    pub(crate) fn is_heard(&self, route: usize, now: Time) -> bool {
        now.since(self.last(route)) <= self.fresh
    }

    /// Whether the peer was last heard in another life than this one.
    pub(crate) fn is_other_life(&self, route: usize, than: Incarnation) -> bool {
        let life = self.heard[route].incarnation.load(Ordering::Relaxed);
        life != 0 && life != than.0
    }

    /// The best of several routes: the first that was heard about as lately as the freshest.
    pub(crate) fn best(&self, routes: impl Iterator<Item = usize> + Clone) -> Option<usize> {
        let freshest = routes.clone().map(|r| self.last(r)).max()?;
        let mut routes = routes;
        routes.find(|r| freshest.since(self.last(*r)) <= self.fresh)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use stead_model::profile::Profile;

    #[test]
    fn the_first_fresh_route_is_taken_and_left_only_for_silence() {
        let reach = Reach::new(2, &Profile::Standard.timing());
        let ms = |ms| Time(Span::from_millis(ms).0);
        let one = Incarnation(1);
        assert_eq!(reach.hear(0, ms(1000), one), News::Back);
        assert_eq!(reach.hear(1, ms(1050), one), News::Back);
        assert_eq!(reach.best([0, 1].into_iter()), Some(0));
        assert_eq!(reach.hear(1, ms(1300), one), News::None);
        assert_eq!(reach.best([0, 1].into_iter()), Some(0));
        assert_eq!(reach.hear(1, ms(1301), one), News::None);
        assert_eq!(reach.best([0, 1].into_iter()), Some(1));
        assert_eq!(reach.best([0].into_iter()), Some(0));
        assert_eq!(reach.best([].into_iter()), None);
        assert_eq!(reach.hear(0, ms(1302), one), News::Back, "heard again after silence");
        assert_eq!(reach.hear(0, ms(1303), Incarnation(2)), News::Back, "another life");
        assert!(reach.is_other_life(0, one) && !reach.is_other_life(0, Incarnation(2)));
    }
}
