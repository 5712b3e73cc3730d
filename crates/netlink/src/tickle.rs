//! Provoking the end of connections whose server is gone: the tickle.
//!
//! A client that waits for an answer of a crashed server would wait for many minutes: nothing
//! comes, and it has nothing to send. Whoever has the server's address now sends it one bare
//! acknowledgement that fits nowhere. The client's kernel answers with what it expects, as RFC 9293
//! 3.10.7.4 asks; that answer meets no connection here, so the kernel resets it, with numbers the
//! client believes. A connection that does live answers the same way and goes on.
//!
//! Not here: which connections there were (`sockets`, and whoever remembers them).

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::OwnedFd;

use rustix::net::{AddressFamily, SendFlags, SocketFlags, SocketType, ipproto};

/// Sends tickles from the net namespace the calling thread was in when it was opened.
#[derive(Debug)]
pub struct Tickler {
    v4: OwnedFd,
    /// `None`: the kernel has no IPv6.
    v6: Option<OwnedFd>,
}

impl Tickler {
    /// Opens raw sockets.
    ///
    /// # Errors
    /// `CAP_NET_RAW` is missing.
    pub fn open() -> io::Result<Self> {
        let raw = |family| {
            let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
            rustix::net::socket_with(family, SocketType::RAW, flags, Some(ipproto::RAW))
        };
        Ok(Self { v4: raw(AddressFamily::INET)?, v6: raw(AddressFamily::INET6).ok() })
    }

    /// Tickles the connection of a client with `server`, an address of this node.
    ///
    /// # Errors
    /// It could not be sent: no route, no such address, or the addresses are of two families.
    pub fn tickle(&self, server: SocketAddr, client: SocketAddr) -> io::Result<()> {
        let segment = segment(server, client).ok_or(io::ErrorKind::InvalidInput)?;
        let socket = match client {
            SocketAddr::V4(_) => Some(&self.v4),
            SocketAddr::V6(_) => self.v6.as_ref(),
        };
        let socket = socket.ok_or(io::ErrorKind::Unsupported)?;
        // A raw socket takes no port: it stands in the segment.
        let target = SocketAddr::new(client.ip(), 0);
        rustix::net::sendto(socket, &segment, SendFlags::empty(), &target)?;
        Ok(())
    }
}

/// IP and TCP header of a bare acknowledgement; `None` for addresses of two families.
fn segment(server: SocketAddr, client: SocketAddr) -> Option<Vec<u8>> {
    let mut tcp = Vec::with_capacity(TCP_BYTES);
    tcp.extend(server.port().to_be_bytes());
    tcp.extend(client.port().to_be_bytes());
    // Sequence and acknowledgement number: zero lies outside of all but one in 65536 windows.
    tcp.extend([0; 8]);
    tcp.extend([(TCP_BYTES as u8 / 4) << 4, FLAG_ACK]);
    // Window, checksum, urgent pointer.
    tcp.extend([0; 6]);
    let mut packet = match (server.ip(), client.ip()) {
        (IpAddr::V4(from), IpAddr::V4(to)) => {
            fill_checksum(&mut tcp, &[&from.octets()[..], &to.octets()].concat());
            ipv4_header(from, to).to_vec()
        }
        (IpAddr::V6(from), IpAddr::V6(to)) => {
            fill_checksum(&mut tcp, &[&from.octets()[..], &to.octets()].concat());
            ipv6_header(from, to)
        }
        (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => return None,
    };
    packet.append(&mut tcp);
    Some(packet)
}

/// The kernel fills in identification and checksum.
fn ipv4_header(from: Ipv4Addr, to: Ipv4Addr) -> [u8; 20] {
    let mut header = [0; 20];
    header[0] = 0x45;
    header[2..4].copy_from_slice(&(20 + TCP_BYTES as u16).to_be_bytes());
    header[8] = HOPS;
    header[9] = libc::IPPROTO_TCP as u8;
    header[12..16].copy_from_slice(&from.octets());
    header[16..20].copy_from_slice(&to.octets());
    header
}

fn ipv6_header(from: Ipv6Addr, to: Ipv6Addr) -> Vec<u8> {
    let mut header = vec![0x60, 0, 0, 0];
    header.extend((TCP_BYTES as u16).to_be_bytes());
    header.extend([libc::IPPROTO_TCP as u8, HOPS]);
    header.extend(from.octets());
    header.extend(to.octets());
    header
}

/// The Internet checksum over the pseudo header and the segment.
fn fill_checksum(tcp: &mut [u8], addresses: &[u8]) {
    let pairs = addresses.chunks_exact(2).chain(tcp.chunks_exact(2));
    let words = pairs.map(|pair| u32::from(u16::from_be_bytes([pair[0], pair[1]])));
    let mut sum = words.sum::<u32>() + libc::IPPROTO_TCP as u32 + TCP_BYTES as u32;
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    tcp[16..18].copy_from_slice(&(!(sum as u16)).to_be_bytes());
}

const TCP_BYTES: usize = 20;
const FLAG_ACK: u8 = 0x10;
const HOPS: u8 = 64;

#[cfg(test)]
mod tests {
    use super::*;

    /// A receiver sums everything up, the checksum included, and expects all ones.
    fn verifies(segment: &[u8], header: usize, addresses: std::ops::Range<usize>) -> bool {
        let words = segment[addresses].chunks(2).chain(segment[header..].chunks(2));
        let mut sum: u32 = words.map(|w| u32::from(u16::from_be_bytes([w[0], w[1]]))).sum();
        sum += 6 + 20;
        while sum > 0xffff {
            sum = (sum & 0xffff) + (sum >> 16);
        }
        sum == 0xffff
    }

    #[test]
    fn segments_are_whole_and_their_checksums_right() {
        let of = |a: &str, b: &str| segment(a.parse().unwrap(), b.parse().unwrap());
        let v4 = of("10.0.0.1:80", "192.168.7.9:40001").unwrap();
        assert_eq!(v4.len(), 40);
        assert!(verifies(&v4, 20, 12..20));
        let v6 = of("[fd00::1]:5432", "[fd00::2:3]:65535").unwrap();
        assert_eq!(v6.len(), 60);
        assert!(verifies(&v6, 40, 8..40));
        assert_eq!(of("10.0.0.1:80", "[fd00::2]:1"), None);
    }
}
