//! What is looked at before a host becomes a node: each check with a deadline, and what to do.
//!
//! What makes a node that could not serve is refused; what makes a weak one is told. The same
//! checks run in `stead cluster join`, and alone in `stead cluster check`; `stead cluster create`
//! looks at networks and ports as the check without a token does.
//!
//! Reading order: this file (versions, clocks, names, real time), `links`, `disks`, `ports`.

mod disks;
pub(super) mod links;
pub(super) mod ports;

use std::fmt;
use std::net::IpAddr;
use std::time::Duration;

use serde::Serialize;
use stead_model::config::{NodeAddress, NodeConfig};
use stead_model::profile::Profile;
use stead_model::reason::{Code, Reason};

use super::line::Line;
use super::{Host, networks};
use crate::admission::wire::Version;
use crate::clock;
use crate::net::priority;

/// A clock that differs by more is told.
const SKEW_MAX: Duration = Duration::from_secs(1);
/// Who does not answer within this time is not reached.
const REACHED_WITHIN: Duration = Duration::from_secs(2);

/// What came of one check.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Finding {
    /// What was looked at, in one or two words.
    pub check: &'static str,
    /// What was found.
    pub text: String,
    /// What it means.
    pub verdict: Verdict,
}

/// What a finding means.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// As it should be.
    Good,
    /// The node would be weaker than it could be; what to do.
    Doubtful(String),
    /// The host cannot be a node; what to do.
    Bad(String),
}

impl Finding {
    fn good(check: &'static str, text: impl Into<String>) -> Self {
        Self { check, text: text.into(), verdict: Verdict::Good }
    }

    fn doubtful(check: &'static str, text: impl Into<String>, fix: impl Into<String>) -> Self {
        Self { check, text: text.into(), verdict: Verdict::Doubtful(fix.into()) }
    }

    fn bad(check: &'static str, text: impl Into<String>, fix: impl Into<String>) -> Self {
        Self { check, text: text.into(), verdict: Verdict::Bad(fix.into()) }
    }

    /// The same, with something else that can be done about it.
    fn or(self, other: &str) -> Self {
        let verdict = match self.verdict {
            Verdict::Good => Verdict::Good,
            Verdict::Doubtful(fix) => Verdict::Doubtful(format!("{fix}; {other}")),
            Verdict::Bad(fix) => Verdict::Bad(format!("{fix}; {other}")),
        };
        Self { verdict, ..self }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (mark, fix) = match &self.verdict {
            Verdict::Good => ("ok", None),
            Verdict::Doubtful(fix) => ("doubtful", Some(fix)),
            Verdict::Bad(fix) => ("wrong", Some(fix)),
        };
        write!(f, "{mark:8} {}: {}", self.check, self.text)?;
        fix.map_or(Ok(()), |fix| write!(f, "\n{:8} fix: {fix}", ""))
    }
}

/// The first finding that keeps a host from being a node, as a refusal.
pub(super) fn judge(doing: &str, findings: &[Finding]) -> Result<(), Reason> {
    let bad = |finding: &&Finding| matches!(finding.verdict, Verdict::Bad(_));
    let Some(first) = findings.iter().find(bad) else { return Ok(()) };
    let count = findings.iter().filter(bad).count();
    let more = if count > 1 { format!(" (and {} more)", count - 1) } else { String::new() };
    let reason = Reason::new(Code::Conflict, format!("cannot {doing}"))
        .because(format!("{}: {}{more}", first.check, first.text));
    let fix = match &first.verdict {
        Verdict::Bad(fix) | Verdict::Doubtful(fix) => fix.as_str(),
        Verdict::Good => "",
    };
    let all = "`stead cluster check TOKEN` shows all checks";
    Err(reason.hint(if count > 1 { format!("{fix}; {all}") } else { fix.to_owned() }))
}

/// How many were good, and all others, each on lines of its own.
pub(super) fn doubts(findings: &[Finding]) -> (usize, String) {
    let (good, others): (Vec<&Finding>, Vec<&Finding>) =
        findings.iter().partition(|finding| finding.verdict == Verdict::Good);
    (good.len(), others.iter().map(|finding| format!("\n{finding}")).collect())
}

/// Looks at a host that could make a cluster with this port.
pub(super) fn alone(host: &Host, named: &[IpAddr], port: u16) -> Result<Vec<Finding>, Reason> {
    let chosen = networks::choose(&host.held, named)?;
    let (_, addresses) = networks::of(&chosen);
    let mut findings = vec![name_alone(&host.name)];
    findings.extend(links::of_new_cluster(&chosen));
    findings.push(ports::of_new_cluster(&addresses, port));
    Ok(findings)
}

fn name_alone(name: &str) -> Finding {
    match name.split('.').next().is_some_and(|short| short.eq_ignore_ascii_case("localhost")) {
        true => Finding::bad("names", format!("no node can be called `{name}`"), RENAME),
        false => Finding::good("names", format!("this host is called `{name}`")),
    }
}

/// What to do about a name that cannot be.
const RENAME: &str = "give this host another name: `hostnamectl set-hostname NAME`";

/// What is to be known beforehand of a profile: `fast` wants real-time priority.
#[must_use]
pub fn check_profile(profile: Profile) -> Option<String> {
    if profile != Profile::Fast {
        return None;
    }
    let why = priority::try_real_time().err()?;
    Some(format!(
        "profile `fast` wants real-time priority, and this host gives none ({why}): a node that is \
         busy for a moment may lose its lease"
    ))
}

fn real_time(config: &NodeConfig) -> Option<Finding> {
    let fix = "run the node as `stead.service` does (LimitRTPRIO=99), on a kernel without \
               RT_GROUP_SCHED, or make the cluster with `--profile standard`";
    let doubtful = |text| Finding::doubtful("real time", text, fix);
    let fast = config.profile == Profile::Fast;
    let good = || Finding::good("real time", "this host gives real-time priority");
    fast.then(|| check_profile(config.profile).map_or_else(good, doubtful))
}

/// Looks at a host and the cluster that it would join by these addresses.
pub(super) fn all(
    host: &Host,
    addresses: &[NodeAddress],
    line: &mut Line,
) -> Result<Vec<Finding>, Reason> {
    let config = line.outline.config.clone();
    let mut findings = vec![version(line), clocks(line), names(host, &config)];
    findings.extend(links::of_cluster(host, addresses, &config));
    findings.extend(real_time(&config));
    findings.extend(disks::of_quorum(&config));
    findings.extend(disks::of_groups(&line.outline.disks));
    let sockets = match ports::free(addresses, config.port) {
        Ok(sockets) => sockets,
        Err(finding) => {
            findings.push(finding);
            return Ok(findings);
        }
    };
    findings.extend(ports::to_members(addresses, &config));
    findings.extend(ports::from_member(addresses, sockets, line)?);
    Ok(findings)
}

fn version(line: &Line) -> Finding {
    let (own, theirs, member) = (Version::own(), &line.outline.version, line.outline.config.node);
    if own.version == theirs.version {
        return Finding::good("versions", format!("{member} and this host run {}", own.version));
    }
    let text = format!("{member} runs stead {}, this host {}", theirs.version, own.version);
    Finding::doubtful("versions", text, "install the same version on all nodes")
}

fn clocks(line: &Line) -> Finding {
    let half = line.took.as_millis() as u64 / 2;
    let here = clock::utc().0.saturating_sub(line.took.as_millis() as u64) + half;
    let there = line.outline.at.0;
    let (skew, word) =
        if there > here { (there - here, "behind") } else { (here - there, "ahead of") };
    let member = line.outline.config.node;
    if Duration::from_millis(skew) <= SKEW_MAX + line.took {
        return Finding::good("clocks", format!("within a second of {member}'s"));
    }
    let seconds = skew / 1000;
    Finding::doubtful(
        "clocks",
        format!("this host's clock is {seconds} s {word} {member}'s"),
        "let both be set by NTP: `timedatectl set-ntp true`; hours of failback and records follow \
         them, safety does not",
    )
}

fn names(host: &Host, config: &NodeConfig) -> Finding {
    let name = &host.name;
    let other = config.nodes.iter().find(|node| node.name.eq_ignore_ascii_case(name));
    if let Some(other) = other {
        let text = format!("{} is called `{name}`, too", other.id);
        let fix = format!(
            "if {0} is this host before it was installed anew: `stead node evict {0}` on a \
             member, and repeat the command; else {RENAME}",
            other.id
        );
        return Finding::bad("names", text, fix);
    }
    let short = name.split('.').next().unwrap_or(name);
    if short.eq_ignore_ascii_case(&config.cluster) {
        return Finding::bad("names", format!("the cluster is called `{short}`, too"), RENAME);
    }
    name_alone(name)
}

#[cfg(test)]
mod tests {
    use rustix::process::{Resource, getrlimit};
    use rustix::thread::{CapabilitySet, capabilities, set_capabilities};

    use super::super::own_port;
    use super::*;
    use crate::net::interfaces::Held;
    use crate::net::peers_config;

    #[test]
    fn the_first_wrong_finding_refuses_and_doubt_does_not() {
        let good = Finding::good("clocks", "same");
        let doubt = Finding::doubtful("networks", "no address on `net2`", "set it up");
        assert_eq!(judge("join", &[good.clone(), doubt.clone()]), Ok(()));
        assert_eq!(
            doubt.to_string(),
            "doubtful networks: no address on `net2`\n         fix: set it up"
        );
        let wrong = Finding::bad("names", "n1 is called `a`, too", "rename it");
        let other = Finding::bad("ports", "closed", "open it");
        let refused = judge("join", &[good, doubt, wrong, other]).unwrap_err();
        assert_eq!(refused.to_string(), "cannot join: names: n1 is called `a`, too (and 1 more)");
        assert!(refused.hint.unwrap().starts_with("rename it; `stead cluster check"));
    }

    #[test]
    fn what_is_doubtful_is_told_behind_how_many_were_good() {
        let good = Finding::good("clocks", "same");
        let doubt = Finding::doubtful("networks", "one alone", "set up another");
        assert_eq!(doubts(std::slice::from_ref(&good)), (1, String::new()));
        assert_eq!(doubts(&[good, doubt.clone()]), (1, format!("\n{doubt}")));
    }

    #[test]
    fn a_host_that_could_make_a_cluster_is_looked_at_with_the_port_of_it() {
        let mut host = Host::this();
        host.name = "alpha".into();
        host.held = vec![Held::fixed("lo", "127.0.0.1", 8)];
        let own = [IpAddr::from([127, 0, 0, 1])];
        let found = alone(&host, &own, own_port()).unwrap();
        let (good, told) = doubts(&found);
        assert_eq!(good, found.len() - 1, "{found:?}");
        assert!(told.contains("lo alone would carry the cluster"), "{told}");
        let found = alone(&host, &own, u16::MAX).unwrap();
        let told = judge("create a cluster", &found).unwrap_err();
        assert!(told.to_string().contains("no port above 65535"), "{told}");
        assert_eq!(told.hint.unwrap(), "choose a lower one with `--port`");
    }

    #[test]
    fn a_name_of_another_node_or_of_the_cluster_is_refused() {
        let (config, mut host) = (peers_config(1, 17_410), Host::this());
        for name in [config.nodes[0].name.to_uppercase(), config.cluster.clone()] {
            host.name = name;
            let found = names(&host, &config);
            assert!(matches!(found.verdict, Verdict::Bad(_)), "{found}");
            assert!(found.to_string().contains("hostnamectl set-hostname"), "{found}");
        }
        host.name = "nobody-else".into();
        assert_eq!(names(&host, &config).verdict, Verdict::Good);
    }

    #[test]
    fn profile_fast_without_real_time_priority_is_warned_of_beforehand() {
        // A thread without the capability, and the limit that an ordinary process has.
        let told = std::thread::spawn(|| {
            let mut sets = capabilities(None).unwrap();
            sets.effective.remove(CapabilitySet::SYS_NICE);
            set_capabilities(None, sets).unwrap();
            assert_eq!(getrlimit(Resource::Rtprio).current, Some(0), "the limit was lifted");
            [Profile::Fast, Profile::Standard, Profile::Relaxed].map(check_profile)
        });
        let [fast, standard, relaxed] = told.join().unwrap();
        assert!(fast.unwrap().contains("this host gives none"));
        assert_eq!((standard, relaxed), (None, None));
    }
}
