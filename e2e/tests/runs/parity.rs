//! The simulator and the lab tell the same story: scripts of `scenarios/` are played in both, and
//! the milestones come in the same order. In the lab things are done when what was expected before
//! is there, not at a time.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;

use e2e::processes::{self, Role};
use e2e::{Roles, World, Writer, evidence, other, program, tell, until, wait};
use rustix::process::Signal;
use stead_lab::{CutSpec, Network, Station, boot_ns};
use stead_model::group::Desired;
use stead_model::network::InterfaceState;
use stead_model::record::Record;
use stead_model::request::Request;
use stead_model::view::{GroupView, NodeState};
use stead_model::{GroupId, NodeId, ResourceId};
use stead_sim::script::{Script, Verb, Ways, Who, directory, parse};
use stead_sim::trace::Detail;

#[test]
fn parity_of_simulator_and_lab() {
    let all = [
        "failover/owner-dies",
        "failover/leader-is-not-owner",
        "failover/active-active",
        "group/planned-move",
        "group/restart-then-failover",
        "network/one-network",
        "node/monitor-dies",
        "node/service-restart",
    ];
    all.into_iter().for_each(tells_the_same);
}

/// the cable of an interface is pulled, and the kernel says so.
#[test]
fn parity_of_a_dead_interface() {
    tells_the_same("network/interface-down");
}

/// the configurations of `examples/configurations`.
#[test]
fn parity_of_configurations() {
    let all = ["active-passive", "active-active", "hybrid", "single-node", "n-plus-1", "n-to-n"];
    all.into_iter().for_each(|name| tells_the_same(&format!("configurations/{name}")));
}

/// the cluster takes each of the files as it is.
#[test]
fn configurations_can_be_applied() {
    let world = World::with("configurations", |options| options.nodes = 3);
    for (name, text) in FILES {
        let file = world.home().join(format!("{name}.toml"));
        fs::write(&file, text).unwrap();
        let said = world.stead(&["apply", file.to_str().unwrap(), "--plan"]);
        assert_eq!(said.code, 0, "{name}: {}", said.err);
        assert!(said.out.contains("start"), "{name}: {}", said.out);
    }
}

fn tells_the_same(scenario: &str) {
    let path = program::scenarios().join(scenario);
    let outcome = directory::play(&path, Detail::Story).unwrap();
    assert!(outcome.violation.is_none(), "{scenario}: {:?}", outcome.violation);
    let text = fs::read_to_string(path.join("script.txt")).unwrap();
    let script = parse(&text).unwrap();
    let told: Vec<Told> = outcome.story.iter().filter_map(|line| Told::by_sim(line)).collect();
    let fault_ns = script.lines.iter().find(|line| is_fault(&line.verb)).map(|line| line.at);
    let simulated = Milestones::of(&told, fault_ns.unwrap_or(0));
    assert!(!simulated.0.is_empty(), "{scenario}");
    let leads = leader_called(&script, &outcome.story);
    let mut play = Play::of(script, leads);
    play.perform();
    wait(&format!("{scenario}: the lab tells the same story"), || {
        let lab = Milestones::of(&play.told(), play.fault_ns.unwrap_or(0));
        if lab == simulated { Ok(()) } else { Err(format!("\n {simulated:?}\n {lab:?}")) }
    });
    tell(&format!("{scenario}: {simulated:?}"));
}

/// A record of either.
#[derive(Debug)]
struct Told {
    at_ns: u64,
    code: String,
    text: String,
}

impl Told {
    /// `TIME NODE CODE: TEXT`; other lines are about the simulated world.
    fn by_sim(line: &str) -> Option<Self> {
        let mut words = line.split_whitespace();
        let seconds: f64 = words.next()?.parse().ok()?;
        let at_ns = (seconds * 1e9).round() as u64;
        let code = words.nth(1)?.strip_suffix(':')?.to_owned();
        Some(Self { at_ns, code, text: words.collect::<Vec<_>>().join(" ") })
    }
}

/// What must be the same from the first fault on: the sequence of every group and of every
/// resource. Different ones are told in no order where neither waits for the other. What comes
/// before only brings groups where the script wants them, from wherever roles fell.
#[derive(PartialEq, Eq, Default, Debug)]
struct Milestones(BTreeMap<String, Vec<String>>);

impl Milestones {
    fn of(told: &[Told], from_ns: u64) -> Self {
        let mut found: BTreeMap<String, Vec<String>> = BTreeMap::new();
        let mut committed: Vec<&str> = Vec::new();
        for Told { at_ns, code, text } in told {
            let late = *at_ns >= from_ns;
            let subject = text.split([' ', ':']).nth(1).unwrap_or_default();
            match code.as_str() {
                // Whose silence it is tells nothing either.
                "suspected" if late => found.values_mut().for_each(|t| t.push(code.clone())),
                "group-stopped" | "group-online" | "group-granted" | "group-released"
                | "resource-online" | "resource-offline" | "resource-failed" => {
                    let told = found.entry(subject.to_owned()).or_default();
                    // Committed once, told by every node, also by one that comes back.
                    let again = code.starts_with("group-") && committed.contains(&text.as_str());
                    committed.push(text);
                    if late && !again {
                        told.push(code.clone());
                        Self::forget_early(told);
                    }
                }
                _ => {}
            }
        }
        Self(found)
    }

    /// A node that is back may learn of its group a moment before its first lease. It does not
    /// start on that epoch (R9), says so, and gets the next one: that is one grant.
    fn forget_early(told: &mut Vec<String>) {
        if told.ends_with(&["group-granted", "group-stopped", "group-granted"].map(String::from)) {
            told.truncate(told.len() - 2);
        }
    }
}

/// The node that a script called the leader when it was simulated.
fn leader_called(script: &Script, story: &[String]) -> Option<NodeId> {
    let name = script.lines.iter().find_map(|line| match &line.verb {
        Verb::Call(name, Who::Leader) => Some(name),
        _ => None,
    })?;
    let line = story.iter().find(|line| line.ends_with(&format!(" is called {name}")))?;
    let node = line.split_whitespace().nth(1)?.strip_prefix('n')?;
    node.parse().ok().map(NodeId)
}

/// Whether a line of a script breaks something.
fn is_fault(verb: &Verb) -> bool {
    matches!(
        verb,
        Verb::Crash(_)
            | Verb::CutNetwork(.., Ways::Both)
            | Verb::Interface(..)
            | Verb::ServiceDies(_)
            | Verb::MonitorDies(_)
            | Verb::Fail(_)
    )
}

/// A script in a lab.
struct Play {
    names: BTreeMap<String, NodeId>,
    script: Script,
    /// Whether the two nodes stand for each other, because the other one leads here.
    mirrored: bool,
    /// When the first fault was.
    fault_ns: Option<u64>,
    _writer: Writer,
    world: World,
}

impl Play {
    fn of(script: Script, simulated_leader: Option<NodeId>) -> Self {
        let world = World::with("parity", |options| {
            options.nodes = script.nodes;
            options.quorum = Some(script.mode);
            options.profile = script.profile;
        });
        let writer = Writer::start(&world);
        let leads = Roles::settled(&world).leads;
        let mirrored = simulated_leader.is_some_and(|simulated| simulated != leads);
        let fault_ns = None;
        Self { names: BTreeMap::new(), script, mirrored, fault_ns, _writer: writer, world }
    }

    fn perform(&mut self) {
        for request in self.script.set_up.clone() {
            let created = match &request {
                Request::CreateGroup { group, .. } => Some(group.clone()),
                _ => None,
            };
            self.world.ask(&self.real(request));
            if let Some(group) = created {
                let desired = Desired::Offline;
                self.world.ask(&Request::SetGroupDesired { group, desired });
            }
        }
        for line in self.script.lines.clone() {
            if is_fault(&line.verb) {
                self.fault_ns.get_or_insert_with(boot_ns);
            }
            self.act(&line.verb);
        }
    }

    fn act(&mut self, verb: &Verb) {
        let world = &self.world;
        match verb {
            Verb::Call(name, who) => {
                let node = self.who(who);
                self.names.insert(name.clone(), node);
            }
            Verb::Crash(who) => self.crash(self.who(who)),
            Verb::Power(who) => world.start(self.who(who)),
            Verb::CutNetwork(number, who, Ways::Both) => {
                let network = if *number == 1 { Network::Private } else { Network::Public };
                let station = Station::Node(self.who(who));
                let cut = CutSpec::Station { station, network: Some(network) };
                world.lab().cut(cut).unwrap();
            }
            Verb::Interface(number, who, state) => {
                let network = if *number == 1 { Network::Private } else { Network::Public };
                let is_up = *state == InterfaceState::Up;
                let words =
                    ["ip", "link", "set", network.interface(), if is_up { "up" } else { "down" }];
                let words = words.map(OsString::from);
                let code = world.lab().exec(Station::Node(self.who(who)), &words).unwrap();
                assert_eq!(code, 0, "{words:?}");
            }
            Verb::Heal => world.heal(),
            Verb::ServiceDies(who) => self.kill(who, Role::Service),
            Verb::MonitorDies(who) => self.kill(who, Role::Monitor),
            Verb::Fail(resource) => {
                let group = self.script.set_up.iter().find_map(|request| match request {
                    Request::CreateResource { group, resource: r, .. } if r == resource => {
                        Some(group.clone())
                    }
                    _ => None,
                });
                let owner = Who::Owner(group.expect("a resource of the script"));
                self.kill(&owner, Role::Application(&stamps(resource.as_str())));
            }
            // Refused where the group is there already, as in the simulator.
            Verb::Move(group, who) => {
                let to = Some(self.who(who));
                drop(world.cluster().request(&Request::MoveGroup { group: group.clone(), to }));
            }
            Verb::Ask(request) => world.ask(request),
            Verb::ExpectOn(group, who) => {
                let node = self.who(who);
                drop(world.taken_over(group.as_str(), node));
            }
            Verb::ExpectStopped(group) => {
                until(&format!("{group} runs nowhere"), || {
                    let states = self.seen(group).map(|group| group.state.word());
                    states.is_some_and(|state| state != "online")
                });
            }
            other => panic!("the lab cannot do {other:?}"),
        }
    }

    /// A power cut lasts until the others have noticed, as it does in the scripts.
    fn crash(&self, node: NodeId) {
        self.world.crash(node);
        let others: Vec<_> =
            self.world.lab().record().node_ids().filter(|other| *other != node).collect();
        until("somebody notices the power cut, or nobody can", || {
            let views = others.iter().filter_map(|other| self.world.cluster().view(*other).ok());
            let mut seen = views.flat_map(|view| view.nodes).filter(|n| n.node == node).peekable();
            seen.peek().is_none() || seen.any(|n| n.state != NodeState::Up)
        });
    }

    fn kill(&self, who: &Who, role: Role<'_>) {
        let node = self.who(who);
        let pid = processes::find(&self.world, node, role);
        processes::signal(pid, Signal::KILL);
        until(&format!("another {role:?}"), || {
            let found = processes::all(&self.world, node, role);
            found.iter().any(|found| *found != pid) || self.moved_from(who, node)
        });
    }

    fn moved_from(&self, who: &Who, node: NodeId) -> bool {
        matches!(who, Who::Owner(group) if self.owner(group).is_some_and(|owner| owner != node))
    }

    fn who(&self, who: &Who) -> NodeId {
        match who {
            Who::Node(node) => self.node(*node),
            Who::Named(name) => self.names[name],
            Who::Leader => Roles::settled(&self.world).leads,
            Who::Host => Roles::settled(&self.world).hosts.expect("a host of the disk"),
            Who::Follower => other(Roles::settled(&self.world).leads),
            Who::Owner(group) => {
                wait("an owner", || self.owner(group).ok_or_else(|| format!("of {group}")))
            }
        }
    }

    /// Whom a node with quorum names.
    fn owner(&self, group: &GroupId) -> Option<NodeId> {
        self.seen(group)?.owner
    }

    /// As a node with quorum sees it.
    fn seen(&self, group: &GroupId) -> Option<GroupView> {
        let nodes = self.world.lab().record().node_ids();
        let views = nodes.filter_map(|node| self.world.cluster().view(node).ok());
        let mut sure = views.filter(|view| view.quorum.has_quorum);
        sure.find_map(|view| view.groups.into_iter().find(|g| g.group == *group))
    }

    /// The records of all nodes in the order of time, also of those without power.
    fn told(&self) -> Vec<Told> {
        let mut records: Vec<Record> = Vec::new();
        for node in self.world.lab().record().node_ids() {
            records.extend(evidence::recorded(&self.world, node));
        }
        records.sort_by_key(|record| record.boot_ns);
        let told = |Record { boot_ns: at_ns, code, text, .. }| Told { at_ns, code, text };
        records.into_iter().map(told).collect()
    }

    /// Every address of a script is another one.
    fn address(&self, of: &ResourceId) -> u8 {
        let created = self.script.set_up.iter().filter_map(|request| match request {
            Request::CreateResource { resource, .. } => Some(resource),
            _ => None,
        });
        120 + created.take_while(|resource| *resource != of).count() as u8
    }

    fn node(&self, node: NodeId) -> NodeId {
        if self.mirrored { other(node) } else { node }
    }

    /// What the simulator only plays is a real address and a real program here.
    fn real(&self, request: Request) -> Request {
        match request {
            Request::CreateGroup { group, mut policy } => {
                for owner in &mut policy.preferred_owners {
                    *owner = self.node(*owner);
                }
                Request::CreateGroup { group, policy }
            }
            Request::CreateResource { group, resource, kind, mut properties } => {
                if let Some(address) = properties.get_mut("address") {
                    *address = format!("{}/24", Network::Public.address(self.address(&resource)));
                }
                if let Some(command) = properties.get_mut("command") {
                    *command =
                        format!("/run/lab/bin/stead lab-stamp {}", stamps(resource.as_str()));
                }
                Request::CreateResource { group, resource, kind, properties }
            }
            other => other,
        }
    }
}

fn stamps(resource: &str) -> String {
    format!("/var/lib/stead-witness/{resource}-stamps")
}

/// What `examples/` has for `apply` alone.
const FILES: [(&str, &str); 6] = [
    ("active-passive", include_str!("../../../examples/configurations/active-passive.toml")),
    ("active-active", include_str!("../../../examples/configurations/active-active.toml")),
    ("hybrid", include_str!("../../../examples/configurations/hybrid.toml")),
    ("single-node", include_str!("../../../examples/configurations/single-node.toml")),
    ("n-plus-1", include_str!("../../../examples/configurations/n-plus-1.toml")),
    ("n-to-n", include_str!("../../../examples/configurations/n-to-n.toml")),
];
