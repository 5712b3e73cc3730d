//! Chores: in some worlds administrators change the cluster itself while faults strike. They raise
//! its level, rotate its keys, say what may use its networks, give nodes other addresses and names,
//! evict nodes, and upgrade them from a former program.
//!
//! Whoever asks does not wait for an answer, and asks for what may be refused. What was begun must
//! be over when everything has come to rest: an eviction, and a rotation. Before that all nodes
//! have the program that is tested.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr};

use stead_core::Event;
use stead_model::config::{NetworkRole, NodeAddress, NodeWish, QuorumMode};
use stead_model::keys::{Other, Phase};
use stead_model::program::{ClusterLevel, Levels, Program, Version};
use stead_model::request::{Answer, Envelope, Request};
use stead_model::rules::Priority;
use stead_model::view::View;
use stead_model::{NetworkId, NodeId, RequestId, VoterId};

use crate::agenda::{Happening, Outside};
use crate::rng::Rng;
use crate::swarm::{Away, Plan};
use crate::world::{Phase as RunPhase, World};

/// What administrators do, and how often.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Chores {
    /// Mean time between two.
    pub pause_ns: u64,
    /// Weights by [`Chore`].
    pub weights: [u64; Chore::ALL.len()],
    /// Nodes that may be evicted.
    pub evicts_max: usize,
    /// Whether the nodes begin with a former program.
    pub former: bool,
}

/// Something that is changed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Chore {
    /// The level of the cluster.
    Level,
    /// The keys: a rotation begins, or is abandoned.
    Keys,
    /// What may use a network, its priority or its name.
    Network,
    /// Where a node is, or its name.
    Node,
    /// Who is a member.
    Evict,
    /// What a node runs.
    Program,
}

impl Chore {
    /// All of them.
    pub const ALL: [Self; 6] =
        [Self::Level, Self::Keys, Self::Network, Self::Node, Self::Evict, Self::Program];

    /// Which one a request is.
    const fn of(request: &Request) -> Option<Self> {
        Some(match request {
            Request::RaiseLevel { .. } => Self::Level,
            Request::RotateKeys => Self::Keys,
            Request::SetNetwork { .. } => Self::Network,
            Request::SetNode { .. } => Self::Node,
            Request::Evict { .. } | Request::Force { .. } => Self::Evict,
            _ => return None,
        })
    }
}

/// Who asks; no client of the world.
pub(crate) const CLIENT: u64 = 1_001;

/// A program that knows the first level only.
const FORMER: Program = Program {
    version: Version([0, 1, 0]),
    levels: Levels { lowest: ClusterLevel::FIRST, highest: ClusterLevel::FIRST },
};

impl Chores {
    /// Those of a world of several nodes.
    #[must_use]
    pub fn draw(rng: &mut Rng, plan: &Plan) -> Self {
        let beat = plan.timing().heartbeat.0;
        let mut weights = Chore::ALL.map(|_| if rng.chance(300) { 0 } else { rng.wild(1, 60) });
        weights[Chore::Level as usize] += 10;
        let mut without = |chore: Chore| weights[chore as usize] = 0;
        if plan.joiners > 0 {
            // They were told of the cluster before.
            without(Chore::Keys);
            without(Chore::Node);
            without(Chore::Evict);
        }
        // Those that stay are to be a majority whoever is away. Who missed both its eviction and
        // new keys may write a header that only a node with a lease seals anew: where the disk
        // alone is the quorum there may be none (decision 0041).
        let stays_one = plan.away == Away::None && plan.forces.is_none();
        if !stays_one || plan.mode == QuorumMode::DiskOnly {
            without(Chore::Evict);
        }
        Self {
            pause_ns: rng.wild(beat * 2, beat * 30),
            weights,
            evicts_max: rng.between(1, u64::from(plan.nodes) - 1) as usize,
            // A program may not end the node that is forced, nor restart it when others come back.
            former: rng.chance(300) && plan.forces.is_none(),
        }
    }
}

impl World {
    /// Where chores begin.
    pub(crate) fn chores_set_out(&mut self) {
        let Some(chores) = self.plan.chores else { return };
        if chores.former {
            self.nodes.iter_mut().for_each(|node| node.program = FORMER);
        }
        self.agenda.put(chores.pause_ns, Happening::World(Outside::Chore));
    }

    /// Something is changed, and the next chore is planned.
    pub fn chore(&mut self) {
        let Some(chores) = self.plan.chores.filter(|_| self.phase == RunPhase::Faults) else {
            return;
        };
        let next = self.now + 1 + self.rng.below(2 * chores.pause_ns);
        self.agenda.put(next, Happening::World(Outside::Chore));
        let Some(which) = self.rng.weighted(&chores.weights) else { return };
        let node = NodeId(self.rng.between(1, self.plan.nodes.into()) as u16);
        let request = match Chore::ALL[which] {
            Chore::Level => Request::RaiseLevel { to: ClusterLevel::PROGRAMS },
            Chore::Keys if self.rng.chance(250) => Request::AbandonKeys,
            Chore::Keys => Request::RotateKeys,
            Chore::Network => self.other_network(),
            Chore::Node => self.elsewhere(node),
            Chore::Evict => match self.goes(node, chores.evicts_max) {
                Some(request) => request,
                None => return,
            },
            Chore::Program => {
                if chores.former {
                    let program = if self.rng.chance(700) { Program::own() } else { FORMER };
                    self.tally.chores[Chore::Program as usize] += 1;
                    self.install(node, program);
                }
                return;
            }
        };
        self.do_chore(request);
    }

    fn do_chore(&mut self, request: Request) {
        self.chores_asked += 1;
        let id = RequestId { client: CLIENT, number: self.chores_asked };
        let by = NodeId(self.rng.between(1, self.plan.nodes.into()) as u16);
        self.trace.line(self.now, || format!("chore at {by}: {request}"));
        self.chores_open.insert(self.chores_asked, request.clone());
        let who = "whoever does chores".to_owned();
        self.tell(by, Event::Request(Envelope { id, who, request }));
    }

    fn other_network(&mut self) -> Request {
        let rng = &mut self.rng;
        let network = format!("net{}", rng.between(1, self.net.networks() as u64));
        let roles = [NetworkRole::Mixed, NetworkRole::Private, NetworkRole::Public];
        let role = rng.chance(800).then(|| *rng.pick(&roles));
        let changes = role.is_none() || rng.chance(300);
        let priority = changes.then(|| Priority(rng.between(1, 3) as u16 * 1_000));
        Request::SetNetwork { network, name: None, role, priority }
    }

    /// Another address of the node on a network, which nobody else has, or another name.
    fn elsewhere(&mut self, node: NodeId) -> Request {
        let rng = &mut self.rng;
        let name = rng.chance(200).then(|| format!("n{}-{}", node.0, rng.below(4)));
        let network = rng.between(1, self.net.networks() as u64) as u8;
        let address = IpAddr::V4(Ipv4Addr::new(10, network, rng.below(4) as u8, node.0 as u8));
        let there = NodeAddress { network: NetworkId(network), address };
        let addresses = if name.is_some() { Vec::new() } else { vec![there] };
        Request::SetNode { node, wish: NodeWish { name, addresses } }
    }

    /// One that is evicted in the end, if so many may go.
    fn goes(&mut self, node: NodeId, most: usize) -> Option<Request> {
        let new = !self.evictions.contains(&node);
        if new && self.evictions.len() >= most {
            return None;
        }
        self.evictions.insert(node);
        let evict = Request::Evict { node };
        let forced = self.rng.chance(300);
        Some(if forced { Request::Force { request: Box::new(evict) } } else { evict })
    }

    /// Whoever does chores is answered.
    pub(crate) fn chore_is_answered(&mut self, number: u64, answer: &Answer) {
        let Some(request) = self.chores_open.remove(&number) else { return };
        self.trace.line(self.now, || format!("chore `{request}`: {answer:?}"));
        let (Answer::Done { index } | Answer::Noted { index, .. }) = answer else { return };
        if let Some(chore) = Chore::of(&request) {
            self.tally.chores[chore as usize] += 1;
        }
        let verdict = self.checkers.ack.acknowledged(*index, None);
        self.verdict(verdict);
    }

    /// Faults end: every node has the program that is tested.
    pub(crate) fn chores_end(&mut self) {
        for node in self.node_ids() {
            if self.node(node).program != Program::own() {
                self.install(node, Program::own());
            }
        }
    }

    /// Whether the node has the only vote: those that stay have to be given one first.
    fn votes_alone(&self, node: NodeId) -> bool {
        self.leading_views().any(|view| view.quorum.voters == [VoterId::from(node)])
    }

    /// What nodes that lead know of the cluster.
    fn leading_views(&self) -> impl Iterator<Item = View> {
        let running = self.nodes.iter().filter_map(|node| Some((node, node.service.as_ref()?)));
        let leads = running.filter(|(_, service)| !service.seen.leading.is_empty());
        leads.map(|(node, service)| service.cluster.view_without_groups(node.clock.show(self.now)))
    }

    /// Who is no member any more, as the newest database has it.
    #[must_use]
    pub(crate) fn evicted(&self) -> BTreeSet<NodeId> {
        self.newest_db().map(|db| db.evicted().clone()).unwrap_or_default()
    }

    /// What was begun and is not over.
    pub(crate) fn chore_under_way(&self) -> Option<String> {
        let db = self.newest_db().filter(|_| self.plan.chores.is_some() && self.away.is_none())?;
        if let Some(node) = db.going().first().filter(|node| !self.votes_alone(**node)) {
            let owned = db.groups().values().filter_map(|group| group.ownership.as_ref());
            let owns: Vec<_> = owned.filter(|owned| owned.node == *node).collect();
            return Some(format!("{node} is not evicted yet, and owns {owns:?}"));
        }
        if let Some(rotation) = db.rotation().filter(|r| r.phase != Phase::Ended) {
            let awaited = self.leading_views().next().and_then(|view| view.rotation);
            let awaited = awaited.map(|rotation| rotation.awaited);
            return Some(format!("{rotation}, which awaits {awaited:?}"));
        }
        let keys = |node: &NodeId| &self.node(*node).keys;
        let mut members = self.node_ids().filter(|node| !db.evicted().contains(node));
        let first = members.next()?;
        let behind = |node: &NodeId| keys(node).own.print != keys(&first).own.print;
        let doubts = |node: &NodeId| keys(node).other != Other::None;
        let late =
            std::iter::once(first).chain(members).find(|node| behind(node) || doubts(node))?;
        Some(format!("{late} believes {} and {:?}", keys(&late).own.print, keys(&late).other))
    }
}
