//! A server that is measured outside of the lab, on the loopback.

use std::io;
use std::net::{Ipv4Addr, SocketAddrV4, TcpListener};
use std::process::Child;
use std::time::{Duration, Instant};

/// A port that nobody has now.
pub(crate) fn free_port() -> io::Result<u16> {
    TcpListener::bind(SocketAddrV4::new(Ipv4Addr::LOCALHOST, 0))?.local_addr().map(|a| a.port())
}

/// A server that ends with this value.
pub(crate) struct Server(pub(crate) Child);

impl Server {
    /// Asks until it answers, with a pause before it is asked again, for so long at most.
    pub(crate) fn wait(
        &mut self,
        (limit, pause): (Duration, Duration),
        ask: impl Fn() -> io::Result<()>,
    ) -> io::Result<()> {
        let end = Instant::now() + limit;
        loop {
            let error = match ask() {
                Ok(()) => return Ok(()),
                Err(error) => error,
            };
            if let Some(status) = self.0.try_wait()? {
                return Err(io::Error::other(format!("it ended with {status}")));
            }
            if Instant::now() >= end {
                return Err(error);
            }
            if pause.is_zero() { std::thread::yield_now() } else { std::thread::sleep(pause) }
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended by itself; what it started dies with its PID 1 or is none.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
