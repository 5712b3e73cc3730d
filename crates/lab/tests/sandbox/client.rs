//! The client: what it measures, and the way in from this host.

use std::io::{Read, Write};
use std::net::{SocketAddr, SocketAddrV4, TcpStream};

use stead_lab::prober::{Attempt, Outcome, Prober};
use stead_lab::{CutSpec, Station};

use crate::Case;
use crate::world::{ONE, PATIENCE, Probe, TWO, World, until};

pub(crate) const CASES: &[Case] = &[
    ("the_prober_sees_an_outage_and_who_answers", the_prober_sees_an_outage_and_who_answers),
    ("a_port_of_this_host_leads_into_the_lab", a_port_of_this_host_leads_into_the_lab),
];

fn the_prober_sees_an_outage_and_who_answers(world: &World) {
    let lab = world.up("prober");
    let node1 = Some(Station::Node(ONE));
    let target = SocketAddrV4::new(Station::Node(ONE).address(stead_lab::Network::Public), 80);
    let prober = Prober::start(&lab, target).unwrap();
    prober.wait_good(0, node1, PATIENCE).expect("answers of node1");
    assert!(prober.wait_good(0, Some(Station::Node(TWO)), std::time::Duration::ZERO).is_none());
    let cut_ns = lab.crash(ONE).unwrap();
    let failed = |attempt: &Attempt| attempt.result != Outcome::Good;
    until("the client notices", || prober.attempts().iter().any(failed));
    lab.start(ONE).unwrap();
    let back = prober.wait_good(stead_lab::boot_ns(), node1, PATIENCE).expect("node1 again");
    let outage = prober.outage_after(cut_ns).expect("an outage");
    println!("  outage {:.1} ms", outage.ms());
    assert!(outage.last_good_ns >= cut_ns - 200_000_000 && outage.first_good_ns <= back.done_ns);
    assert_eq!((outage.before, outage.after), (node1, node1));
    let attempts = prober.stop();
    let late = attempts.iter().filter(|a| a.done_ns - a.sent_ns > 400_000_000).count();
    assert!(late * 20 < attempts.len(), "{late} of {} took too long", attempts.len());
}

fn a_port_of_this_host_leads_into_the_lab(world: &World) {
    let lab = world.up("port");
    let target = |node| SocketAddr::from((Station::Node(node).address(PUBLIC), 80));
    let local = lab.open_port(target(TWO)).unwrap();
    assert!(local.ip().is_loopback());
    assert_eq!(lab.open_port(target(TWO)).unwrap(), local);
    assert_ne!(lab.open_port(target(ONE)).unwrap(), local);
    let page = || -> std::io::Result<String> {
        let mut stream = TcpStream::connect(local)?;
        stream.write_all(b"GET / HTTP/1.0\r\n\r\n")?;
        let mut page = String::new();
        stream.read_to_string(&mut page)?;
        Ok(page)
    };
    until("the page of node2", || page().is_ok_and(|page| page.contains("node2")));
    let cut = CutSpec::Station { station: Station::Client, network: None };
    lab.cut(cut).unwrap();
    assert!(!lab.run(Station::Client, &["ask", "10.77.2.2"]).status.success());
}

const PUBLIC: stead_lab::Network = stead_lab::Network::Public;
