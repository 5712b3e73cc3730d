//! A record that may be due again and again is told at a bounded rate, the first time at once.

use stead_model::{Span, Time};

/// It is told at most this often.
const PAUSE: Span = Span::from_secs(60);

/// When something was told last.
#[derive(Clone, Copy, Default, Debug)]
pub(super) struct Rarely(Option<Time>);

impl Rarely {
    /// Whether it may be told now; then it has been.
    pub(super) fn may_tell(&mut self, now: Time) -> bool {
        let may = self.0.is_none_or(|at| now.since(at) >= PAUSE);
        if may {
            self.0 = Some(now);
        }
        may
    }
}
