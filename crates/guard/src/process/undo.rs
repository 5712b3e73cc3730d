//! Taking an address away without the monitor that added it.
//!
//! The monitor sends the complete netlink request with its admission, so the guard knows nothing
//! of addresses: it sets a sequence number, sends the bytes and reads the kernel's verdict. An
//! address that an OCF agent adds is looked for instead, for only the agent knows where it will be.

use std::io;
use std::net::IpAddr;
use std::os::fd::OwnedFd;

use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType};
use stead_model::wire::guard::AddressUndo;
use stead_netlink::Route;

/// Takes an address away wherever it is.
fn take_away(address: IpAddr) -> io::Result<()> {
    let netlink = Route::open().map_err(io::Error::other)?;
    let all = netlink.addresses().map_err(io::Error::other)?;
    for entry in all.iter().filter(|entry| entry.address == address) {
        match netlink.remove_address(entry) {
            Err(why) if !why.not_found() => return Err(io::Error::other(why)),
            Ok(()) | Err(_) => {}
        }
    }
    Ok(())
}

/// Bytes of `struct nlmsghdr`.
const HEADER_BYTES: usize = 16;

/// A netlink socket for removals only.
#[derive(Debug)]
pub(super) struct Undoer {
    socket: OwnedFd,
    sequence: u32,
}

impl Undoer {
    /// Opens the socket in the guard's net namespace.
    pub(super) fn open() -> io::Result<Self> {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        // The default protocol of the family is NETLINK_ROUTE.
        let socket =
            rustix::net::socket_with(AddressFamily::NETLINK, SocketType::RAW, flags, None)?;
        Ok(Self { socket, sequence: 1 })
    }

    /// Sends a removal. Afterwards the address is gone: either by this, or it was before.
    pub(super) fn undo(&mut self, undo: &AddressUndo) -> io::Result<()> {
        if undo.request.is_empty() {
            return take_away(undo.address);
        }
        let mut request = undo.request.clone();
        let Some(sequence) = request.get_mut(8..12) else {
            return Err(io::Error::other("the undo request is too short"));
        };
        self.sequence += 1;
        sequence.copy_from_slice(&self.sequence.to_ne_bytes());
        rustix::net::send(&self.socket, &request, SendFlags::empty())?;
        self.verdict()
    }

    /// The kernel answers a removal before `send` returns.
    fn verdict(&self) -> io::Result<()> {
        let mut answer = [0; 4096];
        loop {
            let (got, _) = rustix::net::recv(&self.socket, &mut answer[..], RecvFlags::DONTWAIT)?;
            let answer = &answer[..got];
            let number = |at: usize| {
                let bytes = answer.get(at..at + 4).and_then(|b| b.first_chunk::<4>());
                bytes.map(|b| u32::from_ne_bytes(*b))
            };
            if number(8) != Some(self.sequence) {
                continue;
            }
            let code = number(HEADER_BYTES).unwrap_or_default().cast_signed();
            return match -code {
                0 | libc::EADDRNOTAVAIL | libc::ENODEV => Ok(()),
                errno => Err(io::Error::from_raw_os_error(errno)),
            };
        }
    }
}
