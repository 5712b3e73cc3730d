//! Further clients of a lab, for judging a virtual server from outside: one that waits in a read,
//! one that asks by ARP who has the address, and one that alerts can call.
//!
//! Each is a process in the client's namespaces (`lab-init reader`, `lab-init listener` and
//! `lab-init called`) that prints one line of JSON per event and ends when it is dropped.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddrV4, TcpListener, TcpStream};
use std::process::{Child, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::Duration;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use stead_netlink::{Claim, ConflictWatch, Route};

use crate::cabling::{Network, Station};
use crate::clock::boot_ns;
use crate::lab::{ExecError, Lab};
use crate::speaker;
use crate::step::{Step, StepError};

/// What became of a client that waits, on CLOCK_BOOTTIME.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Waited {
    /// It is connected and waits from now on.
    Connected { at_ns: u64 },
    /// It got a byte.
    Answered { at_ns: u64 },
    /// The connection ended in order.
    Closed { at_ns: u64 },
    /// The connection was reset.
    Reset { at_ns: u64 },
    /// Something else ended it.
    Failed { at_ns: u64 },
}

/// A station said by ARP that it has the address.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Voice {
    /// When it was heard, nanoseconds of CLOCK_BOOTTIME.
    pub at_ns: u64,
    /// Who; `None`: nobody of the lab.
    pub from: Option<Station>,
}

/// A web server of the client was called.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Call {
    /// When, nanoseconds of CLOCK_BOOTTIME.
    pub at_ns: u64,
    /// The body.
    pub body: serde_json::Value,
}

/// A client in the lab that tells events.
#[derive(Debug)]
pub struct Client<E> {
    child: Child,
    events: Receiver<E>,
}

/// A client that connects once, says nothing, and waits for an answer.
pub type Reader = Client<Waited>;
/// A client that asks by ARP every 20 ms who has an address.
pub type Listener = Client<Voice>;
/// A web server on all addresses of the client that takes JSON and tells it.
pub type Called = Client<Call>;

impl Client<Waited> {
    /// Connects to `target`.
    pub fn connect(lab: &Lab, target: SocketAddrV4) -> Result<Self, ExecError> {
        Self::start(lab, &["reader", &target.to_string()])
    }
}

impl Client<Voice> {
    /// Begins to ask for an address of the public network.
    pub fn listen(lab: &Lab, address: Ipv4Addr) -> Result<Self, ExecError> {
        Self::start(lab, &["listener", &address.to_string()])
    }
}

impl Client<Call> {
    /// Begins to serve on a port; where it is in use the client ends and tells nothing.
    pub fn serve(lab: &Lab, port: u16) -> Result<Self, ExecError> {
        Self::start(lab, &["called", &port.to_string()])
    }
}

impl<E: DeserializeOwned + Send + 'static> Client<E> {
    fn start(lab: &Lab, words: &[&str]) -> Result<Self, ExecError> {
        let mut command = speaker::command(lab, words)?;
        command.stdin(Stdio::null()).stdout(Stdio::piped());
        let mut child = command.spawn().step("start", "a client")?;
        let (sender, events) = channel();
        if let Some(stdout) = child.stdout.take() {
            thread::spawn(move || {
                let lines = BufReader::new(stdout).lines().map_while(Result::ok);
                for event in lines.filter_map(|line| serde_json::from_str(&line).ok()) {
                    if sender.send(event).is_err() {
                        return;
                    }
                }
            });
        }
        Ok(Self { child, events })
    }

    /// The next event, within `limit`.
    #[must_use]
    pub fn next(&self, limit: Duration) -> Option<E> {
        self.events.recv_timeout(limit).ok()
    }

    /// All events so far that were not taken.
    #[must_use]
    pub fn so_far(&self) -> Vec<E> {
        self.events.try_iter().collect()
    }
}

impl<E> Drop for Client<E> {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// `lab-init reader ADDRESS:PORT`.
pub(crate) fn read(arguments: impl Iterator<Item = OsString>) -> Result<u8, StepError> {
    let target: SocketAddrV4 = word(arguments)?;
    let mut stream = TcpStream::connect(target).step("connect to", target)?;
    let tell = |event: &Waited| print(event).step("tell", "what happened");
    tell(&Waited::Connected { at_ns: boot_ns() })?;
    let result = stream.read(&mut [0]);
    let at_ns = boot_ns();
    tell(&match result {
        Ok(0) => Waited::Closed { at_ns },
        Ok(_) => Waited::Answered { at_ns },
        Err(error) if error.kind() == io::ErrorKind::ConnectionReset => Waited::Reset { at_ns },
        Err(_) => Waited::Failed { at_ns },
    })?;
    Ok(0)
}

/// `lab-init listener ADDRESS`, until it is killed.
pub(crate) fn listen(arguments: impl Iterator<Item = OsString>) -> Result<u8, StepError> {
    let address: Ipv4Addr = word(arguments)?;
    let link = Route::open().and_then(|route| route.link(Network::Public.interface()));
    let link = link.step("find", "the client's interface")?;
    let mac = link.mac.ok_or("it has no MAC").step("use", &link.name)?;
    let claim = Claim { address: address.into(), ifindex: link.index, mac };
    let watch = ConflictWatch::open(claim).step("listen for", address)?;
    loop {
        claim.ask().step("ask for", address)?;
        let end_ns = boot_ns() + ASK_EVERY_NS;
        let mut heard = BTreeSet::new();
        while let Some(left) = end_ns.checked_sub(boot_ns()) {
            let said = watch.next(Duration::from_nanos(left)).step("listen for", address)?;
            // One and the same station within one question is one event.
            if let Some(mac) = said.filter(|mac| heard.insert(*mac)) {
                let voice = Voice { at_ns: boot_ns(), from: Station::with_mac(mac) };
                print(&voice).step("tell", "who was heard")?;
            }
        }
    }
}

/// `lab-init called PORT`, until it is killed. One caller at a time.
pub(crate) fn called(arguments: impl Iterator<Item = OsString>) -> Result<u8, StepError> {
    let port: u16 = word(arguments)?;
    let listener = TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)).step("listen on", port)?;
    loop {
        // What is no call, or is gone again, is not told.
        let Ok((stream, _)) = listener.accept() else { continue };
        if let Ok(body) = answer(&stream) {
            print(&Call { at_ns: boot_ns(), body }).step("tell", "what was posted")?;
        }
    }
}

/// Reads what is posted and says that it was taken.
fn answer(mut stream: &TcpStream) -> io::Result<serde_json::Value> {
    stream.set_read_timeout(Some(CALL_PATIENCE))?;
    let mut reader = BufReader::new(stream.take(CALL_BYTES_MAX));
    let mut length = 0;
    loop {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        let line = line.trim_end().to_ascii_lowercase();
        if let Some(value) = line.strip_prefix("content-length:") {
            length = value.trim().parse().unwrap_or(0);
        }
        if line.is_empty() {
            break;
        }
    }
    let body = serde_json::from_reader(reader.take(length))?;
    stream.write_all(b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n")?;
    Ok(body)
}

const CALL_BYTES_MAX: u64 = 1 << 20;
const CALL_PATIENCE: Duration = Duration::from_secs(10);
const ASK_EVERY_NS: u64 = 20_000_000;

fn word<T: std::str::FromStr>(
    mut arguments: impl Iterator<Item = OsString>,
) -> Result<T, StepError> {
    let word = arguments.next().and_then(|word| word.into_string().ok()).unwrap_or_default();
    word.parse().map_err(|_| "it is no address").step("understand", word)
}

fn print(event: &impl Serialize) -> io::Result<()> {
    let mut line = serde_json::to_vec(event)?;
    line.push(b'\n');
    let mut out = io::stdout().lock();
    out.write_all(&line)?;
    out.flush()
}
