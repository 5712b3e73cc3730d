//! The socket on which the node service gives its orders.
//!
//! One node service is listened to, the one that connected last. Each connection has a thread that
//! reads and one that writes, so that a stopped node service holds nothing up.

use std::fs;
use std::io::{self, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;

use stead_model::wire::codec;
use stead_model::wire::monitor::{MonitorToNode, NodeToMonitor};

use super::{Heard, STACK_BYTES};

/// From or about the node service.
#[derive(Debug)]
pub(crate) enum NodeEvent {
    Connected(NodeLink),
    Said(u64, NodeToMonitor),
    Gone(u64),
}

/// The way to a connected node service.
#[derive(Clone, Debug)]
pub(crate) struct NodeLink {
    /// Number of the connection.
    pub(crate) connection: u64,
    sender: Sender<MonitorToNode>,
}

impl NodeLink {
    /// Sends when the node service reads; what it never reads is lost with it.
    pub(crate) fn send(&self, message: MonitorToNode) {
        drop(self.sender.send(message));
    }
}

/// Listens on the socket of that name in that folder.
pub(super) fn listen(folder: &Path, name: &str, heard: Sender<Heard>) -> io::Result<()> {
    let path = folder.join(name);
    let named = |e: io::Error| {
        io::Error::new(e.kind(), format!("cannot listen on {}: {e}", path.display()))
    };
    fs::create_dir_all(folder).map_err(named)?;
    match fs::remove_file(&path) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(named(e)),
        Ok(()) | Err(_) => {}
    }
    let listener = UnixListener::bind(&path).map_err(named)?;
    // The folder's group is that of the node service.
    fs::set_permissions(&path, fs::Permissions::from_mode(0o660)).map_err(named)?;
    let accept = move || {
        for (number, stream) in (1..).zip(listener.incoming()) {
            // A connection that fails at once is tried again by the node service.
            drop(stream.and_then(|stream| connect(number, stream, &heard)));
        }
    };
    thread::Builder::new().stack_size(STACK_BYTES).spawn(accept)?;
    Ok(())
}

fn connect(connection: u64, stream: UnixStream, heard: &Sender<Heard>) -> io::Result<()> {
    let (sender, messages) = channel();
    let (writer, heard) = (stream.try_clone()?, heard.clone());
    let threads = || thread::Builder::new().stack_size(STACK_BYTES);
    threads().spawn(move || write(writer, &messages))?;
    drop(heard.send(Heard::Node(NodeEvent::Connected(NodeLink { connection, sender }))));
    threads().spawn(move || {
        let tell = |message| heard.send(Heard::Node(NodeEvent::Said(connection, message))).is_ok();
        if let Err(why) = read(stream, tell) {
            super::say(&format!("the node service: {why}"));
        }
        drop(heard.send(Heard::Node(NodeEvent::Gone(connection))));
    })?;
    Ok(())
}

fn write(mut stream: UnixStream, messages: &Receiver<MonitorToNode>) {
    while let Ok(message) = messages.recv() {
        if stream.write_all(&codec::encode(&message)).is_err() {
            return;
        }
    }
}

fn read(mut stream: UnixStream, tell: impl Fn(NodeToMonitor) -> bool) -> io::Result<()> {
    let mut bytes = Vec::new();
    let mut chunk = [0; 4096];
    loop {
        while let Some((message, used)) = codec::decode(&bytes).map_err(io::Error::other)? {
            bytes.drain(..used);
            if !tell(message) {
                return Ok(());
            }
        }
        match stream.read(&mut chunk)? {
            0 => return Ok(()),
            got => bytes.extend_from_slice(&chunk[..got]),
        }
    }
}
