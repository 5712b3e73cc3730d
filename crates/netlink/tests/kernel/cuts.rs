//! Cuts inside a bridge: one direction, all at once, gone without a trace.

use std::net::{IpAddr, UdpSocket};

use stead_netlink::{
    BridgeCuts, Cut, CutError, CutSupport, Frames, NeighbourEntry, NeighbourState, Port, Route,
};

use crate::sandbox;
use crate::wire::{Host, LIMIT, PORT_A, PORT_B, Wire};

/// A host's end of a conversation over the bridge.
struct End {
    socket: UdpSocket,
}

impl End {
    fn of(host: &Host) -> Self {
        let socket = host.space.run(|| UdpSocket::bind((host.addresses[0], 0)).unwrap());
        socket.set_read_timeout(Some(LIMIT)).unwrap();
        Self { socket }
    }

    fn tell(&self, other: &Self, word: &str) {
        self.socket.send_to(word.as_bytes(), other.socket.local_addr().unwrap()).unwrap();
    }

    fn hear(&self) -> String {
        let mut buffer = [0; 2048];
        let (length, _) = self.socket.recv_from(&mut buffer).expect("a datagram");
        String::from_utf8_lossy(&buffer[..length]).into_owned()
    }
}

/// Neighbour resolution needs both directions; here both know each other.
fn acquaint(host: &Host, other: &Host) {
    let known = NeighbourEntry {
        ifindex: host.ifindex,
        address: other.addresses[0],
        mac: Some(other.mac),
        state: NeighbourState::Permanent,
    };
    host.space.run(|| Route::open().unwrap().set_neighbour(&known).unwrap());
}

fn talk(name: &str, body: impl FnOnce(&BridgeCuts, &End, &End)) {
    sandbox::test(name, || {
        let wire = Wire::new();
        acquaint(&wire.a, &wire.b);
        acquaint(&wire.b, &wire.a);
        let cuts = wire.switch.run(|| BridgeCuts::open().unwrap());
        let support = wire.switch.run(|| BridgeCuts::support().unwrap());
        assert!(matches!(support, CutSupport::Works), "{support:?}");
        body(&cuts, &End::of(&wire.a), &End::of(&wire.b));
    });
}

#[test]
fn a_cut_drops_one_direction_only() {
    talk("cuts::a_cut_drops_one_direction_only", |cuts, a, b| {
        cuts.set(&[Cut::between(PORT_A, PORT_B)]).unwrap();
        a.tell(b, "lost");
        b.tell(a, "the way back stays");
        assert_eq!(a.hear(), "the way back stays");
        cuts.set(&[Cut::between(PORT_B, PORT_A)]).unwrap();
        b.tell(a, "lost too");
        a.tell(b, "the other direction now");
        assert_eq!(b.hear(), "the other direction now", "what was cut never arrives");
        cuts.clear().unwrap();
        b.tell(a, "healed");
        assert_eq!(a.hear(), "healed");
        cuts.clear().unwrap();
    });
}

#[test]
fn a_port_can_be_cut_from_all_others() {
    talk("cuts::a_port_can_be_cut_from_all_others", |cuts, a, b| {
        cuts.set(&[Cut::all_from(PORT_A)]).unwrap();
        a.tell(b, "lost");
        b.tell(a, "in");
        assert_eq!(a.hear(), "in");
        cuts.set(&[Cut::all_to(PORT_A)]).unwrap();
        b.tell(a, "lost too");
        a.tell(b, "out");
        assert_eq!(b.hear(), "out");
        cuts.set(&[]).unwrap();
        b.tell(a, "healed");
        assert_eq!(a.hear(), "healed");
    });
}

#[test]
fn only_large_packets_vanish_where_the_cut_says_so() {
    talk("cuts::only_large_packets_vanish_where_the_cut_says_so", |cuts, a, b| {
        cuts.set(&[Cut::between(PORT_A, PORT_B).of(Frames::Above(300))]).unwrap();
        a.tell(b, &"large".repeat(100));
        a.tell(b, "small");
        assert_eq!(b.hear(), "small");
        b.tell(a, &"way back".repeat(50));
        assert_eq!(a.hear(), "way back".repeat(50));
        // 28 bytes are the headers of IP and UDP.
        a.tell(b, &"x".repeat(300 - 28));
        assert_eq!(b.hear(), "x".repeat(300 - 28));
        cuts.clear().unwrap();
        a.tell(b, &"large".repeat(100));
        assert_eq!(b.hear(), "large".repeat(100));
    });
}

#[test]
fn a_share_of_the_frames_vanishes_where_the_cut_says_so() {
    talk("cuts::a_share_of_the_frames_vanishes_where_the_cut_says_so", |cuts, a, b| {
        cuts.set(&[Cut::between(PORT_A, PORT_B).of(Frames::Percent(30))]).unwrap();
        (0..200).for_each(|_| a.tell(b, "perhaps"));
        cuts.clear().unwrap();
        a.tell(b, "end");
        let heard = std::iter::from_fn(|| Some(b.hear()).filter(|said| said != "end")).count();
        assert!((100..=180).contains(&heard), "{heard} of 200 arrived, with 30 % lost");
    });
}

#[test]
fn a_thousand_cuts_are_one_change() {
    talk("cuts::a_thousand_cuts_are_one_change", |cuts, a, b| {
        let mut many: Vec<_> =
            (0..1000).map(|i| Cut::between(&format!("x{i}"), &format!("y{i}"))).collect();
        many.push(Cut::between(PORT_A, PORT_B));
        cuts.set(&many).unwrap();
        a.tell(b, "lost");
        cuts.set(&many[..1000]).unwrap();
        a.tell(b, "heard");
        assert_eq!(b.hear(), "heard");
    });
}

#[test]
fn trying_changes_no_cut() {
    sandbox::test("cuts::trying_changes_no_cut", || {
        let wire = Wire::new();
        let free = wire.switch.run(|| {
            let cuts = BridgeCuts::open().unwrap();
            cuts.set(&[Cut::between(PORT_B, PORT_A)]).unwrap();
            assert!(matches!(BridgeCuts::support().unwrap(), CutSupport::Works));
            assert!(matches!(BridgeCuts::support().unwrap(), CutSupport::Works));
            let claim = wire.a.claim(wire.b.addresses[0]);
            wire.a.space.run(|| claim.probe(stead_netlink::PROBE_WAIT).unwrap())
        });
        assert_eq!(free, stead_netlink::Occupancy::Free, "the cut is still there");
    });
}

#[test]
fn a_name_no_port_can_have_is_refused_before_anything_changes() {
    talk("cuts::a_name_no_port_can_have_is_refused_before_anything_changes", |cuts, a, b| {
        cuts.set(&[Cut::between(PORT_A, PORT_B)]).unwrap();
        for name in ["", "sixteen-bytes-xx"] {
            let to_port = Port::Named(name.to_owned());
            let wrong = Cut { from_port: Port::Any, to_port, frames: Frames::All };
            let error = cuts.set(&[wrong]).unwrap_err();
            assert!(matches!(error, CutError::PortName { .. }), "{error:?}");
        }
        a.tell(b, "lost");
        cuts.clear().unwrap();
        a.tell(b, "heard");
        assert_eq!(b.hear(), "heard");
    });
}

#[test]
fn an_address_family_of_its_own_is_cut_too() {
    sandbox::test("cuts::an_address_family_of_its_own_is_cut_too", || {
        let wire = Wire::new();
        let cuts = wire.switch.run(|| BridgeCuts::open().unwrap());
        let question = |address: IpAddr, wait| {
            let claim = wire.a.claim(address);
            wire.a.space.run(|| claim.probe(wait).unwrap())
        };
        let taken = stead_netlink::Occupancy::Taken { mac: wire.b.mac };
        for address in wire.b.addresses {
            assert_eq!(question(address, LIMIT), taken);
            cuts.set(&[Cut::between(PORT_B, PORT_A)]).unwrap();
            let short = stead_netlink::PROBE_WAIT;
            assert_eq!(question(address, short), stead_netlink::Occupancy::Free);
            cuts.clear().unwrap();
            assert_eq!(question(address, LIMIT), taken);
        }
    });
}
