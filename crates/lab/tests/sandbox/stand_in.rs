//! What runs in a node in place of the guard, and small things to run beside it.

use std::ffi::OsString;
use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::net::{TcpStream, UdpSocket};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::{Command, ExitCode};
use std::time::Duration;

use crate::world::until;

pub(crate) const SUBCOMMAND: &str = "stand-in";

/// Everybody's ear.
pub(crate) const PORT: u16 = 7000;

pub(crate) fn main(arguments: impl Iterator<Item = OsString>) -> ExitCode {
    let words: Vec<String> = arguments.map(|word| word.into_string().unwrap()).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match words[..] {
        ["node"] => node(),
        ["say", address, text] => say(address, text),
        ["ask", address] => ask(address),
        ["hold", address] => hold(address),
        ["look", path] => look(path),
        ["exit", code] => ExitCode::from(code.parse::<u8>().unwrap()),
        _ => ExitCode::from(2),
    }
}

/// Counts its lives on its disk, stamps, serves a page, and writes down what it hears.
fn node() -> ExitCode {
    let mut lives = append("/var/lib/stead/lives");
    writeln!(lives, "life").unwrap();
    let stead = std::env::current_exe().unwrap();
    let _stamp = Command::new(&stead).args(["lab-stamp", "/var/lib/stead-witness/stamps"]).spawn();
    let _web = Command::new(&stead).arg("demo-web").spawn();
    let ear = UdpSocket::bind(("0.0.0.0", PORT)).unwrap();
    let mut heard = append("/var/lib/stead-witness/heard");
    until("everything runs", || {
        let stamps = stead_lab::stamp::read(Path::new("/var/lib/stead-witness/stamps"));
        TcpStream::connect("127.0.0.1:80").is_ok() && stamps.is_ok_and(|all| !all.is_empty())
    });
    std::fs::create_dir_all("/run/stead").unwrap();
    File::create("/run/stead/up").unwrap();
    loop {
        let mut text = [0; 100];
        let (length, from) = ear.recv_from(&mut text).unwrap();
        let text = String::from_utf8_lossy(&text[..length]).into_owned();
        writeln!(heard, "{text}").unwrap();
        // Whoever asked may be out of reach.
        let _ = ear.send_to(text.as_bytes(), from);
    }
}

fn append(path: &str) -> File {
    OpenOptions::new().create(true).append(true).open(path).unwrap()
}

fn say(address: &str, text: &str) -> ExitCode {
    let mouth = UdpSocket::bind("0.0.0.0:0").unwrap();
    let sent = mouth.send_to(text.as_bytes(), (address, PORT));
    if sent.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Succeeds when the address answers within half a second.
fn ask(address: &str) -> ExitCode {
    let mouth = UdpSocket::bind("0.0.0.0:0").unwrap();
    mouth.set_read_timeout(Some(Duration::from_millis(500))).unwrap();
    let answered = mouth.send_to(b"?", (address, PORT)).and_then(|_| mouth.recv(&mut [0; 9]));
    if answered.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Connects, says so, and says so when the connection ends.
fn hold(address: &str) -> ExitCode {
    let mut stream = TcpStream::connect((address, 80)).unwrap();
    println!("connected");
    stream.set_read_timeout(Some(Duration::from_secs(1))).unwrap();
    match stream.read(&mut [0; 1]) {
        Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => println!("silent"),
        other => println!("ended: {other:?}"),
    }
    ExitCode::SUCCESS
}

/// Prints what tells a file from another: device, inode, mode, size.
fn look(path: &str) -> ExitCode {
    let Ok(found) = std::fs::metadata(path) else { return ExitCode::FAILURE };
    println!("{} {} {:o} {}", found.dev(), found.ino(), found.mode() & 0o777, found.size());
    ExitCode::SUCCESS
}
