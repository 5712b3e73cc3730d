//! PostgreSQL's own start, outside of the lab and of stead: on a copy of the clustered disk as a
//! power cut left it, from its execution until it lets a client in.
//!
//! The copy lies in memory: the lab's disks do not wait for one of the host either, and
//! PostgreSQL syncs a thousand files when it recovers.

use std::fmt::Display;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, TcpStream};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::interrupt;
use crate::server::{Server, free_port};

/// Where the example's clients connect.
pub(crate) const TARGET: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::new(10, 77, 2, 50), 5432);

/// It could not be measured.
#[derive(Debug, thiserror::Error)]
#[error("PostgreSQL outside of the lab: cannot {step}")]
pub(crate) struct PostgresStartError {
    step: String,
    source: io::Error,
}

fn step(step: impl Display) -> impl FnOnce(io::Error) -> PostgresStartError {
    move |source| PostgresStartError { step: step.to_string(), source }
}

/// Milliseconds of every start; each on a copy of its own, as a start repairs what it finds.
pub(crate) fn measure(image: &Path, runs: u32) -> Result<Vec<f64>, PostgresStartError> {
    let dir = tempfile::tempdir_in("/dev/shm").map_err(step("make a directory"))?;
    let (copy, place) = (dir.path().join("disk"), dir.path().join("place"));
    std::fs::create_dir(&place).map_err(step("make a directory"))?;
    let once = |_| {
        let copied = Command::new("cp").arg("--sparse=always").arg(image).arg(&copy).status();
        let copied = copied.and_then(|status| good(status.success(), "cp failed"));
        copied.map_err(step("copy the disk"))?;
        start(&copy, &place)
    };
    (0..runs).map(once).collect()
}

/// In a mount and PID namespace of its own, so that nothing of it is left on this host. Its PID 1
/// is the shell: a process that changes its user is no longer killed when its parent dies.
fn start(disk: &Path, place: &Path) -> Result<f64, PostgresStartError> {
    let port = free_port().map_err(step("find a free port"))?;
    let (disk, place) = (disk.display(), place.display());
    let script = format!(
        "mount -o loop {disk} {place} && chmod 755 {place} && echo go && setpriv \
         --reuid=postgres --regid=postgres --init-groups /usr/lib/postgresql/15/bin/postgres \
         -D {place}/data -c listen_addresses=127.0.0.1 -c port={port} \
         -c unix_socket_directories= -c max_wal_size=96MB; exit $?"
    );
    let mut command = Command::new("unshare");
    command.args(["--mount", "--pid", "--ipc", "--fork", "--kill-child", "sh", "-c", &script]);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
    let _held_off = interrupt::hold_off();
    let mut server = Server(command.spawn().map_err(step("start it"))?);
    let output = server.0.stdout.take().expect("it is piped");
    let mut line = String::new();
    BufReader::new(output).read_line(&mut line).map_err(step("mount the disk"))?;
    good(line == "go\n", "no word of it").map_err(step("mount the disk"))?;
    let begun = Instant::now();
    let ask = || let_in((Ipv4Addr::LOCALHOST, port).into());
    server.wait((START_LIMIT, ASK_AGAIN), ask).map_err(step("get in"))?;
    Ok(begun.elapsed().as_secs_f64() * 1e3)
}

fn good(is_good: bool, why: &str) -> io::Result<()> {
    if is_good { Ok(()) } else { Err(io::Error::other(why)) }
}

/// A greeting of protocol 3.0; who is let in gets an `R`, who comes too early an `E`.
fn let_in(address: SocketAddr) -> io::Result<()> {
    let mut stream = TcpStream::connect_timeout(&address, ASK_LIMIT)?;
    stream.set_read_timeout(Some(ASK_LIMIT))?;
    let mut greeting = 196_608_i32.to_be_bytes().to_vec();
    greeting.extend(b"user\0postgres\0\0");
    let length = i32::try_from(greeting.len() + 4).map_err(io::Error::other)?;
    stream.write_all(&[&length.to_be_bytes()[..], &greeting].concat())?;
    let mut kind = [0];
    stream.read_exact(&mut kind)?;
    good(kind == [b'R'], "it is not ready")
}

const START_LIMIT: Duration = Duration::from_secs(60);
const ASK_LIMIT: Duration = Duration::from_secs(2);
/// Not so often that the asking slows the start down.
const ASK_AGAIN: Duration = Duration::from_millis(2);
