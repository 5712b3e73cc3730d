//! A tap on an interface: takes every frame that comes in there, and puts frames out, whole.
//!
//! Frames between two stations of one host are often unfinished: the checksum is left to hardware
//! that is not there, and one frame stands for many. A tap therefore keeps the header with which
//! the kernel describes that (`PACKET_VNET_HDR`) in front of each frame, and hands it back when
//! the frame is put out again.
#![expect(unsafe_code, reason = "socket options of AF_PACKET have no safe wrapper")]

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, sockopt};

use crate::packet::bind;
use crate::route::IfIndex;

/// A frame as a tap took it, with its header.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Frame(Vec<u8>);

/// A tap; its descriptor ([`AsFd`]) is readable when there may be a frame.
#[derive(Debug)]
pub struct Tap {
    fd: OwnedFd,
    buffer: Vec<u8>,
}

impl Frame {
    /// Its length with the header.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.0.len()
    }
}

impl Tap {
    /// Opens a tap on an interface of the calling thread's net namespace.
    ///
    /// # Errors
    /// The kernel refuses a packet socket or does not know the options.
    pub fn open(ifindex: IfIndex) -> io::Result<Self> {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let fd = rustix::net::socket_with(AddressFamily::PACKET, SocketType::RAW, flags, None)?;
        set(&fd, PACKET_VNET_HDR)?;
        set(&fd, PACKET_IGNORE_OUTGOING)?;
        // What comes while its reader is busy waits in the kernel; less room loses more.
        if sockopt::set_socket_recv_buffer_size_force(&fd, WAITING_BYTES).is_err() {
            let _ = sockopt::set_socket_recv_buffer_size(&fd, WAITING_BYTES);
        }
        bind(&fd, ifindex, libc::ETH_P_ALL as u16)?;
        Ok(Self { fd, buffer: vec![0; FRAME_BYTES_MAX] })
    }

    /// The next frame that came in, if one did.
    ///
    /// # Errors
    /// The interface is gone or switched off.
    pub fn take(&mut self) -> io::Result<Option<Frame>> {
        loop {
            match rustix::net::recv(&self.fd, &mut self.buffer[..], RecvFlags::DONTWAIT) {
                Ok((length, _)) => return Ok(Some(Frame(self.buffer[..length].to_vec()))),
                Err(rustix::io::Errno::AGAIN) => return Ok(None),
                Err(rustix::io::Errno::INTR) => {}
                Err(errno) => return Err(errno.into()),
            }
        }
    }

    /// Puts a frame out.
    ///
    /// # Errors
    /// The interface takes no more, is gone, or switched off.
    pub fn put(&self, frame: &Frame) -> io::Result<()> {
        rustix::io::retry_on_intr(|| rustix::net::send(&self.fd, &frame.0, SendFlags::empty()))?;
        Ok(())
    }
}

impl AsFd for Tap {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

fn set(fd: &OwnedFd, option: i32) -> io::Result<()> {
    let on: libc::c_int = 1;
    // SAFETY: pointer and length describe `on`, which lives through the call.
    let result = unsafe {
        libc::setsockopt(
            fd.as_raw_fd(),
            libc::SOL_PACKET,
            option,
            (&raw const on).cast(),
            size_of_val(&on) as libc::socklen_t,
        )
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// `linux/if_packet.h`.
const PACKET_VNET_HDR: i32 = 15;
const PACKET_IGNORE_OUTGOING: i32 = 23;
/// One frame that stands for many has at most 64 KiB; header of the kernel and of Ethernet before.
const FRAME_BYTES_MAX: usize = (64 << 10) + 128;
const WAITING_BYTES: usize = 4 << 20;
