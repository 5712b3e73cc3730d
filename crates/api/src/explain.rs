//! Explanations: the chain of records behind a group's place, and of formulas behind a timeout.
//!
//! Pure functions over what the node service has published.

use stead_model::profile::Profile;
use stead_model::reason::{Code, Reason};
use stead_model::view::View;
use stead_model::{GroupId, Span};

use crate::contract::{ClusterEvents, Explanation, NodeRecords, Placement, Timeout, Timeouts};
use crate::events;

/// Most events shown in one explanation.
const CHAIN_MAX: usize = 100;

/// Why a group is where it is: its view, what the nodes recorded about it and, transitively, what
/// caused that.
///
/// # Errors
/// There is no such group.
pub fn group(
    view: &View,
    told: Vec<NodeRecords>,
    placement: Placement,
    group: &GroupId,
) -> Result<Explanation, Reason> {
    let Some(seen) = view.groups.iter().find(|g| g.group == *group) else {
        return Err(Reason::new(Code::NotFound, format!("there is no group `{group}`"))
            .hint("`stead group list` shows all groups"));
    };
    let all = events::about(events::joined(told), group);
    let ClusterEvents { events: chain, nodes, .. } = events::last(all, CHAIN_MAX);
    Ok(Explanation {
        group: group.clone(),
        state: seen.state,
        owner: seen.owner,
        epoch: seen.epoch,
        why: seen.why.clone(),
        servers: seen.servers.clone(),
        safety: seen.safety,
        safety_why: seen.safety_why.clone(),
        placement,
        chain,
        nodes,
    })
}

/// All timeouts of a profile with their derivation.
#[must_use]
pub fn timeouts(profile: Profile, priority: &str) -> Timeouts {
    let t = profile.timing();
    let base = |name: &str, span: Span, meaning: &str| {
        line(name, span, format!("profile {}", profile.name()), meaning)
    };
    let timeouts = vec![
        base("heartbeat", t.heartbeat, "interval of heartbeats on every cluster network"),
        base("E", t.election, "an election starts after this much silence of the leader"),
        base("renewal", t.renewal, "interval of lease questions"),
        base("L", t.lease, "length of a lease, from the sending of its question"),
        base("g", t.grace, "within this after the end of a lease everything is stopped"),
        base("L long", t.lease_long, "length of a lease while the quorum disk is needed"),
        base("tick", t.tick, "unit to which timers are rounded up"),
        line("E drawn", Span(t.election.0 * 12 / 10), "1.2·E".into(), "longest election timeout"),
        line("m", t.margin(t.lease), m_formula().into(), "margin for clock rates and rounding"),
        line("wait", t.wait(t.lease), "L + g + m".into(), "until a silent node is known stopped"),
        line(
            "wait long",
            t.wait(t.lease_long),
            "L long + g + m".into(),
            "the same where its lease is a longer one",
        ),
        line("disk suspect", t.heartbeat * 3, "3 heartbeats".into(), "missed renewals of the host"),
        line(
            "disk claim",
            t.heartbeat * 20,
            "20 heartbeats".into(),
            "a claim becomes active or ends",
        ),
    ];
    Timeouts { profile: profile.name().into(), priority: priority.into(), timeouts }
}

const fn m_formula() -> &'static str {
    "2ρ/(1-ρ)·(L + g) + 2 ticks, ρ = 0.1 %"
}

fn line(name: &str, span: Span, from: String, meaning: &str) -> Timeout {
    Timeout { name: name.into(), ms: span.0 as f64 / 1e6, from, meaning: meaning.into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chain_is_of_a_group_that_there_is() {
        let mut view = View::default();
        view.groups.push(crate::document::example_group("web"));
        let told = |name: &str| group(&view, Vec::new(), Placement::default(), &name.into());
        assert_eq!(told("web").unwrap().chain, []);
        assert_eq!(told("no").unwrap_err().code, Code::NotFound);
    }

    #[test]
    fn the_wait_is_the_sum_of_its_parts() {
        for profile in [Profile::Fast, Profile::Standard, Profile::Relaxed] {
            let told = timeouts(profile, "none");
            let ms =
                |name: &str| told.timeouts.iter().find(|t| t.name == name).map(|t| t.ms).unwrap();
            assert!((ms("wait") - (ms("L") + ms("g") + ms("m"))).abs() < 1e-6, "{profile:?}");
        }
    }
}
