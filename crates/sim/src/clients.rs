//! Administrators: they set the cluster up, change things, and remember what was acknowledged.
//!
//! A request without an answer is repeated under the same id through another node; after some
//! tries it is given up and may or may not have happened. Every key is written once.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use stead_core::Event;
use stead_core::db::Db;
use stead_model::forced;
use stead_model::group::{Desired, GroupPolicy};
use stead_model::request::{Answer, Envelope, Request};
use stead_model::{GroupId, NodeId, RequestId, ResourceId};

use crate::agenda::{Happening, Outside};
use crate::checkers::ack::Kept;
use crate::chores;
use crate::rng::Rng;
use crate::swarm::Plan;
use crate::world::{Phase, World};

/// Tries before a request is given up; the set-up is never given up.
const TRIES_MAX: u32 = 6;

/// The administrator who forces quorum: it asks one node, and is in no hurry.
const FORCER: u64 = u64::MAX;

/// All administrators.
#[derive(Debug)]
pub struct Clients {
    /// Each with a request of its own under way.
    pub clients: Vec<Client>,
    /// Groups of the plan.
    pub groups: Vec<GroupId>,
    /// Resources of the plan.
    pub resources: Vec<ResourceId>,
    rng: Rng,
    /// Keys written so far.
    keys: u64,
}

/// One administrator.
#[derive(Debug)]
pub struct Client {
    number: u64,
    asked: u64,
    /// What it still has to do before it does what it likes.
    script: VecDeque<Request>,
    open: Option<Open>,
    /// Number of the last look at the agenda that counts.
    turn: u64,
}

#[derive(Clone, Debug)]
struct Open {
    envelope: Envelope,
    tries: u32,
    set_up: bool,
    gives_up_at: u64,
}

fn set_up(plan: &Plan, rng: &mut Rng) -> VecDeque<Request> {
    let mut script: VecDeque<Request> = plan.clients.rules.of_nodes().collect();
    let mut place = 0;
    for (index, shape) in plan.clients.groups.iter().enumerate() {
        let group = GroupId::from(format!("g{}", index + 1).as_str());
        let policy = GroupPolicy::default();
        script.push_back(Request::CreateGroup { group: group.clone(), policy });
        let desired = Desired::Offline;
        script.push_back(Request::SetGroupDesired { group: group.clone(), desired });
        for (at, depends_on) in shape.iter().enumerate() {
            place += 1;
            script.extend(resource(plan, &group, (index, at, place), (*depends_on, rng.below(5))));
        }
        script.extend(plan.clients.rules.of_group(index, &group));
        let desired = Desired::Online;
        script.push_back(Request::SetGroupDesired { group, desired });
    }
    // In a script they join when it says so.
    let joiners = if plan.clients.pause_ns == 0 { 0 } else { plan.joiners };
    for number in plan.nodes - joiners + 1..=plan.nodes {
        let at = rng.below(script.len() as u64 + 1) as usize;
        script.insert(at, joins(plan, NodeId(number)));
    }
    script
}

/// The request without a question to the possible owners of a resource.
pub(crate) fn forced(request: Request) -> Request {
    match matches!(request, Request::CreateResource { .. }) {
        true => Request::Force { request: Box::new(request) },
        false => request,
    }
}

/// The request that makes a node of the plan a member.
#[must_use]
pub fn joins(plan: &Plan, node: NodeId) -> Request {
    let entry = crate::machine::entry(plan, node);
    Request::AddNode {
        number: Some(node),
        name: entry.name,
        addresses: entry.addresses,
        token: None,
    }
}

/// Name of resource `at` of group `index`.
fn resource_name(index: usize, at: usize) -> ResourceId {
    ResourceId::from(format!("g{}r{}", index + 1, at + 1).as_str())
}

fn resource(
    plan: &Plan,
    group: &GroupId,
    (index, at, place): (usize, usize, usize),
    (bits, flavour): (u8, u64),
) -> Vec<Request> {
    let (kind, property) = match flavour {
        0 => ("dummy", None),
        1 | 2 => ("ip-address", Some(("address", format!("10.9.0.{place}/24")))),
        _ => ("generic-application", Some(("command", "/bin/app".to_owned()))),
    };
    let mut properties: BTreeMap<String, String> = BTreeMap::new();
    properties.extend(property.map(|(name, value)| (name.to_owned(), value)));
    let pending = plan.timing().heartbeat.as_millis() * 12;
    properties.insert("pending-timeout".into(), format!("{pending}ms"));
    let resource = resource_name(index, at);
    let create = Request::CreateResource {
        group: group.clone(),
        resource: resource.clone(),
        kind: kind.into(),
        properties,
    };
    let on: Vec<ResourceId> =
        (0..at).filter(|i| bits & (1 << i) != 0).map(|i| resource_name(index, i)).collect();
    let depends_on = on.into_iter().collect::<BTreeSet<_>>();
    if depends_on.is_empty() {
        return vec![create];
    }
    vec![create, Request::SetDependencies { resource, depends_on }]
}

impl Clients {
    /// The administrators of a plan: the first sets everything up.
    #[must_use]
    pub fn new(plan: &Plan, rng: &Rng) -> Self {
        let asks = rng.fork(9).below(16) == 0;
        let mut rng = rng.fork(4);
        let names: Vec<(usize, usize)> = (plan.clients.groups.iter().enumerate())
            .flat_map(|(g, shape)| (0..shape.len()).map(move |r| (g, r)))
            .collect();
        let count = if plan.clients.pause_ns == 0 { 1 } else { 2 };
        let mut clients: Vec<Client> = (0..count)
            .map(|number| Client {
                number: number + 1,
                asked: 0,
                script: VecDeque::new(),
                open: None,
                turn: 0,
            })
            .collect();
        let script = set_up(plan, &mut rng);
        // In some worlds the possible owners are asked whether it fits, in the midst of all else.
        let all = script.into_iter().map(|request| if asks { request } else { forced(request) });
        clients[0].script = all.collect();
        let groups = 1..=plan.clients.groups.len();
        Self {
            clients,
            groups: groups.map(|g| GroupId::from(format!("g{g}").as_str())).collect(),
            resources: names.iter().map(|(g, r)| resource_name(*g, *r)).collect(),
            rng,
            keys: 0,
        }
    }

    /// Whether everything was set up and nothing is under way.
    #[must_use]
    pub fn are_idle(&self) -> bool {
        self.clients.iter().all(|client| client.script.is_empty() && client.open.is_none())
    }

    /// A request under way that can still move something.
    #[must_use]
    pub fn open_wish(&self) -> Option<RequestId> {
        let open = self.clients.iter().filter_map(|client| client.open.as_ref());
        let moving = |o: &&Open| kept(&o.envelope.request).is_none() || o.set_up;
        open.filter(moving).map(|o| o.envelope.id).next()
    }

    /// Whether everything that was ordered was acknowledged.
    #[must_use]
    pub fn are_set_up(&self) -> bool {
        let waits = |c: &Client| c.open.as_ref().is_some_and(|open| open.set_up);
        self.clients.iter().all(|client| client.script.is_empty() && !waits(client))
    }

    /// Gives a request to the first client.
    pub fn ask(&mut self, request: Request) {
        self.clients[0].script.push_back(request);
    }

    /// A request by the weights of the plan.
    fn wish(&mut self, plan: &Plan) -> Request {
        let rng = &mut self.rng;
        if plan.clients.trees > 0 && rng.chance(plan.clients.trees) {
            return self.wish_for_dependencies();
        }
        let group = |rng: &mut Rng, groups: &[GroupId]| rng.pick(groups).clone();
        let either = |rng: &mut Rng| {
            if rng.chance(650) { Desired::Online } else { Desired::Offline }
        };
        let choice =
            if self.groups.is_empty() { None } else { rng.weighted(&plan.clients.weights) };
        match choice {
            Some(1) => {
                let to = rng.chance(800).then(|| NodeId(rng.between(1, plan.nodes.into()) as u16));
                Request::MoveGroup { group: group(rng, &self.groups), to }
            }
            Some(2) => {
                let desired = either(rng);
                Request::SetGroupDesired { group: group(rng, &self.groups), desired }
            }
            Some(3) => {
                let desired = either(rng);
                let resource = rng.pick(&self.resources).clone();
                Request::SetResourceDesired { resource, desired }
            }
            Some(4) if plan.nodes > 1 => self.wish_for_votes(plan),
            Some(5) => Request::FailResource { resource: rng.pick(&self.resources).clone() },
            _ => self.new_key(plan),
        }
    }

    /// Other dependencies, of all groups: what leaves the group or goes in a circle is refused.
    fn wish_for_dependencies(&mut self) -> Request {
        let rng = &mut self.rng;
        let resource = rng.pick(&self.resources).clone();
        let home = |id: &ResourceId| id.as_str().split('r').next().map(str::to_owned);
        let inside = rng.chance(800);
        let near = |id: &&ResourceId| !inside || home(id) == home(&resource);
        let near: Vec<&ResourceId> = self.resources.iter().filter(near).collect();
        let depends_on = (0..rng.below(4)).map(|_| (*rng.pick(&near)).clone()).collect();
        Request::SetDependencies { resource, depends_on }
    }

    fn new_key(&mut self, plan: &Plan) -> Request {
        self.keys += 1;
        let value = Some(format!("v{:.<width$}", self.keys, width = plan.clients.value_bytes));
        Request::SetKey { key: format!("k{}", self.keys), value }
    }

    /// Takes a vote or gives one; the core refuses what does not fit.
    fn wish_for_votes(&mut self, plan: &Plan) -> Request {
        let node = NodeId(self.rng.between(1, plan.nodes.into()) as u16);
        Request::SetVote { node, votes: self.rng.chance(plan.clients.votes_given) }
    }
}

/// An answer in a line.
fn told(answer: &Answer) -> String {
    match answer {
        Answer::Done { index } => format!("done at {index}"),
        Answer::Noted { notices, .. } => notices.join("; "),
        Answer::Refused(reason) => format!("refused: {reason}"),
        Answer::Foreseen(_) => "what would be".to_owned(),
    }
}

/// What is remembered of an acknowledged request.
fn kept(request: &Request) -> Option<Kept> {
    match request {
        Request::SetKey { key, value: Some(value) } => {
            Some(Kept { key: key.clone(), value: value.clone() })
        }
        _ => None,
    }
}

impl World {
    /// All clients begin.
    pub fn clients_set_out(&mut self) {
        for client in 0..self.clients.clients.len() {
            let at = self.now + self.rng.below(self.timing.heartbeat.0 * 3);
            self.client_turn(client, at);
        }
    }

    /// An administrator stands before a node and says that all that are silent there are off, the
    /// quorum disk too or not.
    pub fn force_quorum(&mut self, node: NodeId, disk_too: bool) {
        let local = self.local(node);
        let Some(service) = self.node(node).service.as_ref() else { return };
        let view = service.cluster.view_without_groups(local);
        let lost = forced::lost(&view, disk_too);
        self.trace
            .milestone(self.now, || format!("{node} shall go on without {}", forced::names(&lost)));
        let id = RequestId { client: FORCER, number: self.now };
        let (who, request) = ("somebody".to_owned(), Request::ForceQuorum { node, lost });
        self.tell(node, Event::Request(Envelope { id, who, request }));
    }

    /// The first client looks at what it has to do, unless it waits for an answer.
    pub fn client_turn_now(&mut self) {
        if self.clients.clients[0].open.is_none() {
            self.client_turn(0, self.now);
        }
    }

    /// The client looks again at that moment, and at no other.
    fn client_turn(&mut self, client: usize, at: u64) {
        self.clients.clients[client].turn = at;
        self.agenda.put(at, Happening::World(Outside::Client(client)));
    }

    /// A client's turn: a new request, or the open one again.
    pub fn client_acts(&mut self, client: usize) {
        let now = self.now;
        if self.clients.clients[client].turn != now {
            return;
        }
        if self.clients.clients[client].open.is_none() {
            self.client_begins(client);
        }
        let Some(mut open) = self.clients.clients[client].open.take() else { return };
        let may_give_up = !open.set_up && self.phase == Phase::Faults;
        if open.tries > TRIES_MAX && may_give_up && now > open.gives_up_at {
            self.client_pauses(client);
            return;
        }
        open.tries += 1;
        let set_up = open.set_up;
        let event = Event::Request(open.envelope.clone());
        self.clients.clients[client].open = Some(open);
        let node = self.somebody_inside();
        let at = now + self.clients.rng.below(self.timing.heartbeat.0 / 10);
        if let Some(service) = self.node(node).service.as_ref().map(|s| s.life) {
            self.agenda.put(at, Happening::Local { node, service, event: Box::new(event) });
        }
        let mut patience = self.plan.clients.patience_ns;
        if set_up || self.phase == Phase::Heal {
            patience = patience.min(self.timing.heartbeat.0 * 3);
        }
        let more = self.clients.rng.below(patience + 1);
        self.client_turn(client, now + patience + more);
    }

    /// A node that may be asked: a host that nobody has let in yet answers nothing.
    fn somebody_inside(&mut self) -> NodeId {
        let any = self.clients.rng.between(1, self.plan.nodes.into()) as u16;
        let founders = self.plan.nodes - self.plan.joiners;
        let scripted = self.plan.clients.pause_ns == 0;
        let joined = |db: &Db| db.joined().contains_key(&NodeId(any));
        if any <= founders || scripted || self.newest_db().is_some_and(joined) {
            return NodeId(any);
        }
        NodeId((any - 1) % founders + 1)
    }

    fn client_begins(&mut self, client: usize) {
        let scripted = self.clients.clients[client].script.pop_front();
        let set_up = scripted.is_some();
        let request = match scripted {
            Some(request) => request,
            None if self.script.is_some() => return,
            None if self.phase == Phase::Faults => self.clients.wish(&self.plan),
            None => self.clients.new_key(&self.plan),
        };
        let client = &mut self.clients.clients[client];
        client.asked += 1;
        let id = RequestId { client: client.number, number: client.asked };
        let who = format!("client {}", client.number);
        let envelope = Envelope { id, who, request };
        let gives_up_at = self.now + self.plan.clients.patience_ns * 4;
        client.open = Some(Open { envelope, tries: 0, set_up, gives_up_at });
    }

    fn client_pauses(&mut self, client: usize) {
        let pause = self.plan.clients.pause_ns;
        let busy = !self.clients.clients[client].script.is_empty();
        let pause = if busy || pause == 0 { 1 } else { self.clients.rng.below(2 * pause) + 1 };
        self.client_turn(client, self.now + pause);
    }

    /// An answer reaches the client that asked.
    pub fn client_is_answered(&mut self, id: RequestId, answer: Answer) {
        if id.client == FORCER {
            self.trace.milestone(self.now, || format!("whoever forces is told: {}", told(&answer)));
            return;
        }
        if id.client == chores::CLIENT {
            return self.chore_is_answered(id.number, &answer);
        }
        let client = id.client as usize - 1;
        let Some(open) = self.clients.clients.get(client).and_then(|c| c.open.as_ref()) else {
            return;
        };
        if open.envelope.id != id {
            return;
        }
        let (request, set_up) = (open.envelope.request.clone(), open.set_up);
        if let Answer::Noted { notices, .. } = &answer
            && self.script.is_some()
        {
            self.trace.milestone(self.now, || format!("noted: {}", notices.join("; ")));
        }
        let verdict = self.checkers.dep.answered(&request, &answer);
        self.verdict(verdict);
        match answer {
            Answer::Done { index } | Answer::Noted { index, .. } => {
                self.tally.acknowledged += 1;
                self.trace.mix(index.0);
                self.trace.line(self.now, || format!("client told {id} is done at {index}"));
                self.checkers.apart.declared(&request);
                let verdict = self.checkers.ack.acknowledged(index, kept(&request));
                self.verdict(verdict);
            }
            Answer::Refused(reason) => {
                use stead_model::reason::Code;
                self.trace.line(self.now, || format!("client told {id} is refused: {reason}"));
                let again = matches!(reason.code, Code::NoQuorum | Code::Timeout | Code::TooMuch);
                // Whoever lets a host in waits until that can be done.
                let joins = matches!(request, Request::AddNode { .. }) && self.script.is_none();
                if (again || joins) && set_up {
                    let soon = self.now + self.timing.heartbeat.0;
                    self.client_turn(client, soon);
                    return;
                }
                if self.script.is_some() {
                    self.trace.milestone(self.now, || format!("refused: {reason}"));
                }
            }
            Answer::Foreseen(_) => {
                self.trace.line(self.now, || format!("client told {id} what would be"));
            }
        }
        self.clients.clients[client].open = None;
        if self.phase == Phase::Heal && kept(&request).is_none() {
            self.checkers.converge.calm_again(self.now);
        }
        self.client_pauses(client);
    }
}
