//! I-CONVERGE: after the last fault every group that may run is online within
//! `2·(L + g + m) + 10·E` plus its own start times, and moves no more.
//!
//! The longer lease counts where one was in use. A group that its administrator wants offline, or
//! that failed beyond its policy, is not judged. A run that is all well for the watch is not
//! followed to the end of the bound.

use std::collections::BTreeMap;

use stead_model::profile::Timing;
use stead_model::{Epoch, GroupId, LogIndex, NodeId, Span};

use super::{Promise, Violation};
use crate::clock::Instant;

/// Where a group is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Place {
    /// Everything that shall run of it acts on this node.
    Online(NodeId, Epoch),
    /// It need not run.
    Excused,
    /// Not yet online, and why that is seen.
    NotYet(String),
}

/// The checker.
#[derive(Default, Debug)]
pub struct Converge {
    /// When the last fault ended.
    pub calm_since: Option<Instant>,
    settled: Option<(Instant, BTreeMap<GroupId, Place>)>,
    /// The highest acknowledged index at the last judgements, oldest first.
    acknowledged: [LogIndex; 6],
}

/// What a judgement says.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Judgement {
    /// Look again later.
    Wait,
    /// All is well for long enough.
    Settled,
}

/// The bound on true time after the last fault, with the longest lease that may run.
#[must_use]
pub fn bound(timing: &Timing, lease: Span, starts: Span) -> Span {
    timing.wait(lease) * 2 + timing.election * 10 + starts
}

impl Converge {
    /// Remembers the highest acknowledged index at every judgement.
    pub fn remember(&mut self, acknowledged: LogIndex) {
        self.acknowledged.rotate_left(1);
        self.acknowledged[5] = acknowledged;
    }

    /// The highest acknowledged index some judgements ago: every node should have it by now.
    #[must_use]
    pub const fn acknowledged_before(&self) -> LogIndex {
        self.acknowledged[0]
    }

    /// An administrator's last wish came true: the bound counts from then.
    pub fn calm_again(&mut self, now: Instant) {
        self.calm_since = self.calm_since.map(|calm| calm.max(now));
        self.settled = None;
    }

    /// Whether all was well once.
    #[must_use]
    pub const fn is_settled(&self) -> bool {
        self.settled.is_some()
    }

    /// Judges where all groups are.
    ///
    /// # Errors
    /// The bound passed, or a group moved after all was online.
    pub fn judge(
        &mut self,
        now: Instant,
        places: BTreeMap<GroupId, Place>,
        (bound, watch): (Span, Span),
    ) -> Result<Judgement, Violation> {
        let Some(calm) = self.calm_since else { return Ok(Judgement::Wait) };
        let broken = |text| Err(Violation::new(Promise::Converge, text));
        let waiting = places.iter().find_map(|(group, place)| match place {
            Place::NotYet(why) => Some((group, why)),
            Place::Online(..) | Place::Excused => None,
        });
        let late = now >= calm + bound.0;
        let moved = self.settled.as_ref().and_then(|(_, before)| moved(before, &places));
        match (waiting, moved) {
            (Some((group, why)), _) if late => {
                let late = Span(now - calm);
                broken(format!("{group} is not online {late} after the last fault: {why}"))
            }
            (None, Some(group)) if late => broken(format!("{group} moved after the bound")),
            (None, None) => {
                let (since, _) = self.settled.get_or_insert((now, places));
                let settled = now >= *since + watch.0;
                Ok(if settled { Judgement::Settled } else { Judgement::Wait })
            }
            (None, Some(_)) => {
                self.settled = Some((now, places));
                Ok(Judgement::Wait)
            }
            (Some(_), _) => {
                self.settled = None;
                Ok(Judgement::Wait)
            }
        }
    }
}

/// A group that is on another node than before, or on none.
fn moved<'a>(
    before: &BTreeMap<GroupId, Place>,
    places: &'a BTreeMap<GroupId, Place>,
) -> Option<&'a GroupId> {
    let node = |place: Option<&Place>| match place {
        Some(Place::Online(node, _)) => Some(*node),
        Some(Place::Excused | Place::NotYet(_)) | None => None,
    };
    let differs = |(group, place): &(&'a GroupId, &Place)| {
        !matches!(place, Place::NotYet(_)) && node(before.get(*group)) != node(Some(*place))
    };
    places.iter().find(differs).map(|(group, _)| group)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn places(place: Place) -> BTreeMap<GroupId, Place> {
        BTreeMap::from([("g".into(), place)])
    }

    #[test]
    fn i_converge_sees_late_and_restless_groups() {
        let limits = (Span(100), Span(50));
        let online = |node| places(Place::Online(NodeId(node), Epoch(1)));
        let mut converge = Converge { calm_since: Some(1_000), ..Converge::default() };
        let late = || places(Place::NotYet("no owner".into()));
        assert_eq!(converge.judge(1_050, online(2), limits), Ok(Judgement::Wait));
        assert_eq!(converge.judge(1_090, late(), limits), Ok(Judgement::Wait));
        assert!(converge.judge(1_100, late(), limits).is_err());
        assert_eq!(converge.judge(1_100, online(1), limits), Ok(Judgement::Wait));
        assert!(converge.judge(1_120, online(2), limits).is_err());
        assert_eq!(converge.judge(1_150, online(1), limits), Ok(Judgement::Settled));
    }
}
