//! The line of a host that joins to a member: TLS in which the authority is pinned.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, StreamOwned};
use serde::Serialize;
use stead_model::reason::{Code, Reason};
use stead_model::token::Applicant;
use stead_trust::{JoinToken, pinned_client};

use super::create::untrusted;
use crate::admission::wire::{ANSWER_BYTES_MAX, Answer, Ask, Call, Outline, Version};

/// An address that does not answer within this time is passed over.
const CONNECT_WITHIN: Duration = Duration::from_secs(3);
/// A member answers within this time: it may have to ask the cluster.
const ANSWER_WITHIN: Duration = Duration::from_secs(30);

/// A line that stands.
pub(super) struct Line {
    stream: BufReader<StreamOwned<ClientConnection, TcpStream>>,
    /// What the member said first.
    pub(super) outline: Outline,
    /// How long that took.
    pub(super) took: Duration,
}

impl Line {
    /// Calls one address of a token after the other, until a member lets this host in.
    pub(super) fn call(token: &JoinToken, by: Applicant) -> Result<Self, Reason> {
        let client = pinned_client(token.authority()).map_err(untrusted)?;
        let call = Call { version: Version::own(), secret: *token.secret(), by };
        let mut silent = Vec::new();
        for member in token.members() {
            match connect(*member, &client) {
                Ok(stream) => return Self::open(stream, &call),
                Err(why) => silent.push(format!("{member}: {why}")),
            }
        }
        Err(Reason::new(Code::NotFound, "no member of the cluster answers")
            .because(silent.join("; "))
            .hint(
                "a member listens there while a token is good: make one with `stead cluster \
                 token`, or open that port (TCP) in the firewalls between",
            ))
    }

    fn open(
        mut stream: BufReader<StreamOwned<ClientConnection, TcpStream>>,
        call: &Call,
    ) -> Result<Self, Reason> {
        let begun = Instant::now();
        match ask(&mut stream, call)? {
            Answer::Welcome(outline) => {
                Ok(Self { stream, outline: *outline, took: begun.elapsed() })
            }
            Answer::Reached(_) | Answer::Admitted(_) => Err(confused()),
            Answer::Refused(reason) => Err(reason),
        }
    }

    /// Asks something; a refusal is an error.
    pub(super) fn ask(&mut self, what: &Ask) -> Result<Answer, Reason> {
        match ask(&mut self.stream, what)? {
            Answer::Refused(reason) => Err(reason),
            answer @ (Answer::Welcome(_) | Answer::Reached(_) | Answer::Admitted(_)) => Ok(answer),
        }
    }
}

/// What a member said that does not fit.
pub(super) fn confused() -> Reason {
    Reason::new(Code::Bug, "the member answers something else than it was asked")
        .hint("install the same version of stead on both")
}

fn connect(
    member: SocketAddr,
    client: &Arc<ClientConfig>,
) -> Result<BufReader<StreamOwned<ClientConnection, TcpStream>>, String> {
    let text = |error: std::io::Error| error.to_string();
    let mut socket = TcpStream::connect_timeout(&member, CONNECT_WITHIN).map_err(text)?;
    let patience = Some(ANSWER_WITHIN);
    socket
        .set_read_timeout(patience)
        .and_then(|()| socket.set_write_timeout(patience))
        .map_err(text)?;
    let name = ServerName::from(member.ip());
    let mut tls = ClientConnection::new(Arc::clone(client), name).map_err(|e| e.to_string())?;
    while tls.is_handshaking() {
        tls.complete_io(&mut socket).map_err(|error| {
            format!("whoever answers there is no member of the cluster of this token ({error})")
        })?;
    }
    Ok(BufReader::new(StreamOwned::new(tls, socket)))
}

fn ask(
    stream: &mut BufReader<StreamOwned<ClientConnection, TcpStream>>,
    what: &impl Serialize,
) -> Result<Answer, Reason> {
    let broke = |cause: String| {
        Reason::new(Code::Conflict, "the connection to the member broke")
            .because(cause)
            .hint("repeat the command: it goes on")
    };
    let mut text = serde_json::to_vec(what).expect("own messages have text keys only");
    text.push(b'\n');
    let sent = stream.get_mut().write_all(&text).and_then(|()| stream.get_mut().flush());
    sent.map_err(|error| broke(error.to_string()))?;
    let mut line = String::new();
    let read = stream.take(ANSWER_BYTES_MAX).read_line(&mut line);
    read.map_err(|error| broke(error.to_string()))?;
    if !line.ends_with('\n') {
        return Err(broke("it ended in the middle".into()));
    }
    // The text is not quoted: it may hold secrets.
    serde_json::from_str(&line).map_err(|_| confused())
}
