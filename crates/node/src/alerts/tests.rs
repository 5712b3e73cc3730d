//! The desk against a real web server on loopback and real commands.

use std::collections::VecDeque;
use std::future::pending;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Instant;

use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use stead_model::alert::Alert;
use stead_model::record::{OfEntry, Record};
use stead_model::view::AlertView;
use stead_model::{CauseId, LogIndex, UtcMillis};
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use super::call::{Failure, Message, call};
use super::desk::WAITING_MAX;
use super::*;
use crate::clock;

/// Longer than anything here takes on a busy machine.
const WAIT: Duration = Duration::from_secs(30);
const QUICK: [Duration; 2] = [Duration::from_millis(10), Duration::from_millis(20)];

/// What the web server does with the next call.
#[derive(Clone, Copy, Debug)]
enum Manner {
    Says(u16),
    Hangs,
}

/// A web server: keeps what it is told, and answers as it is bid; 204 by itself.
#[derive(Debug)]
struct Hook {
    address: SocketAddr,
    got: mpsc::UnboundedReceiver<(String, Value)>,
    manners: Arc<Mutex<VecDeque<Manner>>>,
    serving: JoinHandle<()>,
}

impl Drop for Hook {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

impl Hook {
    async fn open() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (told, got) = mpsc::unbounded_channel();
        let manners: Arc<Mutex<VecDeque<Manner>>> = Arc::default();
        let queue = Arc::clone(&manners);
        let serving = tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let (told, queue) = (told.clone(), Arc::clone(&queue));
                tokio::spawn(async move {
                    let answer = service_fn(|asked: Request<Incoming>| {
                        answer(asked, told.clone(), Arc::clone(&queue))
                    });
                    // A caller that gave up is its own business.
                    let _ =
                        http1::Builder::new().serve_connection(TokioIo::new(stream), answer).await;
                });
            }
        });
        Self { address, got, manners, serving }
    }

    fn bid(&self, manners: &[Manner]) {
        self.manners.lock().unwrap().extend(manners);
    }

    /// The key and the document of the next call.
    async fn next(&mut self) -> (String, Value) {
        tokio::time::timeout(WAIT, self.got.recv()).await.expect("a call in time").unwrap()
    }

    async fn next_code(&mut self) -> String {
        self.next().await.1["code"].as_str().unwrap().to_owned()
    }

    fn properties(&self, more: &[(&str, &str)]) -> BTreeMap<String, String> {
        let address = format!("http://{}/hook?from=stead", self.address);
        properties(&[&[("webhook", address.as_str())], more].concat())
    }
}

async fn answer(
    asked: Request<Incoming>,
    told: mpsc::UnboundedSender<(String, Value)>,
    manners: Arc<Mutex<VecDeque<Manner>>>,
) -> hyper::Result<Response<Full<Bytes>>> {
    assert_eq!(
        (asked.method().as_str(), asked.uri().to_string().as_str()),
        ("POST", "/hook?from=stead")
    );
    let key = asked.headers()["idempotency-key"].to_str().unwrap().to_owned();
    let body = asked.into_body().collect().await?.to_bytes();
    let manner = manners.lock().unwrap().pop_front().unwrap_or(Manner::Says(204));
    let _ = told.send((key, serde_json::from_slice(&body).unwrap()));
    match manner {
        Manner::Says(status) => {
            Ok(Response::builder().status(status).body(Full::default()).unwrap())
        }
        Manner::Hangs => pending().await,
    }
}

fn properties(given: &[(&str, &str)]) -> BTreeMap<String, String> {
    given.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

fn record(code: &str, entry: Option<u64>) -> Record {
    Record {
        number: 0,
        at: clock::utc(),
        boot_ns: 0,
        node: NodeId(1),
        level: Level::Error,
        code: code.into(),
        group: Some("web".into()),
        resource: None,
        text: "it \"broke\"".into(),
        id: CauseId(0),
        cause: None,
        entry: entry.map(|index| OfEntry {
            index: LogIndex(index),
            change: 0,
            at: clock::utc(),
            decided: false,
        }),
    }
}

/// A desk at work.
#[derive(Debug)]
struct World {
    setting: Setting,
    standing: watch::Sender<Standing>,
    tests: mpsc::Sender<Test>,
    working: JoinHandle<()>,
}

impl World {
    fn open(folder: &Path, alerts: &[(&str, BTreeMap<String, String>)]) -> Self {
        Self::over(folder, Arc::new(Records::in_memory(NodeId(1))), alerts)
    }

    fn over(
        folder: &Path,
        records: Arc<Records>,
        alerts: &[(&str, BTreeMap<String, String>)],
    ) -> Self {
        let setting = Setting {
            path: folder.join("alerts.json"),
            cluster: "demo".into(),
            node: NodeId(1),
            records,
            tracks: Arc::default(),
            pauses: &QUICK,
        };
        let alerts = alerts.iter().map(|(name, of)| (AlertId::from(*name), of.clone())).collect();
        let (standing, seen) = watch::channel(Standing { alerts, leads: false });
        let (tests, wanted) = mpsc::channel(1);
        let desk = Desk::open(setting.clone());
        let working = tokio::spawn(desk.run(seen, wanted));
        Self { setting, standing, tests, working }
    }

    fn write(&self, code: &str) {
        self.setting.records.write(record(code, None));
    }

    /// Waits for the next record of that code about alerts.
    async fn said(&self, code: &str) -> String {
        let mut last = self.setting.records.watch();
        let found = || {
            let all = self.setting.records.since(0, usize::MAX).records;
            all.into_iter().find(|record| record.code == code)
        };
        let text = async {
            loop {
                if let Some(record) = found() {
                    return record.text;
                }
                last.changed().await.unwrap();
            }
        };
        tokio::time::timeout(WAIT, text).await.expect("a record in time")
    }

    fn track(&self, name: &str) -> Track {
        self.setting.tracks.lock().unwrap().get(&AlertId::from(name)).cloned().unwrap_or_default()
    }

    async fn until(&self, what: &str, is: impl Fn(&Self) -> bool) {
        let end = Instant::now() + WAIT;
        while !is(self) {
            assert!(Instant::now() < end, "not in time: {what}; {:?}", self.setting.tracks);
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

fn block_on<T>(work: impl Future<Output = T>) -> T {
    threads::runtime().unwrap().block_on(work)
}

#[test]
fn a_webhook_is_told_what_it_wants_and_tried_again_where_that_may_help() {
    block_on(async {
        let folder = tempfile::tempdir().unwrap();
        let mut hook = Hook::open().await;
        hook.bid(&[Manner::Says(503), Manner::Says(429)]);
        let wanted = hook.properties(&[("codes", "group-*")]);
        let world = World::open(folder.path(), &[("ops", wanted)]);
        world.write("lease-lost");
        world.write("group-failed");
        let calls = [hook.next().await, hook.next().await, hook.next().await];
        for (key, told) in &calls {
            assert_eq!(key, "demo-n1-2", "whoever gets it twice can tell");
            assert_eq!((&told["code"], &told["alert"]), (&"group-failed".into(), &"ops".into()));
            assert_eq!((&told["text"], &told["cluster"]), (&"it \"broke\"".into(), &"demo".into()));
            assert_eq!((&told["number"], &told["group"]), (&2.into(), &"web".into()));
        }
        world.until("it is settled", |w| w.track("ops").last_success.is_some()).await;
        assert_eq!(world.track("ops").trouble(), None);
        assert_eq!(world.setting.records.since(3, 9).records, [], "nothing failed");
    });
}

#[test]
fn a_failure_is_recorded_and_tells_of_itself_to_nobody() {
    block_on(async {
        let folder = tempfile::tempdir().unwrap();
        let mut hook = Hook::open().await;
        hook.bid(&[Manner::Says(404)]);
        let all = hook.properties(&[("codes", "*")]);
        let world = World::open(folder.path(), &[("ops", all)]);
        world.write("first");
        let text = world.said("alert-failed").await;
        assert!(text.starts_with("alert `ops` did not tell of record 1 first: `http://"), "{text}");
        assert!(text.ends_with("answered 404 Not Found"), "not tried again: {text}");
        world.until("the trouble shows", |w| w.track("ops").trouble().is_some()).await;
        world.write("second");
        assert_eq!(hook.next_code().await, "first");
        assert_eq!(hook.next_code().await, "second", "and not of its own failure");
        assert_eq!(world.said("alert-works").await, "alert `ops` gets through again");
        world.until("it is over", |w| w.track("ops").trouble().is_none()).await;
    });
}

#[test]
fn one_that_hangs_delays_no_other_and_what_waits_for_it_is_bounded() {
    block_on(async {
        let folder = tempfile::tempdir().unwrap();
        let (mut slow, mut quick) = (Hook::open().await, Hook::open().await);
        slow.bid(&[Manner::Hangs; 3]);
        let alerts =
            [("slow", slow.properties(&[("timeout", "2s")])), ("quick", quick.properties(&[]))];
        let world = World::open(folder.path(), &alerts);
        let all = WAITING_MAX + 6;
        for number in 0..all {
            world.write(&format!("r{number}"));
            assert_eq!(quick.next_code().await, format!("r{number}"));
        }
        world.until("five are dropped", |w| w.track("slow").dropped == 5).await;
        assert_eq!(world.track("slow").waiting as usize, WAITING_MAX + 1);
        let text = world.said("alert-failed").await;
        assert!(text.contains("record 1 r0: ") && text.ends_with("within 2s, again and again"));
        let text = world.said("alert-dropped").await;
        assert!(text.starts_with("alert `slow` told nothing of 5 records"), "{text}");
        for _ in 0..3 {
            assert_eq!(slow.next_code().await, "r0");
        }
        for number in 6..all {
            assert_eq!(slow.next_code().await, format!("r{number}"), "the newest, in order");
        }
    });
}

#[test]
fn what_waits_is_told_by_the_next_service() {
    block_on(async {
        let folder = tempfile::tempdir().unwrap();
        let mut hook = Hook::open().await;
        hook.bid(&[Manner::Hangs]);
        let alerts = [("ops", hook.properties(&[]))];
        let records = Arc::new(Records::in_memory(NodeId(1)));
        let world = World::over(folder.path(), Arc::clone(&records), &alerts);
        world.write("a");
        world.write("b");
        assert_eq!(hook.next_code().await, "a");
        world.until("both wait", |w| w.track("ops").waiting == 2).await;
        world.working.abort();
        // Written while nobody looks.
        records.write(record("c", None));
        let world = World::over(folder.path(), records, &alerts);
        for code in ["a", "b", "c"] {
            assert_eq!(hook.next_code().await, code);
        }
        world.until("all is told", |w| w.track("ops").waiting == 0).await;
        // With the last alert all is forgotten: one that is added later begins anew.
        world.standing.send_modify(|standing| standing.alerts.clear());
        tokio::time::timeout(WAIT, world.working).await.expect("it ends").unwrap();
        assert!(!folder.path().join("alerts.json").exists());
    });
}

#[test]
fn a_change_is_told_by_the_node_that_leads() {
    block_on(async {
        let folder = tempfile::tempdir().unwrap();
        let mut hook = Hook::open().await;
        let world = World::open(folder.path(), &[("ops", hook.properties(&[]))]);
        world.setting.records.write(record("group-granted", Some(7)));
        world.write("suspected");
        assert_eq!(hook.next_code().await, "suspected", "what it saw itself it tells at once");
        world.standing.send_modify(|standing| standing.leads = true);
        let (key, told) = hook.next().await;
        assert_eq!((key.as_str(), &told["code"]), ("demo-i7.0", &"group-granted".into()));
    });
}

#[test]
fn a_test_is_told_once_and_its_outcome_shows() {
    block_on(async {
        let folder = tempfile::tempdir().unwrap();
        let mut hook = Hook::open().await;
        hook.bid(&[Manner::Says(500)]);
        let world = World::open(folder.path(), &[("ops", hook.properties(&[]))]);
        let test = async |name: &str| {
            let (answer, answered) = oneshot::channel();
            world.tests.send(Test { alert: name.into(), answer }).await.unwrap();
            tokio::time::timeout(WAIT, answered).await.expect("an answer in time").unwrap()
        };
        assert!(test("ops").await.unwrap_err().ends_with("answered 500 Internal Server Error"));
        assert_eq!(hook.next_code().await, "alert-test");
        world.until("the failure shows", |w| w.track("ops").trouble().is_some()).await;
        assert!(test("ops").await.unwrap().ends_with("answered 204 No Content"));
        world.until("the success shows", |w| w.track("ops").trouble().is_none()).await;
        assert!(test("gone").await.is_err());
    });
}

#[test]
fn the_thread_is_there_only_while_there_are_alerts() {
    let folder = tempfile::tempdir().unwrap();
    let records = Arc::new(Records::in_memory(NodeId(1)));
    let inbox = Arc::new(Inbox::new().unwrap());
    let path = folder.path().join("alerts.json");
    let alerts = Alerts::new(path, "demo".into(), NodeId(1), records);
    let mut serving = Serving::new();
    let is_open = |alerts: &Alerts| alerts.is_open.load(Ordering::Acquire);
    let mut none = View::default();
    alerts.look(&mut none, (&mut serving, &inbox));
    assert!(!is_open(&alerts), "nothing runs without alerts");
    let one = AlertView {
        alert: "ops".into(),
        properties: properties(&[("command", "/bin/true")]),
        track: Track::default(),
    };
    let mut some = View { alerts: vec![one], ..View::default() };
    alerts.look(&mut some, (&mut serving, &inbox));
    assert!(is_open(&alerts));
    assert!(block_on(alerts.test(&"ops".into())).unwrap().starts_with("`/bin/true` ended"));
    let end = Instant::now() + WAIT;
    while is_open(&alerts) {
        assert!(Instant::now() < end, "it goes on without alerts");
        alerts.look(&mut none, (&mut serving, &inbox));
        std::thread::sleep(Duration::from_millis(5));
    }
    alerts.look(&mut some, (&mut serving, &inbox));
    assert!(block_on(alerts.test(&"ops".into())).is_ok(), "and comes back");
}

#[test]
fn a_command_does_not_outlive_the_service() {
    let folder = tempfile::tempdir().unwrap();
    let records = Arc::new(Records::in_memory(NodeId(1)));
    let inbox = Arc::new(Inbox::new().unwrap());
    let path = folder.path().join("alerts.json");
    let alerts = Alerts::new(path, "demo".into(), NodeId(1), Arc::clone(&records));
    let pids = folder.path().join("pids");
    let command = script(&folder, &format!("echo $$ > {}; exec sleep 1000", pids.display()));
    let one = AlertView {
        alert: "ops".into(),
        properties: properties(&[("command", &command), ("timeout", "20s")]),
        track: Track::default(),
    };
    let mut serving = Serving::new();
    let mut view = View { alerts: vec![one], ..View::default() };
    alerts.look(&mut view, (&mut serving, &inbox));
    let began = Instant::now();
    let asked = std::thread::spawn(move || block_on(alerts.test(&"ops".into())));
    let pid = loop {
        let text = std::fs::read_to_string(&pids).unwrap_or_default();
        match text.trim() {
            "" => std::thread::sleep(Duration::from_millis(5)),
            pid => break pid.to_owned(),
        }
        assert!(began.elapsed() < WAIT, "it does not begin");
    };
    drop(serving);
    assert!(asked.join().unwrap().is_err());
    until_dead(&pid, began);
}

fn until_dead(pid: &str, began: Instant) {
    let stat = format!("/proc/{pid}/stat");
    while std::fs::read_to_string(&stat).is_ok_and(|stat| !stat.contains(") Z ")) {
        assert!(began.elapsed() < WAIT, "{pid} is alive");
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn script(folder: &TempDir, text: &str) -> String {
    use std::os::unix::fs::PermissionsExt;
    let path = folder.path().join("page");
    std::fs::write(&path, format!("#!/bin/sh\n{text}\n")).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    path.to_str().unwrap().to_owned()
}

/// What becomes of a command with these words and this limit.
fn ran(command: &str, limit: &str) -> Result<String, Failure> {
    let alert = Alert::parse(&properties(&[("command", command), ("timeout", limit)])).unwrap();
    let told = Arc::new(Record { at: UtcMillis(5), ..record("group-failed", None) });
    let message = Message::new("ops".into(), "demo".into(), told);
    block_on(call(&alert, &message))
}

#[test]
fn a_command_gets_the_record_and_no_other_environment() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("out");
    let text =
        format!("cat > {out}; env | sort >> {out}; echo \"$1\" >> {out}", out = out.display());
    let command = format!("{} 'to me'", script(&folder, &text));
    assert!(ran(&command, "20s").unwrap().contains("exit status: 0"));
    let said = std::fs::read_to_string(out).unwrap();
    let (json, rest) = said.split_once('\n').unwrap();
    let told: Value = serde_json::from_str(json).unwrap();
    assert_eq!((&told["code"], &told["level"]), (&"group-failed".into(), &"error".into()));
    for line in ["STEAD_ALERT=ops", "STEAD_GROUP=web", "STEAD_LEVEL=error", "STEAD_RESOURCE="] {
        assert!(rest.lines().any(|l| l == line), "no {line} in {rest}");
    }
    assert!(rest.ends_with("\nto me\n"));
    let others = rest.lines().filter(|l| l.contains('=') && !l.starts_with("STEAD_"));
    let others: Vec<_> = others.map(|l| l.split_once('=').unwrap().0).collect();
    assert!(others.iter().all(|name| ["PATH", "PWD", "OLDPWD", "SHLVL", "_"].contains(name)));
}

#[test]
fn a_command_that_hangs_is_killed_with_all_that_it_started() {
    let folder = tempfile::tempdir().unwrap();
    let pids = folder.path().join("pids");
    let text = format!("sleep 1000 & echo $! > {}; echo busy >&2; wait", pids.display());
    let began = Instant::now();
    let Err(Failure::Lasting(why)) = ran(&script(&folder, &text), "1s") else { panic!("it ended") };
    assert!(why.ends_with("did not end within 1s and was killed: busy"), "{why}");
    assert!(began.elapsed() < WAIT);
    let pid = std::fs::read_to_string(pids).unwrap();
    until_dead(pid.trim(), began);
}

#[test]
fn a_command_that_fails_floods_or_is_not_there_is_told_in_few_words() {
    let folder = tempfile::tempdir().unwrap();
    let failed = |text: &str| match ran(&script(&folder, text), "20s") {
        Err(Failure::Lasting(why)) => why,
        other => panic!("{other:?}"),
    };
    let why = failed("echo 'no such team' >&2; exit 3");
    assert!(why.ends_with("ended with exit status: 3: no such team"), "{why}");
    assert!(failed("kill -9 $$").contains("signal: 9"));
    // 8 MiB on both outputs: it is read to its end, and a few bytes are kept.
    let why = failed("head -c 8388608 /dev/zero | tr '\\0' x | tee /dev/stderr; exit 1");
    assert!(why.ends_with("xxx") && why.len() < 600, "{} bytes", why.len());
    // What stays behind with the output open delays nothing.
    let why = failed("sleep 5 & exit 2");
    assert!(why.ends_with("exit status: 2"), "{why}");
    let Err(Failure::Lasting(why)) = ran("/nowhere/page", "20s") else { panic!("it ended") };
    assert!(why.starts_with("cannot start `/nowhere/page`: No such file"), "{why}");
}
