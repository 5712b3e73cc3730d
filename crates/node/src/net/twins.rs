//! Two services that say they are one node: a machine that was cloned, for example.
//!
//! Only one of them is believed, the one that came last (`stead-trust`). A life of a peer that
//! ended is silent within a moment, and whoever begins a new one is known to its peers within a
//! moment. What lasts longer is told, on both sides: by the others, that a former life goes on, and
//! by the one that is not believed, that its peers talk to another life of its node.

use std::collections::BTreeMap;
use std::net::IpAddr;

use stead_model::record::Level;
use stead_model::{Incarnation, NodeId, Span, Time};

use super::rarely::Rarely;

/// What lasts longer than this is no restart.
const MOMENT: Span = Span::from_secs(3);

/// What is seen of every peer.
#[derive(Default, Debug)]
pub(super) struct Twins {
    peers: BTreeMap<NodeId, Seen>,
    due: Vec<String>,
}

#[derive(Default, Debug)]
struct Seen {
    /// The life that is believed, and since when.
    life: Option<(Incarnation, Time)>,
    /// Since when, and when last, it talks to another life of this node, and to this one not at
    /// all.
    ignores: Option<(Time, Time)>,
    told: Rarely,
}

impl Twins {
    /// A peer said something to this life of this node.
    pub(super) fn heard(&mut self, peer: NodeId, life: Incarnation, now: Time) {
        let seen = self.peers.entry(peer).or_default();
        seen.ignores = None;
        if seen.life.is_none_or(|(known, _)| known != life) {
            seen.life = Some((life, now));
        }
    }

    /// A former life of a peer said something.
    pub(super) fn former(&mut self, peer: NodeId, from: IpAddr, now: Time) {
        let seen = self.peers.entry(peer).or_default();
        if seen.life.is_some_and(|(_, since)| now.since(since) > MOMENT) && seen.told.may_tell(now)
        {
            self.due.push(format!(
                "a former life of {peer} goes on at {from} beside the one that is believed: \
                 another machine may be {peer}, too, as a clone is, or somebody repeats what it \
                 said. Look who has that address, and switch one of them off"
            ));
        }
    }

    /// A peer said something to another life of this node.
    pub(super) fn ignored(&mut self, peer: NodeId, now: Time) {
        let seen = self.peers.entry(peer).or_default();
        // One that begins anew talks to no life in particular at first.
        let goes_on = seen.ignores.filter(|(_, last)| now.since(*last) < MOMENT);
        let since = goes_on.map_or(now, |(since, _)| since);
        seen.ignores = Some((since, now));
        if now.since(since) > MOMENT && seen.told.may_tell(now) {
            self.due.push(format!(
                "{peer} talks to another life of this node: it does not hear this one, or another \
                 machine is this node, too, as a clone is. Look who has the addresses of this node"
            ));
        }
    }

    /// The records that are due.
    pub(super) fn tell(&mut self) -> impl Iterator<Item = (Level, &'static str, String)> {
        self.due.drain(..).map(|text| (Level::Warning, "node-twice", text))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TWO: NodeId = NodeId(2);

    fn at(ms: u64) -> Time {
        Time(Span::from_secs(100).0 + Span::from_millis(ms).0)
    }

    fn told(twins: &mut Twins) -> Vec<String> {
        twins.tell().map(|(_, _, text)| text).collect()
    }

    #[test]
    fn a_restart_is_no_twin_and_a_life_that_goes_on_beside_another_one_is() {
        let (mut twins, from) = (Twins::default(), IpAddr::from([10, 0, 0, 2]));
        twins.heard(TWO, Incarnation(1), at(0));
        twins.heard(TWO, Incarnation(2), at(9_000));
        twins.former(TWO, from, at(9_100));
        assert_eq!(told(&mut twins), Vec::<String>::new(), "what was on its way");
        for ms in (12_100..60_000).step_by(100) {
            twins.former(TWO, from, at(ms));
            twins.heard(TWO, Incarnation(2), at(ms));
        }
        let told = told(&mut twins);
        assert_eq!(told.len(), 1, "once in a while: {told:?}");
        assert!(told[0].contains("a former life of n2 goes on at 10.0.0.2"), "{told:?}");
    }

    #[test]
    fn who_is_not_believed_is_told_that_its_peers_talk_ignored_one() {
        let mut twins = Twins::default();
        twins.ignored(TWO, at(0));
        twins.heard(TWO, Incarnation(1), at(50));
        twins.ignored(TWO, at(5_000));
        assert_eq!(told(&mut twins), Vec::<String>::new(), "it was heard in between");
        twins.ignored(TWO, at(8_001));
        assert_eq!(told(&mut twins), Vec::<String>::new(), "it was silent in between");
        (8_100..12_000).step_by(100).for_each(|ms| twins.ignored(TWO, at(ms)));
        let told = told(&mut twins);
        assert_eq!(told.len(), 1, "once in a while: {told:?}");
        assert!(told[0].contains("n2 talks to another life of this node"), "{told:?}");
    }
}
