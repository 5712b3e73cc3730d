//! The client of the API over its Unix socket; the command line uses nothing else.
//!
//! One connection per request: cheap on a Unix socket, and nothing to keep alive.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::io;
use std::marker::PhantomData;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use http_body_util::{BodyExt, Full, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1::{self, SendRequest};
use hyper::{Method, Response, header};
use hyper_util::rt::TokioIo;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use stead_model::amounts::Amounts;
use stead_model::config::NetworkRole;
use stead_model::declaration::{Declaration, Foreseen};
use stead_model::group::GroupPolicy;
use stead_model::reason::Reason;
use stead_model::record::Record;
use stead_model::request::Request;
use stead_model::rules::{MEASURED, Priority};
use stead_model::token::TokenHash;
use stead_model::view::View;
use stead_model::{AlertId, GroupId, NodeId, RequestId, ResourceId, VoterId};
use thiserror::Error;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::UnixStream;

use crate::backend::Later;
use crate::contract::{
    Audited, ClusterEvents, Control, Controlled, Dependencies, Done, Explanation, ForceQuorum,
    KeyValue, LocalService, MoveTo, NetworkChange, NewAlert, NewGroup, NewNode, NewResource,
    NewToken, NodeChange, Problem, PropertyChanges, REQUEST_ID_HEADER, RaiseLevel, Tested,
    Timeouts,
};

/// Largest answer taken.
const ANSWER_BYTES_MAX: usize = 64 << 20;
/// Longest line of a followed answer.
const LINE_BYTES_MAX: usize = 1 << 20;
/// How long an answer may take: longer than the server's own limit.
const PATIENCE: Duration = Duration::from_secs(35);
/// When a change that was asked for and not answered is asked for again: later than an ordinary
/// answer, possible owners that are slow to look included.
const AGAIN_AFTER: Duration = Duration::from_secs(3);

/// Why there is no answer.
#[derive(Debug, Error)]
pub enum ClientError {
    /// Nobody answers there.
    #[error("no node service answers on `{}`: {source}", path.display())]
    Unreachable {
        /// The socket.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The node refused; nothing changed.
    #[error(transparent)]
    Refused(#[from] Reason),
    /// The connection ended in the middle or the answer does not fit.
    #[error("the node service on `{}` answered badly: {what}", path.display())]
    Broken {
        /// The socket.
        path: PathBuf,
        /// What is wrong.
        what: String,
    },
    /// Nothing came in time; a change may still take effect.
    #[error("no answer from the node service on `{}` within {PATIENCE:?}", path.display())]
    Silent {
        /// The socket.
        path: PathBuf,
    },
}

/// What bytes of HTTP go over.
pub trait Wire: AsyncRead + AsyncWrite + Send + Unpin + 'static {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin + 'static> Wire for T {}

/// Makes a connection to a node.
type Connect = Box<dyn Fn() -> Later<'static, io::Result<Box<dyn Wire>>> + Send + Sync>;

/// A client of one node's API. Runs on any tokio runtime with IO and time.
pub struct Client {
    /// The socket, or what the node is called where it is another way.
    path: PathBuf,
    connect: Connect,
    client: u64,
    number: AtomicU64,
}

impl Client {
    /// A client of the node service at `path`; nothing is connected yet.
    #[must_use]
    pub fn new(path: &Path) -> Self {
        let socket = path.to_owned();
        Self::over(path, move || {
            let socket = socket.clone();
            Box::pin(
                async move { Ok(Box::new(UnixStream::connect(socket).await?) as Box<dyn Wire>) },
            )
        })
    }

    /// A client of a node that is reached another way, which messages call by `name`.
    #[must_use]
    pub fn over(
        name: impl Into<PathBuf>,
        connect: impl Fn() -> Later<'static, io::Result<Box<dyn Wire>>> + Send + Sync + 'static,
    ) -> Self {
        let mut random = [0; 8];
        let filled = rustix::rand::getrandom(&mut random, rustix::rand::GetRandomFlags::empty());
        // Without random bytes the process number and time still tell clients apart.
        let fallback = u64::from(std::process::id()) << 32;
        let client = if filled == Ok(8) { u64::from_le_bytes(random) } else { fallback };
        let (path, connect) = (name.into(), Box::new(connect));
        Self { path, connect, client, number: AtomicU64::new(1) }
    }

    /// The socket.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// An identity for a request; use the same one to repeat it.
    pub fn next_request_id(&self) -> RequestId {
        let number = self.number.fetch_add(1, Ordering::Relaxed);
        RequestId { client: self.client, number }
    }

    /// What the node knows of the cluster.
    ///
    /// # Errors
    /// There is no answer.
    pub async fn status(&self) -> Result<View, ClientError> {
        self.get("/v1/status").await
    }

    /// Why a group is where it is.
    ///
    /// # Errors
    /// There is no answer, or no such group.
    pub async fn explain_group(&self, group: &str) -> Result<Explanation, ClientError> {
        self.get(&format!("/v1/explain/groups/{}", escaped(group))).await
    }

    /// Records of all nodes as one list: at most `last`, of one group and what caused it or of
    /// everything.
    ///
    /// # Errors
    /// There is no answer.
    pub async fn cluster_events(
        &self,
        last: usize,
        group: Option<&str>,
    ) -> Result<ClusterEvents, ClientError> {
        let group = group.map_or_else(String::new, |name| format!("&group={}", escaped(name)));
        self.get(&format!("/v1/cluster-events?last={last}{group}")).await
    }

    /// All timeouts.
    ///
    /// # Errors
    /// There is no answer.
    pub async fn explain_timeouts(&self) -> Result<Timeouts, ClientError> {
        self.get("/v1/explain/timeouts").await
    }

    /// Asks for a change under a new identity. An answer can get lost with the address it comes
    /// from, as that of a cluster IP that moves meanwhile, and nothing tells: so the same is asked
    /// again, under the same identity, of whoever answers there then. The first question stays
    /// open.
    ///
    /// # Errors
    /// There is no answer, or it was refused.
    pub async fn request(&self, request: &Request) -> Result<Done, ClientError> {
        let id = self.next_request_id();
        let again = async {
            loop {
                tokio::time::sleep(AGAIN_AFTER).await;
                let answer = self.request_as(id, request).await;
                if matches!(answer, Ok(_) | Err(ClientError::Refused(_))) {
                    return answer;
                }
            }
        };
        tokio::select! {
            answer = self.request_as(id, request) => answer,
            answer = again => answer,
        }
    }

    /// Asks for a change under a given identity.
    ///
    /// # Errors
    /// There is no answer, or it was refused.
    pub async fn request_as(&self, id: RequestId, request: &Request) -> Result<Done, ClientError> {
        let (method, path, body) = spelled(request);
        let body = if body.is_null() { Bytes::new() } else { body.to_string().into() };
        let asked = self.builder(method, &path).header(REQUEST_ID_HEADER, id.to_string());
        self.answer(asked.body(Full::new(body))).await
    }

    /// What it would change and cause if groups were made as they are declared: the answer to a
    /// [`Request::Foresee`], forced or not.
    ///
    /// # Errors
    /// There is no answer, or the declaration would be refused.
    pub async fn foresee(&self, request: &Request) -> Result<Foreseen, ClientError> {
        let (method, path, body) = spelled(request);
        let asked = self.builder(method, &path);
        self.answer(asked.body(Full::new(body.to_string().into()))).await
    }

    /// Asks something of the type's own of a resource that runs on the node.
    ///
    /// # Errors
    /// There is no answer, or it was refused.
    pub async fn control(
        &self,
        resource: &str,
        control: &Control,
    ) -> Result<Controlled, ClientError> {
        let path = format!("/v1/resources/{}/control", escaped(resource));
        let asked = self.builder(Method::POST, &path);
        self.answer(asked.body(Full::new(body(control).to_string().into()))).await
    }

    /// Tells a sample by an alert, from the node.
    ///
    /// # Errors
    /// There is no answer, no such alert, or it did not get through.
    pub async fn test_alert(&self, alert: &str) -> Result<Tested, ClientError> {
        let asked = self.builder(Method::POST, &joined("/v1/alerts", alert, "test"));
        self.answer(asked.body(Full::new(Bytes::new()))).await
    }

    /// Groups as they are, or those named, as what can be applied again.
    ///
    /// # Errors
    /// There is no answer, or no such group.
    pub async fn export(&self, groups: &[String]) -> Result<Declaration, ClientError> {
        let names: Vec<String> = groups.iter().map(|name| escaped(name)).collect();
        match names.is_empty() {
            true => self.get("/v1/export").await,
            false => self.get(&format!("/v1/export?groups={}", names.join(","))).await,
        }
    }

    /// Reads any path of the API.
    ///
    /// # Errors
    /// There is no answer, or it does not fit `T`.
    pub async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, ClientError> {
        let asked = self.builder(Method::GET, path);
        self.answer(asked.body(Full::new(Bytes::new()))).await
    }

    /// Follows the records from number `since` on.
    ///
    /// # Errors
    /// There is no answer.
    pub async fn follow(&self, since: u64) -> Result<Follow<Record>, ClientError> {
        self.lines("/v1/events", since).await
    }

    /// Follows the audit log from number `since` on.
    ///
    /// # Errors
    /// There is no answer.
    pub async fn follow_audit(&self, since: u64) -> Result<Follow<Audited>, ClientError> {
        self.lines("/v1/audit", since).await
    }

    async fn lines<T>(&self, of: &str, since: u64) -> Result<Follow<T>, ClientError> {
        let path = format!("{of}?follow=true&since={since}");
        let asked = self.builder(Method::GET, &path).body(Full::new(Bytes::new()));
        let response = self.send(asked).await?;
        if !response.status().is_success() {
            return Err(self.refusal(response).await);
        }
        let path = self.path.clone();
        let (body, kind) = (response.into_body(), PhantomData);
        Ok(Follow { path, body, buffer: Vec::new(), kind })
    }

    fn builder(&self, method: Method, path: &str) -> hyper::http::request::Builder {
        hyper::Request::builder()
            .method(method)
            .uri(path)
            .header(header::HOST, "stead")
            .header(header::CONTENT_TYPE, "application/json")
            .header(header::CONNECTION, "close")
    }

    async fn answer<T: DeserializeOwned>(&self, asked: Asked) -> Result<T, ClientError> {
        let all = async {
            let response = self.send(asked).await?;
            if !response.status().is_success() {
                return Err(self.refusal(response).await);
            }
            let bytes = self.collect(response).await?;
            serde_json::from_slice(&bytes).map_err(|e| self.broken(e))
        };
        match tokio::time::timeout(PATIENCE, all).await {
            Ok(answer) => answer,
            Err(_) => Err(ClientError::Silent { path: self.path.clone() }),
        }
    }

    async fn send(&self, asked: Asked) -> Result<Response<Incoming>, ClientError> {
        let asked = asked.map_err(|e| self.broken(e))?;
        let mut connection = self.connect().await?;
        connection.send_request(asked).await.map_err(|e| self.broken(e))
    }

    async fn connect(&self) -> Result<SendRequest<Full<Bytes>>, ClientError> {
        let stream = (self.connect)()
            .await
            .map_err(|source| ClientError::Unreachable { path: self.path.clone(), source })?;
        let (sender, connection) = http1::Builder::new()
            .max_buf_size(64 << 10)
            .handshake(TokioIo::new(stream))
            .await
            .map_err(|e| self.broken(e))?;
        // Ends with the connection; what goes wrong is seen by the sender.
        tokio::spawn(async move { drop(connection.await) });
        Ok(sender)
    }

    async fn refusal(&self, response: Response<Incoming>) -> ClientError {
        let status = response.status();
        match self.collect(response).await.map(|b| serde_json::from_slice::<Problem>(&b)) {
            Ok(Ok(problem)) => ClientError::Refused(problem.error),
            Ok(Err(_)) => self.broken(format!("status {status} without a reason")),
            Err(error) => error,
        }
    }

    async fn collect(&self, response: Response<Incoming>) -> Result<Bytes, ClientError> {
        let body = Limited::new(response.into_body(), ANSWER_BYTES_MAX);
        Ok(body.collect().await.map_err(|e| self.broken(e))?.to_bytes())
    }

    fn broken(&self, what: impl ToString) -> ClientError {
        ClientError::Broken { path: self.path.clone(), what: what.to_string() }
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Client({})", self.path.display())
    }
}

type Asked = Result<hyper::Request<Full<Bytes>>, hyper::http::Error>;

/// Records or lines of the audit log as they come.
#[derive(Debug)]
pub struct Follow<T> {
    path: PathBuf,
    body: Incoming,
    buffer: Vec<u8>,
    kind: PhantomData<T>,
}

impl<T: DeserializeOwned> Follow<T> {
    /// The next one; `None` when the node service ended the answer.
    ///
    /// # Errors
    /// The connection broke, or what came is none.
    pub async fn next(&mut self) -> Result<Option<T>, ClientError> {
        loop {
            if let Some(end) = self.buffer.iter().position(|b| *b == b'\n') {
                let line: Vec<u8> = self.buffer.drain(..=end).collect();
                if line.len() == 1 {
                    continue;
                }
                return serde_json::from_slice(&line).map(Some).map_err(|e| self.broken(e));
            }
            if self.buffer.len() > LINE_BYTES_MAX {
                return Err(self.broken("a line has no end"));
            }
            match self.body.frame().await {
                None => return Ok(None),
                Some(Err(error)) => return Err(self.broken(error)),
                Some(Ok(frame)) => {
                    if let Ok(data) = frame.into_data() {
                        self.buffer.extend_from_slice(&data);
                    }
                }
            }
        }
    }

    fn broken(&self, what: impl ToString) -> ClientError {
        ClientError::Broken { path: self.path.clone(), what: what.to_string() }
    }
}

const CLUSTER_IP: &str = "/v1/cluster-ip";

/// A request as method, path and body.
fn spelled(request: &Request) -> (Method, String, Value) {
    match request {
        Request::CreateGroup { group, policy } => {
            (Method::POST, "/v1/groups".into(), body(&new_group(group, policy)))
        }
        Request::SetGroup { group, properties } => {
            let changes = PropertyChanges { properties: properties.clone() };
            (Method::PATCH, group_path(group.as_str(), ""), body(&changes))
        }
        Request::DeleteGroup { group } => deleted(group_path(group.as_str(), "")),
        Request::SetGroupDesired { group, desired } => {
            (Method::POST, group_path(group.as_str(), desired.word()), Value::Null)
        }
        Request::ClearFailures { group } => {
            (Method::POST, group_path(group.as_str(), "clear-failures"), Value::Null)
        }
        Request::MoveGroup { group, to } => {
            (Method::POST, group_path(group.as_str(), "move"), body(&MoveTo { to: *to }))
        }
        Request::CreateResource { group, resource, kind, properties } => {
            let (group, resource, kind) = (group.clone(), resource.clone(), kind.clone());
            created(&NewResource { group, resource, kind, properties: properties.clone() })
        }
        Request::DeleteResource { resource } => deleted(resource_path(resource.as_str(), "")),
        Request::SetResourceDesired { resource, desired } => {
            (Method::POST, resource_path(resource.as_str(), desired.word()), Value::Null)
        }
        Request::SetResource { resource, properties } => {
            let changes = PropertyChanges { properties: properties.clone() };
            (Method::PATCH, resource_path(resource.as_str(), ""), body(&changes))
        }
        Request::SetDependencies { resource, depends_on } => {
            depending(resource, depends_on.clone())
        }
        Request::FailResource { resource } => failed(resource),
        Request::SetKey { key, value } => key_set(key, value.as_ref()),
        Request::AddNode { number, name, addresses, token } => {
            let (name, addresses) = (name.clone(), addresses.clone());
            added(&NewNode { node: *number, name, addresses, token: *token })
        }
        Request::MakeToken { token, minutes } => new_token(*token, *minutes),
        Request::SetVote { node, votes } => changed(*node, NodeChange::Votes(*votes)),
        Request::SetAbsence { node, absent } => changed(*node, NodeChange::Absent(*absent)),
        Request::Evict { node } => evicted(*node),
        Request::ForceQuorum { node, lost } => forced(*node, lost.clone()),
        Request::Leave { node } => changed(*node, NodeChange::Left(true)),
        Request::Return { node } => changed(*node, NodeChange::Left(false)),
        Request::SetCapacity { node, capacity } => has(*node, capacity.to_string()),
        Request::MeasureCapacity { node } => has(*node, MEASURED.to_owned()),
        Request::SetLocal { node, service, needs } => local(*node, service, needs.as_ref()),
        Request::SetNode { node, wish } => changed(*node, NodeChange::Entry(wish.clone())),
        Request::RotateKeys => rotation(Method::POST),
        Request::AbandonKeys => rotation(Method::DELETE),
        Request::RaiseLevel { to } => {
            (Method::POST, "/v1/level".into(), body(&RaiseLevel { to: *to }))
        }
        Request::AddAlert { alert, properties } => new_alert(alert, properties),
        Request::RemoveAlert { alert } => removed_alert(alert),
        Request::SetNetwork { network, name, role, priority } => {
            other_network(network, name.clone(), (*role, *priority))
        }
        Request::SetClusterIp { wanted } => (Method::PUT, CLUSTER_IP.into(), body(wanted)),
        Request::RemoveClusterIp => (Method::DELETE, CLUSTER_IP.into(), Value::Null),
        Request::Apply { wanted } => (Method::POST, "/v1/apply".into(), body(wanted)),
        Request::Upkeep { upkeep } => (Method::POST, "/v1/upkeep".into(), body(upkeep)),
        Request::Foresee { wanted } => (Method::POST, "/v1/plan".into(), body(wanted)),
        Request::Force { request } => {
            let (method, path, body) = spelled(request);
            (method, format!("{path}?force=true"), body)
        }
    }
}

fn deleted(path: String) -> (Method, String, Value) {
    (Method::DELETE, path, Value::Null)
}

fn created(new: &NewResource) -> (Method, String, Value) {
    (Method::POST, "/v1/resources".into(), body(new))
}

fn depending(resource: &ResourceId, depends_on: BTreeSet<ResourceId>) -> (Method, String, Value) {
    let path = resource_path(resource.as_str(), "dependencies");
    (Method::PUT, path, body(&Dependencies { depends_on }))
}

fn local(node: NodeId, service: &str, needs: Option<&Amounts>) -> (Method, String, Value) {
    let (service, needs) = (service.to_owned(), needs.map(ToString::to_string));
    changed(node, NodeChange::Local(LocalService { service, needs }))
}

fn key_set(key: &str, value: Option<&String>) -> (Method, String, Value) {
    match value {
        Some(value) => (Method::PUT, key_path(key), body(&KeyValue { value: value.clone() })),
        None => (Method::DELETE, key_path(key), Value::Null),
    }
}

fn rotation(method: Method) -> (Method, String, Value) {
    (method, "/v1/keys/rotation".into(), Value::Null)
}

fn failed(resource: &ResourceId) -> (Method, String, Value) {
    (Method::POST, resource_path(resource.as_str(), "fail"), Value::Null)
}

fn evicted(NodeId(node): NodeId) -> (Method, String, Value) {
    (Method::DELETE, format!("/v1/nodes/n{node}"), Value::Null)
}

fn forced(node: NodeId, lost: BTreeSet<VoterId>) -> (Method, String, Value) {
    (Method::POST, "/v1/quorum/force".into(), body(&ForceQuorum { node, lost }))
}

fn added(new: &NewNode) -> (Method, String, Value) {
    (Method::POST, "/v1/nodes".into(), body(new))
}

fn new_token(token: TokenHash, minutes: u32) -> (Method, String, Value) {
    (Method::POST, "/v1/tokens".into(), body(&NewToken { token, minutes }))
}

fn other_network(
    network: &str,
    name: Option<String>,
    (role, priority): (Option<NetworkRole>, Option<Priority>),
) -> (Method, String, Value) {
    let change = NetworkChange { name, role, priority: priority.map(Priority::text) };
    (Method::PATCH, joined("/v1/networks", network, ""), body(&change))
}

fn removed_alert(alert: &AlertId) -> (Method, String, Value) {
    (Method::DELETE, joined("/v1/alerts", alert.as_str(), ""), Value::Null)
}

fn new_alert(alert: &AlertId, properties: &BTreeMap<String, String>) -> (Method, String, Value) {
    let new = NewAlert { alert: alert.clone(), properties: properties.clone() };
    (Method::POST, "/v1/alerts".into(), body(&new))
}

fn new_group(group: &GroupId, policy: &GroupPolicy) -> NewGroup {
    NewGroup {
        group: group.clone(),
        preferred_owners: Vec::new(),
        failover_threshold: None,
        failover_period_s: None,
        properties: policy.settings(),
    }
}

fn has(node: NodeId, capacity: String) -> (Method, String, Value) {
    changed(node, NodeChange::Capacity(capacity))
}

fn changed(NodeId(node): NodeId, change: NodeChange) -> (Method, String, Value) {
    (Method::PATCH, format!("/v1/nodes/n{node}"), body(&change))
}

fn body(value: &impl Serialize) -> Value {
    json!(value)
}

fn group_path(group: &str, verb: &str) -> String {
    joined("/v1/groups", group, verb)
}

fn resource_path(resource: &str, verb: &str) -> String {
    joined("/v1/resources", resource, verb)
}

fn key_path(key: &str) -> String {
    joined("/v1/registry", key, "")
}

fn joined(root: &str, name: &str, verb: &str) -> String {
    let slash = if verb.is_empty() { "" } else { "/" };
    format!("{root}/{}{slash}{verb}", escaped(name))
}

/// A name as one segment of a path.
fn escaped(name: &str) -> String {
    let mut path = String::with_capacity(name.len());
    for byte in name.bytes() {
        if byte.is_ascii_alphanumeric() || b"._-".contains(&byte) {
            path.push(char::from(byte));
        } else {
            path.push_str(&format!("%{byte:02X}"));
        }
    }
    path
}

#[cfg(test)]
mod tests {
    use stead_model::LogIndex;
    use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
    use tokio::sync::mpsc;

    use super::*;

    /// The head of what is asked over a connection.
    async fn heard(over: &mut DuplexStream) -> String {
        let mut bytes = Vec::new();
        while !bytes.windows(4).any(|end| end == b"\r\n\r\n") {
            assert!(over.read_buf(&mut bytes).await.unwrap() > 0, "it went away");
        }
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn a_change_whose_answer_is_lost_is_asked_for_again_under_the_same_identity() {
        let (connections, mut connected) = mpsc::unbounded_channel();
        let client = Client::over("the cluster", move || {
            let (here, there) = tokio::io::duplex(4096);
            connections.send(there).unwrap();
            Box::pin(async move { Ok(Box::new(here) as Box<dyn Wire>) })
        });
        let answers = async {
            let mut lost = connected.recv().await.unwrap();
            let first = heard(&mut lost).await;
            assert!(first.contains(REQUEST_ID_HEADER), "{first}");
            let mut other = connected.recv().await.unwrap();
            assert_eq!(heard(&mut other).await, first);
            let done = Done { index: LogIndex(7), notices: Vec::new() };
            let done = serde_json::to_string(&done).unwrap();
            let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", done.len());
            other.write_all((head + &done).as_bytes()).await.unwrap();
            [lost, other]
        };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let (done, _open) = runtime.block_on(async {
            let request = Request::ClearFailures { group: "web".into() };
            tokio::join!(client.request(&request), answers)
        });
        assert_eq!(done.unwrap().index, LogIndex(7));
    }
}
