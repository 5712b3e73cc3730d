//! Streams to and from all peers, on a thread of their own: encoding a large snapshot there never
//! delays a heartbeat.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;

use stead_model::NodeId;
use stead_model::wire::peer::PeerMessage;
use stead_trust::{Credentials, TrustError};

use super::callers::Callers;
use super::incoming::Incoming;
use super::line::{Line, Surroundings};
use super::{Peers, Reach};
use crate::elsewhere::Elsewhere;
use crate::inbox::{Inbox, Item};
use crate::threads::{self, Serving};

/// The core thread's end of all streams.
#[derive(Debug)]
pub(crate) struct Streams {
    around: Surroundings,
    inbox: Arc<Inbox>,
    lines: Lines,
    /// The thread; it is joined when this is dropped.
    serving: Serving,
}

type Lines = BTreeMap<NodeId, Vec<Arc<Line>>>;

impl Streams {
    /// Starts the thread.
    pub(crate) fn start(around: Surroundings, inbox: Arc<Inbox>) -> io::Result<Self> {
        let (lines, serving) = begin(&around, &inbox)?;
        Ok(Self { around, inbox, lines, serving })
    }

    /// Nodes joined, or are no members any more, or another use is made of the networks: the
    /// thread begins anew, with lines to those that are. What waited in the old lines is dropped
    /// like what waits in one that breaks.
    pub(crate) fn meet(&mut self, peers: Arc<Peers>, reach: Arc<Reach>) -> io::Result<()> {
        // The old thread is gone before the new one listens on the same addresses.
        self.serving = Serving::new();
        (self.around.peers, self.around.reach) = (peers, reach);
        (self.lines, self.serving) = begin(&self.around, &self.inbox)?;
        Ok(())
    }

    /// Questions to other nodes, whose answers come by these streams.
    pub(crate) fn elsewhere(&self) -> Arc<Elsewhere> {
        Arc::clone(&self.around.elsewhere)
    }

    /// Connections from now on prove themselves with these.
    pub(crate) fn rekey(&self, credentials: &Credentials) -> Result<(), TrustError> {
        self.around.tls.rekey(credentials)
    }

    /// Sends a message over the best connected network; over the best one where none is.
    pub(crate) fn send(&self, to: NodeId, message: PeerMessage) {
        let Some(lines) = self.lines.get(&to) else { return };
        let connected = lines.iter().filter(|l| l.is_connected()).map(|l| l.route());
        let best = self.around.reach.best(connected);
        let best = best.or_else(|| self.around.reach.best(lines.iter().map(|l| l.route())));
        if let Some(line) = lines.iter().find(|l| Some(l.route()) == best) {
            line.push(message);
        }
    }

    /// Sends a message to every other node.
    pub(crate) fn send_to_all(&self, message: &PeerMessage) {
        self.lines.keys().for_each(|node| self.send(*node, message.clone()));
    }

    /// A route is heard again, or by another life of the peer.
    pub(crate) fn nudge(&self, route: usize) {
        let line = self.lines.values().flatten().find(|l| l.route() == route);
        if let Some(line) = line {
            line.nudge();
        }
    }
}

/// Starts the thread over one line per route.
fn begin(around: &Surroundings, inbox: &Arc<Inbox>) -> io::Result<(Lines, Serving)> {
    let mut lines = Lines::new();
    for (route, way) in around.peers.routes.iter().enumerate() {
        lines.entry(way.peer).or_default().push(Arc::new(Line::new(route)));
    }
    let all: Vec<Arc<Line>> = lines.values().flatten().cloned().collect();
    let runtime = threads::runtime()?;
    let work = serve(all, around.clone(), Arc::clone(inbox));
    let mut serving = Serving::new();
    serving.start("streams", (Arc::clone(inbox), runtime), work)?;
    Ok((lines, serving))
}

async fn serve(lines: Vec<Arc<Line>>, around: Surroundings, inbox: Arc<Inbox>) {
    for line in lines {
        tokio::spawn(line.run(around.clone()));
    }
    let mut listening = tokio::task::JoinSet::new();
    let callers = Arc::new(Callers::new(Arc::clone(&around.records)));
    for (end, own) in around.peers.ends() {
        let (callers, inbox) = (Arc::clone(&callers), Arc::clone(&inbox));
        let incoming = Incoming::new(around.clone(), callers, inbox, end);
        let own = own.clone();
        listening.spawn(async move { (own, Arc::new(incoming).run().await) });
    }
    while let Some(ended) = listening.join_next().await {
        let why = match ended {
            Ok((own, Err(error))) => {
                format!("cannot listen on {} (network `{}`): {error}", own.local, own.name)
            }
            Ok((own, Ok(()))) => format!("network `{}` is no longer listened on", own.name),
            Err(error) => format!("a task of the streams ended: {error}"),
        };
        inbox.push(Item::Fatal(why));
    }
    // A node with no cluster network at all: nothing to do, for ever.
    std::future::pending::<()>().await;
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock;
    use crate::net::Tls;
    use crate::net::hello::{Greeting, Hello, PROTOCOL, spoken, stretch};
    use crate::net::peers::tests::config;
    use crate::records::Records;
    use rustls::pki_types::ServerName;
    use rustls::{ClientConfig, ClientConnection, ServerConnection, StreamOwned};
    use std::io::{Read, Write};
    use std::net::{SocketAddr, TcpStream};
    use std::time::{Duration, Instant, SystemTime};
    use stead_core::{Arrival, Event};
    use stead_model::profile::Profile;
    use stead_model::program::{Speaker, talk};
    use stead_model::wire::codec;
    use stead_model::wire::peer::{PeerFrame, RaftMessage};
    use stead_model::{Incarnation, Time, VoterId};
    use stead_trust::{Authority, NODE_PROTOCOL, pinned_client};

    const WAIT: Duration = Duration::from_secs(20);

    struct Node {
        streams: Streams,
        peers: Arc<Peers>,
        reach: Arc<Reach>,
        inbox: Arc<Inbox>,
        records: Arc<Records>,
    }

    /// A cluster whose nodes know each other.
    struct World {
        authority: Authority,
        port: u16,
    }

    impl World {
        fn new(port: u16) -> Self {
            Self { authority: authority(), port }
        }

        fn credentials(&self, number: u16) -> Credentials {
            of(&self.authority, &self.authority, number)
        }

        fn node(&self, number: u16, life: u64) -> Node {
            let timing = Profile::Standard.timing();
            let peers = Arc::new(Peers::new(&config(number, self.port), Incarnation(life)));
            let reach = Arc::new(Reach::new(peers.routes.len(), &timing));
            let inbox = Arc::new(Inbox::new().unwrap());
            let records = Arc::new(Records::in_memory(NodeId(number)));
            let around = Surroundings {
                peers: Arc::clone(&peers),
                reach: Arc::clone(&reach),
                records: Arc::clone(&records),
                elsewhere: Arc::new(Elsewhere::new(1, Arc::clone(&inbox))),
                timing,
                tls: Tls::new(&self.credentials(number)).unwrap(),
            };
            let streams = Streams::start(around, Arc::clone(&inbox)).unwrap();
            Node { streams, peers, reach, inbox, records }
        }
    }

    fn authority() -> Authority {
        Authority::create(99, SystemTime::now()).unwrap()
    }

    /// A node's certificate of one authority, which trusts another one.
    fn of(issuer: &Authority, trusted: &Authority, number: u16) -> Credentials {
        let issued = issuer.issue(NodeId(number), SystemTime::now()).unwrap();
        Credentials::from_pem(trusted.certificate_pem(), &issued.certificate, &issued.key).unwrap()
    }

    fn message(number: u64, bytes: usize) -> PeerMessage {
        let bytes = vec![number as u8; bytes];
        PeerMessage::Raft(RaftMessage { from: VoterId(1), to: VoterId(2), age: None, bytes })
    }

    fn next(inbox: &Inbox) -> Option<Event> {
        use rustix::event::{PollFd, PollFlags, Timespec, poll};
        let mut fds = [PollFd::new(inbox, PollFlags::IN)];
        poll(&mut fds, Some(&Timespec { tv_sec: 0, tv_nsec: 50_000_000 })).unwrap();
        match inbox.pop() {
            Some(Item::Event(event)) => Some(event),
            Some(Item::Macs(from, macs)) => {
                assert_eq!((from, macs), (NodeId(1), crate::net::interfaces::macs()));
                next(inbox)
            }
            None => None,
            other => panic!("{other:?}"),
        }
    }

    /// Sends until something arrives, then everything else up to the end mark in order.
    fn meet(from: &Node, to: &Node) {
        let until = Instant::now() + WAIT;
        while next(&to.inbox).is_none() {
            assert!(Instant::now() < until, "no stream came up");
            from.streams.send(to.peers.node, message(0, 1));
        }
        while next(&to.inbox).is_some() {}
    }

    #[test]
    fn messages_arrive_in_order_whatever_their_size() {
        let world = World::new(17_541);
        let (one, two) = (world.node(1, 1), world.node(2, 2));
        meet(&one, &two);
        let sizes = [1, 100_000, 3, 20 << 20, 5];
        for (number, size) in sizes.iter().enumerate() {
            one.streams.send(NodeId(2), message(number as u64, *size));
            let until = Instant::now() + WAIT;
            let event = loop {
                assert!(Instant::now() < until, "{number} never arrived");
                if let Some(event) = next(&two.inbox) {
                    break event;
                }
            };
            let Event::Received { from, arrival: Arrival::Stream, message: got } = event else {
                panic!("{event}")
            };
            assert_eq!((from, got), (NodeId(1), message(number as u64, *size)));
        }
    }

    #[test]
    fn a_peer_in_another_life_is_called_again() {
        let world = World::new(17_542);
        let (one, two) = (world.node(1, 1), world.node(2, 2));
        meet(&one, &two);
        let route = one.peers.routes.iter().position(|r| r.peer == NodeId(2)).unwrap();
        let line = &one.streams.lines[&NodeId(2)][0];
        assert!(line.is_connected());
        let silent = |times: usize| {
            let until = Instant::now() + WAIT;
            let mut seen = 0;
            while seen < times && Instant::now() < until {
                seen += usize::from(!line.is_connected());
                std::thread::yield_now();
            }
            seen
        };
        one.reach.hear(route, Time(1), Incarnation(3));
        one.streams.nudge(route);
        assert_eq!(silent(1), 1, "the connection to the old life was kept");
    }

    /// A connection to node 2 from an address of the cluster.
    fn dial(port: u16, from: &str) -> TcpStream {
        use socket2::{Domain, Socket, Type};
        let local: SocketAddr = format!("{from}:0").parse().unwrap();
        let remote: SocketAddr = format!("127.77.1.2:{port}").parse().unwrap();
        let until = Instant::now() + WAIT;
        loop {
            let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
            socket.bind(&local.into()).unwrap();
            match socket.connect(&remote.into()) {
                Ok(()) => {
                    let stream: TcpStream = socket.into();
                    stream.set_read_timeout(Some(WAIT)).unwrap();
                    return stream;
                }
                Err(error) => assert!(Instant::now() < until, "{error}"),
            }
        }
    }

    /// Says something inside TLS and reads what is answered.
    fn say(port: u16, client: Arc<ClientConfig>, bytes: &[u8]) -> Vec<u8> {
        let name = ServerName::try_from("node.invalid").unwrap();
        let connection = ClientConnection::new(client, name).unwrap();
        let mut stream = StreamOwned::new(connection, dial(port, "127.77.1.1"));
        let _ = stream.write_all(bytes);
        stream.conn.send_close_notify();
        let _ = stream.flush();
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        answer
    }

    fn greeting(answer: &[u8]) -> Option<Greeting> {
        codec::decode::<Greeting>(answer).unwrap().map(|(greeting, _)| greeting)
    }

    fn hello(port: u16) -> Vec<u8> {
        let caller = Peers::new(&config(1, port), Incarnation(1));
        let mut hello = codec::encode(&Hello::new(&caller, NodeId(2)));
        hello.append(&mut stretch(0));
        hello
    }

    /// Waits until node 2 has told something.
    fn told(node: &Node, code: &str) -> String {
        let until = Instant::now() + WAIT;
        loop {
            let records = node.records.since(0, 1000).records;
            if let Some(record) = records.into_iter().find(|record| record.code == code) {
                return record.text;
            }
            assert!(Instant::now() < until, "{code} was never told");
        }
    }

    #[test]
    fn nobody_is_heard_who_does_not_prove_to_be_the_node_of_the_address() {
        let world = World::new(17_544);
        let hello = hello(17_544);
        let right = world.credentials(1).client().unwrap();
        let other = authority();
        let mut bare = ClientConfig::clone(&pinned_client(world.authority.fingerprint()).unwrap());
        bare.alpn_protocols = vec![NODE_PROTOCOL.to_vec()];
        let wrong = [
            ("another authority", of(&other, &world.authority, 1).client().unwrap()),
            ("another node", world.credentials(3).client().unwrap()),
            ("no certificate", Arc::new(bare)),
        ];
        for (what, client) in wrong {
            // A node of its own for each, so that what it tells is about this one.
            let two = world.node(2, 2);
            assert_eq!(greeting(&say(17_544, client, &hello)), None, "{what} was greeted");
            let why = told(&two, "callers-refused");
            assert!(why.contains("from addresses of nodes were closed: 1"), "{why}");
            let detail = match what {
                "another authority" => "invalid peer certificate",
                "another node" => "its certificate is that of n3 of cluster 63, its address is",
                _ => "peer sent no certificates",
            };
            assert!(why.contains(detail), "{what}: {why}");
            assert!(next(&two.inbox).is_none());
        }
        let two = world.node(2, 2);
        let clear = {
            let mut stream = dial(17_544, "127.77.1.1");
            stream.write_all(&hello).unwrap();
            let mut answer = Vec::new();
            let _ = stream.read_to_end(&mut answer);
            answer
        };
        let answered = codec::decode::<Greeting>(&clear);
        assert!(!matches!(answered, Ok(Some(_))), "a hello in clear was answered: {answered:?}");
        assert!(greeting(&say(17_544, right, &hello)).is_some());
        drop(two);
    }

    #[test]
    fn who_only_opens_connections_keeps_no_node_out() {
        let world = World::new(17_545);
        let two = world.node(2, 2);
        // Far more than may wait; each says a little and no more.
        let mut slow: Vec<TcpStream> = (0..100).map(|_| dial(17_545, "127.77.1.1")).collect();
        for stream in &mut slow {
            let _ = stream.write_all(&[0x16, 3, 1]);
        }
        let right = world.credentials(1).client().unwrap();
        assert!(greeting(&say(17_545, right, &hello(17_545))).is_some());
        assert!(told(&two, "callers-refused").contains("too many connections"));
    }

    #[test]
    fn a_peer_that_is_somebody_else_is_told_and_gets_nothing() {
        let (world, other) = (World::new(17_546), World::new(17_546));
        let one = world.node(1, 1);
        let impostor = other.node(2, 2);
        one.streams.send(NodeId(2), message(1, 1));
        let why = told(&one, "peer-not-trusted");
        assert!(why.contains("no stream to n2 at 127.77.") && why.contains("certificate"), "{why}");
        assert!(next(&impostor.inbox).is_none());
    }

    #[test]
    fn a_route_on_which_only_small_packets_pass_is_told_and_is_told_to_pass_again() {
        let world = World::new(17_547);
        // The kernel takes connections at once, and what is said over them is not read.
        let deaf = std::net::TcpListener::bind("127.77.1.2:17547").unwrap();
        let one = world.node(1, 1);
        let route = one.peers.routes.iter().position(|r| (r.peer, r.end) == (NodeId(2), 0));
        let heartbeats = || one.reach.hear(route.unwrap(), clock::now(), Incarnation(2));
        let until = Instant::now() + WAIT;
        let of = |code: &str| {
            let found = one.records.since(0, 1000).records.into_iter().filter(|r| r.code == code);
            found.map(|record| record.text).collect::<Vec<_>>()
        };
        while of("streams-stuck").is_empty() {
            assert!(Instant::now() < until, "it was never told");
            heartbeats();
            std::thread::yield_now();
        }
        assert!(!one.streams.lines[&NodeId(2)][0].is_connected());
        let why = of("streams-stuck").remove(0);
        assert!(
            why.contains("streams to n2 at 127.77.1.2:17547 get stuck on network `net1`"),
            "{why}"
        );
        drop(deaf);
        let two = world.node(2, 2);
        let until = Instant::now() + WAIT;
        while of("streams-pass").is_empty() {
            assert!(Instant::now() < until, "it was never told that streams pass");
            std::thread::yield_now();
        }
        assert_eq!(of("streams-stuck").len(), 1, "told once");
        drop(two);
    }

    #[test]
    fn nodes_of_two_protocols_are_told_both_versions_on_both_sides() {
        let world = World::new(17_548);
        let strange = Speaker { who: "n1", version: "9.8.7", protocol: PROTOCOL + 1 };
        let why = talk(strange, spoken("n2")).unwrap_err();
        let own = env!("CARGO_PKG_VERSION");
        assert!(why.contains("stead 9.8.7") && why.contains(&format!("stead {own}")), "{why}");
        // Who calls, and is refused.
        let other = std::net::TcpListener::bind("127.77.1.2:17548").unwrap();
        let one = world.node(1, 1);
        one.streams.send(NodeId(2), message(1, 1));
        let (stream, _) = other.accept().unwrap();
        let server = ServerConnection::new(world.credentials(2).server().unwrap()).unwrap();
        let mut stream = StreamOwned::new(server, stream);
        assert!(stream.read(&mut [0; 1]).unwrap() > 0);
        stream.write_all(&codec::encode(&Greeting::Refused(why.clone()))).unwrap();
        stream.flush().unwrap();
        let told_here = told(&one, "stream-refused");
        assert_eq!(told_here, format!("n2 refuses streams of this node: {why}"));
        drop((one, stream, other));
        // Who is called, and refuses.
        let two = world.node(2, 2);
        let caller = Peers::new(&config(1, 17_548), Incarnation(1));
        let mut hello = Hello::new(&caller, NodeId(2));
        (hello.protocol, hello.version) = (strange.protocol, strange.version.into());
        let client = world.credentials(1).client().unwrap();
        let answer = greeting(&say(17_548, client, &codec::encode(&hello)));
        assert_eq!(answer, Some(Greeting::Refused(why.clone())));
        let told_there = told(&two, "callers-refused");
        assert!(told_there.contains(&why), "{told_there}");
    }

    #[test]
    fn hostile_streams_end_and_hurt_nobody() {
        let world = World::new(17_543);
        let two = world.node(2, 2);
        let client = world.credentials(1).client().unwrap();
        let say = |bytes: &[u8]| say(17_543, Arc::clone(&client), bytes);
        let hello = hello(17_543);
        let welcome = Greeting::Welcome { incarnation: Incarnation(2) };
        assert_eq!(greeting(&say(&hello)), Some(welcome));
        let mut other = Hello::new(&Peers::new(&config(1, 17_543), Incarnation(1)), NodeId(2));
        other.cluster_id = 1;
        let Some(Greeting::Refused(why)) = greeting(&say(&codec::encode(&other))) else {
            panic!("taken")
        };
        assert!(why.contains("belongs to cluster"), "{why}");
        let refused = greeting(&say(b"GET / HTTP/1.1\r\n\r\n"));
        assert!(matches!(refused, Some(Greeting::Refused(_))));
        let mut huge = hello.clone();
        huge[8..12].copy_from_slice(&(79_u32 << 20).to_le_bytes());
        huge.resize(64 << 10, 0);
        assert!(say(&huge).is_empty(), "a hello of 79 MiB was waited for");
        let frame = |from: u16| {
            codec::encode(&PeerFrame {
                cluster_id: 99,
                from: NodeId(from),
                to: NodeId(2),
                incarnation: Incarnation(1),
                message: message(1, 1),
            })
        };
        let mut state = 0x2545_f491_4f6c_dd1d_u64;
        for _ in 0..100 {
            let mut bytes = [hello.clone(), frame(1)].concat();
            for _ in 0..3 {
                state ^= state << 13;
                state ^= state >> 7;
                state ^= state << 17;
                let at = (state >> 8) as usize % bytes.len();
                bytes[at] ^= (state as u8).max(1);
            }
            say(&bytes);
        }
        say(&[hello.clone(), frame(3)].concat());
        while let Some(event) = next(&two.inbox) {
            let Event::Received { from, .. } = event else { panic!("{event}") };
            assert_eq!(from, NodeId(1), "a frame of somebody else came through");
        }
        say(&[hello, frame(1)].concat());
        let until = Instant::now() + WAIT;
        while next(&two.inbox).is_none() {
            assert!(Instant::now() < until, "the node no longer takes good frames");
        }
    }
}
