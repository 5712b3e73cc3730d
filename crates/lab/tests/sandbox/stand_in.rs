//! What runs in a node in place of the guard, and small things to run beside it.

use std::ffi::OsString;
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::net::{TcpStream, UdpSocket};
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Command, ExitCode};
use std::time::{Duration, Instant};

use rustix::mount::{MountFlags, UnmountFlags};

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
        ["disk", ..] => disk(&words[1..]),
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
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => println!("silent"),
        other => println!("ended: {other:?}"),
    }
    ExitCode::SUCCESS
}

/// Things to do with disks; ends with the error number of what failed.
fn disk(words: &[&str]) -> ExitCode {
    let done = match *words {
        ["mount", name, place] => mount(name, place),
        ["umount", place] => {
            rustix::mount::unmount(place, UnmountFlags::empty()).map_err(io::Error::from)
        }
        ["put", path, text] => std::fs::write(path, text),
        ["put-synced", path, text] => put_synced(path, text),
        ["get", path] => std::fs::read_to_string(path).map(|text| print!("{text}")),
        ["write", name, text] => direct(name, Some(text)).map(drop),
        ["read", name] => direct(name, None).map(|text| print!("{text}")),
        ["write-times", name, count] => write_times(name, count.parse().unwrap()),
        ["ask", name, question] => ask_disk(name, question),
        _ => return ExitCode::from(2),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("disk {words:?}: {error}");
            ExitCode::from(u8::try_from(error.raw_os_error().unwrap_or(255)).unwrap())
        }
    }
}

fn mount(name: &str, place: &str) -> io::Result<()> {
    std::fs::create_dir_all(place)?;
    let flags = MountFlags::NOSUID | MountFlags::NODEV;
    rustix::mount::mount(format!("/dev/stead/{name}"), place, "ext4", flags, None)?;
    Ok(())
}

fn put_synced(path: &str, text: &str) -> io::Result<()> {
    let mut file = File::create(path)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    File::open(Path::new(path).parent().unwrap())?.sync_all()
}

/// A block of a disk, where no file system cares for it.
const SPARE_OFFSET: u64 = 511 << 20;

#[repr(align(4096))]
struct Block([u8; 4096]);

/// Writes or reads the spare block past every cache.
fn direct(name: &str, text: Option<&str>) -> io::Result<String> {
    let file = open_direct(name)?;
    let mut block = Block([0; 4096]);
    match text {
        Some(text) => {
            block.0[..text.len()].copy_from_slice(text.as_bytes());
            file.write_all_at(&block.0, SPARE_OFFSET)?;
        }
        None => file.read_exact_at(&mut block.0, SPARE_OFFSET)?,
    }
    let text = block.0.iter().copied().take_while(|byte| *byte != 0).collect();
    String::from_utf8(text).map_err(io::Error::other)
}

/// Prints how long each of many writes of 4 KiB took, in microseconds.
fn write_times(name: &str, count: u32) -> io::Result<()> {
    let file = open_direct(name)?;
    let block = Block([7; 4096]);
    for _ in 0..count {
        let begun = Instant::now();
        file.write_all_at(&block.0, SPARE_OFFSET + 4096)?;
        println!("{}", begun.elapsed().as_micros());
    }
    Ok(())
}

fn open_direct(name: &str) -> io::Result<File> {
    let flags = libc::O_DIRECT;
    let path = format!("/dev/stead/{name}");
    OpenOptions::new().read(true).write(true).custom_flags(flags).open(path)
}

fn ask_disk(name: &str, question: &str) -> io::Result<()> {
    let mut stream = UnixStream::connect(format!("/run/stead-disks/{name}.sock"))?;
    writeln!(stream, "{question}")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    print!("{answer}");
    Ok(())
}

/// Prints what tells a file from another: device, inode, mode, size.
fn look(path: &str) -> ExitCode {
    let Ok(found) = std::fs::metadata(path) else { return ExitCode::FAILURE };
    println!("{} {} {:o} {}", found.dev(), found.ino(), found.mode() & 0o777, found.size());
    ExitCode::SUCCESS
}
