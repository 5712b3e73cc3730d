//! The line of a host that joins to a member: TLS in which the authority is pinned.

use std::io::{self, BufRead, BufReader, ErrorKind, Read, Write};
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
/// So is one where nobody says who it is within this time: a member that hangs.
const PROVEN_WITHIN: Duration = Duration::from_secs(5);
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
    let text = |error: io::Error| error.to_string();
    let mut socket = TcpStream::connect_timeout(&member, CONNECT_WITHIN).map_err(text)?;
    wait_for(&socket, PROVEN_WITHIN).map_err(text)?;
    let name = ServerName::from(member.ip());
    let mut tls = ClientConnection::new(Arc::clone(client), name).map_err(|e| e.to_string())?;
    let stranger = |error: io::Error| {
        format!("whoever answers there is no member of the cluster of this token ({error})")
    };
    while tls.is_handshaking() {
        let done = tls.complete_io(&mut socket);
        done.map_err(|e| broken(&e, PROVEN_WITHIN).unwrap_or_else(|| stranger(e)))?;
    }
    wait_for(&socket, ANSWER_WITHIN).map_err(text)?;
    Ok(BufReader::new(StreamOwned::new(tls, socket)))
}

/// The other end may take so long for what it says and what it reads.
fn wait_for(socket: &TcpStream, limit: Duration) -> io::Result<()> {
    socket.set_read_timeout(Some(limit)).and_then(|()| socket.set_write_timeout(Some(limit)))
}

/// What became of a line to a member that fell silent, or ended.
fn broken(error: &io::Error, limit: Duration) -> Option<String> {
    match error.kind() {
        ErrorKind::WouldBlock | ErrorKind::TimedOut => {
            Some(format!("it does not answer within {} s", limit.as_secs()))
        }
        ErrorKind::UnexpectedEof | ErrorKind::ConnectionReset | ErrorKind::BrokenPipe => {
            Some(ENDED.into())
        }
        _ => None,
    }
}

const ENDED: &str = "it ended in the middle";

fn ask(
    stream: &mut BufReader<StreamOwned<ClientConnection, TcpStream>>,
    what: &impl Serialize,
) -> Result<Answer, Reason> {
    let broke = |cause: String| {
        Reason::new(Code::Conflict, "the connection to the member broke")
            .because(cause)
            .hint("repeat the command: it goes on")
    };
    let failed = |e: io::Error| broke(broken(&e, ANSWER_WITHIN).unwrap_or_else(|| e.to_string()));
    let mut text = serde_json::to_vec(what).expect("own messages have text keys only");
    text.push(b'\n');
    let sent = stream.get_mut().write_all(&text).and_then(|()| stream.get_mut().flush());
    sent.map_err(failed)?;
    let mut line = String::new();
    let read = stream.take(ANSWER_BYTES_MAX).read_line(&mut line);
    read.map_err(failed)?;
    if !line.ends_with('\n') {
        return Err(broke(ENDED.into()));
    }
    // The text is not quoted: it may hold secrets.
    serde_json::from_str(&line).map_err(|_| confused())
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn a_member_that_falls_silent_and_one_that_ends_are_told_apart() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut socket = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (member, _) = listener.accept().unwrap();
        wait_for(&socket, Duration::from_millis(10)).unwrap();
        let mut told = |limit_s: u64| {
            let error = socket.read_exact(&mut [0]).unwrap_err();
            broken(&error, Duration::from_secs(limit_s))
        };
        assert_eq!(told(7).unwrap(), "it does not answer within 7 s");
        drop(member);
        assert_eq!(told(7).unwrap(), ENDED);
        let refused = io::Error::from(ErrorKind::ConnectionRefused);
        assert_eq!(broken(&refused, ANSWER_WITHIN), None);
    }
}
