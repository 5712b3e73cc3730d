//! Datagrams that were not believed: counted, and told at a bounded rate, the first at once.
//!
//! Somebody who attacks writes no event log full, and somebody who watches learns of it.

use std::net::IpAddr;

use stead_model::Time;
use stead_model::record::Level;
use stead_trust::Refusal;

use super::rarely::Rarely;

/// Why a datagram was dropped.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Why {
    /// No node of the cluster has the address: a node that was removed, or one that this one does
    /// not know yet, is no attack.
    Stranger,
    /// It came from the address of a node and is not to be believed.
    Refused(Refusal),
}

/// What was dropped and is not told yet.
#[derive(Default, Debug)]
pub(crate) struct Refused {
    harmless: Tally,
    refused: Tally,
}

#[derive(Default, Debug)]
struct Tally {
    /// In the order of [`KINDS`].
    counts: [u64; KINDS.len()],
    last: Option<IpAddr>,
    told: Rarely,
}

const KINDS: [(Why, &str); 7] = [
    (Why::Refused(Refusal::Malformed), "damaged or not sealed"),
    (Why::Refused(Refusal::Foreign), "in the name of another node"),
    (Why::Refused(Refusal::OtherKey), "under another key"),
    (Why::Refused(Refusal::Forged), "forged"),
    (Why::Refused(Refusal::Replayed), "replayed"),
    (Why::Refused(Refusal::Former), "of a former life of a node"),
    (Why::Stranger, "from an address of no node"),
];

impl Refused {
    /// One more.
    pub(crate) fn count(&mut self, why: Why, from: IpAddr) {
        let tally = match why {
            Why::Stranger | Why::Refused(Refusal::Former) => &mut self.harmless,
            Why::Refused(_) => &mut self.refused,
        };
        for (count, (kind, _)) in tally.counts.iter_mut().zip(KINDS) {
            *count += u64::from(kind == why);
        }
        tally.last = Some(from);
    }

    /// The records that are due: level, code and text.
    pub(crate) fn tell(&mut self, now: Time) -> Vec<(Level, &'static str, String)> {
        let mut records = Vec::new();
        if let Some((counts, from)) = self.harmless.take(now) {
            let text = format!("datagrams dropped: {counts}; the last one from {from}");
            records.push((Level::Info, "datagrams-dropped", text));
        }
        if let Some((counts, from)) = self.refused.take(now) {
            let text = format!(
                "datagrams that claim to come from nodes of the cluster were dropped: {counts}; \
                 the last one from {from}: look who uses that address"
            );
            records.push((Level::Warning, "datagrams-refused", text));
        }
        records
    }
}

impl Tally {
    fn take(&mut self, now: Time) -> Option<(String, IpAddr)> {
        let from = self.last?;
        if !self.told.may_tell(now) {
            return None;
        }
        self.last = None;
        let counts = std::mem::take(&mut self.counts);
        let each = counts.iter().zip(KINDS).filter(|(count, _)| **count > 0);
        let each: Vec<String> =
            each.map(|(count, (_, words))| format!("{count} {words}")).collect();
        Some((each.join(", "), from))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use stead_model::Span;

    #[test]
    fn the_first_is_told_at_once_and_a_flood_once_a_minute() {
        let mut refused = Refused::default();
        let (one, two) = (IpAddr::from([10, 0, 0, 1]), IpAddr::from([10, 0, 0, 2]));
        let at = |s| Time(Span::from_secs(s).0);
        assert!(refused.tell(at(1)).is_empty());
        refused.count(Why::Refused(Refusal::Forged), one);
        let told = refused.tell(at(100));
        let text = "datagrams that claim to come from nodes of the cluster were dropped: 1 forged; \
                    the last one from 10.0.0.1: look who uses that address";
        assert_eq!(told, [(Level::Warning, "datagrams-refused", text.to_owned())]);
        for _ in 0..70_000 {
            refused.count(Why::Refused(Refusal::Replayed), two);
            assert!(refused.tell(at(159)).is_empty());
        }
        refused.count(Why::Refused(Refusal::Malformed), two);
        let told = refused.tell(at(160));
        let counts = "1 damaged or not sealed, 70000 replayed;";
        assert!(told[0].2.contains(counts), "{told:?}");
        assert!(refused.tell(at(900)).is_empty(), "what was told is not told again");
    }

    #[test]
    fn strangers_are_no_warning_and_hide_no_attack() {
        let mut refused = Refused::default();
        let at = Time(Span::from_secs(7).0);
        refused.count(Why::Stranger, IpAddr::from([10, 0, 0, 9]));
        assert_eq!(refused.tell(at)[0].0, Level::Info);
        refused.count(Why::Refused(Refusal::Foreign), IpAddr::from([10, 0, 0, 1]));
        assert_eq!(refused.tell(at)[0].1, "datagrams-refused");
    }
}
