//! Directed runs: a small readable language, and the story it must tell.
//!
//! ```text
//! cluster 2 disk standard            nodes; disk, majority or disk-only; profile
//! spare 1                            how many of the nodes are no members at first
//! group web on n1                    a group and its preferred owner, from the start
//! resource app generic-application in web after ip
//! capacity n1 cpu=4,memory=8G        what a node has for groups
//! at 5s crash n1                     see `verb.rs` for all verbs
//! at 5s call victim leader           a name for whoever plays a role at that moment
//! at 9s expect web on n2             must be true at that moment
//! end 12s
//! ```
//!
//! A directory holds `README.md` (what is shown and why), `script.txt` and `expected.txt` (one
//! line per change of state). A run breaks no promise, meets every expectation and tells the
//! expected story; `UPDATE=1` rewrites it.

pub mod directory;
mod parse;
mod verb;

use std::collections::BTreeMap;

use stead_model::config::QuorumMode;
use stead_model::network::InterfaceState;
use stead_model::profile::Profile;
use stead_model::program::{ClusterLevel, Program};
use stead_model::request::Request;
use stead_model::view::NodeState;
use stead_model::{GroupId, NodeId, ResourceId};

pub use parse::{ParseError, parse};

use crate::agenda::{Happening, Outside};
use crate::checkers::Promise;
use crate::clients;
use crate::clock::Instant;
use crate::swarm::{Plan, Told};
use crate::world::{Phase, World};

/// A parsed script.
#[derive(Clone, Debug)]
pub struct Script {
    /// How many nodes.
    pub nodes: u16,
    /// How many of them, the last ones, are no members at first.
    pub spares: u16,
    /// Blocks in the ring of every log: small ones are compacted often.
    pub ring_blocks: u64,
    /// The quorum mode.
    pub mode: QuorumMode,
    /// The profile.
    pub profile: Profile,
    /// What all nodes run at first.
    pub program: Program,
    /// What is set up first.
    pub set_up: Vec<Request>,
    /// What is done when, in order.
    pub lines: Vec<Line>,
    /// The next line.
    pub next: usize,
    /// When the run ends.
    pub end: Instant,
    /// Names given to nodes.
    pub names: BTreeMap<String, NodeId>,
}

/// One line of a script.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Line {
    /// When.
    pub at: Instant,
    /// Number in the file.
    pub number: usize,
    /// What.
    pub verb: Verb,
}

/// Who is meant.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Who {
    /// A node by number.
    Node(NodeId),
    /// A node by a name given before.
    Named(String),
    /// The node that leads, or hosts the D that leads.
    Leader,
    /// The node that hosts D.
    Host,
    /// The owner of a group.
    Owner(GroupId),
    /// The first node that runs and does not lead.
    Follower,
}

/// Which ways of a node's network are cut.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Ways {
    /// From it and to it.
    Both,
    /// To it alone.
    ToIt,
}

/// What a line does.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Verb {
    /// `call NAME WHO`
    Call(String, Who),
    /// `crash WHO`
    Crash(Who),
    /// `power WHO`
    Power(Who),
    /// `freeze WHO`
    Freeze(Who),
    /// `pause WHO`: clock and all (H14).
    Pause(Who),
    /// `thaw WHO`
    Thaw(Who),
    /// `clock WHO forward|back TIME`: somebody sets its wall clock; milliseconds.
    Clock(Who, i64),
    /// `cut WHO [WHO]`: on all networks, both ways.
    Cut(Who, Option<Who>),
    /// `cut-network 1|2 WHO`: one network of a node. `steal 1|2 WHO`: another machine has its
    /// address there, and what is sent to it goes astray.
    CutNetwork(usize, Who, Ways),
    /// `narrow NUMBER WHO`: on one network of a node only small packets pass: no streams.
    Narrow(usize, Who),
    /// `interface NUMBER WHO up|down`: of a node; one that is down passes nothing.
    Interface(u8, Who, InterfaceState),
    /// `one-way WHO WHO`: the first no longer reaches the second.
    OneWay(Who, Who),
    /// `loss PERCENT`: of the datagrams of all networks, from now on.
    Loss(u64),
    /// `delay TIME`: how long a message takes at most, from now on.
    Delay(Instant),
    /// `heal`: all networks.
    Heal,
    /// `path WHO lost|hangs|back`
    Path(Who, crate::disks::Path),
    /// `service-dies WHO`
    ServiceDies(Who),
    /// `guard-dies WHO`
    GuardDies(Who),
    /// `monitor-dies WHO`
    MonitorDies(Who),
    /// `monitor-stops WHO`
    MonitorStops(Who),
    /// `monitor-silent WHO`: it is replaced when that was noticed.
    MonitorSilent(Who),
    /// `monitor-goes-on WHO`
    MonitorGoesOn(Who),
    /// `hang RESOURCE`: its next start hangs in the monitor.
    Hang(ResourceId),
    /// `unfit RESOURCE on WHO`: that node lacks what it needs.
    Unfit(ResourceId, Who),
    /// `fail RESOURCE`: it ends by itself.
    Fail(ResourceId),
    /// `move GROUP to WHO`
    Move(GroupId, Who),
    /// A request: online, offline, online-resource, offline-resource, depend, set, clear-failures,
    /// create, force create, network, address, rename.
    Ask(Request),
    /// `vote WHO on|off`
    Vote(Who, bool),
    /// `leave WHO`: its guard is told to end; it stays off until it gets power.
    Leave(Who),
    /// `absent WHO on|off`
    Absent(Who, bool),
    /// `add NODE`: a spare one becomes a member.
    Add(NodeId),
    /// A node is made no member any more.
    Evict(Who),
    /// `force WHO [without-disk]`: an administrator says that all that are silent there are off,
    /// and so is the quorum disk.
    Force(Who, bool),
    /// `expect GROUP on WHO`
    ExpectOn(GroupId, Who),
    /// `expect ROLE is WHO`
    ExpectRole(Who, Who),
    /// `expect GROUP stopped`
    ExpectStopped(GroupId),
    /// `expect WHO applied KEY VALUE`
    ExpectKey(Who, String, String),
    /// `expect holes frozen|clock`
    ExpectHole(Promise, bool),
    /// `expect WHO has-lease|no-lease`
    ExpectLease(Who, bool),
    /// `expect WHO seals NUMBER`: with the keys of that rotation, and believes no others.
    ExpectSeals(Who, u64),
    /// `expect WHO sees WHO STATE`: what its view says of a node.
    ExpectSees(Who, Who, NodeState),
    /// `install WHO VERSION LOWEST HIGHEST`: its node service ends, and the next one is that
    /// program, which knows these levels.
    Install(Who, Program),
    /// `expect WHO level LEVEL`
    ExpectLevel(Who, ClusterLevel),
}

impl Script {
    /// The world of the script.
    #[must_use]
    pub fn plan(&self) -> Plan {
        let mut plan = Plan::calm(self.nodes, self.mode, self.profile);
        plan.disks.ring_bytes = self.ring_blocks * 4096;
        let told = self.lines.iter().any(|l| matches!(l.verb, Verb::Interface(..)));
        let interfaces = if told { Told::Yes } else { Told::No };
        Plan { joiners: self.spares, interfaces, ..plan }
    }
}

impl World {
    /// Does everything the script has for this moment.
    pub fn script_goes_on(&mut self) {
        if self.now == 0 {
            let requests = self.script.as_ref().map(|s| s.set_up.clone()).unwrap_or_default();
            // Every node is still starting: nobody is asked whether it all fits.
            let requests = requests.into_iter().map(clients::forced);
            requests.for_each(|request| self.script_asks(request));
        }
        while let Some(line) = self.due_line() {
            self.trace.mix(line.number as u64);
            if let Err(why) = self.perform(&line.verb) {
                let text = format!("line {}: {why}", line.number);
                self.broken(Promise::Script, text);
                return;
            }
        }
        let Some(script) = &self.script else { return };
        match script.lines.get(script.next) {
            Some(line) => self.agenda.put(line.at, Happening::World(Outside::Script)),
            None if self.now >= script.end => self.phase = Phase::Over,
            None => self.agenda.put(script.end, Happening::World(Outside::Script)),
        }
    }

    fn due_line(&mut self) -> Option<Line> {
        let now = self.now;
        let script = self.script.as_mut()?;
        let line = script.lines.get(script.next).filter(|line| line.at <= now)?.clone();
        script.next += 1;
        Some(line)
    }

    /// Gives a request to the first client, to be sent soon.
    fn script_asks(&mut self, request: Request) {
        self.clients.ask(request);
        self.client_turn_now();
    }
}
