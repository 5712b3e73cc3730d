//! A socket for whole Ethernet frames on one interface (`AF_PACKET`), see `packet(7)`.
#![expect(unsafe_code, reason = "bind and socket options of AF_PACKET have no safe wrapper")]

use std::io;
use std::mem;
use std::net::IpAddr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType};

use crate::filter;
use crate::frame;
use crate::mac::Mac;
use crate::route::IfIndex;
use crate::wait::Deadline;

#[derive(Debug)]
pub(crate) struct PacketSocket {
    fd: OwnedFd,
}

impl PacketSocket {
    /// A socket that only sends.
    pub(crate) fn sender(ifindex: IfIndex) -> io::Result<Self> {
        let socket = Self::unbound()?;
        socket.bind(ifindex, NO_PROTOCOL)?;
        Ok(socket)
    }

    /// A socket that sends, and receives what stations say about `address`.
    pub(crate) fn about(address: IpAddr, ifindex: IfIndex) -> io::Result<Self> {
        let socket = Self::unbound()?;
        socket.attach(&mut filter::about(address))?;
        match address {
            IpAddr::V4(_) => socket.bind(ifindex, frame::ETHERTYPE_ARP)?,
            IpAddr::V6(ip) => {
                socket.bind(ifindex, frame::ETHERTYPE_IPV6)?;
                for group in frame::groups(ip) {
                    socket.join(ifindex, group)?;
                }
            }
        }
        Ok(socket)
    }

    pub(crate) fn send(&self, frame: &[u8]) -> io::Result<()> {
        rustix::io::retry_on_intr(|| rustix::net::send(&self.fd, frame, SendFlags::empty()))?;
        Ok(())
    }

    /// The next frame; `None` when the deadline passed first.
    pub(crate) fn receive_before(&self, deadline: Deadline) -> io::Result<Option<Vec<u8>>> {
        while deadline.readable(&self.fd)? {
            let mut buffer = [0_u8; FRAME_BYTES_MAX];
            match rustix::net::recv(&self.fd, &mut buffer, RecvFlags::DONTWAIT) {
                Ok((length, _)) => return Ok(Some(buffer[..length].to_vec())),
                Err(rustix::io::Errno::AGAIN | rustix::io::Errno::INTR) => {}
                Err(errno) => return Err(errno.into()),
            }
        }
        Ok(None)
    }

    /// Receives nothing yet: protocol zero, so that no frame slips in before bind and filter.
    fn unbound() -> io::Result<Self> {
        let flags = SocketFlags::CLOEXEC;
        let fd = rustix::net::socket_with(AddressFamily::PACKET, SocketType::RAW, flags, None)?;
        Ok(Self { fd })
    }

    fn bind(&self, ifindex: IfIndex, protocol: u16) -> io::Result<()> {
        bind(&self.fd, ifindex, protocol)
    }

    fn attach(&self, program: &mut [libc::sock_filter]) -> io::Result<()> {
        let described = libc::sock_fprog {
            len: u16::try_from(program.len()).expect("programs of a dozen steps"),
            filter: program.as_mut_ptr(),
        };
        self.set_option(libc::SOL_SOCKET, libc::SO_ATTACH_FILTER, &described)
    }

    fn join(&self, ifindex: IfIndex, group: Mac) -> io::Result<()> {
        let mut address = [0; 8];
        address[..6].copy_from_slice(&group.0);
        let membership = libc::packet_mreq {
            mr_ifindex: signed(ifindex)?,
            mr_type: libc::PACKET_MR_MULTICAST as u16,
            mr_alen: 6,
            mr_address: address,
        };
        self.set_option(libc::SOL_PACKET, libc::PACKET_ADD_MEMBERSHIP, &membership)
    }

    fn set_option<T>(&self, level: i32, name: i32, value: &T) -> io::Result<()> {
        // SAFETY: pointer and length describe `value`; what it points to itself (a filter program)
        // is borrowed by the callers through this call, and the kernel copies both.
        let result = unsafe {
            libc::setsockopt(
                self.fd.as_raw_fd(),
                level,
                name,
                (&raw const *value).cast(),
                size_of_val(value) as libc::socklen_t,
            )
        };
        checked(result)
    }
}

/// Ties a packet socket to an interface and a protocol; then it receives.
pub(crate) fn bind(fd: &OwnedFd, ifindex: IfIndex, protocol: u16) -> io::Result<()> {
    // SAFETY: all-zero bytes are a valid `sockaddr_ll`, a plain C structure of integers.
    let mut address: libc::sockaddr_ll = unsafe { mem::zeroed() };
    address.sll_family = libc::AF_PACKET as u16;
    address.sll_protocol = protocol.to_be();
    address.sll_ifindex = signed(ifindex)?;
    // SAFETY: the pointer and the length describe `address`, which lives through the call.
    let result = unsafe {
        libc::bind(
            fd.as_raw_fd(),
            (&raw const address).cast(),
            size_of_val(&address) as libc::socklen_t,
        )
    };
    checked(result)
}

impl AsFd for PacketSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

const NO_PROTOCOL: u16 = 0;
/// ARP and neighbour discovery frames are far shorter; what is longer is cut, not refused.
const FRAME_BYTES_MAX: usize = 1514;

fn signed(ifindex: IfIndex) -> io::Result<i32> {
    i32::try_from(ifindex.0).map_err(|_| io::Error::from_raw_os_error(libc::ENODEV))
}

fn checked(result: i32) -> io::Result<()> {
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixDatagram;
    use std::time::Duration;

    use super::*;

    const OTHER: Mac = Mac([2, 0, 0, 0, 0, 9]);

    /// The frames that pass the filter about `address`, tried on a datagram socket.
    fn passed(address: &str, frames: &[Vec<u8>]) -> Vec<Vec<u8>> {
        let (sender, receiver) = UnixDatagram::pair().unwrap();
        let socket = PacketSocket { fd: receiver.into() };
        socket.attach(&mut filter::about(address.parse().unwrap())).unwrap();
        for frame in frames {
            // A refused datagram is reported to a sender on the same host.
            let _ = sender.send(frame);
        }
        let next = || socket.receive_before(Deadline::after(Duration::ZERO)).unwrap();
        std::iter::from_fn(next).collect()
    }

    #[test]
    fn only_what_is_said_about_the_address_wakes_the_reader() {
        for (address, other) in [("10.0.0.1", "10.0.0.2"), ("fd00::1:1", "fd00::1:2")] {
            let ip: IpAddr = address.parse().unwrap();
            let foreign: IpAddr = other.parse().unwrap();
            let mut about = frame::announcements(OTHER, ip);
            about.push(frame::probe(OTHER, ip));
            let mut frames = frame::announcements(OTHER, foreign);
            frames.push(frame::probe(OTHER, foreign));
            frames.extend(about.clone());
            frames.push(vec![0; 14]);
            assert_eq!(passed(address, &frames), about, "{address}");
        }
    }

    #[test]
    fn a_client_that_resolves_the_address_wakes_nobody() {
        for (address, sender) in [("10.0.0.1", 28..32), ("fd00::1", 22..38)] {
            let mut question = frame::probe(OTHER, address.parse().unwrap());
            // With a sender it is an ordinary question, as every client asks.
            question[sender].fill(7);
            assert_eq!(passed(address, &[question]), Vec::<Vec<u8>>::new());
        }
    }
}
