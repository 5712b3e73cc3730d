//! One conversation with a host, and who may have one.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;
use stead_api::Backend;
use stead_model::LogIndex;
use stead_model::config::{NodeAddress, NodeConfig};
use stead_model::reason::{Code, Reason};
use stead_model::record::Level;
use stead_model::request::{self, Envelope, Request};
use stead_model::token::Shown;
use stead_trust::{JoinToken, TrustError};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{oneshot, watch};
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::wire::{ASK_BYTES_MAX, Admitted, Answer, Ask, Call, Outline, Version};
use super::{Setting, Standing, port, reach};
use crate::board::Board;
use crate::inbox::{Item, WelcomeWish, Welcomed};
use crate::net::Callers;
use crate::{clock, net};

/// A host shows a token within this time.
const SHOWN_WITHIN: Duration = Duration::from_secs(5);
/// From then on it has this long for all of it.
const DONE_WITHIN: Duration = Duration::from_secs(60);
/// What the cluster agreed on is here within this time.
const APPLIED_WITHIN: Duration = Duration::from_secs(10);
/// After a listener failed.
const PAUSE: Duration = Duration::from_millis(50);
/// All hosts that have not shown a token are bounded together, as if they had one address: any
/// address may call.
const ANYBODY: IpAddr = IpAddr::V4(Ipv4Addr::UNSPECIFIED);

type Line = BufReader<TlsStream<TcpStream>>;

/// Why a conversation ends.
enum Ended {
    /// The host is gone.
    Gone,
    /// It is told, and so is whoever reads the records.
    Refused(Reason),
    /// It is not told: it does not speak as a host does.
    Noise(String),
}

impl From<io::Error> for Ended {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::InvalidData => Self::Noise(error.to_string()),
            _ => Self::Gone,
        }
    }
}

impl From<Reason> for Ended {
    fn from(reason: Reason) -> Self {
        Self::Refused(reason)
    }
}

/// Where hosts ask to be let in.
#[derive(Debug)]
pub(super) struct Desk {
    setting: Setting,
    standing: watch::Receiver<Standing>,
    board: Arc<Board>,
    callers: Arc<Callers>,
}

impl Desk {
    pub(super) fn new(
        setting: Setting,
        standing: watch::Receiver<Standing>,
        board: Arc<Board>,
    ) -> Self {
        let callers = Arc::new(Callers::new(Arc::clone(&setting.records)));
        Self { setting, standing, board, callers }
    }

    /// Lets hosts in until no token is good any more.
    pub(super) async fn run(self) {
        let desk = Arc::new(self);
        let mut listening = JoinSet::new();
        let mut open = Vec::new();
        for (end, _) in desk.setting.peers.ends() {
            match desk.listen(end) {
                Ok((listener, at)) => {
                    open.push(at.to_string());
                    listening.spawn(Arc::clone(&desk).accept(listener));
                }
                Err(why) => desk.note(Level::Warning, "admission-failed", &why),
            }
        }
        desk.note(Level::Info, "admission-open", &format!("hosts may join: {}", open.join(", ")));
        let mut standing = desk.standing.clone();
        // An error means that the service ends.
        let _ = standing.wait_for(|standing| !standing.admits).await;
        desk.note(Level::Info, "admission-closed", "no join token is good any more");
    }

    fn note(&self, level: Level, code: &str, text: &str) {
        self.setting.records.note(level, code, text);
    }

    fn listen(&self, end: usize) -> Result<(TcpListener, SocketAddr), String> {
        let own = &self.setting.peers.networks[end];
        let port = port(own.local.port()).ok_or("there is no port above that of the nodes")?;
        let at = SocketAddr::new(own.local.ip(), port);
        let failed =
            |e: io::Error| format!("no host can join on {at} (network `{}`): {e}", own.name);
        net::listen(at).map(|listener| (listener, at)).map_err(failed)
    }

    async fn accept(self: Arc<Self>, listener: TcpListener) {
        loop {
            let Ok((stream, from)) = listener.accept().await else {
                tokio::time::sleep(PAUSE).await;
                continue;
            };
            let number = self.callers.number();
            let task = tokio::spawn(Arc::clone(&self).converse(stream, (from.ip(), number)));
            self.callers.wait(ANYBODY, number, task.abort_handle());
        }
    }

    async fn converse(self: Arc<Self>, stream: TcpStream, (from, number): (IpAddr, u64)) {
        let met = timeout(SHOWN_WITHIN, self.meet(stream)).await;
        self.callers.done(ANYBODY, number);
        let ended = match met {
            Ok(Ok((mut line, shown))) => timeout(DONE_WITHIN, self.serve(&mut line, shown, from))
                .await
                .unwrap_or_else(|_| Err(Ended::Noise("it did not come to an end in time".into()))),
            Ok(Err(ended)) => Err(ended),
            Err(_) => Err(Ended::Noise("it did not show a token in time".into())),
        };
        match ended {
            Ok(()) | Err(Ended::Gone) => {}
            Err(Ended::Refused(reason)) => self.callers.host(from, &reason.to_string()),
            Err(Ended::Noise(why)) => self.callers.host(from, &why),
        }
    }

    /// Until the host has shown a token that is good.
    async fn meet(&self, stream: TcpStream) -> Result<(Line, Shown), Ended> {
        let acceptor = TlsAcceptor::from(self.setting.tls.get());
        let mut line = BufReader::new(acceptor.accept(stream).await?);
        let text = hear(&mut line).await?;
        let greeted = self.greet(&text).await;
        let (shown, outline) = match greeted {
            Ok(greeted) => greeted,
            Err(ended) => return Err(tell(&mut line, ended).await),
        };
        say(&mut line, &Answer::Welcome(Box::new(outline))).await?;
        Ok((line, shown))
    }

    async fn greet(&self, text: &str) -> Result<(Shown, Outline), Ended> {
        read::<Version>(text)?.check(self.setting.peers.node)?;
        let Call { version, secret, by } = read(text)?;
        let shown = Shown { token: JoinToken::hash_of(&secret), by };
        let Welcomed { config, known_as, mark, disks } = self.welcome(shown).await?;
        version.fits(mark)?;
        let (version, at) = (Version::own(), clock::utc());
        Ok((shown, Outline { version, at, config, known_as, disks }))
    }

    /// Asks the core whether the token is good, and for the configuration as it is now.
    async fn welcome(&self, shown: Shown) -> Result<Welcomed, Reason> {
        let (answer, answered) = oneshot::channel();
        self.setting.inbox.push(Item::Welcome(WelcomeWish { shown, answer }));
        let ending = || Err(Reason::new(Code::Conflict, "the member is ending"));
        answered.await.unwrap_or_else(|_| ending())
    }

    async fn serve(&self, line: &mut Line, shown: Shown, from: IpAddr) -> Result<(), Ended> {
        loop {
            let text = hear(line).await?;
            let answer = match read(&text)? {
                Ask::Reach(addresses) => {
                    Ok(Answer::Reached(reach::all(&self.setting.peers, &addresses).await))
                }
                Ask::Admit { name, addresses } => {
                    let admitted = self.admit((name, addresses), shown, from).await;
                    admitted.map(|a| Answer::Admitted(Box::new(a)))
                }
            };
            match answer {
                Ok(answer) => say(line, &answer).await?,
                Err(reason) => return Err(tell(line, Ended::Refused(reason)).await),
            }
        }
    }

    async fn admit(
        &self,
        (name, addresses): (String, Vec<NodeAddress>),
        shown: Shown,
        from: IpAddr,
    ) -> Result<Admitted, Reason> {
        // Looked at first: a node that could not get its papers must not be in the log.
        let pki = self.setting.paths.pki();
        let authority = pki.authority().map_err(untrusted)?;
        let key = pki.load().map_err(untrusted)?.keys.own.bytes;
        let printable: String = name.chars().take(64).collect();
        let who = format!("host `{}` at {from}", printable.escape_debug());
        let request = Request::AddNode { number: None, name, addresses, token: Some(shown) };
        let envelope = Envelope { id: self.board.next_request_id(), who, request };
        let index = match self.board.request(envelope).await {
            request::Answer::Done { index } | request::Answer::Noted { index, .. } => index,
            request::Answer::Refused(reason) => return Err(reason),
            request::Answer::Foreseen(_) => return Err(bug("it was foreseen and not done")),
        };
        self.applied(index).await?;
        let Welcomed { config, known_as, .. } = self.welcome(shown).await?;
        let node = known_as.filter(|node| config.node_entry(*node).is_some());
        let node =
            node.ok_or_else(|| bug("the host is a node, and the database has no such one"))?;
        let authority = (authority.certificate_pem().to_owned(), authority.key_pem());
        Ok(Admitted {
            config: NodeConfig { node, watchdog: None, ..config },
            key,
            authority: (authority.0, authority.1.reveal().to_owned()),
        })
    }

    /// Waits until this node has what the cluster agreed on.
    async fn applied(&self, index: LogIndex) -> Result<(), Reason> {
        let mut standing = self.standing.clone();
        let there = standing.wait_for(|standing| standing.applied >= index);
        match timeout(APPLIED_WITHIN, there).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(_)) | Err(_) => {
                let text = format!("{} does not have what was agreed on", self.setting.peers.node);
                Err(Reason::new(Code::Timeout, text).hint("repeat the command: it goes on"))
            }
        }
    }
}

async fn hear(line: &mut Line) -> Result<String, Ended> {
    let mut text = String::new();
    let read = line.take(ASK_BYTES_MAX).read_line(&mut text).await?;
    match text.pop() {
        Some('\n') => Ok(text),
        Some(_) if read as u64 == ASK_BYTES_MAX => {
            Err(Ended::Noise(format!("it says more than {ASK_BYTES_MAX} bytes at once")))
        }
        Some(_) | None => Err(Ended::Gone),
    }
}

fn read<M: DeserializeOwned>(text: &str) -> Result<M, Ended> {
    serde_json::from_str(text).map_err(|error| {
        // What the parser says may quote: only where it ended is told.
        let at = format!("line of {} bytes, wrong at {}", text.len(), error.column());
        Ended::Refused(Reason::new(Code::Invalid, "the member does not understand").because(at))
    })
}

async fn say(line: &mut Line, message: &impl Serialize) -> Result<(), Ended> {
    let mut text = serde_json::to_vec(message).map_err(io::Error::other)?;
    text.push(b'\n');
    line.get_mut().write_all(&text).await?;
    Ok(line.get_mut().flush().await?)
}

/// Tells the host why it ends, where it can be told.
async fn tell(line: &mut Line, ended: Ended) -> Ended {
    if let Ended::Refused(reason) = &ended {
        // Who is gone already is not told.
        let _ = say(line, &Answer::Refused(reason.clone())).await;
        let _ = line.get_mut().shutdown().await;
    }
    ended
}

fn bug(cause: &str) -> Reason {
    Reason::new(Code::Bug, "cannot let the host in").because(cause)
}

fn untrusted(error: TrustError) -> Reason {
    cannot_sign(error.to_string(), error.hint())
}

fn cannot_sign(cause: String, hint: Option<String>) -> Reason {
    let reason = Reason::new(Code::Conflict, "the member cannot let hosts in").because(cause);
    match hint {
        Some(hint) => reason.hint(hint),
        None => reason,
    }
}
