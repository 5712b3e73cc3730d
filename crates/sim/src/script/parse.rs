//! From text to script. Every mistake names its line.

use std::collections::{BTreeMap, BTreeSet};

use stead_model::amounts::Amounts;
use stead_model::config::{NetworkRole, NodeAddress, NodeWish, QuorumMode};
use stead_model::core_group::ClusterIp;
use stead_model::group::{Desired, GroupPolicy};
use stead_model::network::InterfaceState;
use stead_model::profile::Profile;
use stead_model::program::{ClusterLevel, Levels, NoVersion, Program};
use stead_model::request::Request;
use stead_model::resource_type::parse_time_ms;
use stead_model::rules::Priority;
use stead_model::upkeep::{Drain, Upkeep};
use stead_model::view::NodeState;
use stead_model::{GroupId, NetworkId, NodeId, ResourceId};
use thiserror::Error;

use super::verb::HOLE;
use super::{Line, Script, Verb, Ways, Who};
use crate::clock::Instant;
use crate::disks::Path;

/// Why a script does not parse.
#[derive(Clone, PartialEq, Eq, Debug, Error)]
#[error("line {line}: {why}")]
pub struct ParseError {
    /// Where.
    pub line: usize,
    /// Why.
    pub why: String,
}

/// Parses a script.
///
/// # Errors
/// Names the first line that cannot be understood.
pub fn parse(text: &str) -> Result<Script, ParseError> {
    let mut script = Script {
        nodes: 2,
        spares: 0,
        ring_blocks: 64,
        mode: QuorumMode::NodeAndDiskMajority,
        profile: Profile::Standard,
        program: Program::own(),
        set_up: Vec::new(),
        lines: Vec::new(),
        next: 0,
        end: 0,
        names: BTreeMap::new(),
    };
    for (line, text) in (1..).zip(text.lines()) {
        let text = text.split('#').next().unwrap_or_default();
        let words: Vec<&str> = text.split_whitespace().collect();
        take(&mut script, line, &words).map_err(|why| ParseError { line, why })?;
    }
    bring_online(&mut script);
    script.lines.sort_by_key(|line| line.at);
    let last = script.lines.last().map_or(0, |line| line.at);
    if script.end <= last {
        let why = "the script must end after its last line: end TIME".to_owned();
        return Err(ParseError { line: text.lines().count(), why });
    }
    Ok(script)
}

fn take(script: &mut Script, number: usize, words: &[&str]) -> Result<(), String> {
    match words {
        [] => {}
        ["cluster", nodes, mode, profile] => {
            script.nodes = nodes.parse().map_err(|_| format!("{nodes} is no number"))?;
            script.mode = match *mode {
                "disk" => QuorumMode::NodeAndDiskMajority,
                "majority" => QuorumMode::NodeMajority,
                "disk-only" => QuorumMode::DiskOnly,
                other => return Err(format!("{other} is no quorum mode")),
            };
            let unknown = || format!("{profile} is no profile");
            script.profile = Profile::parse(profile).ok_or_else(unknown)?;
        }
        ["ring", blocks] => {
            script.ring_blocks = blocks.parse().map_err(|_| format!("{blocks} is no number"))?;
        }
        ["spare", count] => {
            script.spares = count.parse().map_err(|_| format!("{count} is no number"))?;
            if script.spares >= script.nodes {
                return Err("a cluster is formed by at least one node".into());
            }
        }
        ["program", version, lowest, highest] => {
            script.program = program(version, lowest, highest)?;
        }
        ["group", group, rest @ ..] => {
            let policy = policy(rest)?;
            script.set_up.push(Request::CreateGroup { group: GroupId::from(*group), policy });
        }
        ["capacity", name, amounts] => {
            let capacity = Amounts::parse(amounts).map_err(|reason| reason.to_string())?;
            script.set_up.push(Request::SetCapacity { node: node(name)?, capacity });
        }
        ["resource", resource, kind, "in", group, rest @ ..] => {
            let requests = create(resource, kind, group, rest)?;
            script.set_up.extend(requests);
        }
        ["end", at] => script.end = time(at)?,
        ["at", at, rest @ ..] => {
            let line = Line { at: time(at)?, number, verb: verb(rest)? };
            script.lines.push(line);
        }
        _ => return Err(format!("not understood: {}", words.join(" "))),
    }
    Ok(())
}

/// The policy of `[on NODE...] [NAME=VALUE...]`.
fn policy(words: &[&str]) -> Result<GroupPolicy, String> {
    let at = words.iter().position(|word| word.contains('=')).unwrap_or(words.len());
    let preferred_owners = match &words[..at] {
        [] => Vec::new(),
        ["on", owners @ ..] => owners.iter().map(|o| node(o)).collect::<Result<_, _>>()?,
        _ => return Err("group NAME [on NODE...] [NAME=VALUE...]".into()),
    };
    let mut policy = GroupPolicy { preferred_owners, ..GroupPolicy::default() };
    let setting = |word: &&str| {
        let pair = word.split_once('=').ok_or_else(|| format!("{word} is no NAME=VALUE"))?;
        Ok((pair.0.to_owned(), Some(pair.1.to_owned())))
    };
    let settings = words[at..].iter().map(setting).collect::<Result<_, String>>()?;
    policy.set_all(&settings).map_err(|reason| reason.to_string())?;
    Ok(policy)
}

/// True time at which the groups of a script are brought online: every node is there by then.
const ONLINE_AT: Instant = 2_000_000_000;

/// Groups are brought online when all their resources are created.
fn bring_online(script: &mut Script) {
    let created = |request: &Request| match request {
        Request::CreateGroup { group, .. } => Some(group.clone()),
        _ => None,
    };
    let groups: Vec<GroupId> = script.set_up.iter().filter_map(created).collect();
    let online = |group| {
        let desired = Desired::Online;
        let verb = Verb::Ask(Request::SetGroupDesired { group, desired });
        Line { at: ONLINE_AT, number: 0, verb }
    };
    script.lines.extend(groups.into_iter().map(online));
}

/// A resource without dependencies.
fn created(
    resource: &str,
    kind: &str,
    group: &str,
    properties: &[&str],
) -> Result<Request, String> {
    let mut requests = create(resource, kind, group, properties)?;
    if requests.len() > 1 {
        return Err("dependencies are for resources of the set-up".into());
    }
    requests.pop().ok_or_else(|| "nothing is created".into())
}

fn create(resource: &str, kind: &str, group: &str, rest: &[&str]) -> Result<Vec<Request>, String> {
    let mut properties: BTreeMap<String, String> = BTreeMap::new();
    match kind {
        "ip-address" => drop(properties.insert("address".into(), "10.9.0.1/24".into())),
        "generic-application" => drop(properties.insert("command".into(), "/bin/app".into())),
        _ => {}
    }
    let at = rest.iter().position(|word| *word == "after").unwrap_or(rest.len());
    for pair in &rest[..at] {
        let (name, value) =
            pair.split_once('=').ok_or_else(|| format!("{pair} is no NAME=VALUE"))?;
        properties.insert(name.into(), value.into());
    }
    let id = ResourceId::from(resource);
    let mut requests = vec![Request::CreateResource {
        group: GroupId::from(group),
        resource: id.clone(),
        kind: kind.into(),
        properties,
    }];
    if at < rest.len() {
        let depends_on: BTreeSet<ResourceId> =
            rest[at + 1..].iter().map(|r| ResourceId::from(*r)).collect();
        requests.push(Request::SetDependencies { resource: id, depends_on });
    }
    Ok(requests)
}

fn time(text: &str) -> Result<Instant, String> {
    let ms = parse_time_ms(text).map_err(|reason| reason.to_string())?;
    Ok(ms * 1_000_000)
}

fn node(text: &str) -> Result<NodeId, String> {
    let number = text.strip_prefix('n').and_then(|n| n.parse().ok());
    number.map(NodeId).ok_or_else(|| format!("{text} is no node"))
}

fn who(text: &str) -> Who {
    match (text, text.strip_prefix("owner:")) {
        ("leader", _) => Who::Leader,
        ("host", _) => Who::Host,
        ("follower", _) => Who::Follower,
        (_, Some(group)) => Who::Owner(GroupId::from(group)),
        (name, None) => node(name).map_or_else(|_| Who::Named(name.into()), Who::Node),
    }
}

const fn upkeep(upkeep: Upkeep) -> Verb {
    Verb::Ask(Request::Upkeep { upkeep })
}

fn brought(group: &str, desired: Desired) -> Verb {
    Verb::Ask(Request::SetGroupDesired { group: group.into(), desired })
}

fn switched(resource: &str, desired: Desired) -> Verb {
    Verb::Ask(Request::SetResourceDesired { resource: resource.into(), desired })
}

fn wall_ms(by: &str) -> Result<i64, String> {
    let ms = parse_time_ms(by).map_err(|reason| reason.to_string())?;
    i64::try_from(ms).map_err(|_| format!("{by} is too long"))
}

fn depend(resource: &str, on: &[&str]) -> Verb {
    let depends_on = on.iter().map(|on| ResourceId::from(*on)).collect();
    Verb::Ask(Request::SetDependencies { resource: resource.into(), depends_on })
}

/// `ADDRESS [NAME=VALUE...]`: the cluster IP, and what publishes the cluster's name.
fn cluster_ip(address: &str, published: &[&str]) -> Result<Request, String> {
    let pair = |word: &&str| {
        let pair = word.split_once('=').ok_or_else(|| format!("{word} is no NAME=VALUE"))?;
        Ok((pair.0.to_owned(), pair.1.to_owned()))
    };
    let name = published.iter().map(pair).collect::<Result<BTreeMap<_, _>, String>>()?;
    let name = (!name.is_empty()).then_some(name);
    let wanted = ClusterIp { address: Some(address.to_owned()), name };
    Ok(Request::SetClusterIp { wanted })
}

/// The network that a script calls `1`, or `2`.
fn network_number<N: From<u8>>(word: &str) -> N {
    N::from(if word == "1" { 1 } else { 2 })
}

/// What is done to the networks and to the keys.
fn of_networks(words: &[&str]) -> Result<Option<Verb>, String> {
    Ok(Some(match words {
        ["cut", node] => Verb::Cut(who(node), None),
        ["cut", node, other] => Verb::Cut(who(node), Some(who(other))),
        ["cut-network", number @ ("1" | "2"), node] => {
            Verb::CutNetwork(network_number(number), who(node), Ways::Both)
        }
        ["address", name, number @ ("1" | "2"), address] => {
            let network = NetworkId(network_number(number));
            let address = address.parse().map_err(|_| format!("{address} is no address"))?;
            let addresses = vec![NodeAddress { network, address }];
            let wish = NodeWish { name: None, addresses };
            Verb::Ask(Request::SetNode { node: node(name)?, wish })
        }
        ["rename", name, other] => {
            let wish = NodeWish { name: Some((*other).to_owned()), addresses: Vec::new() };
            Verb::Ask(Request::SetNode { node: node(name)?, wish })
        }
        ["steal", number @ ("1" | "2"), node] => {
            Verb::CutNetwork(network_number(number), who(node), Ways::ToIt)
        }
        ["interface", number @ ("1" | "2"), node, word @ ("up" | "down")] => {
            let state = if *word == "up" { InterfaceState::Up } else { InterfaceState::NoCarrier };
            Verb::Interface(network_number(number), who(node), state)
        }
        ["narrow", number @ ("1" | "2"), node] => Verb::Narrow(network_number(number), who(node)),
        ["one-way", from, to] => Verb::OneWay(who(from), who(to)),
        ["loss", percent] => {
            Verb::Loss(percent.parse().map_err(|_| format!("{percent} is no number"))?)
        }
        ["delay", longest] => Verb::Delay(time(longest)?),
        ["heal"] => Verb::Heal,
        ["network", network, what, to] => Verb::Ask(changed(network, what, to)?),
        _ => return of_keys(words),
    }))
}

/// `network NETWORK name|role|priority VALUE`.
fn changed(network: &str, what: &str, to: &str) -> Result<Request, String> {
    let wrong = || format!("not understood: network {network} {what} {to}");
    let (mut name, mut role, mut priority) = (None, None, None);
    match what {
        "name" => name = Some(to.to_owned()),
        "role" => role = Some(NetworkRole::parse(to).ok_or_else(wrong)?),
        "priority" => priority = Some(Priority::parse(to).ok_or_else(wrong)?),
        _ => return Err(wrong()),
    }
    Ok(Request::SetNetwork { network: network.to_owned(), name, role, priority })
}

fn of_keys(words: &[&str]) -> Result<Option<Verb>, String> {
    Ok(Some(match words {
        ["rotate-keys"] => Verb::Ask(Request::RotateKeys),
        ["abandon-keys"] => Verb::Ask(Request::AbandonKeys),
        ["install", node, version, lowest, highest] => {
            Verb::Install(who(node), program(version, lowest, highest)?)
        }
        ["raise-level", to] => Verb::Ask(Request::RaiseLevel { to: level(to)? }),
        ["expect", node, "level", wanted] => Verb::ExpectLevel(who(node), level(wanted)?),
        ["expect", node, "seals", number] => {
            let number = number.parse().map_err(|_| format!("{number} is no number"))?;
            Verb::ExpectSeals(who(node), number)
        }
        ["expect", node, "sees", other, state] => {
            let state = match *state {
                "up" => NodeState::Up,
                "isolated" => NodeState::Isolated,
                "down" => NodeState::Down,
                other => return Err(format!("{other} is no state of a node")),
            };
            Verb::ExpectSees(who(node), who(other), state)
        }
        _ => return Ok(None),
    }))
}

fn program(version: &str, lowest: &str, highest: &str) -> Result<Program, String> {
    let levels = Levels { lowest: level(lowest)?, highest: level(highest)? };
    let version = version.parse().map_err(|wrong: NoVersion| wrong.to_string())?;
    Ok(Program { version, levels })
}

fn level(text: &str) -> Result<ClusterLevel, String> {
    text.parse().map(ClusterLevel).map_err(|_| format!("{text} is no level"))
}

fn verb(words: &[&str]) -> Result<Verb, String> {
    let group = |name: &str| GroupId::from(name);
    if let Some(verb) = of_networks(words)? {
        return Ok(verb);
    }
    Ok(match words {
        ["call", name, role] => Verb::Call((*name).into(), who(role)),
        ["crash", node] => Verb::Crash(who(node)),
        ["power", node] => Verb::Power(who(node)),
        ["freeze", node] => Verb::Freeze(who(node)),
        ["pause", node] => Verb::Pause(who(node)),
        ["thaw", node] => Verb::Thaw(who(node)),
        ["clock", node, "forward", by] => Verb::Clock(who(node), wall_ms(by)?),
        ["clock", node, "back", by] => Verb::Clock(who(node), -wall_ms(by)?),
        ["path", node, "lost"] => Verb::Path(who(node), Path::Broken),
        ["path", node, "hangs"] => Verb::Path(who(node), Path::Hung),
        ["path", node, "back"] => Verb::Path(who(node), Path::Up),
        ["service-dies", node] => Verb::ServiceDies(who(node)),
        ["guard-dies", node] => Verb::GuardDies(who(node)),
        ["monitor-dies", node] => Verb::MonitorDies(who(node)),
        ["monitor-stops", node] => Verb::MonitorStops(who(node)),
        ["monitor-silent", node] => Verb::MonitorSilent(who(node)),
        ["monitor-goes-on", node] => Verb::MonitorGoesOn(who(node)),
        ["hang", resource] => Verb::Hang(ResourceId::from(*resource)),
        ["unfit", resource, "on", node] => Verb::Unfit(ResourceId::from(*resource), who(node)),
        ["create", resource, kind, "in", group, rest @ ..] => {
            Verb::Ask(created(resource, kind, group, rest)?)
        }
        ["force", "create", resource, kind, "in", group, rest @ ..] => {
            let request = Box::new(created(resource, kind, group, rest)?);
            Verb::Ask(Request::Force { request })
        }
        ["fail", resource] => Verb::Fail(ResourceId::from(*resource)),
        ["move", name, "to", node] => Verb::Move(group(name), who(node)),
        ["leave", node] => Verb::Leave(who(node)),
        ["absent", node, word @ ("on" | "off")] => Verb::Absent(who(node), *word == "on"),
        ["add", name] => Verb::Add(node(name)?),
        ["evict", node] => Verb::Evict(who(node)),
        ["force", node] => Verb::Force(who(node), false),
        ["force", node, "without-disk"] => Verb::Force(who(node), true),
        ["cluster-ip", "remove"] => Verb::Ask(Request::RemoveClusterIp),
        ["cluster-ip", address, name @ ..] => Verb::Ask(cluster_ip(address, name)?),
        ["measured", name] => Verb::Ask(Request::MeasureCapacity { node: node(name)? }),
        ["vote", node, word @ ("on" | "off")] => Verb::Vote(who(node), *word == "on"),
        ["online", name] => brought(name, Desired::Online),
        ["offline", name] => brought(name, Desired::Offline),
        ["online-resource", name] => switched(name, Desired::Online),
        ["offline-resource", name] => switched(name, Desired::Offline),
        ["depend", name] => depend(name, &[]),
        ["depend", name, "on", on @ ..] => depend(name, on),
        ["clear-failures", name] => Verb::Ask(Request::ClearFailures { group: group(name) }),
        ["drain", name] => upkeep(Upkeep::Pause { node: node(name)?, drain: Drain::Yes }),
        ["resume", name] => upkeep(Upkeep::Resume { node: node(name)? }),
        ["set", key, value] => {
            Verb::Ask(Request::SetKey { key: (*key).into(), value: Some((*value).into()) })
        }
        ["expect", "holes", word @ ("frozen" | "clock")] => {
            Verb::ExpectHole(HOLE, *word == "clock")
        }
        ["expect", name, "on", node] => Verb::ExpectOn(group(name), who(node)),
        ["expect", role, "is", node] => Verb::ExpectRole(who(role), who(node)),
        ["expect", name, "stopped"] => Verb::ExpectStopped(group(name)),
        ["expect", node, "has", key, value] => {
            Verb::ExpectKey(who(node), (*key).into(), (*value).into())
        }
        ["expect", node, word @ ("has-lease" | "no-lease")] => {
            Verb::ExpectLease(who(node), *word == "has-lease")
        }
        _ => return Err(format!("not understood: {}", words.join(" "))),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_script_reads_as_written_and_mistakes_name_their_line() {
        let text = "cluster 3 majority fast\ngroup web on n2 # best\n\nat 3s crash leader\nend 5s";
        let script = parse(text).unwrap();
        assert_eq!((script.nodes, script.profile), (3, Profile::Fast));
        let online = Request::SetGroupDesired { group: "web".into(), desired: Desired::Online };
        assert_eq!(script.lines[0].verb, Verb::Ask(online));
        assert_eq!(script.lines[1].verb, Verb::Crash(Who::Leader));
        assert_eq!(script.lines[1].at, 3_000_000_000);
        let error = parse("cluster 2 disk standard\nat 1s explode n1\nend 2s").unwrap_err();
        assert_eq!(error.to_string(), "line 2: not understood: explode n1");
        assert!(parse("at 3s heal\nend 2s").is_err());
    }
}
