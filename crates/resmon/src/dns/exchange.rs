//! One question to one server, and its answer: by UDP, or by TCP where that is too short.

use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream, UdpSocket};
use std::time::{Duration, Instant};

use domain::base::Message;
use domain::base::iana::Rcode;
use rustix::rand::{GetRandomFlags, getrandom};

use super::Trouble;
use super::key::Key;
use super::sign::{self, Signed, Unsigned};

/// How long each try waits for an answer. A question that was lost is asked again.
const TRIES: [Duration; 2] = [Duration::from_millis(700), Duration::from_secs(2)];
/// What every server takes by UDP.
const UDP_BYTES_MAX: usize = 512;

/// A server, and the key it knows us by.
#[derive(Debug)]
pub(super) struct Server<'a> {
    pub(super) address: SocketAddr,
    pub(super) key: Option<&'a Key>,
    /// The clock that signatures are made by.
    pub(super) now_s: fn() -> u64,
}

impl Server<'_> {
    /// Sends a message and waits for its answer; which code that has is for the caller to judge.
    ///
    /// # Errors
    /// No answer, or one that is not this server's.
    pub(super) fn ask(&self, mut message: Vec<u8>) -> Result<Message<Vec<u8>>, Trouble> {
        let mut id = [0; 2];
        getrandom(&mut id, GetRandomFlags::empty()).map_err(|why| self.silent(why.into()))?;
        message[..2].copy_from_slice(&id);
        let signed = match self.key {
            Some(key) => Ok(sign::sign(key, message, (self.now_s)())),
            None => Err(message),
        };
        let bytes = signed.as_ref().map_or_else(|plain| plain.as_slice(), |s| s.bytes.as_slice());
        let answer = self.exchange(bytes).map_err(|why| self.silent(why))?;
        if let (Some(key), Ok(signed)) = (self.key, &signed) {
            self.check(key, signed, &answer)?;
        }
        Ok(answer)
    }

    fn exchange(&self, bytes: &[u8]) -> io::Result<Message<Vec<u8>>> {
        if bytes.len() <= UDP_BYTES_MAX {
            let answer = self.by_udp(bytes)?;
            if !answer.header().tc() {
                return Ok(answer);
            }
        }
        self.by_tcp(bytes)
    }

    fn by_udp(&self, bytes: &[u8]) -> io::Result<Message<Vec<u8>>> {
        let any: IpAddr = match self.address {
            SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
            SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
        };
        let socket = UdpSocket::bind((any, 0))?;
        socket.connect(self.address)?;
        let mut buffer = vec![0; 64 << 10];
        for limit in TRIES {
            socket.send(bytes)?;
            let end = Instant::now() + limit;
            while let Some(left) = end.checked_duration_since(Instant::now()) {
                socket.set_read_timeout(Some(left.max(Duration::from_millis(1))))?;
                match socket.recv(&mut buffer) {
                    Ok(got) => {
                        if let Some(answer) = fitting(bytes, &buffer[..got]) {
                            return Ok(answer);
                        }
                    }
                    Err(why) if is_late(&why) => break,
                    Err(why) => return Err(why),
                }
            }
        }
        Err(io::Error::new(io::ErrorKind::TimedOut, "not within its time"))
    }

    fn by_tcp(&self, bytes: &[u8]) -> io::Result<Message<Vec<u8>>> {
        let limit = TRIES[TRIES.len() - 1];
        let mut stream = TcpStream::connect_timeout(&self.address, limit)?;
        stream.set_read_timeout(Some(limit))?;
        stream.set_write_timeout(Some(limit))?;
        let length = u16::try_from(bytes.len()).map_err(io::Error::other)?;
        stream.write_all(&[&length.to_be_bytes(), bytes].concat())?;
        let mut length = [0; 2];
        stream.read_exact(&mut length)?;
        let mut answer = vec![0; u16::from_be_bytes(length).into()];
        stream.read_exact(&mut answer)?;
        fitting(bytes, &answer).ok_or_else(|| io::Error::other("it answers another question"))
    }

    fn check(&self, key: &Key, signed: &Signed, answer: &Message<Vec<u8>>) -> Result<(), Trouble> {
        let refused = |why: String| Trouble::Refused { server: self.address, why };
        let rcode = answer.header().rcode();
        match sign::check(key, signed, answer, (self.now_s)()) {
            Ok(()) => Ok(()),
            Err(Unsigned::BadKey) => Err(refused(format!(
                "does not know key `{}` with {} (BADKEY)",
                key.name,
                key.algorithm.name()
            ))),
            Err(Unsigned::BadSignature) => Err(refused(format!(
                "has another secret for key `{}` than this node (BADSIG)",
                key.name
            ))),
            Err(Unsigned::BadTime(ahead_s)) => Err(refused(format!(
                "takes no update because its clock and that of this node differ by {} s (BADTIME): \
                 the {} one is behind; set both by NTP",
                ahead_s.unsigned_abs(),
                if ahead_s > 0 { "node's" } else { "server's" }
            ))),
            // A server that refuses before it looks at the key need not sign that.
            Err(Unsigned::Missing) if rcode != Rcode::NOERROR && rcode != Rcode::NXDOMAIN => {
                Err(self.refused(rcode))
            }
            Err(Unsigned::Missing) => Err(self.garbled("it is not signed")),
            Err(Unsigned::Forged) => Err(self.garbled("its signature is not that of the key")),
            Err(Unsigned::Other(code)) => Err(refused(format!("finds fault with the key: {code}"))),
        }
    }

    /// What an error code means, in words.
    pub(super) fn refused(&self, rcode: Rcode) -> Trouble {
        let why = match rcode {
            Rcode::REFUSED if self.key.is_some() => {
                "refuses (REFUSED): its zone has no `update-policy` that grants this to the key"
            }
            Rcode::REFUSED => "refuses (REFUSED): it takes no update without a key, see `tsig-key`",
            Rcode::NOTAUTH => "is not authoritative for the zone (NOTAUTH): see `zone`",
            Rcode::NOTZONE => "says that the name does not lie in the zone (NOTZONE): see `zone`",
            Rcode::NOTIMP => "takes no dynamic updates (NOTIMP)",
            Rcode::SERVFAIL => "failed (SERVFAIL): its log says why",
            _ => return Trouble::Refused { server: self.address, why: format!("says {rcode}") },
        };
        Trouble::Refused { server: self.address, why: why.to_owned() }
    }

    pub(super) fn garbled(&self, why: impl ToString) -> Trouble {
        Trouble::Garbled { server: self.address, why: why.to_string() }
    }

    fn silent(&self, why: io::Error) -> Trouble {
        let why = match why.kind() {
            io::ErrorKind::ConnectionRefused => "connection refused".to_owned(),
            _ => why.to_string(),
        };
        Trouble::Silent { server: self.address, why }
    }
}

/// The answer, if it is one to this question.
fn fitting(question: &[u8], bytes: &[u8]) -> Option<Message<Vec<u8>>> {
    let message = Message::from_octets(bytes.to_vec()).ok()?;
    let fits = bytes.get(..2) == question.get(..2) && message.header().qr();
    fits.then_some(message)
}

fn is_late(why: &io::Error) -> bool {
    matches!(why.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut)
}
