//! Failback: whether a group goes back to a preferred owner now.
//!
//! A group goes back to the first of its preferred owners that may take it, if that one comes
//! before the present owner, the group's policy allows it now, the group did not fail there within
//! its failover period, and the node is not in quarantine. It does not go back while it is on its
//! way up or down, nor from where an administrator put it: that holds until something else moves
//! the group.
//!
//! A window is hours of a day in a named time zone; cluster time is UTC. An hour that the clocks
//! skip counts as the end of the gap, an hour that comes twice as the first. The zones are built
//! in, so that all nodes know the same.

use std::collections::BTreeMap;

use jiff::civil::{Date, DateTime};
use jiff::tz::{AmbiguousOffset, TimeZone, TimeZoneDatabase};
use jiff::{Timestamp, ToSpan};
use stead_model::group::{Failback, FailbackWindow, Group, Ownership};
use stead_model::resource::ResourceState;
use stead_model::wire::peer::GroupReport;
use stead_model::{NodeId, UtcMillis};

use super::placement::Layout;
use super::{PlanInput, mend, placement};

/// Time zones by name, each read once.
#[derive(Debug, Default)]
pub struct Zones(BTreeMap<String, Option<TimeZone>>);

/// Whether there is a time zone of that name.
#[must_use]
pub fn is_zone(name: &str) -> bool {
    TimeZoneDatabase::bundled().get(name).is_ok()
}

impl Zones {
    /// Whether the window is open; a zone that this version does not know opens none.
    pub fn is_open(&mut self, window: &FailbackWindow, at: UtcMillis) -> bool {
        let zone = self.0.entry(window.zone.clone());
        let zone = zone.or_insert_with_key(|name| TimeZoneDatabase::bundled().get(name).ok());
        zone.as_ref().is_some_and(|zone| is_open(window, zone, at).unwrap_or(false))
    }
}

/// `None`: beyond the calendar.
fn is_open(window: &FailbackWindow, zone: &TimeZone, at: UtcMillis) -> Option<bool> {
    let at = Timestamp::from_millisecond(i64::try_from(at.0).ok()?).ok()?;
    let today = zone.to_datetime(at).date();
    let mut open = false;
    // Yesterday's window may reach into today, and a day may be skipped or come twice.
    for day in [today.yesterday().ok()?, today, today.tomorrow().ok()?] {
        let end = if window.until_hour > window.from_hour { day } else { day.tomorrow().ok()? };
        let opens = hour(zone, day, window.from_hour)?;
        let closes = hour(zone, end, window.until_hour)?;
        open |= opens <= at && at < closes;
    }
    Some(open)
}

/// When an hour of a day begins.
fn hour(zone: &TimeZone, day: Date, hour: u8) -> Option<Timestamp> {
    let civil: DateTime = day.at(i8::try_from(hour).ok()?, 0, 0, 0);
    match zone.to_ambiguous_timestamp(civil).offset() {
        AmbiguousOffset::Unambiguous { offset } => offset.to_timestamp(civil).ok(),
        AmbiguousOffset::Fold { before, .. } => before.to_timestamp(civil).ok(),
        AmbiguousOffset::Gap { before, .. } => {
            // By the clock before the gap this moment lies in it or at its end; the last
            // transition up to it is the end of the gap.
            let within = before.to_timestamp(civil).ok()?;
            let just_after = within.checked_add(1.nanosecond()).ok()?;
            zone.preceding(just_after).next().map(|transition| transition.timestamp())
        }
    }
}

/// Where a group fails back to now, and why. It takes along those that only run beside it, and
/// goes to no node that would have too little for it.
pub(super) fn target(
    layout: &Layout<'_>,
    (number, owned): (usize, &Ownership),
    report: &GroupReport,
    zones: &mut Zones,
) -> Option<(NodeId, String)> {
    let (input, group) = (layout.input(), layout.group(number));
    if group.policy.failback == Failback::Prevent || !is_settled(report) {
        return None;
    }
    let preferred = &group.policy.preferred_owners;
    let before = preferred.iter().take_while(|node| **node != owned.node);
    let may = |node: &&NodeId| {
        layout.bar(number, **node).is_none()
            && !input.db.upkeep().quarantined().contains_key(node)
            && placement::failures(input, group, **node).is_none()
            && !layout.overfills(number, **node)
            && mend::may_lead(layout, number, (owned.node, **node))
    };
    let (at, to) = before.enumerate().find(|(_, node)| may(node))?;
    let put = input.db.trail(&group.id).and_then(|trail| trail.put_on);
    if put.is_some() {
        return None;
    }
    let why = format!("failback: {to} is preferred owner number {} and is available", at + 1);
    match &group.policy.failback {
        Failback::Prevent => None,
        Failback::Immediate => Some((*to, why)),
        Failback::Window(window) => {
            let open = zones.is_open(window, input.at.max(input.db.at()));
            let text = group.policy.failback.text();
            open.then(|| (*to, format!("{why}, and the window {text} is open")))
        }
    }
}

/// Whether nothing of the group is on its way up or down.
fn is_settled(report: &GroupReport) -> bool {
    report.resources.iter().all(|resource| match resource.state {
        ResourceState::Online | ResourceState::Offline | ResourceState::Failed => true,
        ResourceState::OnlinePending | ResourceState::OfflinePending => false,
    })
}

/// What keeps a group from going back to a preferred owner, in one sentence.
pub(super) fn hindrance(input: &PlanInput<'_>, group: &Group) -> Option<String> {
    let owned = group.ownership.as_ref()?;
    let first = group.policy.preferred_owners.first().filter(|node| **node != owned.node)?;
    let put = input.db.trail(&group.id).and_then(|trail| trail.put_on);
    match (&group.policy.failback, put) {
        (Failback::Prevent, _) => None,
        (_, Some(put)) => {
            Some(format!("no failback to {first} for now: an administrator put the group on {put}"))
        }
        (Failback::Immediate, None) => Some(format!("failback to {first} when it is available")),
        (Failback::Window(_), None) => {
            let window = group.policy.failback.text();
            Some(format!("failback to {first} when it is available, within {window}"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The minutes of a day, in UTC, at which the window opens and closes.
    fn edges(window: &str, day: &str) -> Vec<String> {
        let Some(Failback::Window(window)) = Failback::parse(window) else { panic!("{window}") };
        let start: Timestamp = format!("{day}T00:00:00Z").parse().unwrap();
        let mut zones = Zones::default();
        let mut open = |minute: i64| {
            let at = start.as_millisecond() + minute * 60_000;
            zones.is_open(&window, UtcMillis(at.try_into().unwrap()))
        };
        let mut edges = Vec::new();
        for minute in 0..24 * 60 {
            if open(minute) != open(minute - 1) {
                let word = if open(minute) { "opens" } else { "closes" };
                edges.push(format!("{word} {:02}:{:02}", minute / 60, minute % 60));
            }
        }
        edges
    }

    #[test]
    fn a145_a_window_lies_within_a_day_or_over_midnight() {
        assert_eq!(edges("1-5@UTC", "2026-06-10"), ["opens 01:00", "closes 05:00"]);
        assert_eq!(edges("22-4@UTC", "2026-06-10"), ["closes 04:00", "opens 22:00"]);
        assert_eq!(edges("22-4@Europe/Berlin", "2026-06-10"), ["closes 02:00", "opens 20:00"]);
        assert_eq!(edges("22-4@Europe/Berlin", "2026-01-10"), ["closes 03:00", "opens 21:00"]);
        assert_eq!(edges("0-6@Asia/Kolkata", "2026-06-10"), ["closes 00:30", "opens 18:30"]);
        assert_eq!(edges("23-0@UTC", "2026-06-10"), ["closes 00:00", "opens 23:00"]);
    }

    /// Berlin, 29 March 2026: at 02:00 (01:00 UTC) the clocks go to 03:00.
    #[test]
    fn a145_a_skipped_hour_counts_as_its_end() {
        let spring = "2026-03-29";
        assert_eq!(edges("2-5@Europe/Berlin", spring), ["opens 01:00", "closes 03:00"]);
        assert_eq!(edges("1-2@Europe/Berlin", spring)[..2], ["opens 00:00", "closes 01:00"]);
        assert_eq!(edges("22-2@Europe/Berlin", spring), ["closes 01:00", "opens 20:00"]);
        // The whole window is skipped: it does not open that day.
        assert_eq!(edges("2-3@Europe/Berlin", spring), Vec::<String>::new());
        // Half an hour is skipped: Lord Howe, 4 October 2026, 02:00 (15:30 UTC) to 02:30.
        assert_eq!(edges("2-4@Australia/Lord_Howe", "2026-10-03")[0], "opens 15:30");
    }

    /// Berlin, 25 October 2026: at 03:00 (01:00 UTC) the clocks go back to 02:00.
    #[test]
    fn a145_an_hour_that_comes_twice_counts_as_the_first() {
        let autumn = "2026-10-25";
        assert_eq!(edges("2-5@Europe/Berlin", autumn), ["opens 00:00", "closes 04:00"]);
        assert_eq!(edges("1-2@Europe/Berlin", autumn), ["closes 00:00"]);
        assert_eq!(edges("22-2@Europe/Berlin", autumn), ["closes 00:00", "opens 21:00"]);
        assert_eq!(edges("2-3@Europe/Berlin", autumn), ["opens 00:00", "closes 02:00"]);
    }

    /// Samoa had no 30 December 2011: hours of that day count as the end of the gap.
    #[test]
    fn a145_a_day_that_does_not_exist_opens_no_window() {
        let edges = edges("5-7@Pacific/Apia", "2011-12-30");
        assert_eq!(edges, ["opens 15:00", "closes 17:00"]);
    }

    #[test]
    fn zones_are_built_in() {
        assert!(is_zone("Europe/Berlin") && is_zone("UTC"));
        assert!(!is_zone("Europe/Bielefeld") && !is_zone(""));
    }
}
