//! What is looked at before a host becomes a node: each check with a deadline, and what to do.
//!
//! What makes a node that could not serve is refused; what makes a weak one is told. The same
//! checks run in `stead cluster join`, and alone in `stead cluster check`.

use std::fmt;
use std::fs;
use std::io;
use std::net::{IpAddr, SocketAddr, TcpListener, UdpSocket};
use std::os::unix::fs::FileExt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde::Serialize;
use socket2::{Domain, Socket, Type};
use stead_journal::Identity;
use stead_model::NodeId;
use stead_model::config::{NetworkEntry, NodeAddress, NodeConfig, address_on};
use stead_model::profile::Profile;
use stead_model::reason::{Code, Reason};

use super::line::{Line, confused};
use super::within::within;
use super::{Host, PORT, networks};
use crate::admission::wire::{Answer, Ask, ECHO, Reached, Version};
use crate::net::priority;
use crate::{admission, clock};

/// A clock that differs by more is told.
const SKEW_MAX: Duration = Duration::from_secs(1);
/// Who does not answer within this time is not reached.
const REACHED_WITHIN: Duration = Duration::from_secs(2);
/// The echo looks this often whether it is still wanted.
const ECHO_TURN: Duration = Duration::from_millis(50);

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

/// Looks at a host that could make a cluster.
pub(super) fn alone(host: &Host, named: &[IpAddr]) -> Result<Vec<Finding>, Reason> {
    let chosen = networks::choose(&host.held, named)?;
    let (_, addresses) = networks::of(&chosen);
    let mut findings = vec![name_alone(&host.name)];
    findings.extend(chosen.iter().map(|held| Finding::good("networks", held.to_string())));
    let door = PORT + admission::ABOVE;
    findings.push(match free(&addresses, PORT).and_then(|_| free(&addresses, door)) {
        Ok(_) => Finding::good("ports", format!("{PORT} and {door} are free")),
        Err(finding) => finding,
    });
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
    findings.extend(interfaces(addresses, &config));
    findings.extend(real_time(&config));
    findings.extend(disk(&config));
    let ports = free(addresses, config.port);
    let sockets = match ports {
        Ok(sockets) => sockets,
        Err(finding) => {
            findings.push(finding);
            return Ok(findings);
        }
    };
    findings.extend(to_members(addresses, &config));
    findings.extend(from_member(addresses, sockets, line)?);
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
        return Finding::bad("names", text, RENAME);
    }
    let short = name.split('.').next().unwrap_or(name);
    if short.eq_ignore_ascii_case(&config.cluster) {
        return Finding::bad("names", format!("the cluster is called `{short}`, too"), RENAME);
    }
    name_alone(name)
}

fn interfaces(addresses: &[NodeAddress], config: &NodeConfig) -> Vec<Finding> {
    let carries = config.networks.iter().filter(|network| network.role.carries_cluster());
    let one = |network: &NetworkEntry| match address_on(addresses, network.id) {
        Some(own) => Finding::good("networks", format!("{own} on `{}`", network.name)),
        None => Finding::doubtful(
            "networks",
            format!("this host has no address on `{}`", network.name),
            "set its interface there up: with one network less a cable can take the node away",
        ),
    };
    carries.map(one).collect()
}

fn disk(config: &NodeConfig) -> Option<Finding> {
    let disk = config.quorum.disk.as_ref()?;
    let path = disk.path.display();
    let place = disk.path.clone();
    let read = within(REACHED_WITHIN, move || {
        let mut block = vec![0; Identity::BYTES as usize];
        let file = fs::File::open(place)?;
        file.read_exact_at(&mut block, Identity::OFFSET).map(|()| block)
    });
    let read = read.unwrap_or_else(|| {
        let late = format!("it does not answer within {} s", REACHED_WITHIN.as_secs());
        Err(io::Error::new(io::ErrorKind::TimedOut, late))
    });
    let fix = format!("connect the disk to this host: all nodes see it as `{path}`");
    Some(match read.map(|block| Identity::decode(&block, None)) {
        Ok(Ok(found)) if found.disk.0 == disk.disk_id => {
            Finding::good("quorum disk", format!("`{path}` is the one of the cluster"))
        }
        Ok(_) => {
            let text = format!("`{path}` is another disk than the cluster's");
            Finding::bad("quorum disk", text, fix)
        }
        Err(error) => {
            let text = format!("`{path}` cannot be read: {error}");
            Finding::bad("quorum disk", text, fix)
        }
    })
}

type Sockets = Vec<(TcpListener, UdpSocket)>;

/// The port of the cluster on each address, as the node will have it.
pub(super) fn free(addresses: &[NodeAddress], port: u16) -> Result<Sockets, Finding> {
    let open = |own: &NodeAddress| {
        let at = SocketAddr::new(own.address, port);
        let both = TcpListener::bind(at).and_then(|tcp| Ok((tcp, UdpSocket::bind(at)?)));
        both.map_err(|error| {
            let text = format!("this host cannot listen on {at}: {error}");
            let fix = format!("`ss -tulpn 'sport = :{port}'` shows who does");
            Finding::bad("ports", text, fix)
        })
    };
    addresses.iter().map(open).collect()
}

/// Whether this host reaches the members' ports, from its own address on each network.
fn to_members(addresses: &[NodeAddress], config: &NodeConfig) -> Vec<Finding> {
    let targets = config.nodes.iter().flat_map(|node| {
        node.addresses.iter().filter_map(|to| {
            let own = addresses.iter().find(|own| own.network == to.network)?;
            Some((node.id, own.address, SocketAddr::new(to.address, config.port)))
        })
    });
    std::thread::scope(|scope| {
        let look = |(node, own, to): (NodeId, IpAddr, SocketAddr)| {
            scope.spawn(move || (node, own, to, connects(own, to)))
        };
        let looking: Vec<_> = targets.map(look).collect();
        let found = looking.into_iter().filter_map(|thread| thread.join().ok());
        let one = |(node, own, to, result): Looked| match result {
            Ok(()) => Finding::good("ports", format!("{own} reaches {node} at {to} (TCP)")),
            Err(error) => {
                let text = format!("{own} does not reach {node} at {to} (TCP): {error}");
                let fix = format!("open port {} for TCP and UDP between all nodes", to.port());
                match node == config.node {
                    true => Finding::bad("ports", text, fix),
                    false => Finding::doubtful("ports", text, format!("{fix}, unless it is off")),
                }
            }
        };
        found.map(one).collect()
    })
}

/// Which node was called from which address to which one, and what came of it.
type Looked = (NodeId, IpAddr, SocketAddr, io::Result<()>);

fn connects(own: IpAddr, to: SocketAddr) -> io::Result<()> {
    let socket = Socket::new(Domain::for_address(to), Type::STREAM, None)?;
    socket.bind(&SocketAddr::new(own, 0).into())?;
    socket.connect_timeout(&to.into(), REACHED_WITHIN)
}

/// Whether the member reaches this host, which sends datagrams back meanwhile.
fn from_member(
    addresses: &[NodeAddress],
    sockets: Sockets,
    line: &mut Line,
) -> Result<Vec<Finding>, Reason> {
    let done = AtomicBool::new(false);
    let answer = std::thread::scope(|scope| {
        for (_, udp) in &sockets {
            scope.spawn(|| echo(udp, &done));
        }
        let answer = line.ask(&Ask::Reach(addresses.to_vec()));
        done.store(true, Ordering::Release);
        answer
    });
    let Answer::Reached(reached) = answer? else { return Err(confused()) };
    let (member, port) = (line.outline.config.node, line.outline.config.port);
    let mut findings = Vec::new();
    for Reached { network, tcp, udp } in reached {
        let Some(own) = addresses.iter().find(|own| own.network == network) else { continue };
        for (kind, why) in [("TCP", tcp), ("UDP", udp)] {
            let at = SocketAddr::new(own.address, port);
            findings.push(match why {
                None => Finding::good("ports", format!("{member} reaches {at} ({kind})")),
                Some(why) => Finding::bad(
                    "ports",
                    format!("{member} does not reach {at} ({kind}): {why}"),
                    format!("open port {port} for TCP and UDP between all nodes"),
                ),
            });
        }
    }
    Ok(findings)
}

fn echo(udp: &UdpSocket, done: &AtomicBool) {
    if udp.set_read_timeout(Some(ECHO_TURN)).is_err() {
        return;
    }
    let mut came = [0; 64];
    while !done.load(Ordering::Acquire) {
        if let Ok((bytes, from)) = udp.recv_from(&mut came)
            && came[..bytes] == *ECHO
        {
            // What does not get back is sent again.
            let _ = udp.send_to(ECHO, from);
        }
    }
}

#[cfg(test)]
mod tests {
    use rustix::fs::{FileType, Mode, mknodat};
    use rustix::process::{Resource, getrlimit};
    use rustix::thread::{CapabilitySet, capabilities, set_capabilities};
    use stead_model::config::QuorumDisk;

    use super::*;

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
    fn a_port_that_somebody_has_is_found() {
        let taken = UdpSocket::bind("127.0.0.1:0").unwrap();
        let own =
            NodeAddress { network: stead_model::NetworkId(1), address: [127, 0, 0, 1].into() };
        let found = free(&[own], taken.local_addr().unwrap().port()).unwrap_err();
        assert!(found.to_string().contains("cannot listen on 127.0.0.1"), "{found}");
    }
    fn cluster() -> NodeConfig {
        crate::net::peers::tests::config(1, 17_410)
    }

    #[test]
    fn a_disk_that_does_not_answer_is_waited_for_so_long() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("hangs");
        // Whoever opens it waits for somebody who writes.
        mknodat(rustix::fs::CWD, &path, FileType::Fifo, Mode::RWXU, 0).unwrap();
        let mut config = cluster();
        let voter = stead_model::VoterId(stead_model::VoterId::DISK_FIRST);
        config.quorum.disk = Some(QuorumDisk { voter, path, disk_id: [1; 16] });
        let found = disk(&config).unwrap();
        assert!(found.to_string().contains("it does not answer within 2 s"), "{found}");
        assert!(matches!(found.verdict, Verdict::Bad(_)), "{found}");
        config.quorum.disk.as_mut().unwrap().path = dir.path().join("none");
        let found = disk(&config).unwrap();
        assert!(found.to_string().contains("connect the disk to this host"), "{found}");
    }

    #[test]
    fn a_name_of_another_node_or_of_the_cluster_is_refused() {
        let (config, mut host) = (cluster(), Host::this());
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
    fn a_network_without_an_address_here_is_told() {
        let config = cluster();
        let found = interfaces(&[], &config);
        assert!(!found.is_empty());
        assert!(found.iter().all(|f| matches!(f.verdict, Verdict::Doubtful(_))), "{found:?}");
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
