//! Probes of real sockets on loopback, and what is counted.

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use rustix::net::{
    AddressFamily, SocketFlags, SocketType, bind, connect, getsockname, socket_with,
};
use stead_model::probe::Probe;

use super::attempt::is_its_own_peer;
use super::*;

/// Longer than anything here takes, however busy the machine is.
const LONG: Duration = Duration::from_secs(60);

fn plan(what: Probe) -> ProbePlan {
    let (interval, timeout) = (Duration::from_millis(5), LONG);
    ProbePlan { what, interval, timeout, failures: 2, hang_fails: false }
}

fn tcp(address: SocketAddr) -> Probe {
    Probe::Tcp { host: Some(address.ip()), port: address.port() }
}

fn http(address: SocketAddr) -> Probe {
    Probe::Http { host: Some(address.ip()), port: address.port(), path: "/health".into() }
}

fn probed(plan: ProbePlan) -> (Prober, Receiver<Found>) {
    let (sender, found) = channel();
    let prober = Prober::new(Arc::new(move |found| drop(sender.send(found))));
    prober.watch("web".into(), 7, plan).unwrap();
    (prober, found)
}

/// What is told next.
fn next(found: &Receiver<Found>) -> (Health, String) {
    let found = found.recv_timeout(LONG).expect("nothing was found");
    assert_eq!((found.resource.as_str(), found.token), ("web", 7));
    (found.health, found.detail)
}

/// A server that gives each connection one answer, in turn; the last one for ever.
fn server(answers: &'static [&'static str]) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for turn in 0.. {
            let (mut client, _) = listener.accept().unwrap();
            let mut question = [0; 1024];
            let got = client.read(&mut question).unwrap_or_default();
            let text = String::from_utf8_lossy(&question[..got]);
            assert!(text.starts_with("GET /health HTTP/1.1\r\nHost: 127.0.0.1:"), "{text}");
            let answer = answers[turn.min(answers.len() - 1)];
            client.write_all(answer.as_bytes()).unwrap();
        }
    });
    address
}

#[test]
fn a_port_that_closes_has_failed_and_one_that_opens_works() {
    // An address of its own: while the port is closed, another test may be given its number.
    let listener = TcpListener::bind("127.0.0.2:0").unwrap();
    let address = listener.local_addr().unwrap();
    let (_prober, found) = probed(plan(tcp(address)));
    assert_eq!(next(&found), (Health::Good, String::new()));
    drop(listener);
    let (health, why) = next(&found);
    assert_eq!(health, Health::Bad);
    let expected = format!("probe tcp:{address}: connection refused, 2 times in a row");
    assert_eq!(why, expected);
    let _listener = TcpListener::bind(address).unwrap();
    assert_eq!(next(&found).0, Health::Good);
}

#[test]
fn the_status_of_a_page_decides_and_is_named() {
    const REFUSED: &str = "HTTP/1.1 503 Service Unavailable\r\n\r\n";
    const FINE: &str = "HTTP/1.1 204 No Content\r\n\r\n";
    let address = server(&[FINE, REFUSED, REFUSED, "HTTP/1.0 302 Found\r\n\r\n", "SSH-2.0\n", ""]);
    let (_prober, found) = probed(plan(http(address)));
    assert_eq!(next(&found).0, Health::Good);
    let (health, why) = next(&found);
    assert_eq!(health, Health::Bad);
    assert!(why.contains("it answered `503 Service Unavailable`, 2 times"), "{why}");
    assert_eq!(next(&found).0, Health::Good);
    let (health, why) = next(&found);
    assert_eq!(health, Health::Bad);
    assert!(why.contains("without an answer"), "{why}");
}

#[test]
fn a_connection_with_itself_reaches_nobody() {
    let socket = socket_with(AddressFamily::INET, SocketType::STREAM, SocketFlags::CLOEXEC, None);
    let socket = socket.unwrap();
    // The kernel gives a port of its own choice, and one day the very port that is probed.
    bind(&socket, &SocketAddr::from(([127, 0, 0, 3], 0))).unwrap();
    let own = getsockname(&socket).unwrap();
    connect(&socket, &own).unwrap();
    assert!(is_its_own_peer(&socket));
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    assert!(!is_its_own_peer(&client.into()));
}

#[test]
fn a_probe_that_hangs_is_unknown_unless_it_is_to_fail() {
    // Connections are taken by the kernel; nobody ever answers.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let hung = plan(http(listener.local_addr().unwrap()));
    let hung = ProbePlan { timeout: Duration::from_millis(20), ..hung };
    let (_prober, found) = probed(hung.clone());
    let (health, why) = next(&found);
    assert_eq!(health, Health::Unknown);
    assert!(why.contains("did not answer in time, 2 times in a row"), "{why}");
    let (_prober, found) = probed(ProbePlan { hang_fails: true, ..hung });
    assert_eq!(next(&found).0, Health::Bad);
}

#[test]
fn what_was_forgotten_is_not_probed_any_more() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let (prober, found) = probed(plan(tcp(listener.local_addr().unwrap())));
    assert_eq!(next(&found).0, Health::Good);
    prober.forget("web".into());
    // Orders are taken in turn: once another one is probed, this one is not.
    let other = TcpListener::bind("127.0.0.1:0").unwrap();
    prober.watch("other".into(), 8, plan(tcp(other.local_addr().unwrap()))).unwrap();
    assert_eq!(found.recv_timeout(LONG).unwrap().token, 8);
    listener.set_nonblocking(true).unwrap();
    while listener.accept().is_ok() {}
    for _ in 0..5 {
        drop(other.accept().unwrap());
    }
    assert!(listener.accept().is_err(), "it was probed again");
}

#[test]
fn what_cannot_be_told_does_not_count_as_failed() {
    let mut target = Target::new(1, plan(Probe::Tcp { host: None, port: 1 }));
    let seen = |target: &mut Target, seen| target.saw(seen).map(|(health, _)| health);
    let unknown = || Seen::CannotTell("no socket".into());
    let fails = || Seen::Fails("no".into());
    assert_eq!(seen(&mut target, fails()), None);
    assert_eq!(seen(&mut target, unknown()), None);
    assert_eq!(seen(&mut target, fails()), Some(Health::Bad), "two failures, none worked");
    assert_eq!(seen(&mut target, unknown()), None);
    assert_eq!(seen(&mut target, unknown()), Some(Health::Unknown));
    assert_eq!(seen(&mut target, Seen::Works), Some(Health::Good));
    assert_eq!(seen(&mut target, fails()), None);
}

fn command(script: &str) -> Probe {
    Probe::parse(&format!("command:/bin/sh -c '{script}'")).unwrap()
}

#[test]
fn the_code_of_a_command_decides_and_its_last_line_tells_why() {
    let folder = tempfile::tempdir().unwrap();
    let mark = folder.path().join("mark");
    fs::write(&mark, "").unwrap();
    let script = format!("echo first; echo it is gone; test -e {}", mark.display());
    let (_prober, found) = probed(plan(command(&script)));
    assert_eq!(next(&found), (Health::Good, String::new()));
    fs::remove_file(&mark).unwrap();
    let (health, why) = next(&found);
    assert_eq!(health, Health::Bad);
    assert!(why.ends_with("it ended with code 1: it is gone, 2 times in a row"), "{why}");
}

#[test]
fn a_command_that_does_not_know_says_nothing_of_the_resource() {
    for (script, told) in [
        ("echo no idea; exit 75", "it does not know: no idea"),
        ("kill -9 $$", "it was killed by signal 9"),
    ] {
        let (_prober, found) = probed(plan(command(script)));
        let (health, why) = next(&found);
        assert_eq!(health, Health::Unknown);
        assert!(why.contains(told), "{why}");
    }
    let missing = Probe::parse("command:/nowhere/check").unwrap();
    let (_prober, found) = probed(plan(missing));
    let (health, why) = next(&found);
    assert_eq!(health, Health::Unknown);
    assert!(why.contains("cannot be run: No such file"), "{why}");
    let chatty = "i=0; while [ $i -lt 9000 ]; do echo line $i of many; i=$((i+1)); done";
    let (_prober, found) = probed(ProbePlan { failures: 1, ..plan(command(chatty)) });
    assert_eq!(next(&found).0, Health::Good);
}

#[test]
fn a_command_that_hangs_is_killed_and_so_is_one_that_is_forgotten() {
    let folder = tempfile::tempdir().unwrap();
    let short = Duration::from_millis(300);
    let hangs = plan(command("sleep 600 & wait"));
    let (first, found) = probed(ProbePlan { timeout: short, ..hangs.clone() });
    let (health, why) = next(&found);
    assert_eq!(health, Health::Unknown);
    assert!(why.contains("it did not end in time"), "{why}");
    first.forget("web".into());

    let file = folder.path().join("pid");
    let script = format!("echo $$ > {}; sleep 600 & wait", file.display());
    let (prober, _found) = probed(ProbePlan { what: command(&script), ..hangs });
    let end = Instant::now() + LONG;
    let mut pid = String::new();
    while !pid.ends_with('\n') {
        assert!(Instant::now() < end, "it was not begun");
        pid = fs::read_to_string(&file).unwrap_or_default();
    }
    prober.forget("web".into());
    let state = || fs::read_to_string(format!("/proc/{}/stat", pid.trim())).unwrap_or_default();
    while !state().is_empty() && !state().contains(") Z ") {
        assert!(Instant::now() < end, "it still runs: {}", state());
    }
}
