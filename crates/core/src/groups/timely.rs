//! When a plan may come out otherwise by time alone: until then a leader that sees nothing new
//! need not plan again.

use stead_model::UtcMillis;
use stead_model::group::{Failback, Group};

use super::PlanInput;
use super::plan::retry_at;

/// How often windows of hours are looked at.
const WINDOWS_MS: u64 = 30_000;

/// The next cluster time, after that of the input, at which an empty plan may become another one.
#[must_use]
pub fn next_look(input: &PlanInput<'_>) -> UtcMillis {
    let at = input.at.max(input.db.at());
    let upkeep = input.db.upkeep().list().into_iter().filter_map(|upkeep| upkeep.until());
    let groups = input.db.groups().values().flat_map(|group| of_group(input, group, at));
    let times = upkeep.chain(groups).filter(|time| *time > at);
    times.min().unwrap_or(UtcMillis(u64::MAX))
}

/// When it is tried again, when a failure no longer counts, when its window may have opened.
fn of_group(
    input: &PlanInput<'_>,
    group: &Group,
    at: UtcMillis,
) -> impl Iterator<Item = UtcMillis> {
    let failed = group.failed.as_ref().and_then(|_| input.db.trail(&group.id));
    let retry = failed.and_then(|trail| retry_at(group, trail));
    let period_ms = group.policy.failover_period_s.saturating_mul(1_000);
    let forgotten = group.failovers.iter().map(move |f| f.0.saturating_add(period_ms + 1));
    let forgotten = forgotten.filter(move |time| *time > at.0).min().map(UtcMillis);
    let window = match group.policy.failback {
        Failback::Window(_) => Some(UtcMillis(at.0.saturating_add(WINDOWS_MS))),
        Failback::Prevent | Failback::Immediate => None,
    };
    retry.into_iter().chain(forgotten).chain(window)
}
