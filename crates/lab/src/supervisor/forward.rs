//! Ports on this host's loopback that lead into the public network of a lab: what a browser on
//! the host opens to see a virtual server.

use std::fs::File;
use std::io;
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use super::switch;
use crate::control::OpenPort;

/// Opens a port; it stays open as long as this process.
pub(crate) fn open(target: SocketAddr, client: File) -> io::Result<OpenPort> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let local = listener.local_addr()?;
    thread::Builder::new().name(format!("port {}", local.port())).spawn(move || {
        // In the client's namespace from here on; the listener stays where it was made.
        if switch::enter_network(&client).is_ok() {
            serve(&listener, target);
        }
    })?;
    Ok(OpenPort { local, target })
}

fn serve(listener: &TcpListener, target: SocketAddr) {
    let open = Arc::new(AtomicUsize::new(0));
    for inward in listener.incoming() {
        // The other end may be gone again already.
        let Ok(inward) = inward else { continue };
        if open.fetch_add(1, Ordering::Relaxed) >= CONNECTIONS_MAX {
            open.fetch_sub(1, Ordering::Relaxed);
            continue;
        }
        let counted = Arc::clone(&open);
        // A child thread starts in the namespace of its parent.
        let started = thread::Builder::new().spawn(move || {
            if let Ok(outward) = TcpStream::connect_timeout(&target, CONNECT_LIMIT) {
                join(&inward, &outward);
            }
            counted.fetch_sub(1, Ordering::Relaxed);
        });
        if started.is_err() {
            open.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

/// Carries bytes both ways until both have ended.
fn join(one: &TcpStream, other: &TcpStream) {
    thread::scope(|scope| {
        scope.spawn(|| carry(one, other));
        carry(other, one);
    });
}

fn carry(mut from: &TcpStream, mut to: &TcpStream) {
    // However it ended, the reader on the other side shall see an end.
    let _ = io::copy(&mut from, &mut to);
    let _ = to.shutdown(Shutdown::Write);
}

const CONNECTIONS_MAX: usize = 64;
const CONNECT_LIMIT: Duration = Duration::from_secs(5);
