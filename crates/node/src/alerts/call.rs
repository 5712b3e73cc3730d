//! One call: a record is posted to a web address, or handed to a command.

use std::future::pending;
use std::process::{ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use http_body_util::Full;
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper::{Request, StatusCode, header};
use hyper_util::rt::TokioIo;
use rustix::process::{Pid, Signal, kill_process_group};
use serde::Serialize;
use stead_model::AlertId;
use stead_model::alert::{self, Alert, Call, WebAddress};
use stead_model::record::Record;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::process::{Child, ChildStderr, ChildStdin, Command};
use tokio::time::timeout;

/// Most bytes of the head of an answer; its body is not read.
const ANSWER_BYTES_MAX: usize = 16 << 10;
/// Bytes kept of what a command says on stderr; the rest is read and forgotten.
const SAID_BYTES_MAX: usize = 300;
/// What a command said is waited for so long once it has ended: what it left behind may hold the
/// pipe open.
const LAST_WORDS: Duration = Duration::from_millis(100);
/// A killed command is waited for so long: the kernel may hold it for longer.
const BURIAL: Duration = Duration::from_secs(1);
/// Where a command finds others.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// What somebody is told: a record, by an alert.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Message {
    pub(super) alert: AlertId,
    pub(super) cluster: String,
    /// The same for the same news, whoever tells it and however often.
    pub(super) key: String,
    #[serde(flatten)]
    pub(super) record: Arc<Record>,
}

/// Why a call did not get through.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Failure {
    /// It may get through later.
    Passing(String),
    /// It will not.
    Lasting(String),
}

impl Message {
    pub(super) fn new(alert: AlertId, cluster: String, record: Arc<Record>) -> Self {
        let key = match record.entry {
            Some(entry) => format!("{cluster}-{}.{}", entry.index, entry.change),
            None => format!("{cluster}-{}-{}", record.node, record.number),
        };
        Self { alert, cluster, key, record }
    }

    fn json(&self) -> Vec<u8> {
        let mut json = serde_json::to_vec(self).expect("a record has a form in JSON");
        json.push(b'\n');
        json
    }

    /// What a script needs without reading JSON.
    fn variables(&self) -> Vec<(&'static str, String)> {
        let record = &self.record;
        let group = record.group.as_ref().map(ToString::to_string);
        let resource = record.resource.as_ref().map(ToString::to_string);
        vec![
            ("PATH", PATH.to_owned()),
            ("STEAD_ALERT", self.alert.to_string()),
            ("STEAD_CLUSTER", self.cluster.clone()),
            ("STEAD_KEY", self.key.clone()),
            ("STEAD_NODE", record.node.to_string()),
            ("STEAD_NUMBER", record.number.to_string()),
            ("STEAD_LEVEL", record.level.word().to_owned()),
            ("STEAD_CODE", record.code.clone()),
            ("STEAD_GROUP", group.unwrap_or_default()),
            ("STEAD_RESOURCE", resource.unwrap_or_default()),
            ("STEAD_TEXT", record.text.replace('\0', "")),
        ]
    }
}

/// Calls once, and says how it went.
pub(super) async fn call(alert: &Alert, message: &Message) -> Result<String, Failure> {
    let limit = Duration::from_millis(alert.timeout_ms.into());
    match &alert.call {
        Call::Webhook(address) => match timeout(limit, post(address, message)).await {
            Ok(answered) => answered,
            Err(_) => {
                let why = format!("`{address}` did not answer within {limit:?}");
                Err(Failure::Passing(why))
            }
        },
        Call::Command(command) => run(command, message, limit).await.map_err(Failure::Lasting),
    }
}

async fn post(address: &str, message: &Message) -> Result<String, Failure> {
    let to = WebAddress::parse(address).map_err(|reason| Failure::Lasting(reason.to_string()))?;
    let broken = |why: String| Failure::Passing(format!("cannot call `{address}`: {why}"));
    let stream = TcpStream::connect((to.host.as_str(), to.port)).await;
    let stream = stream.map_err(|error| broken(error.to_string()))?;
    let builder = http1::Builder::new().max_buf_size(ANSWER_BYTES_MAX).clone();
    let opened = builder.handshake(TokioIo::new(stream)).await;
    let (mut sender, connection) = opened.map_err(|error| broken(error.to_string()))?;
    let request = Request::post(to.path)
        .header(header::HOST, to.authority)
        .header(header::USER_AGENT, concat!("stead/", env!("CARGO_PKG_VERSION")))
        .header(header::CONTENT_TYPE, "application/json")
        .header("idempotency-key", &message.key)
        .body(Full::new(Bytes::from(message.json())))
        .map_err(|error| Failure::Lasting(format!("cannot call `{address}`: {error}")))?;
    let connected = async {
        // How it ended the request tells.
        drop(connection.await);
        pending().await
    };
    let answered = tokio::select! {
        biased;
        answered = sender.send_request(request) => answered,
        never = connected => never,
    };
    let status = answered.map_err(|error| broken(error.to_string()))?.status();
    let said = format!("`{address}` answered {status}");
    match status {
        status if status.is_success() => Ok(said),
        StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_MANY_REQUESTS => Err(Failure::Passing(said)),
        status if status.is_server_error() => Err(Failure::Passing(said)),
        _ => Err(Failure::Lasting(said)),
    }
}

/// A command with all that it started, in a process group of its own: killed when it is dropped
/// before it has ended.
struct Running {
    child: Child,
    /// Until it has ended: afterwards the number may be another's.
    group: Option<Pid>,
}

impl Running {
    async fn ended(&mut self) -> std::io::Result<ExitStatus> {
        let status = self.child.wait().await;
        self.group = None;
        status
    }

    fn kill(&mut self) {
        if let Some(group) = self.group.take() {
            // Gone or not: nothing more can be done about it.
            let _ = kill_process_group(group, Signal::KILL);
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.kill();
    }
}

async fn run(command: &str, message: &Message, limit: Duration) -> Result<String, String> {
    let words = alert::program(command).map_err(|reason| reason.to_string())?;
    let child = Command::new(&words[0])
        .args(&words[1..])
        .env_clear()
        .envs(message.variables())
        .current_dir("/")
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .process_group(0)
        .kill_on_drop(true)
        .spawn();
    let mut child = child.map_err(|error| format!("cannot start `{}`: {error}", words[0]))?;
    let (stdin, stderr) = (child.stdin.take(), child.stderr.take());
    let group = child.id().and_then(|id| Pid::from_raw(id.cast_signed()));
    if let Some(pid) = child.id() {
        // The node service is spared when memory runs out; what it calls is not. One that has
        // ended already needs no score.
        let _ = std::fs::write(format!("/proc/{pid}/oom_score_adj"), "0");
    }
    let mut running = Running { child, group };
    let said = Mutex::new(Vec::new());
    let mut listening = Box::pin(listen(stderr, &said));
    let mut has_heard = false;
    let talk = async {
        let hear = async {
            (&mut listening).await;
            has_heard = true;
        };
        tokio::join!(feed(stdin, message.json()), hear);
        pending().await
    };
    let ended = tokio::select! {
        ended = timeout(limit, running.ended()) => ended,
        never = talk => never,
    };
    match ended {
        Ok(Ok(status)) if status.success() => Ok(format!("`{}` ended with {status}", words[0])),
        Ok(Ok(status)) => {
            if !has_heard {
                let _ = timeout(LAST_WORDS, listening).await;
            }
            Err(format!("`{}` ended with {status}{}", words[0], quoted(&said)))
        }
        Ok(Err(error)) => Err(format!("cannot wait for `{}`: {error}", words[0])),
        Err(_) => {
            running.kill();
            let _ = timeout(BURIAL, running.child.wait()).await;
            let said = quoted(&said);
            Err(format!("`{}` did not end within {limit:?} and was killed{said}", words[0]))
        }
    }
}

/// What reads no further, or has ended, wants no more of it.
async fn feed(stdin: Option<ChildStdin>, json: Vec<u8>) {
    if let Some(mut stdin) = stdin {
        let _ = stdin.write_all(&json).await;
    }
}

async fn listen(stderr: Option<ChildStderr>, said: &Mutex<Vec<u8>>) {
    let Some(mut stderr) = stderr else { return };
    let mut bytes = [0; 1024];
    while let Ok(count @ 1..) = stderr.read(&mut bytes).await {
        let mut said = said.lock().unwrap_or_else(PoisonError::into_inner);
        let room = SAID_BYTES_MAX.saturating_sub(said.len());
        said.extend_from_slice(&bytes[..count.min(room)]);
    }
}

fn quoted(said: &Mutex<Vec<u8>>) -> String {
    let said = said.lock().unwrap_or_else(PoisonError::into_inner);
    let text = String::from_utf8_lossy(&said);
    let text: String = text.trim().chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    if text.is_empty() { text } else { format!(": {text}") }
}
