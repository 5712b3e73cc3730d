//! Clients that wait for an answer of a dead owner are told that it is gone.
//!
//! While it serves, the owner leaves a note of its established connections for all nodes: at most
//! [`CONNECTIONS_MAX`], at most once a second, and only when they changed (and every
//! [`REPEAT_EVERY`], for nodes that came meanwhile). The successor tickles the clients of the last
//! note: their kernels ask back, its kernel resets. A connection younger than the last note is not
//! in it, and its client finds out by its own means.
//!
//! The kernel looks through all its connections for those of an address, so that is done only when
//! its counters say that some were opened or closed, and takes at most a hundredth of the time.

use std::fs::File;
use std::net::{IpAddr, SocketAddr};
use std::os::unix::fs::FileExt;
use std::time::{Duration, Instant};

use stead_model::wire::codec;
use stead_model::wire::guard::Claim;
use stead_netlink::{Connection, Listing, Tickler};

use crate::resource_type::{Context, Notes};

/// More are not told.
const CONNECTIONS_MAX: usize = 1000;
const LOOK_EVERY: Duration = Duration::from_secs(1);
const REPEAT_EVERY: Duration = Duration::from_secs(10);

/// The connections of an address, told to those who may own it later.
#[derive(Debug)]
pub(super) struct Sharing {
    address: IpAddr,
    context: Context,
    listing: Option<Listing>,
    /// The kernel's counters; kept open, for to open it costs more than to read it.
    counting: Option<File>,
    counters: Option<Counters>,
    shared: Vec<Connection>,
    shared_at: Instant,
    look_at: Instant,
}

/// Connections opened, accepted and standing, of the whole net namespace.
type Counters = [u64; 3];

impl Sharing {
    pub(super) fn new(address: IpAddr, context: Context) -> Self {
        let now = Instant::now();
        let listing = Listing::open().inspect_err(|why| {
            let text = format!("clients will not be told of a takeover: {why}");
            context.push.notice(text);
        });
        Self {
            address,
            context,
            listing: listing.ok(),
            counting: counting(),
            counters: None,
            shared: Vec::new(),
            shared_at: now,
            look_at: now,
        }
    }

    /// When to look next.
    pub(super) const fn next(&self) -> Instant {
        self.look_at
    }

    /// Looks, and leaves a note if there is something new.
    pub(super) fn look(&mut self) {
        let now = Instant::now();
        self.look_at = now + LOOK_EVERY;
        let counters = self.counting.as_ref().and_then(counters);
        if counters.is_none() || counters != self.counters {
            self.counters = counters;
            self.list(now);
        } else if !self.shared.is_empty() && now >= self.shared_at + REPEAT_EVERY {
            self.share(now);
        }
    }

    fn list(&mut self, now: Instant) {
        let Some(listing) = &self.listing else { return };
        // What the kernel does not tell now it tells the next time.
        let Ok(mut connections) = listing.established(self.address) else { return };
        self.look_at = now + LOOK_EVERY.max(now.elapsed() * 100);
        connections.sort_unstable();
        connections.truncate(CONNECTIONS_MAX);
        if connections != self.shared {
            self.shared = connections;
            self.share(now);
        }
    }

    fn share(&mut self, now: Instant) {
        self.shared_at = now;
        self.context.push.note(written(&self.shared));
    }
}

/// The clients of the former owner.
#[derive(Debug)]
pub(super) struct Waiting {
    connections: Vec<(SocketAddr, SocketAddr)>,
}

impl Waiting {
    pub(super) const fn nobody() -> Self {
        Self { connections: Vec::new() }
    }

    /// Those of the last note.
    pub(super) fn of(address: IpAddr, notes: &Notes, claim: &Claim) -> Self {
        let connections = notes.of(claim).and_then(|bytes| read(&bytes)).unwrap_or_default();
        let ends = |c: Connection| (SocketAddr::new(address, c.port), c.client);
        Self { connections: connections.into_iter().map(ends).collect() }
    }

    /// Tickles them all.
    pub(super) fn tickle(&self, context: &Context) {
        if self.connections.is_empty() {
            return;
        }
        match Tickler::open() {
            Ok(tickler) => {
                for (server, client) in &self.connections {
                    // A client without a route is not reached by anything else either.
                    drop(tickler.tickle(*server, *client));
                }
            }
            Err(why) => {
                let text = format!("clients of the former owner are not told: {why}");
                context.push.notice(text);
            }
        }
    }
}

fn written(connections: &[Connection]) -> Vec<u8> {
    let pairs = connections.iter().map(|connection| (connection.port, connection.client));
    codec::encode(&pairs.collect::<Vec<(u16, SocketAddr)>>())
}

/// `None`: it is damaged, or of another version.
fn read(bytes: &[u8]) -> Option<Vec<Connection>> {
    let (pairs, _) = codec::decode::<Vec<(u16, SocketAddr)>>(bytes).ok()??;
    let connections = pairs.into_iter().map(|(port, client)| Connection { port, client });
    Some(connections.take(CONNECTIONS_MAX).collect())
}

/// Where the kernel counts what happens in the net namespace of the calling thread.
fn counting() -> Option<File> {
    File::open("/proc/thread-self/net/snmp").ok()
}

/// `None`: the kernel does not say.
fn counters(file: &File) -> Option<Counters> {
    let mut text = [0; COUNTERS_BYTES];
    let length = file.read_at(&mut text, 0).ok()?;
    counters_in(std::str::from_utf8(&text[..length]).ok()?)
}

/// The file has a third of that.
const COUNTERS_BYTES: usize = 4096;

fn counters_in(text: &str) -> Option<Counters> {
    let mut lines = text.lines().filter_map(|line| line.strip_prefix("Tcp: "));
    let (names, values) = (lines.next()?, lines.next()?);
    let of = |wanted: &str| {
        let mut pairs = names.split_whitespace().zip(values.split_whitespace());
        pairs.find(|(name, _)| *name == wanted)?.1.parse().ok()
    };
    Some([of("ActiveOpens")?, of("PassiveOpens")?, of("CurrEstab")?])
}

#[cfg(test)]
mod tests {
    use super::*;
    use stead_model::note::{NOTE_BYTES_MAX, Note};
    use stead_model::{Epoch, LeaseNumber};

    fn connections(count: u16) -> Vec<Connection> {
        let client = |port| format!("[fd00:1234:5678:9abc:def0::1]:{port}").parse().unwrap();
        (0..count).map(|port| Connection { port, client: client(port) }).collect()
    }

    #[test]
    fn a_note_is_read_by_the_next_owner_and_nobody_else() {
        let address = "10.0.0.1".parse().unwrap();
        let claim = |epoch| Claim {
            group: "web".into(),
            resource: "ip".into(),
            epoch: Epoch(epoch),
            lease: LeaseNumber(1),
        };
        let note = |epoch, count| Note {
            resource: "ip".into(),
            epoch: Epoch(epoch),
            bytes: written(&connections(count)),
        };
        let notes = Notes::default();
        let waiting = |epoch| Waiting::of(address, &notes, &claim(epoch)).connections.len();
        assert_eq!(waiting(5), 0);
        notes.take(note(4, 3));
        notes.take(note(3, 9));
        assert_eq!(waiting(5), 3, "that of an earlier owner came late");
        assert_eq!(waiting(4), 0, "it is the node that wrote it");
        notes.take(Note { bytes: vec![1, 2, 3], ..note(4, 0) });
        assert_eq!(waiting(5), 0, "damaged");
    }

    #[test]
    fn a_note_is_bounded() {
        assert!(written(&connections(1000)).len() < NOTE_BYTES_MAX);
        assert_eq!(read(&written(&connections(2000))).unwrap().len(), CONNECTIONS_MAX);
    }

    #[test]
    fn counters_are_found_by_name() {
        let text = "Ip: Forwarding\nIp: 1\nTcp: RtoMin ActiveOpens PassiveOpens CurrEstab\n\
                    Tcp: 200 7 8 9\nUdp: X\nUdp: 1\n";
        assert_eq!(counters_in(text), Some([7, 8, 9]));
        assert_eq!(counters_in("Tcp: ActiveOpens\nTcp: 7\n"), None);
        let file = counting().unwrap();
        let before = counters(&file).unwrap();
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let client = std::net::TcpStream::connect(listener.local_addr().unwrap());
        assert_ne!(counters(&file).unwrap(), before, "{client:?}");
    }
}
