//! What nodes say to each other.

use std::collections::BTreeSet;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::config::NodeEntry;
use crate::forced::{Forced, History};
use crate::ids::{
    DiskEpoch, Epoch, GroupId, Incarnation, LeaseNumber, LogIndex, NetworkId, NodeId, RequestId,
    ResourceId, Term, VoterId,
};
use crate::keys::{NewKeys, Print, Seals};
use crate::network::InterfaceReport;
use crate::note::Note;
use crate::order::{Fitness, OnlineSpec};
use crate::program::Program;
use crate::record::{RecordsPage, RecordsWanted};
use crate::request::{Answer, Envelope};
use crate::resource::{Health, ResourceState};
use crate::time::{Span, Time};
use crate::usage::Usage;

/// The frame of everything on a stream between nodes. What a datagram says besides its message
/// stands in its sealed header.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct PeerFrame {
    /// The cluster; frames of another one are dropped.
    pub cluster_id: u64,
    /// The sender.
    pub from: NodeId,
    /// The addressee.
    pub to: NodeId,
    /// Life of the sender's node service.
    pub incarnation: Incarnation,
    /// The message.
    pub message: PeerMessage,
}

/// A message between nodes.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum PeerMessage {
    /// Several small messages in one datagram.
    Bundle(Vec<Self>),
    /// A sign of life, at heartbeat rate, on every network.
    Heartbeat(Heartbeat),
    /// A message of the consensus engine between two voters or learners.
    Raft(RaftMessage),
    /// A node asks the leader for a lease (R7).
    LeaseQuestion(LeaseQuestion),
    /// The leader's answer.
    LeaseAnswer(LeaseAnswer),
    /// A node tells the leader what it runs.
    Report(Report),
    /// The leader has the report.
    ReportSeen {
        /// Its number.
        number: u64,
    },
    /// A request on its way to the leader.
    Forward(Box<Envelope>),
    /// The answer on its way back.
    ForwardAnswer {
        /// The request.
        id: RequestId,
        /// The answer; `None`: not the leader, try again.
        answer: Option<Answer>,
    },
    /// The leader asks the owner to rehearse a failure of a resource.
    FailResource {
        /// The group.
        group: GroupId,
        /// The resource.
        resource: ResourceId,
        /// The epoch it is meant for.
        epoch: Epoch,
    },
    /// Before a planned move the leader asks the target whether a stranger has what the group
    /// needs there.
    Probe {
        /// The request for the move.
        id: RequestId,
        /// The group.
        group: GroupId,
    },
    /// The target has looked.
    ProbeAnswer {
        /// The request for the move.
        id: RequestId,
        /// Who has what; `None`: nobody, or the target cannot tell.
        taken: Option<String>,
    },
    /// From monitor to monitor; the cores have no part in it.
    Note(Note),
    /// Before the leader commits resources it asks their possible owners whether they could run
    /// there.
    FitQuestion {
        /// The request that wants them.
        id: RequestId,
        /// The resources.
        wanted: Vec<WantedResource>,
        /// Where disks of the cluster are mounted; see [`Wanted`](crate::order::Wanted).
        mounts: BTreeSet<String>,
    },
    /// A possible owner has looked at one of them.
    FitAnswer {
        /// The request that wants them.
        id: RequestId,
        /// What it says.
        answer: FitAnswer,
    },
    /// All nodes that the sender knows, for one that knows fewer.
    Members(Vec<NodeEntry>),
    /// A message that counts in one history only, where quorum was forced before.
    Within {
        /// Which; see [`History::id`].
        history: u64,
        /// The message.
        message: Box<Self>,
    },
    /// How quorum was forced, for a node that has an older history.
    Forced(Box<Forced>),
    /// A node has not got the keys that follow; on a stream, as the answer is.
    KeysWanted {
        /// What they are named by.
        print: Print,
    },
    /// The keys that follow.
    NewKeys(Box<NewKeys>),
    /// From node service to node service, on a stream as the answer is; the cores have no part in
    /// it.
    RecordsWanted(RecordsWanted),
    /// The answer.
    Records(RecordsPage),
}

/// A resource that a possible owner shall judge.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct WantedResource {
    /// Its group.
    pub group: GroupId,
    /// Its name.
    pub resource: ResourceId,
    /// What it would be.
    pub spec: OnlineSpec,
}

/// What a possible owner says.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum FitAnswer {
    /// It cannot look at any of them now: one sentence why.
    Unable(String),
    /// It looked.
    Looked {
        /// A resource about which something is to be said.
        misfit: Option<(ResourceId, Fitness)>,
        /// How many it still looks at.
        left: u32,
    },
}

/// A sign of life.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Heartbeat {
    /// Whether the sender hosts the quorum disk.
    pub disk: DiskHosting,
    /// The leader the sender knows.
    pub leader: Option<VoterId>,
    /// The sender's term.
    pub term: Term,
    /// How many nodes the sender knows, itself included: who knows more tells it.
    pub members: u16,
    /// The sender's clock when it was sent; comes back as [`Echo::sent`].
    pub sent: Time,
    /// What the sender heard of the addressee on one of its networks, each in its turn.
    pub echo: Option<Echo>,
    /// The history of the sender's log.
    pub history: History,
    /// Term and index of the last entry of its log.
    pub last: (Term, LogIndex),
    /// Whether quorum is being forced there.
    pub forces: bool,
}

/// A heartbeat that comes back: how long a way is, without a datagram more.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Echo {
    /// The network on which it was heard, and on which alone the answer counts.
    pub network: NetworkId,
    /// What its sender's clock said.
    pub sent: Time,
    /// For how long whoever heard it kept it.
    pub held: Span,
}

/// A node's part in hosting the quorum disk, announced outside of the consensus (R4).
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug, Serialize, Deserialize)]
pub enum DiskHosting {
    /// It does not host it.
    #[default]
    No,
    /// It hosts it and renews.
    Hosts {
        /// The quorum disk.
        voter: VoterId,
        /// The epoch of its incarnation.
        epoch: DiskEpoch,
        /// The renewal that has begun last: whatever D says under this counter or a lower one
        /// was produced before this was sent (R5).
        counter: u64,
    },
    /// It hosted it and let it go: "D free".
    Free,
}

/// A raft message with the voter's age.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct RaftMessage {
    /// Sender.
    pub from: VoterId,
    /// Addressee.
    pub to: VoterId,
    /// On a granted vote: the time since the voter last answered a leader or led itself (R6).
    /// Absent means zero.
    pub age: Option<Span>,
    /// The message of the engine.
    pub bytes: Vec<u8>,
}

/// A node asks for a lease.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct LeaseQuestion {
    /// The asking node.
    pub node: NodeId,
    /// Life of its node service; numbers are unique within it and above every lease that was
    /// set before it.
    pub service: Incarnation,
    /// The number.
    pub number: LeaseNumber,
    /// The lease to which the guard's deadline was moved last: lets the leader see that a
    /// shorter answer was taken.
    pub in_force: Option<LeaseNumber>,
}

/// The leader grants a lease.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct LeaseAnswer {
    /// Life of the node service that asked; another one drops the answer.
    pub service: Incarnation,
    /// The question.
    pub number: LeaseNumber,
    /// Term of the leader that answers.
    pub term: Term,
    /// Length from the sending of the question.
    pub length: Span,
    /// The lease counts once this entry is applied (R7).
    pub barrier: LogIndex,
}

/// What a node runs, told to the leader on every change and until seen.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Report {
    /// The reporting node.
    pub node: NodeId,
    /// Life of its guard.
    pub guard: Incarnation,
    /// Growing number.
    pub number: u64,
    /// All groups it owns or has just let go.
    pub groups: Vec<GroupReport>,
    /// What its machine has.
    pub machine: Usage,
    /// Its interfaces on the networks of the cluster, as far as it knows them.
    pub interfaces: Vec<InterfaceReport>,
    /// Its keys.
    pub seals: Box<Seals>,
    /// What it runs.
    pub program: Program,
}

/// One group of a report.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct GroupReport {
    /// The group.
    pub group: GroupId,
    /// The epoch the report is about.
    pub epoch: Epoch,
    /// Where the group is in that epoch.
    pub standing: Standing,
    /// Its resources.
    pub resources: Vec<ResourceStatus>,
}

/// Where a group is in its epoch, on its owner.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Standing {
    /// It is being run.
    Held,
    /// The owner gave up: it failed beyond the policy of a resource; it is still held.
    GaveUp(String),
    /// The owner needs a new epoch before it may start anything (R9).
    NeedsEpoch,
    /// It is stopped for good in this epoch; final (R8).
    Stopped,
}

/// State of a resource on its owner.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct ResourceStatus {
    /// The resource.
    pub resource: ResourceId,
    /// Its state.
    pub state: ResourceState,
    /// Its health.
    pub health: Health,
    /// Why, if that needs a reason.
    pub detail: Option<String>,
    /// Restarts in place within the period of its policy.
    pub restarts: u32,
    /// What its programs use, once that was measured.
    pub used: Option<Usage>,
}

impl fmt::Display for PeerMessage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bundle(messages) => {
                let mut words = messages.iter();
                words.next().map_or(Ok(()), |first| write!(f, "{first}"))?;
                words.try_for_each(|message| write!(f, " + {message}"))
            }
            Self::Heartbeat(h) => write!(f, "heartbeat {} disk {:?}", h.term, h.disk),
            Self::Raft(m) => {
                write!(f, "raft {}->{} {} bytes", m.from, m.to, m.bytes.len())?;
                m.age.map_or(Ok(()), |age| write!(f, " age {age}"))
            }
            Self::LeaseQuestion(q) => write!(f, "lease question {} {}", q.node, q.number),
            Self::LeaseAnswer(a) => {
                write!(
                    f,
                    "lease answer {} {} for {} after {}",
                    a.number, a.term, a.length, a.barrier
                )
            }
            Self::Report(r) => {
                write!(f, "report {}#{}", r.node, r.number)?;
                r.groups
                    .iter()
                    .try_for_each(|g| write!(f, " {}:{}:{:?}", g.group, g.epoch, g.standing))
            }
            Self::ReportSeen { number } => write!(f, "report seen #{number}"),
            Self::Forward(e) => write!(f, "forward {}", e.id),
            Self::ForwardAnswer { id, answer } => write!(f, "answer {id} {answer:?}"),
            Self::FailResource { group, resource, epoch } => {
                write!(f, "fail {group}/{resource} {epoch}")
            }
            Self::Probe { id, group } => write!(f, "probe for {group} {id}"),
            Self::Within { message, .. } => write!(f, "{message}"),
            Self::Forced(forced) => write!(f, "{forced}"),
            Self::Members(nodes) => write!(f, "{} members", nodes.len()),
            Self::ProbeAnswer { id, taken } => write!(f, "probed {id} {taken:?}"),
            Self::Note(note) => write!(f, "{note}"),
            Self::FitQuestion { id, wanted, .. } => {
                write!(f, "do {} resources fit {id}", wanted.len())
            }
            Self::FitAnswer { id, answer } => write!(f, "fit {id} {answer:?}"),
            Self::KeysWanted { print } => write!(f, "keys {print} wanted"),
            Self::NewKeys(new) => write!(f, "keys {}", new.print),
            Self::RecordsWanted(wanted) => write!(f, "records below {} wanted", wanted.before),
            Self::Records(page) => write!(f, "records, {} bytes", page.lines.len()),
        }
    }
}
