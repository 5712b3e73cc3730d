//! The contract over a real socket: every request arrives as it was meant, every refusal with its
//! status, a panic costs one answer, hostile bytes cost nothing.

#![expect(clippy::unwrap_used, reason = "a test fails by a panic")]

use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read, Write};
use std::net::IpAddr;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use stead_api::contract::{
    AuditLog, Audited, Control, Controlled, Events, Explanation, KnownType, Logs, NodeRecords,
    Outcome, Placement, ResourceEntry, Tested, Timeouts,
};
use stead_api::document::{example_group, example_node};
use stead_api::{Backend, Caller, Client, ClientError, Later, explain, file};
use stead_model::amounts::Amounts;
use stead_model::config::{NetworkRole, NodeAddress, NodeWish};
use stead_model::core_group::ClusterIp;
use stead_model::declaration::{Declaration, Foreseen};
use stead_model::external::{Installed, OwnAction};
use stead_model::group::{Desired, GroupPolicy};
use stead_model::profile::Profile;
use stead_model::program::ClusterLevel;
use stead_model::reason::{Code, Reason};
use stead_model::record::{Level, Record};
use stead_model::request::{Answer, Envelope, Request};
use stead_model::role::Role;
use stead_model::rules::Priority;
use stead_model::token::{Applicant, Shown, TokenHash};
use stead_model::upkeep::{Drain, Upkeep};
use stead_model::view::{NodeView, View};
use stead_model::{
    AlertId, CauseId, GroupId, LogIndex, NetworkId, NodeId, RequestId, ResourceId, UtcMillis,
    VoterId,
};
use tokio::sync::watch;

const WAIT: Duration = Duration::from_secs(20);

/// A node service of the test: keeps what it is asked, refuses by key.
#[derive(Debug)]
struct Node {
    view: Arc<View>,
    asked: Mutex<Vec<Envelope>>,
    records: Mutex<Vec<Record>>,
    written: watch::Sender<u64>,
    audited: Mutex<Vec<Audited>>,
}

impl Node {
    fn new() -> Arc<Self> {
        let node = NodeView { name: "beta".into(), ..example_node(2) };
        let view = View {
            cluster: "test".into(),
            nodes: vec![node],
            groups: vec![example_group("web")],
            ..View::default()
        };
        Arc::new(Self {
            view: view.into(),
            asked: Mutex::default(),
            records: Mutex::default(),
            written: watch::Sender::new(0),
            audited: Mutex::default(),
        })
    }

    fn write(&self, text: &str) {
        let mut records = self.records.lock().unwrap();
        let number = records.len() as u64 + 1;
        records.push(Record {
            number,
            at: UtcMillis(0),
            boot_ns: 0,
            node: NodeId(1),
            level: Level::Info,
            code: "test".into(),
            group: Some("web".into()),
            resource: None,
            text: text.into(),
            id: CauseId(number),
            cause: None,
            entry: None,
        });
        self.written.send_replace(number);
    }
}

fn installed(name: &str) -> Installed {
    Installed {
        name: name.to_owned(),
        about: "counts".to_owned(),
        properties: Vec::new(),
        controls: Vec::new(),
        actions: Vec::new(),
    }
}

impl Backend for Node {
    fn view(&self) -> Arc<View> {
        Arc::clone(&self.view)
    }

    fn request(&self, envelope: Envelope) -> Later<'_, Answer> {
        let answer = match &envelope.request {
            Request::SetKey { key, .. } if key == "panic" => panic!("asked to"),
            Request::SetKey { key, .. } if key == "minority" => {
                Answer::Refused(Reason::new(Code::NoQuorum, "no quorum").hint("ask another node"))
            }
            Request::Foresee { .. } => Answer::Foreseen(Foreseen::default()),
            _ => Answer::Done { index: LogIndex(7) },
        };
        self.asked.lock().unwrap().push(envelope);
        Box::pin(async { answer })
    }

    fn events(&self, since: u64, limit: usize) -> Events {
        let records = self.records.lock().unwrap();
        let records: Vec<Record> =
            records.iter().filter(|r| r.number >= since).take(limit).cloned().collect();
        let next = records.last().map_or(since, |r| r.number + 1);
        Events { records, next }
    }

    fn events_of_all(&self) -> Later<'_, Vec<NodeRecords>> {
        let own = self.events(0, usize::MAX).records;
        let told = |node, name: &str, records| NodeRecords {
            node: NodeId(node),
            name: name.into(),
            records,
        };
        let silent = Err("it is silent".to_owned());
        let all = vec![told(1, "alpha", Ok(own)), told(2, "beta", silent)];
        Box::pin(std::future::ready(all))
    }

    fn events_after(&self, next: u64) -> Later<'_, ()> {
        let mut written = self.written.subscribe();
        Box::pin(async move {
            let _ = written.wait_for(|last| *last >= next).await;
        })
    }

    fn audit(&self, mut entry: Audited) {
        let mut audited = self.audited.lock().unwrap();
        entry.number = audited.len() as u64 + 1;
        audited.push(entry);
    }

    fn audited(&self, since: u64, limit: usize) -> AuditLog {
        let audited = self.audited.lock().unwrap();
        let entries: Vec<Audited> =
            audited.iter().filter(|a| a.number >= since).take(limit).cloned().collect();
        let next = entries.last().map_or(since, |a| a.number + 1);
        AuditLog { entries, next }
    }

    fn audited_after(&self, _: u64) -> Later<'_, ()> {
        Box::pin(std::future::pending())
    }

    fn logs<'a>(&'a self, _: &'a ResourceId, lines: usize) -> Later<'a, Result<Logs, Reason>> {
        Box::pin(async move { Ok(Logs { lines: vec![format!("of {lines}")] }) })
    }

    fn installed_types(&self) -> Later<'_, Result<Vec<Installed>, Reason>> {
        let mut counter = installed("ext:counter");
        counter.controls.push(("count".to_owned(), "how many".to_owned()));
        Box::pin(async { Ok(vec![counter, installed("ocf:acme:door")]) })
    }

    fn agent<'a>(&'a self, kind: &'a str) -> Later<'a, Result<Installed, Reason>> {
        let found = (kind == "ocf:acme:door").then(|| {
            let start = OwnAction { name: "start".into(), timeout_ms: Some(20_000), level: None };
            Installed { actions: vec![start], ..installed(kind) }
        });
        let none = || Reason::new(Code::NotFound, "it is not installed");
        Box::pin(async move { found.ok_or_else(none) })
    }

    fn control<'a>(
        &'a self,
        _: &'a str,
        resource: &'a ResourceId,
        Control { code, text }: Control,
    ) -> Later<'a, Result<Controlled, Reason>> {
        let text = format!("{resource}: {code} {text}");
        Box::pin(async { Ok(Controlled { text }) })
    }

    fn test_alert<'a>(
        &'a self,
        who: &'a str,
        alert: &'a AlertId,
    ) -> Later<'a, Result<Tested, Reason>> {
        Box::pin(async move {
            match alert.as_str() {
                "ops" => Ok(Tested { text: format!("asked by {who}") }),
                _ => Err(Reason::new(Code::NotFound, format!("there is no alert `{alert}`"))),
            }
        })
    }

    fn explain_group<'a>(&'a self, group: &'a GroupId) -> Later<'a, Result<Explanation, Reason>> {
        Box::pin(async move {
            let told = self.events_of_all().await;
            explain::group(&self.view, told, Placement::default(), group)
        })
    }

    fn explain_timeouts(&self) -> Timeouts {
        explain::timeouts(Profile::Standard, "none")
    }

    fn next_request_id(&self) -> RequestId {
        RequestId { client: 0xabc, number: self.asked.lock().unwrap().len() as u64 }
    }
}

/// Runs the server on a socket of its own and `body` against it, who is an admin.
fn served<F: Future<Output = ()>>(node: &Arc<Node>, body: impl FnOnce(PathBuf) -> F) {
    served_to(Some(Role::Admin), node, body);
}

/// As [`served`], for somebody with this role.
fn served_to<F: Future<Output = ()>>(
    role: Option<Role>,
    node: &Arc<Node>,
    body: impl FnOnce(PathBuf) -> F,
) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("api.sock");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let listener = stead_api::bind(&path).unwrap();
        let server = tokio::spawn(stead_api::serve(listener, Arc::clone(node) as _, move |_| {
            Some(Caller { who: "somebody (pid 7)".into(), role })
        }));
        tokio::time::timeout(WAIT, body(path.clone())).await.expect("in time");
        assert!(!server.is_finished(), "the server must outlive what clients do");
    });
}

fn every_request() -> Vec<Request> {
    let mut all = requests();
    all.extend(requests_about_members());
    all
}

fn requests_about_members() -> Vec<Request> {
    vec![
        Request::AddNode {
            number: None,
            name: "node3".into(),
            addresses: vec![NodeAddress {
                network: NetworkId(1),
                address: IpAddr::from([10, 0, 0, 3]),
            }],
            token: None,
        },
        Request::AddNode {
            number: Some(NodeId(4)),
            name: "node4".into(),
            addresses: Vec::new(),
            token: Some(Shown { token: TokenHash([7; 32]), by: Applicant(1 << 60) }),
        },
        Request::Evict { node: NodeId(2) },
        Request::Force { request: Box::new(Request::Evict { node: NodeId(2) }) },
        Request::MakeToken { token: TokenHash([9; 32]), minutes: 30 },
        Request::SetNetwork {
            network: "net 1".into(),
            name: Some("backbone".into()),
            role: Some(NetworkRole::Mixed),
            priority: Priority::parse("high"),
        },
        Request::SetNetwork {
            network: "net1".into(),
            name: None,
            role: None,
            priority: Some(Priority(7)),
        },
        Request::ForceQuorum {
            node: NodeId(1),
            lost: BTreeSet::from([VoterId(2), VoterId(VoterId::DISK_FIRST)]),
        },
        Request::SetNode {
            node: NodeId(2),
            wish: NodeWish {
                name: Some("delta".into()),
                addresses: vec![NodeAddress {
                    network: NetworkId(1),
                    address: IpAddr::from([10, 0, 0, 9]),
                }],
            },
        },
        Request::RotateKeys,
        Request::AbandonKeys,
        Request::RaiseLevel { to: ClusterLevel(2) },
    ]
}

fn requests() -> Vec<Request> {
    let group = || GroupId::from("web");
    let resource = || ResourceId::from("ip");
    let properties = BTreeMap::from([("a".to_owned(), Some("b".to_owned())), ("c".into(), None)]);
    let policy = GroupPolicy { preferred_owners: vec![NodeId(2)], ..GroupPolicy::default() };
    let (online, offline) = (Desired::Online, Desired::Offline);
    vec![
        Request::CreateGroup { group: group(), policy },
        Request::SetGroup { group: group(), properties: properties.clone() },
        Request::DeleteGroup { group: group() },
        Request::SetGroupDesired { group: group(), desired: online },
        Request::SetGroupDesired { group: group(), desired: offline },
        Request::MoveGroup { group: group(), to: Some(NodeId(2)) },
        Request::MoveGroup { group: group(), to: None },
        Request::CreateResource {
            group: group(),
            resource: resource(),
            kind: "dummy".into(),
            properties: BTreeMap::from([("x".into(), "y z\"".into())]),
        },
        Request::DeleteResource { resource: resource() },
        Request::SetResourceDesired { resource: resource(), desired: online },
        Request::SetResourceDesired { resource: resource(), desired: offline },
        Request::SetResource { resource: resource(), properties },
        Request::SetDependencies { resource: resource(), depends_on: BTreeSet::from(["d".into()]) },
        Request::FailResource { resource: resource() },
        Request::SetKey { key: "a/b c%ü?#".into(), value: Some("x".repeat(1 << 20)) },
        Request::SetKey { key: "k".into(), value: None },
        Request::SetVote { node: NodeId(2), votes: false },
        Request::SetAbsence { node: NodeId(2), absent: true },
        Request::Leave { node: NodeId(2) },
        Request::Return { node: NodeId(2) },
        Request::SetCapacity { node: NodeId(2), capacity: amounts("cpu=1.5,memory=4G,card=2") },
        Request::SetCapacity { node: NodeId(2), capacity: Amounts::default() },
        Request::MeasureCapacity { node: NodeId(2) },
        Request::SetLocal {
            node: NodeId(2),
            service: "dns".into(),
            needs: Some(amounts("memory=100M")),
        },
        Request::SetLocal { node: NodeId(2), service: "dns".into(), needs: None },
        Request::AddAlert {
            alert: "ops".into(),
            properties: BTreeMap::from([("webhook".into(), "http://a/?b=\"c\"".into())]),
        },
        Request::RemoveAlert { alert: "ops".into() },
        Request::SetClusterIp {
            wanted: ClusterIp {
                address: Some("fd00::100/64".into()),
                name: Some(BTreeMap::from([("zone".into(), "example.org".into())])),
            },
        },
        Request::SetClusterIp { wanted: ClusterIp { address: None, name: Some(BTreeMap::new()) } },
        Request::RemoveClusterIp,
        Request::Apply { wanted: declaration() },
        Request::Upkeep { upkeep: Upkeep::Pause { node: NodeId(2), drain: Drain::ForceOffline } },
        Request::Upkeep {
            upkeep: Upkeep::Maintain {
                group: group(),
                resource: Some(resource()),
                until: UtcMillis(1 << 53),
            },
        },
    ]
}

fn amounts(text: &str) -> Amounts {
    Amounts::parse(text).unwrap()
}

fn declaration() -> Declaration {
    let text = "[group]\nname = 'g'\nfailback = 'immediate'\n[[resource]]\nname = 'r'\n\
        type = 'dummy'\ndepends-on = ['d']\ndesired = 'offline'\nx = \"y z\\\"\"\n\
        [[alert]]\nname = 'ops'\ncommand = '/bin/page me'\n";
    file::read(text).unwrap()
}

#[test]
fn a_plan_is_a_question_and_an_export_can_be_applied() {
    let node = Node::new();
    served(&node, async |path| {
        let client = Client::new(&path);
        let told = client.foresee(&Request::Foresee { wanted: declaration() }).await.unwrap();
        assert_eq!(told, Foreseen::default());
        let asked = node.asked.lock().unwrap().pop().unwrap();
        assert_eq!(asked.request, Request::Foresee { wanted: declaration() });
        let all = client.export(&[]).await.unwrap();
        assert_eq!(all, client.export(&["web".into()]).await.unwrap());
        assert_eq!(all, file::read(&file::write(&all)).map(without_lines).unwrap());
        assert_eq!(all.groups[0].group.as_str(), "web");
        match client.export(&["web".into(), "no".into()]).await {
            Err(ClientError::Refused(reason)) => assert_eq!(reason.code, Code::NotFound),
            other => panic!("{other:?}"),
        }
    });
}

fn without_lines(mut declaration: Declaration) -> Declaration {
    declaration.groups.iter_mut().for_each(|group| group.line = 0);
    declaration.resources.iter_mut().for_each(|resource| resource.line = 0);
    declaration
}

#[test]
fn an_alert_is_tested_by_its_name() {
    let node = Node::new();
    served(&node, async |path| {
        let client = Client::new(&path);
        let tested = client.test_alert("ops").await.unwrap();
        assert_eq!(tested.text, "asked by somebody (pid 7)");
        for name in ["gone", "no name"] {
            assert!(matches!(client.test_alert(name).await, Err(ClientError::Refused(_))));
        }
    });
}

#[test]
fn every_request_arrives_as_it_was_meant() {
    let node = Node::new();
    served(&node, async |path| {
        let client = Client::new(&path);
        for request in every_request() {
            let id = client.next_request_id();
            let done = client.request_as(id, &request).await.unwrap();
            assert_eq!(done.index, LogIndex(7));
            let asked = node.asked.lock().unwrap().pop().unwrap();
            assert_eq!((asked.id, &asked.request), (id, &request));
            assert_eq!(asked.who, "somebody (pid 7)");
            let audited = node.audited.lock().unwrap().pop().unwrap();
            assert_eq!((audited.who, audited.what), (asked.who, request.to_string()));
            assert_eq!((audited.outcome, audited.request), (Outcome::Done, Some(id.to_string())));
        }
    });
}

#[test]
fn every_role_may_what_it_may_and_every_denial_is_audited() {
    for role in [None, Some(Role::Viewer), Some(Role::Operator), Some(Role::Admin)] {
        let node = Node::new();
        served_to(role, &node, async |path| {
            let client = Client::new(&path);
            let denied = |error: ClientError| match error {
                ClientError::Refused(reason) if reason.code == Code::Denied => reason,
                other => panic!("{other:?}"),
            };
            for request in every_request() {
                let told = client.request(&request).await.map(|_| ()).map_err(denied);
                assert_eq!(told.is_ok(), role >= Some(Role::needed(&request)), "{request}");
                let asked = node.asked.lock().unwrap().pop();
                assert_eq!(asked.is_some(), told.is_ok(), "{request}");
                let audited = node.audited.lock().unwrap().pop();
                let outcome = audited.map(|a| (a.role, a.outcome, a.what));
                let expected = told.map_or(Outcome::Denied, |()| Outcome::Done);
                let expected = role.map(|_| (role, expected, request.to_string()));
                assert_eq!(outcome, expected, "whoever has no role comes not so far");
            }
            assert_eq!(client.status().await.map_err(denied).is_ok(), role.is_some());
            let control = Control { code: "set".into(), text: "7".into() };
            let told = client.control("visits", &control).await.map_err(denied);
            assert_eq!(told.is_ok(), role == Some(Role::Admin));
            let told = client.test_alert("ops").await.map_err(denied);
            assert_eq!(told.is_ok(), role >= Some(Role::Operator));
            let plan = Request::Foresee { wanted: declaration() };
            let told = client.foresee(&plan).await.map_err(denied);
            assert_eq!(told.is_ok(), role == Some(Role::Admin));
        });
        let audited = node.audited(0, 9).entries;
        let count = if role.is_some() { 2 } else { 0 };
        assert_eq!(audited.len(), count, "a plan changes nothing: {audited:?}");
    }
}

#[test]
fn who_may_not_learns_why_and_what_to_do() {
    let node = Node::new();
    let cases = [
        (None, "somebody (pid 7) may ask nothing of this node: it has no role"),
        (
            Some(Role::Viewer),
            "somebody (pid 7) may not bring group `web` online: that takes the role operator, \
             and this is the role viewer",
        ),
    ];
    for (role, text) in cases {
        served_to(role, &node, async |path| {
            let request =
                Request::SetGroupDesired { group: "web".into(), desired: Desired::Online };
            match Client::new(&path).request(&request).await {
                Err(ClientError::Refused(reason)) => {
                    assert_eq!(reason.to_string(), text);
                    assert!(reason.hint.unwrap().contains("`stead-operator`"));
                }
                other => panic!("{other:?}"),
            }
        });
    }
}

#[test]
fn a_request_without_an_answer_is_audited_too() {
    let node = Node::new();
    served(&node, async |path| {
        let request = Request::SetKey { key: "panic".into(), value: None };
        assert!(Client::new(&path).request(&request).await.is_err());
        let audited = node.audited.lock().unwrap().pop().unwrap();
        assert_eq!((audited.outcome, audited.number), (Outcome::Unknown, 1));
    });
}

#[test]
fn reads_answer_from_the_view_and_refuse_with_a_reason() {
    let node = Node::new();
    node.write("began");
    served(&node, async |path| {
        let client = Client::new(&path);
        assert_eq!(client.status().await.unwrap(), *node.view);
        let one: NodeView = client.get("/v1/nodes/beta").await.unwrap();
        assert_eq!(one.node, NodeId(2));
        assert_eq!(client.get::<NodeView>("/v1/nodes/n2").await.unwrap(), one);
        let told = client.explain_group("web").await.unwrap();
        assert_eq!(told.chain.len(), 1);
        let all = client.cluster_events(9, None).await.unwrap();
        assert_eq!((all.events.len(), all.left_out), (1, 0));
        assert_eq!(all.nodes[1].missing.as_deref(), Some("it is silent"));
        let none = client.cluster_events(0, Some("web")).await.unwrap();
        assert_eq!((none.events.len(), none.left_out), (0, 1));
        assert_eq!(client.explain_timeouts().await.unwrap().profile, "standard");
        let logs: Logs = client.get("/v1/resources/ip/logs?lines=3").await.unwrap();
        assert_eq!(logs.lines, ["of 3"]);
        let all: Vec<ResourceEntry> = client.get("/v1/resources").await.unwrap();
        assert!(all.is_empty());
        let known: KnownType = client.get("/v1/resource-types/ext:counter").await.unwrap();
        assert_eq!((known.about.as_str(), known.controls.len()), ("counts", 1));
        assert_eq!(known.properties[0].name, "check-timeout", "stead gives it to all of them");
        let known: Vec<KnownType> = client.get("/v1/resource-types").await.unwrap();
        assert!(known.iter().any(|kind| kind.name == "ip-address"));
        let names: Vec<&str> = known.iter().rev().take(2).map(|kind| kind.name.as_str()).collect();
        assert_eq!(names, ["ocf:acme:door", "ext:counter"]);
        let agent: KnownType = client.get("/v1/resource-types/ocf:acme:door").await.unwrap();
        assert_eq!(agent.actions[0].timeout_ms, Some(20_000));
        assert_eq!(agent.properties.len(), 2, "what stead gives every agent");
        let control = Control { code: "set".into(), text: "7".into() };
        assert_eq!(client.control("visits", &control).await.unwrap().text, "visits: set 7");
        let document: serde_json::Value = client.get("/v1/openapi.json").await.unwrap();
        assert!(document["paths"]["/v1/status"]["get"].is_object());
        let asked = b"GET /v1/metrics HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";
        let figures = raw(&path, asked).await;
        assert!(figures.contains("content-type: text/plain; version=0.0.4"), "{figures}");
        assert!(figures.ends_with(&stead_api::metrics::text(&node.view)), "{figures}");
        for (path, code) in [
            ("/v1/groups/no", Code::NotFound),
            ("/v1/groups/-bad", Code::Invalid),
            ("/v1/nodes/n9", Code::NotFound),
            ("/v1/nothing", Code::NotFound),
            ("/v1/events?limit=x", Code::Invalid),
            ("/v1/events?typo=1", Code::Invalid),
            ("/v1/cluster-events?last=x", Code::Invalid),
            ("/v1/cluster-events?group=.x", Code::Invalid),
            ("/v1/resource-types/none", Code::NotFound),
            ("/v1/resource-types/ext:none", Code::NotFound),
            ("/v1/resource-types/ocf:acme:none", Code::NotFound),
        ] {
            match client.get::<serde_json::Value>(path).await {
                Err(ClientError::Refused(reason)) => assert_eq!(reason.code, code, "{path}"),
                other => panic!("{path}: {other:?}"),
            }
        }
    });
}

#[test]
fn refusals_keep_reason_and_hint() {
    let node = Node::new();
    served(&node, async |path| {
        let request = Request::SetKey { key: "minority".into(), value: None };
        match Client::new(&path).request(&request).await {
            Err(ClientError::Refused(reason)) => {
                assert_eq!(reason.code, Code::NoQuorum);
                assert_eq!(reason.hint.as_deref(), Some("ask another node"));
            }
            other => panic!("{other:?}"),
        }
        let raw = raw(
            &path,
            b"PUT /v1/registry/minority HTTP/1.1\r\nhost: x\r\n\
            content-length: 13\r\nconnection: close\r\n\r\n{\"value\":\"x\"}",
        )
        .await;
        assert!(raw.starts_with("HTTP/1.1 503 "), "{raw}");
    });
}

#[test]
fn a_panic_in_a_handler_costs_one_answer() {
    let node = Node::new();
    served(&node, async |path| {
        let client = Client::new(&path);
        let request = Request::SetKey { key: "panic".into(), value: None };
        match client.request(&request).await {
            Err(ClientError::Refused(reason)) => assert_eq!(reason.code, Code::Bug),
            other => panic!("{other:?}"),
        }
        client.status().await.unwrap();
    });
}

#[test]
fn followed_records_come_as_they_are_written() {
    let node = Node::new();
    node.write("one");
    node.write("two");
    served(&node, async |path| {
        let mut follow = Client::new(&path).follow(2).await.unwrap();
        assert_eq!(follow.next().await.unwrap().unwrap().text, "two");
        for n in 0..5 {
            node.write(&format!("more {n}"));
            assert_eq!(follow.next().await.unwrap().unwrap().text, format!("more {n}"));
        }
    });
}

#[test]
fn bad_bodies_and_ids_are_refused_with_a_reason() {
    let node = Node::new();
    served(&node, async |path| {
        let post = |head: &str, body: &str| {
            format!(
                "POST /v1/groups HTTP/1.1\r\nhost: x\r\nconnection: close\r\n{head}\
                 content-length: {}\r\n\r\n{body}",
                body.len()
            )
        };
        for (request, status) in [
            (post("", "{"), "400"),
            (post("", "{\"group\":\"web\",\"typo\":1}"), "400"),
            (post("", "{\"group\":\"../x\"}"), "400"),
            (post("stead-request-id: zz\r\n", "{\"group\":\"web\"}"), "400"),
            (post("", &" ".repeat(3 << 20)), "429"),
            (post("stead-request-id: ff.1\r\n", "{\"group\":\"web\"}"), "200"),
        ] {
            let answer = raw(&path, request.as_bytes()).await;
            let start = format!("HTTP/1.1 {status} ");
            assert!(answer.starts_with(&start), "{} -> {answer}", &request[..80]);
            assert!(answer.contains("{\""), "no JSON in {answer}");
        }
    });
    let asked = node.asked.lock().unwrap();
    assert_eq!(asked.len(), 1);
    assert_eq!(asked[0].id, RequestId { client: 0xff, number: 1 });
}

#[test]
fn hostile_bytes_hurt_nobody() {
    let node = Node::new();
    served(&node, async |path| {
        let mut state = 0x9e37_79b9_7f4a_7c15_u64;
        for _ in 0..100 {
            let bytes: Vec<u8> = (0..256)
                .map(|_| {
                    state ^= state << 13;
                    state ^= state >> 7;
                    state ^= state << 17;
                    state as u8
                })
                .collect();
            raw(&path, &bytes).await;
        }
        let long = [b"GET /v1/".as_slice(), &vec![b'a'; 64 << 10], b" HTTP/1.1\r\n\r\n"].concat();
        let answer = raw(&path, &long).await;
        assert!(!answer.starts_with("HTTP/1.1 200"), "{answer}");
        Client::new(&path).status().await.unwrap();
    });
}

#[test]
fn an_absent_or_dead_socket_is_unreachable_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let path = folder.path().join("api.sock");
        for _ in 0..2 {
            match Client::new(&path).status().await {
                Err(error @ ClientError::Unreachable { .. }) => {
                    assert!(error.to_string().contains("api.sock"), "{error}");
                }
                other => panic!("{other:?}"),
            }
            drop(stead_api::bind(&path).unwrap());
        }
        let listener = stead_api::bind(&path).unwrap();
        let error = stead_api::bind(&path).unwrap_err();
        assert!(error.to_string().contains("in use"), "{error}");
        drop(listener);
    });
}

/// Sends bytes and reads until the end of the connection; what does not ask for its end ends it.
async fn raw(path: &std::path::Path, bytes: &[u8]) -> String {
    let (path, bytes) = (path.to_owned(), bytes.to_owned());
    tokio::task::spawn_blocking(move || {
        let mut stream = UnixStream::connect(path).unwrap();
        stream.set_read_timeout(Some(WAIT)).unwrap();
        // The server may answer and close before it has read everything.
        let _ = stream.write_all(&bytes);
        if !bytes.windows(5).any(|w| w == b"close") {
            let _ = stream.shutdown(std::net::Shutdown::Write);
        }
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        String::from_utf8_lossy(&answer).into_owned()
    })
    .await
    .unwrap()
}
