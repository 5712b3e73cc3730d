//! Node services of the test process: the real server of the API over a made-up cluster.

use std::collections::VecDeque;
use std::path::Path;
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use stead_api::contract::{
    AuditLog, Audited, Control, Controlled, Events, Explanation, Fit, Logs, NodeRecords, Place,
    Placement, Tested, Timeouts,
};
use stead_api::{Backend, Caller, Later, explain};
use stead_model::declaration::{Consequence, DeclaredResource, Deed, Difference, Foreseen, Turn};
use stead_model::external::{Installed, OwnAction, OwnProperty};
use stead_model::group::{Desired, GroupState};
use stead_model::profile::Profile;
use stead_model::reason::{Code, Reason};
use stead_model::record::{Level, OfEntry, Record};
use stead_model::request::{Answer, Envelope, Request};
use stead_model::resource::ResourceState;
use stead_model::resource_type::Form;
use stead_model::role::Role;
use stead_model::view::View;
use stead_model::{
    AlertId, CauseId, Epoch, GroupId, LogIndex, NodeId, RequestId, ResourceId, UtcMillis,
};
use tokio::sync::{oneshot, watch};

pub(crate) mod worlds;

/// One node service: shows views one after another, the last one for ever.
#[derive(Debug)]
pub(crate) struct FakeNode {
    views: Mutex<VecDeque<View>>,
    records: Mutex<Vec<Record>>,
    written: watch::Sender<u64>,
    audited: Mutex<Vec<Audited>>,
    placement: Placement,
    /// What the other nodes recorded.
    pub(crate) elsewhere: Mutex<Vec<NodeRecords>>,
    /// What it was asked, as it arrived.
    pub(crate) asked: Mutex<Vec<Request>>,
}

impl FakeNode {
    pub(crate) fn new(view: View) -> Arc<Self> {
        Arc::new(Self {
            views: Mutex::new(VecDeque::from([view])),
            records: Mutex::default(),
            written: watch::Sender::new(0),
            audited: Mutex::default(),
            placement: placement(),
            elsewhere: Mutex::default(),
            asked: Mutex::default(),
        })
    }

    pub(crate) fn write(&self, code: &str, text: &str, cause: Option<u64>) {
        let mut records = self.records.lock().unwrap();
        let number = records.len() as u64 + 1;
        records.push(record((1, number), (code, text), cause));
        self.written.send_replace(number);
    }

    /// Node 3 went down: node 1 led and saw it, node 2 took its group over, node 3 is silent.
    pub(crate) fn take_over(&self) {
        let of = |index, decided| {
            let at = UtcMillis(NOON.0 + 45);
            Some(OfEntry { index: LogIndex(index), change: 0, at, decided })
        };
        let granted = ("group-granted", "group web: owner n2, e7 (the lease of n3 is over)");
        let one = vec![
            record((1, 44), ("suspected", "n3 is silent since 350 ms"), None),
            Record { entry: of(123, true), ..record((1, 45), granted, Some(44)) },
        ];
        let two = vec![
            Record { entry: of(123, false), ..record((2, 17), granted, Some(3)) },
            record((2, 18), ("group-online", "group web is online, e7"), Some(17)),
        ];
        *self.records.lock().unwrap() = one;
        let told = |node, name: &str, records| NodeRecords {
            node: NodeId(node),
            name: name.into(),
            records,
        };
        *self.elsewhere.lock().unwrap() =
            vec![told(2, "node2", Ok(two)), told(3, "node3", Err("it is silent".into()))];
    }

    fn now(&self) -> View {
        self.views.lock().unwrap().front().unwrap().clone()
    }

    /// What becomes of an accepted request, step by step.
    fn plan(&self, request: &Request) {
        let mut view = self.now();
        let mut steps = Vec::new();
        let mut step = |view: &View| steps.push(view.clone());
        view.applied = LogIndex(14);
        match request {
            Request::MoveGroup { to, .. } => {
                set(&mut view, GroupState::Pending, ResourceState::OfflinePending);
                step(&view);
                view.groups[0].owner = *to;
                view.groups[0].epoch = Epoch(4);
                set(&mut view, GroupState::Pending, ResourceState::OnlinePending);
                step(&view);
                set(&mut view, GroupState::Online, ResourceState::Online);
            }
            Request::SetGroupDesired { desired: Desired::Offline, .. } => {
                view.groups[0].desired = Desired::Offline;
                set(&mut view, GroupState::Pending, ResourceState::OfflinePending);
                step(&view);
                set(&mut view, GroupState::Offline, ResourceState::Offline);
            }
            Request::RemoveClusterIp => {
                set(&mut view, GroupState::Pending, ResourceState::OfflinePending);
                step(&view);
                view.groups.remove(0);
            }
            Request::SetResourceDesired { .. } => {
                set(&mut view, GroupState::Failed, ResourceState::Failed);
                view.groups[0].resources[1].detail = Some("`httpd` ended with exit code 1".into());
            }
            _ => {}
        }
        step(&view);
        self.views.lock().unwrap().extend(steps);
    }
}

fn record((node, number): (u16, u64), (code, text): (&str, &str), cause: Option<u64>) -> Record {
    let warns = number == 1 || code == "suspected";
    Record {
        number,
        at: UtcMillis(NOON.0 + number),
        boot_ns: number,
        node: NodeId(node),
        level: if warns { Level::Warning } else { Level::Info },
        code: code.into(),
        group: Some("web".into()),
        resource: None,
        text: text.into(),
        id: CauseId(100 + number),
        cause: cause.map(|number| CauseId(100 + number)),
        entry: None,
    }
}

/// 2026-11-20 11:22:21 UTC.
const NOON: UtcMillis = UtcMillis(1_795_173_741_000);

/// What a leader says of a declaration with another `stop-timeout`; of any other: nothing changes.
fn foreseen(request: &Request) -> Foreseen {
    let Request::Foresee { wanted } = request else { return Foreseen::default() };
    let timeout = |r: &DeclaredResource| r.properties.get("stop-timeout").cloned();
    let Some(to) = wanted.resources.iter().find_map(timeout) else { return Foreseen::default() };
    let differences = vec![Difference {
        group: Some("web".into()),
        resource: Some("httpd".into()),
        alert: None,
        node: None,
        admin: None,
        turn: Turn::Changed,
        property: Some("stop-timeout".into()),
        from: Some("10s".into()),
        to: Some(to),
    }];
    let consequences = vec![Consequence {
        group: "web".into(),
        deed: Deed::Restart,
        resources: vec!["httpd".into()],
        node: Some(NodeId(1)),
        from: None,
        why: "their properties change, or those of what they stand on".into(),
    }];
    Foreseen { differences, consequences, notices: Vec::new() }
}

/// What a leader says of group `web` with its second node down.
fn placement() -> Placement {
    let place = |node, fit, why: &str| Place { node: NodeId(node), fit, why: why.into() };
    let places = vec![
        place(1, Fit::Possible, "preferred owner number 1, owns 1 group"),
        place(2, Fit::Unavailable, "n2 is not up or may not be given groups"),
    ];
    Placement { decides: true, next: Vec::new(), places }
}

fn set(view: &mut View, group: GroupState, resource: ResourceState) {
    view.groups[0].state = group;
    view.groups[0].resources[1].state = resource;
}

/// Refusals as the core words them, by the name of the object.
fn refusal(request: &Request) -> Option<Reason> {
    match request {
        Request::CreateGroup { group, .. } if group.as_str() == "web" => Some(
            Reason::new(Code::Exists, "group `web` exists already")
                .hint("choose another name, or delete that one first: `stead group delete`"),
        ),
        Request::MoveGroup { to: Some(NodeId(3)), .. } => Some(
            Reason::new(Code::Conflict, "cannot move group `web` to n3")
                .because("n3 is not a possible owner of resource `httpd`")
                .hint("choose n2"),
        ),
        Request::SetGroupDesired { group, desired: Desired::Offline }
            if group.as_str() == "cluster" =>
        {
            Some(
                Reason::new(Code::Conflict, "cannot take group `cluster` offline")
                    .because(
                        "group `cluster` is the cluster's own: the cluster is administered \
                         through it",
                    )
                    .hint(
                        "`stead group move cluster` has another node take it; `stead cluster ip \
                         --remove` ends it",
                    ),
            )
        }
        Request::DeleteGroup { group } if group.as_str() == "lost" => Some(
            Reason::new(Code::NoQuorum, "the change was not made")
                .because("n1 has no quorum")
                .hint("see `stead status` for the nodes that are missing"),
        ),
        Request::Foresee { wanted } | Request::Apply { wanted }
            if wanted.resources.iter().any(|r| r.kind == "htpd") =>
        {
            let text = "line 4, resource `httpd`: there is no resource type `htpd`";
            Some(Reason::new(Code::NotFound, text).hint("known are ip-address, dummy"))
        }
        Request::FailResource { resource } if resource.as_str() == "odd" => {
            Some(Reason::new(Code::Bug, "property `odd` is in the table and not in the policy"))
        }
        _ => None,
    }
}

impl Backend for FakeNode {
    fn view(&self) -> Arc<View> {
        let mut views = self.views.lock().unwrap();
        if views.len() > 1 {
            return Arc::new(views.pop_front().unwrap());
        }
        Arc::new(views[0].clone())
    }

    fn request(&self, envelope: Envelope) -> Later<'_, Answer> {
        let answer = match refusal(&envelope.request) {
            Some(reason) => Answer::Refused(reason),
            None if matches!(envelope.request, Request::Foresee { .. }) => {
                Answer::Foreseen(foreseen(&envelope.request))
            }
            None => {
                self.plan(&envelope.request);
                Answer::Done { index: LogIndex(14) }
            }
        };
        self.asked.lock().unwrap().push(envelope.request);
        Box::pin(async { answer })
    }

    fn events(&self, since: u64, limit: usize) -> Events {
        let records = self.records.lock().unwrap();
        let later = records.iter().filter(|record| record.number >= since);
        let records: Vec<Record> = later.take(limit).cloned().collect();
        let next = records.last().map_or(since, |record| record.number + 1);
        Events { records, next }
    }

    fn audit(&self, mut entry: Audited) {
        let mut audited = self.audited.lock().unwrap();
        entry.number = audited.len() as u64 + 1;
        entry.at = UtcMillis(1_795_173_741_000 + entry.number);
        entry.request = None;
        audited.push(entry);
    }

    fn audited(&self, since: u64, limit: usize) -> AuditLog {
        let audited = self.audited.lock().unwrap();
        let later = audited.iter().filter(|entry| entry.number >= since);
        let entries: Vec<Audited> = later.take(limit).cloned().collect();
        let next = entries.last().map_or(since, |entry| entry.number + 1);
        AuditLog { entries, next }
    }

    fn audited_after(&self, _: u64) -> Later<'_, ()> {
        Box::pin(std::future::pending())
    }

    fn events_of_all(&self) -> Later<'_, Vec<NodeRecords>> {
        let own = NodeRecords {
            node: NodeId(1),
            name: "node1".into(),
            records: Ok(self.records.lock().unwrap().clone()),
        };
        let others = self.elsewhere.lock().unwrap().clone();
        Box::pin(async { std::iter::once(own).chain(others).collect() })
    }

    fn events_after(&self, next: u64) -> Later<'_, ()> {
        let mut written = self.written.subscribe();
        Box::pin(async move {
            let _ = written.wait_for(|last| *last >= next).await;
        })
    }

    fn logs<'a>(
        &'a self,
        resource: &'a ResourceId,
        lines: usize,
    ) -> Later<'a, Result<Logs, Reason>> {
        let node = self.now().node;
        let all = [format!("`{resource}` starts on {node}"), "listening on port 80".into()];
        let lines = all[all.len().saturating_sub(lines)..].to_vec();
        Box::pin(async { Ok(Logs { lines }) })
    }

    fn installed_types(&self) -> Later<'_, Result<Vec<Installed>, Reason>> {
        let port = OwnProperty {
            name: "port".into(),
            about: "TCP port".into(),
            form: Form::Number,
            required: true,
            default: None,
        };
        let counter = Installed {
            name: "ext:counter".into(),
            about: "counts its visitors (version 1.0)".into(),
            properties: vec![port],
            controls: vec![("count".into(), "how many came".into())],
            actions: Vec::new(),
        };
        let agent = Installed { properties: Vec::new(), actions: Vec::new(), ..door() };
        Box::pin(async { Ok(vec![counter, agent]) })
    }

    fn agent<'a>(&'a self, kind: &'a str) -> Later<'a, Result<Installed, Reason>> {
        let found = if kind == door().name { Ok(door()) } else { Err(no_agent(kind)) };
        Box::pin(async { found })
    }

    fn control<'a>(
        &'a self,
        _: &'a str,
        resource: &'a ResourceId,
        Control { code, text }: Control,
    ) -> Later<'a, Result<Controlled, Reason>> {
        let node = self.now().node;
        Box::pin(async move {
            match code.as_str() {
                "count" => Ok(Controlled { text: format!("{text}7 at {node}") }),
                _ => {
                    Err(Reason::new(Code::Conflict, format!("resource `{resource}` cannot do it"))
                        .because(format!("there is no control code `{code}`")))
                }
            }
        })
    }

    fn test_alert<'a>(
        &'a self,
        _: &'a str,
        alert: &'a AlertId,
    ) -> Later<'a, Result<Tested, Reason>> {
        let is_known = self.now().alerts.iter().any(|known| known.alert == *alert);
        Box::pin(async move {
            match alert.as_str() {
                "ops" if is_known => Ok(Tested { text: "it answered 204 No Content".into() }),
                _ if is_known => Err(Reason::new(
                    Code::Conflict,
                    format!("the test of alert `{alert}` did not get through"),
                )
                .because("`/usr/local/bin/page` ended with exit code 1: no such team")),
                _ => Err(Reason::new(Code::NotFound, format!("there is no alert `{alert}`"))
                    .hint("`stead alert list` shows all alerts")),
            }
        })
    }

    fn explain_group<'a>(&'a self, group: &'a GroupId) -> Later<'a, Result<Explanation, Reason>> {
        Box::pin(async move {
            let told = self.events_of_all().await;
            explain::group(&self.now(), told, self.placement.clone(), group)
        })
    }

    fn explain_timeouts(&self) -> Timeouts {
        explain::timeouts(Profile::Standard, "real-time priority 5, memory locked")
    }

    fn next_request_id(&self) -> RequestId {
        RequestId { client: 1, number: self.asked.lock().unwrap().len() as u64 }
    }
}

/// Serves nodes on sockets until it is dropped.
#[derive(Debug)]
pub(crate) struct Served {
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Served {
    /// Serves each node on `n1.sock`, `n2.sock`, ... of a folder; returns when they all listen.
    pub(crate) fn start(folder: &Path, nodes: &[(u16, Arc<FakeNode>)]) -> Self {
        let (stop, stopped) = oneshot::channel();
        let (ready, listening) = channel();
        let doors: Vec<_> = nodes
            .iter()
            .map(|(number, node)| (folder.join(format!("n{number}.sock")), Arc::clone(node)))
            .collect();
        let thread = std::thread::spawn(move || {
            let runtime =
                tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                for (path, node) in doors {
                    let listener = stead_api::bind(&path).unwrap();
                    let caller = Caller { who: "somebody".into(), role: Some(Role::Admin) };
                    let identify = move |_: &_| Some(caller.clone());
                    tokio::spawn(stead_api::serve(listener, node, identify));
                }
                ready.send(()).unwrap();
                let _ = stopped.await;
            });
        });
        listening.recv().unwrap();
        Self { stop: Some(stop), thread: Some(thread) }
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            thread.join().unwrap();
        }
    }
}

/// An agent.
fn door() -> Installed {
    let property = |name: &str, required, default: Option<&str>| OwnProperty {
        name: name.into(),
        about: format!("the {name}"),
        form: Form::Text,
        required,
        default: default.map(str::to_owned),
    };
    let action =
        |name: &str, ms, level| OwnAction { name: name.into(), timeout_ms: Some(ms), level };
    Installed {
        name: "ocf:acme:Door".into(),
        about: "Opens and closes a door".into(),
        properties: vec![property("key", true, None), property("side", false, Some("left"))],
        controls: Vec::new(),
        actions: vec![
            action("start", 240_000, None),
            action("monitor", 20_000, Some(0)),
            action("monitor", 90_500, Some(10)),
        ],
    }
}

fn no_agent(kind: &str) -> Reason {
    Reason::new(Code::NotFound, format!("`{kind}` does not tell its table here"))
        .because("there is no agent")
        .hint("`stead resource-type list` shows what is installed; `--node` asks another node")
}
