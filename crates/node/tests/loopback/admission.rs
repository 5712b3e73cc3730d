//! Hosts that show a join token, honest and not: nobody gets in but by a token of the cluster,
//! once, and who says nothing or nonsense keeps nobody out (issue 5; A-200).

use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, StreamOwned};
use serde_json::{Value, json};
use stead_model::config::QuorumMode;
use stead_model::request::Request;
use stead_trust::{Authority, Fingerprint, JoinToken, pinned_client};

use crate::world::{KEY, WAIT, World, alone};

const AT: &str = "127.78.1.1";

/// A line to a member.
struct Line(BufReader<StreamOwned<ClientConnection, TcpStream>>);

impl Line {
    fn open(port: u16, pinned: Fingerprint) -> Self {
        let stream = TcpStream::connect((AT, port + 2)).unwrap();
        stream.set_read_timeout(Some(WAIT)).unwrap();
        let client: Arc<ClientConfig> = pinned_client(pinned).unwrap();
        let name = ServerName::try_from("member.invalid").unwrap();
        let tls = ClientConnection::new(client, name).unwrap();
        Self(BufReader::new(StreamOwned::new(tls, stream)))
    }

    fn say(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        self.0.get_mut().write_all(bytes)?;
        self.0.get_mut().flush()
    }

    /// `Null` where the member hangs up.
    fn ask(&mut self, what: &Value) -> Value {
        let mut answer = String::new();
        let asked = self.say(format!("{what}\n").as_bytes());
        match asked.and_then(|()| self.0.read_line(&mut answer)) {
            Ok(_) => serde_json::from_str(&answer).unwrap_or_default(),
            Err(_) => Value::Null,
        }
    }
}

/// What nodes speak: `net/hello`.
const PROTOCOL: u16 = 3;

fn call(secret: &[u8; 16], by: u64) -> Value {
    json!({ "protocol": PROTOCOL, "version": "0", "secret": secret, "by": by })
}

fn admit(name: &str, last: u8) -> Value {
    let address =
        |network: u8| json!({ "network": network, "address": format!("127.78.{network}.{last}") });
    json!({ "Admit": { "name": name, "addresses": [address(1), address(2)] } })
}

fn refusal(answer: &Value) -> String {
    format!("{} {}", answer["Refused"]["text"], answer["Refused"]["cause"])
}

/// A cluster of one whose member has its papers, and a token of it.
fn member(port: u16) -> (World, JoinToken) {
    let world = World::new(1, QuorumMode::NodeMajority, port);
    world.one_leader();
    let at = format!("{AT}:{}", port + 2).parse().unwrap();
    let token = JoinToken::create(world.authority.fingerprint(), vec![at]).unwrap();
    let refused = TcpStream::connect((AT, port + 2)).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::ConnectionRefused, "it listens without a token");
    let request = Request::MakeToken { token: token.hash(), minutes: 5 };
    world.runtime.block_on(world.nodes[0].client().request(&request)).unwrap();
    let end = Instant::now() + WAIT;
    while TcpStream::connect((AT, port + 2)).is_err() {
        assert!(Instant::now() < end, "it does not listen with a token");
        std::thread::sleep(Duration::from_millis(5));
    }
    (world, token)
}

#[test]
fn a_token_lets_one_host_in_and_gives_it_all_that_a_node_has() {
    let _alone = alone();
    let (world, token) = member(17_608);
    let open = || Line::open(17_608, token.authority());
    let mut line = open();
    let welcome = line.ask(&call(token.secret(), 1));
    assert_eq!(welcome["Welcome"]["config"]["cluster"], "loop", "{welcome}");
    assert_eq!(welcome["Welcome"]["known_as"], Value::Null);
    // Interrupted here, it asks again as the same one.
    let first = line.ask(&admit("beta", 9));
    for mut line in [open(), open()] {
        assert_eq!(line.ask(&call(token.secret(), 1))["Welcome"]["known_as"], 2);
        assert_eq!(line.ask(&admit("beta", 9)), first);
    }
    let admitted = &first["Admitted"];
    assert_eq!(admitted["key"], json!(KEY));
    assert_eq!(admitted["authority"][0], json!(world.authority.certificate_pem()));
    let config = &admitted["config"];
    assert_eq!((&config["node"], &config["founders"]), (&json!(2), &json!([1])));
    let nodes: Vec<_> = config["nodes"].as_array().unwrap().iter().map(|n| &n["id"]).collect();
    assert_eq!(nodes, [1, 2]);
    let other = refusal(&open().ask(&call(token.secret(), 7)));
    assert!(other.contains("it was used: it let n2 in"), "{other}");
    // Who joins later is told of all who joined before.
    let second = JoinToken::create(token.authority(), token.members().to_vec()).unwrap();
    let request = Request::MakeToken { token: second.hash(), minutes: 5 };
    world.runtime.block_on(world.nodes[0].client().request(&request)).unwrap();
    let mut line = open();
    line.ask(&call(second.secret(), 2));
    let taken = refusal(&line.ask(&admit("BETA", 10)));
    assert!(taken.contains("n2 has that name"), "{taken}");
    let mut line = open();
    line.ask(&call(second.secret(), 2));
    let third = line.ask(&admit("gamma", 10));
    let config = &third["Admitted"]["config"];
    let nodes: Vec<_> = config["nodes"].as_array().unwrap().iter().map(|n| &n["id"]).collect();
    assert_eq!((nodes, &config["founders"]), (vec![&json!(1), &json!(2), &json!(3)], &json!([1])));
}

#[test]
fn nobody_gets_in_without_a_token_of_the_cluster_and_nobody_keeps_others_out() {
    let _alone = alone();
    let (world, token) = member(17_610);
    let open = || Line::open(17_610, token.authority());
    let strange = refusal(&open().ask(&call(&[0; 16], 1)));
    assert!(strange.contains("it is none of this cluster"), "{strange}");
    let new = json!({ "protocol": 99, "version": "9.9", "oath": 1 });
    let version = refusal(&open().ask(&new));
    let own = env!("CARGO_PKG_VERSION");
    assert!(version.contains("the host runs stead 9.9 (protocol 99), n1 runs stead"), "{version}");
    assert!(version.contains(own), "{version}");
    let mut later = call(token.secret(), 1);
    later["version"] = json!("9.9.1");
    later["levels"] = json!({ "lowest": 8, "highest": 9 });
    let level = refusal(&open().ask(&later));
    let both =
        "the host runs stead 9.9.1 (levels 8 to 9), the cluster is at level 1 of stead 0.1.0";
    assert!(level.contains(both), "{level}");
    // A token of another cluster: its authority is another one, and nothing is said to this one.
    let other = Authority::create(1, std::time::SystemTime::now()).unwrap();
    let mut foreign = Line::open(17_610, other.fingerprint());
    assert_eq!(foreign.ask(&call(token.secret(), 1)), Value::Null);
    // To be admitted without having shown one, and to say too much, ends the line.
    for noise in
        [admit("eve", 66), json!({ "protocol": PROTOCOL, "version": "0" }), json!("x".repeat(9000))]
    {
        let answer = open().ask(&noise);
        assert!(answer["Admitted"].is_null() && answer["Welcome"].is_null(), "{answer}");
    }
    // Who opens lines and says nothing is closed, and keeps no honest host out meanwhile.
    let mut silent: Vec<TcpStream> =
        (0..100).map(|_| TcpStream::connect((AT, 17_612)).unwrap()).collect();
    let welcome = open().ask(&call(token.secret(), 3));
    assert_eq!(welcome["Welcome"]["config"]["cluster"], "loop", "{welcome}");
    for stream in &mut silent {
        stream.set_read_timeout(Some(WAIT)).unwrap();
        let closed = stream.read(&mut [0; 16]);
        assert!(
            matches!(&closed, Ok(0))
                || closed.is_err_and(|e| e.kind() == ErrorKind::ConnectionReset)
        );
    }
    let told = crate::attacks::records(&world, 0);
    let refused = told.iter().find(|record| record.code == "hosts-refused").unwrap();
    assert!(refused.text.contains("127.0.0.1: the join token is refused"), "{}", refused.text);
    assert!(world.view(0).quorum.has_quorum);
    assert_eq!(world.view(0).nodes.len(), 1, "somebody got in");
}
