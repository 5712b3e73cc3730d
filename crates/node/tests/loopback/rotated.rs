//! New keys follow those of the cluster while it works (issue 5, decision 0037): no lease is lost
//! and nobody is elected, a node that is interrupted anywhere goes on, and the former keys are
//! worth nothing afterwards, neither in datagrams nor on streams nor on the quorum disk.

use std::net::SocketAddr;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::time::{Instant, SystemTime};

use stead_journal::{ClusterKey, DiskId, Header, Identity, PlateError};
use stead_model::config::QuorumMode;
use stead_model::keys::{Keys, Other, Phase};
use stead_model::reason::Code;
use stead_model::record::Record;
use stead_model::request::Request;
use stead_model::token::TokenHash;
use stead_model::view::View;
use stead_model::{Incarnation, NodeId};
use stead_trust::{Addressee, Authority, Credentials, Keyring, SEALED_HEADER_BYTES, Sealer};

use crate::attacks::{Peace, address, knock, records, shoot, told};
use crate::world::{KEY, WAIT, World, alone, geometry};

fn ask(world: &World, index: usize, request: &Request) -> Result<(), Code> {
    let asked = world.runtime.block_on(world.nodes[index].client().request(request));
    match asked {
        Ok(_) => Ok(()),
        Err(stead_api::ClientError::Refused(reason)) => Err(reason.code),
        Err(error) => panic!("{error}"),
    }
}

fn is_over(view: &View) -> bool {
    view.rotation.as_ref().is_some_and(stead_model::view::RotationView::is_over)
}

fn is_in(view: &View, phase: Phase) -> bool {
    view.rotation.as_ref().is_some_and(|rotation| rotation.phase == phase)
}

fn keys(world: &World, index: usize) -> Keys {
    world.nodes[index].pki().load().unwrap().keys
}

/// Every node has this set, in its files too, and nothing of another one.
fn all_have_one_set(world: &World, nodes: usize) -> Keys {
    let first = keys(world, 0);
    for index in 0..nodes {
        let own = keys(world, index);
        assert_eq!((own.own, &own.other), (first.own, &Other::None), "n{}", index + 1);
        assert!(!world.nodes[index].pki().following_file().exists());
    }
    first
}

/// What `key` opens of the quorum disk: identity and headers, by their bytes.
fn opens(world: &World, key: [u8; 32]) -> Vec<bool> {
    let disk = std::fs::File::open(world.disk()).unwrap();
    let (key, id) = (ClusterKey::new(key), DiskId([9; 16]));
    let mut block = vec![0; 4096];
    disk.read_exact_at(&mut block, Identity::OFFSET).unwrap();
    let identity = Identity::decode(&block, Some(&key));
    let mut all = vec![identity.is_ok()];
    for slot in 0..geometry().slots() {
        let place = geometry().header_place(id, slot);
        disk.read_exact_at(&mut block, place.offset).unwrap();
        let header = Header::decode(&block, &place, &key);
        assert!(matches!(header, Ok(_) | Err(PlateError::WrongKey { .. })), "{header:?}");
        all.push(header.is_ok());
    }
    all
}

/// Datagrams and callers in the name of node 2 that come to node 1 with the keys the cluster was
/// formed with.
fn use_former_keys(world: &World, port: u16) {
    let sealer = Sealer::new(&Keyring::new(u64::from(port), &[KEY]), NodeId(2), Incarnation(5));
    let to = Addressee { node: NodeId(1), incarnation: Incarnation(5) };
    let datagram = |sequence| {
        let mut bytes = vec![0; SEALED_HEADER_BYTES + 20];
        sealer.seal(to, sequence, &mut bytes);
        bytes
    };
    let datagrams: Vec<_> = (1..100).map(datagram).collect();
    shoot(2, (1, port), &datagrams);
    let why = told(world, 0, "datagrams-refused");
    assert!(why.contains("127.78.1.2") && why.contains("key"), "{why}");
    call_as_node_1(world, port, &world.authority);
}

/// Calls node 2 from the address of node 1, with a certificate that this authority makes.
fn call_as_node_1(world: &World, port: u16, former: &Authority) {
    let at: SocketAddr = format!("{}:{port}", address(1, 2)).parse().unwrap();
    let hello = b"GET / HTTP/1.1\r\n\r\n";
    // Signed by the former authority, by somebody who believes whoever answers.
    let pki = world.nodes[0].pki();
    let issued = former.issue(NodeId(1), SystemTime::now()).unwrap();
    let authorities = pki.authorities().unwrap();
    let former = Credentials::from_pem(&authorities, &issued.certificate, &issued.key).unwrap();
    assert_eq!(knock(at, former.client().unwrap(), hello), b"", "it was answered");
    let why = told(world, 1, "callers-refused");
    assert!(why.contains("certificate"), "{why}");
    let now = pki.credentials().unwrap().client().unwrap();
    assert!(!knock(at, now, hello).is_empty(), "what counts now is answered, if only by a no");
}

#[test]
fn keys_follow_others_without_a_stop_and_an_evicted_node_is_left_with_nothing() {
    let _alone = alone();
    const PORT: u16 = 17_613;
    let mut world = World::new(3, QuorumMode::NodeAndDiskMajority, PORT);
    world.until("a host of the disk", |views| views.iter().all(|v| v.quorum.disk_host.is_some()));
    let peace = Peace::of(&world);
    assert!(opens(&world, KEY).iter().all(|opens| *opens));
    ask(&world, 0, &Request::RotateKeys).unwrap();
    world.until("the end", |views| views.iter().all(is_over));
    peace.holds(&world, "a rotation of the keys");
    let first = all_have_one_set(&world, 3);
    assert_ne!(first.own.bytes, KEY);
    assert!(opens(&world, KEY).iter().all(|opens| !opens), "the disk opens with the former key");
    assert!(opens(&world, first.own.bytes).iter().all(|opens| *opens));
    use_former_keys(&world, PORT);
    peace.holds(&world, "somebody with the former keys");

    // A node that is evicted has keys that end with the next rotation.
    ask(&world, 0, &Request::Evict { node: NodeId(3) }).unwrap();
    world.nodes[2].stop();
    world.until("two nodes", |views| views.iter().all(|view| view.nodes.len() == 2));
    world.one_leader();
    ask(&world, 1, &Request::RotateKeys).unwrap();
    world.until("the end", |views| {
        views.iter().all(|v| is_over(v) && v.rotation.as_ref().is_some_and(|r| r.number == 2))
    });
    let second = all_have_one_set(&world, 2);
    assert_eq!(keys(&world, 2).own, first.own, "what the evicted one has");
    assert!(opens(&world, first.own.bytes).iter().all(|opens| !opens));
    assert!(opens(&world, second.own.bytes).iter().all(|opens| *opens));

    // It can still write to the quorum disk: that is sealed anew by whoever has quorum (0041).
    let peace = Peace::of(&world);
    let place = geometry().header_place(DiskId([9; 16]), 4);
    let forged = Header { claim: 1 << 40, active: 1 << 40, counter: 1, incarnation: 1 };
    let disk = std::fs::File::options().write(true).open(world.disk()).unwrap();
    let forged = forged.encode(&place, &ClusterKey::new(first.own.bytes));
    disk.write_all_at(&forged, place.offset).unwrap();
    // Whichever node looks first.
    let seals = |r: &Record| r.code == "disk-sealed" && r.text.contains("a header of n3");
    world.until("a host of the disk, with new keys", |views| {
        let sealed = (0..2).any(|index| records(&world, index).iter().any(seals));
        let all = opens(&world, second.own.bytes).iter().all(|opens| *opens);
        sealed && all && views.iter().take(2).all(|v| v.quorum.disk_host.is_some())
    });
    let dead = |index| records(&world, index).iter().any(|r| r.code == "disk-dead");
    assert!(!dead(0) && !dead(1), "the disk is dead");
    peace.holds(&world, "a header under the key of an evicted node");
    call_as_node_1(&world, PORT, &world.nodes[2].pki().authority().unwrap());
    world.nodes[2].start();
    for number in 0..20 {
        world.set(0, &format!("while it calls {number}"));
        assert!(!world.view(2).quorum.has_quorum, "it was believed");
    }
    world.nodes[2].stop();
    peace.holds(&world, "an evicted node with the former keys");
}

/// Something in the way of a file of a node: what is to be written cannot be.
struct InTheWay(PathBuf);

impl InTheWay {
    fn of(world: &World, index: usize, file: &str) -> Self {
        let path = world.nodes[index].pki().following_file().with_file_name(file);
        std::fs::create_dir(&path).unwrap();
        Self(path)
    }
}

impl Drop for InTheWay {
    fn drop(&mut self) {
        std::fs::remove_dir(&self.0).unwrap();
    }
}

fn restart(world: &mut World, index: usize) {
    world.nodes[index].stop();
    world.nodes[index].start();
    world.one_leader();
}

#[test]
fn a_node_that_is_away_or_ends_in_any_phase_goes_on_where_the_others_are() {
    let _alone = alone();
    let mut world = World::new(3, QuorumMode::NodeMajority, 17_614);
    world.one_leader();
    world.nodes[1].stop();
    world.one_leader();
    ask(&world, 0, &Request::RotateKeys).unwrap();
    let waits = |view: &View| {
        is_in(view, Phase::Known)
            && view.rotation.as_ref().is_some_and(|r| {
                r.awaited.len() == 1
                    && (r.awaited[0].node, r.awaited[0].why.as_str()) == (NodeId(2), "is silent")
            })
    };
    world.until("n2 is waited for", |views| views.iter().all(waits));
    assert!(matches!(keys(&world, 2).other, Other::Next(1, _)));
    // Nobody is let in with keys that end.
    let token = Request::MakeToken { token: TokenHash([3; 32]), minutes: 5 };
    assert_eq!(ask(&world, 0, &token), Err(Code::Conflict));
    assert_eq!(ask(&world, 0, &Request::RotateKeys), Err(Code::Conflict));
    restart(&mut world, 2);
    assert!(is_in(&world.view(2), Phase::Known));

    let blocked = InTheWay::of(&world, 2, "next.new");
    world.nodes[1].start();
    let why = told(&world, 2, "keys-failed");
    assert!(why.contains("next.new"), "{why}");
    let views = world.until("the new keys are used by two", |views| {
        let used = |view: &View| {
            is_in(view, Phase::Used) && view.rotation.as_ref().is_some_and(|r| r.awaited.len() == 1)
        };
        views.iter().all(used)
    });
    assert_eq!(views[0].rotation.as_ref().unwrap().awaited[0].node, NodeId(3));
    assert_eq!(ask(&world, 0, &Request::AbandonKeys), Err(Code::Conflict));
    for index in 0..3 {
        restart(&mut world, index);
    }
    let index = world.set(2, "in between");
    world.applied_everywhere(index);
    let last = InTheWay::of(&world, 2, "node.pem.new");
    drop(blocked);
    world.until("the former keys end elsewhere", |views| {
        views.iter().all(|view| is_in(view, Phase::Ended))
    });
    // Its last step cannot be completed: it is when it starts again.
    let end = Instant::now() + WAIT;
    while !told(&world, 2, "keys-failed").contains("node.pem.new") {
        assert!(Instant::now() < end, "nothing was in its way");
    }
    assert!(matches!(keys(&world, 2).other, Other::None), "the file says what counts");
    drop(last);
    restart(&mut world, 2);
    world.until("the end", |views| views.iter().all(is_over));
    let set = all_have_one_set(&world, 3);
    assert_ne!(set.own.bytes, KEY);
}

#[test]
fn a_rotation_that_is_abandoned_leaves_the_keys_as_they_were() {
    let _alone = alone();
    let mut world = World::new(2, QuorumMode::NodeAndDiskMajority, 17_615);
    world.one_leader();
    world.nodes[1].stop();
    world.until("quorum with the disk", |views| views[0].quorum.has_quorum);
    let before = keys(&world, 0);
    ask(&world, 0, &Request::RotateKeys).unwrap();
    world.until("known", |views| is_in(&views[0], Phase::Known));
    let end = Instant::now() + WAIT;
    while keys(&world, 0).other == Other::None {
        assert!(Instant::now() < end, "no keys were made");
    }
    ask(&world, 0, &Request::AbandonKeys).unwrap();
    while keys(&world, 0) != before {
        assert!(Instant::now() < end, "they were not forgotten");
    }
    world.nodes[1].start();
    world.one_leader();
    assert!(world.view(1).rotation.is_none());
    ask(&world, 1, &Request::RotateKeys).unwrap();
    world.until("the end", |views| views.iter().all(is_over));
    all_have_one_set(&world, 2);
}
