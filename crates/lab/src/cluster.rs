//! The cluster in a lab, asked over the API of its nodes.
//!
//! Everything here blocks, with a limit. The client of the API is asynchronous; each call runs it
//! on a thread of its own, so that callers may have a runtime or none.

use std::future::Future;
use std::time::Duration;

use stead_api::contract::{Done, Events};
use stead_api::{Client, ClientError};
use stead_model::NodeId;
use stead_model::config::NodeEntry;
use stead_model::group::GroupState;
use stead_model::reason::{Code, Reason};
use stead_model::record::Record;
use stead_model::request::Request;
use stead_model::view::{GroupView, NodeState, View};

use crate::clock;
use crate::cluster_file;
use crate::lab::{ExecError, Lab};

/// The cluster in a lab.
#[derive(Clone, Copy, Debug)]
pub struct Cluster<'a> {
    lab: &'a Lab,
}

/// The cluster did not do or say what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum ClusterError {
    /// The node is off, or its lab is.
    #[error(transparent)]
    Lab(#[from] ExecError),
    /// The node did not answer.
    #[error(transparent)]
    Client(Box<ClientError>),
    /// It was refused.
    #[error(transparent)]
    Refused(Box<Reason>),
    /// No runtime for the question.
    #[error("cannot ask a node")]
    Runtime(#[from] std::io::Error),
    /// Nothing like it came in time.
    #[error("{what} within {} s; {last}", .limit.as_secs())]
    TooLate {
        /// What was waited for, as in `no quorum on all nodes`.
        what: String,
        /// How long.
        limit: Duration,
        /// What was seen last.
        last: String,
    },
}

impl From<ClientError> for ClusterError {
    fn from(error: ClientError) -> Self {
        match error {
            ClientError::Refused(reason) => Self::Refused(Box::new(reason)),
            other @ (ClientError::Unreachable { .. }
            | ClientError::Broken { .. }
            | ClientError::Silent { .. }) => Self::Client(Box::new(other)),
        }
    }
}

impl<'a> Cluster<'a> {
    /// The cluster of this lab.
    #[must_use]
    pub const fn of(lab: &'a Lab) -> Self {
        Self { lab }
    }

    /// What one node knows.
    pub fn view(&self, node: NodeId) -> Result<View, ClusterError> {
        let client = self.client(node)?;
        Ok(block(client.status())??)
    }

    /// The records of one node from a number on.
    pub fn records(&self, node: NodeId, since: u64) -> Result<Vec<Record>, ClusterError> {
        let client = self.client(node)?;
        let mut records = Vec::new();
        let mut next = since;
        loop {
            let path = format!("/v1/events?since={next}");
            let batch: Events = block(client.get(&path))??;
            if batch.records.is_empty() || batch.next <= next {
                return Ok(records);
            }
            next = batch.next;
            records.extend(batch.records);
        }
    }

    /// Asks for a change until a node with quorum answers; a repeated question has one identity.
    pub fn request(&self, request: &Request) -> Result<Done, ClusterError> {
        let mut id = None;
        let mut last = None;
        let answer = clock::wait_for(REQUEST_LIMIT, || {
            for node in self.lab.record().node_ids() {
                let Ok(client) = self.client(node) else { continue };
                let id = *id.get_or_insert_with(|| client.next_request_id());
                match block(client.request_as(id, request)) {
                    Ok(Ok(done)) => return Some(Ok(done)),
                    Ok(Err(ClientError::Refused(reason))) if is_final(&reason) => {
                        return Some(Err(ClusterError::Refused(Box::new(reason))));
                    }
                    Ok(Err(error)) => last = Some(error.to_string()),
                    Err(error) => last = Some(error.to_string()),
                }
            }
            None
        });
        let last = last.unwrap_or_else(|| "all nodes are off".into());
        answer.unwrap_or_else(|| Err(late("no answer", REQUEST_LIMIT, last)))
    }

    /// All nodes of the lab but those that have not joined.
    fn members(&self) -> Vec<NodeId> {
        let record = self.lab.record();
        let seen = |node| self.view(node).ok().map(|v| v.nodes.iter().map(|n| n.node).collect());
        let known = if record.spares == 0 { None } else { record.founders().find_map(seen) };
        known.unwrap_or_else(|| record.node_ids().collect())
    }

    /// Makes a spare node of the lab a member.
    pub fn add(&self, node: NodeId) -> Result<Done, ClusterError> {
        let NodeEntry { id, name, addresses } = cluster_file::node_entry(node);
        self.request(&Request::AddNode { number: Some(id), name, addresses, token: None })
    }

    /// Waits until every member has quorum and sees no other one as anything but up.
    pub fn wait_serving(&self, limit: Duration) -> Result<(), ClusterError> {
        self.wait(limit, "no quorum on all nodes", || {
            for node in &self.members() {
                let view = self.view(*node).map_err(|error| error.to_string())?;
                if !view.quorum.has_quorum {
                    return Err(format!("{node} has no quorum"));
                }
                let up = |n: &&stead_model::view::NodeView| n.state != NodeState::Up;
                if let Some(other) = view.nodes.iter().find(up) {
                    return Err(format!("{node} sees {} as {:?}", other.node, other.state));
                }
            }
            Ok(())
        })
    }

    /// Waits until a group is online, on one node if that is named, as seen by every node.
    pub fn wait_online(
        &self,
        group: &str,
        on: Option<NodeId>,
        limit: Duration,
    ) -> Result<GroupView, ClusterError> {
        self.wait(limit, &format!("group `{group}` not online"), || {
            let mut found = None;
            for node in &self.members() {
                let view = self.view(*node).map_err(|error| error.to_string())?;
                let seen = view.groups.into_iter().find(|g| g.group.as_str() == group);
                let seen = seen.ok_or_else(|| format!("{node} does not know it"))?;
                let there = on.is_none() || seen.owner == on;
                if seen.state != GroupState::Online || !there {
                    let owner = seen.owner.map_or_else(|| "nobody".into(), |n| n.to_string());
                    return Err(format!("{node} sees it {} on {owner}", seen.state.word()));
                }
                found = Some(seen);
            }
            found.ok_or_else(|| "there are no nodes".into())
        })
    }

    /// Asks again and again; `look` says what is missing still.
    pub fn wait<T>(
        &self,
        limit: Duration,
        what: &str,
        mut look: impl FnMut() -> Result<T, String>,
    ) -> Result<T, ClusterError> {
        let mut last = String::new();
        let found = clock::wait_for(limit, || match look() {
            Ok(found) => Some(found),
            Err(missing) => {
                last = missing;
                None
            }
        });
        found.ok_or_else(|| late(what, limit, last))
    }

    fn client(&self, node: NodeId) -> Result<Client, ClusterError> {
        Ok(Client::new(&self.lab.api_socket(node)?))
    }
}

fn late(what: &str, limit: Duration, last: String) -> ClusterError {
    ClusterError::TooLate { what: what.into(), limit, last }
}

/// Whether asking again, or another node, cannot help.
fn is_final(reason: &Reason) -> bool {
    match reason.code {
        Code::NoQuorum | Code::Timeout | Code::TooMuch => false,
        Code::NotFound
        | Code::Exists
        | Code::Invalid
        | Code::Conflict
        | Code::Bug
        | Code::Denied => true,
    }
}

/// Runs a future to its end on a thread of its own.
fn block<T: Send>(future: impl Future<Output = T> + Send) -> std::io::Result<T> {
    std::thread::scope(|scope| {
        let run = || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            Ok(runtime.block_on(future))
        };
        match scope.spawn(run).join() {
            Ok(done) => done,
            Err(panic) => std::panic::resume_unwind(panic),
        }
    })
}

const REQUEST_LIMIT: Duration = Duration::from_secs(30);
