//! The asking itself: one thread, many overlapping attempts, and an ear on the wire.

use std::collections::HashMap;
use std::io::{self, Write};
use std::net::SocketAddrV4;
use std::num::NonZeroU32;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, Protocol, RecvFlags, SendFlags, SocketAddrAny, SocketFlags, SocketType, sockopt,
};
use stead_netlink::Mac;

use super::{Attempt, Outcome};
use crate::cabling::Station;
use crate::clock::boot_ns;

/// A new attempt begins this often.
const INTERVAL_NS: u64 = 5_000_000;
/// How long an attempt may take.
const PATIENCE_NS: u64 = 250_000_000;

const REQUEST: &[u8] = b"GET / HTTP/1.0\r\n\r\n";
const ETHERTYPE_IPV4: u16 = 0x0800;

/// An attempt on its way.
#[derive(Debug)]
struct Question {
    socket: OwnedFd,
    port: u16,
    sent_ns: u64,
    phase: Phase,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Phase {
    Connecting,
    Reading,
}

/// Asks until standard input ends.
pub(super) fn run(target: SocketAddrV4) -> io::Result<()> {
    let mut asker = Asker { target, questions: Vec::new(), wire: Wire::open(target)? };
    let mut out = io::BufWriter::new(io::stdout().lock());
    let mut next_ns = boot_ns();
    loop {
        let now = boot_ns();
        let mut over = Vec::new();
        if now >= next_ns {
            // After a stall of this process attempts are left out, not made up for.
            next_ns = (next_ns + INTERVAL_NS).max(now);
            over.extend(asker.ask(now));
        }
        if asker.wait(next_ns)? {
            return out.flush();
        }
        over.extend(asker.advance(boot_ns()));
        for attempt in &over {
            serde_json::to_writer(&mut out, attempt)?;
            out.write_all(b"\n")?;
        }
        out.flush()?;
    }
}

struct Asker {
    target: SocketAddrV4,
    questions: Vec<Question>,
    wire: Wire,
}

impl Asker {
    /// Begins an attempt; what fails at once is over.
    fn ask(&mut self, now: u64) -> Option<Attempt> {
        match connect(self.target) {
            Ok((socket, port)) => {
                let phase = Phase::Connecting;
                self.questions.push(Question { socket, port, sent_ns: now, phase });
                None
            }
            Err(errno) => Some(Attempt {
                sent_ns: now,
                done_ns: boot_ns(),
                result: outcome(errno),
                from: None,
            }),
        }
    }

    /// Waits until something happens or the next attempt is due; `true` when input ended.
    fn wait(&self, next_ns: u64) -> io::Result<bool> {
        let stdin = io::stdin();
        let mut polled = vec![PollFd::new(&stdin, PollFlags::IN)];
        polled.extend(self.questions.iter().map(|question| {
            let wanted = match question.phase {
                Phase::Connecting => PollFlags::OUT,
                Phase::Reading => PollFlags::IN,
            };
            PollFd::new(&question.socket, wanted)
        }));
        let left = Duration::from_nanos(next_ns.saturating_sub(boot_ns()));
        let timeout = Timespec { tv_sec: 0, tv_nsec: left.subsec_nanos().into() };
        match rustix::event::poll(&mut polled, Some(&timeout)) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(errno) => return Err(errno.into()),
        }
        // Nobody writes anything there; whatever happens is the end.
        Ok(!polled[0].revents().is_empty())
    }

    /// Takes every attempt as far as it goes; returns those that are over.
    fn advance(&mut self, now: u64) -> Vec<Attempt> {
        self.wire.listen();
        let mut over = Vec::new();
        let mut index = 0;
        while index < self.questions.len() {
            let question = &mut self.questions[index];
            let late = now.saturating_sub(question.sent_ns) >= PATIENCE_NS;
            let result = question.advance().or_else(|| late.then_some(Outcome::Timeout));
            let Some(result) = result else {
                index += 1;
                continue;
            };
            let question = self.questions.swap_remove(index);
            // Its last frame may have come after the ear was on the wire.
            self.wire.listen();
            let from = self.wire.forget(question.port);
            over.push(Attempt { sent_ns: question.sent_ns, done_ns: now, result, from });
        }
        over
    }
}

impl Question {
    /// The outcome, when there is one.
    fn advance(&mut self) -> Option<Outcome> {
        if self.phase == Phase::Connecting {
            match sockopt::socket_error(&self.socket) {
                Ok(Ok(())) => {}
                Ok(Err(errno)) | Err(errno) => return Some(outcome(errno)),
            }
            match rustix::net::send(&self.socket, REQUEST, SendFlags::NOSIGNAL) {
                Ok(_) => self.phase = Phase::Reading,
                Err(Errno::AGAIN | Errno::NOTCONN | Errno::INTR) => return None,
                Err(errno) => return Some(outcome(errno)),
            }
        }
        let mut answer = [0; 4096];
        match rustix::net::recv(&self.socket, &mut answer, RecvFlags::DONTWAIT) {
            Ok((length, _)) => {
                let head = &answer[..length.min(16)];
                let good = head.starts_with(b"HTTP/") && head.windows(5).any(|w| w == b" 200 ");
                Some(if good { Outcome::Good } else { Outcome::BadAnswer })
            }
            Err(Errno::AGAIN | Errno::INTR) => None,
            Err(errno) => Some(outcome(errno)),
        }
    }
}

fn connect(target: SocketAddrV4) -> Result<(OwnedFd, u16), Errno> {
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    let socket = rustix::net::socket_with(AddressFamily::INET, SocketType::STREAM, flags, None)?;
    // Closing forgets the connection at once: no port stays in use.
    sockopt::set_socket_linger(&socket, Some(Duration::ZERO))?;
    match rustix::net::connect(&socket, &target) {
        Ok(()) | Err(Errno::INPROGRESS) => {}
        Err(errno) => return Err(errno),
    }
    let port = local_port(&socket)?;
    Ok((socket, port))
}

fn local_port(socket: &OwnedFd) -> Result<u16, Errno> {
    let local: SocketAddrAny = rustix::net::getsockname(socket)?;
    SocketAddrV4::try_from(local).map(|local| local.port())
}

fn outcome(errno: Errno) -> Outcome {
    match errno {
        Errno::CONNREFUSED | Errno::CONNRESET | Errno::PIPE => Outcome::Refused,
        Errno::TIMEDOUT => Outcome::Timeout,
        // No route, no neighbour, no port left: it could not be reached.
        _ => Outcome::Unreachable,
    }
}

/// The ear on the wire: whose card sent the last frame of each connection.
struct Wire {
    target: SocketAddrV4,
    socket: OwnedFd,
    last: HashMap<u16, Mac>,
}

impl Wire {
    fn open(target: SocketAddrV4) -> io::Result<Self> {
        let protocol = NonZeroU32::new(ETHERTYPE_IPV4.to_be().into()).map(Protocol::from_raw);
        let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
        let family = AddressFamily::PACKET;
        let socket = rustix::net::socket_with(family, SocketType::RAW, flags, protocol)?;
        Ok(Self { target, socket, last: HashMap::new() })
    }

    /// Takes in the frames that are there.
    fn listen(&mut self) {
        let mut frame = [0; 128];
        while let Ok((length, _)) =
            rustix::net::recv(self.socket.as_fd(), &mut frame, RecvFlags::DONTWAIT)
        {
            if let Some((port, mac)) = read_frame(&frame[..length], self.target) {
                self.last.insert(port, mac);
            }
        }
    }

    fn forget(&mut self, port: u16) -> Option<Station> {
        self.last.remove(&port).and_then(Station::with_mac)
    }
}

/// Of a TCP frame from the target: the port it goes to and the MAC it comes from.
fn read_frame(frame: &[u8], target: SocketAddrV4) -> Option<(u16, Mac)> {
    let (ethernet, packet) = frame.split_at_checked(14)?;
    let [.., high, low] = *ethernet else { return None };
    let header_bytes = usize::from(packet.first()? & 0x0f) * 4;
    let tcp = packet.get(header_bytes..)?;
    let ours = u16::from_be_bytes([high, low]) == ETHERTYPE_IPV4
        && packet.get(9).copied() == Some(libc::IPPROTO_TCP as u8)
        && packet.get(12..16)? == target.ip().octets()
        && tcp.get(..2)? == target.port().to_be_bytes();
    let port = tcp.get(2..4).map(|port| u16::from_be_bytes([port[0], port[1]]))?;
    Some((port, Mac::from_bytes(&ethernet[6..12])?)).filter(|_| ours)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(from: [u8; 6], source: [u8; 4], ports: [u16; 2]) -> Vec<u8> {
        let mut frame = vec![2; 6];
        frame.extend(from);
        frame.extend([8, 0]);
        frame.extend([0x45, 0, 0, 40, 0, 0, 0, 0, 64, 6, 0, 0]);
        frame.extend(source);
        frame.extend([10, 77, 2, 250]);
        frame.extend(ports.iter().flat_map(|port| port.to_be_bytes()));
        frame
    }

    #[test]
    fn only_frames_of_the_target_tell_who_answered() {
        let target = SocketAddrV4::new([10, 77, 2, 100].into(), 80);
        let mac = [2, 3, 4, 5, 6, 7];
        let told = |frame: &[u8]| read_frame(frame, target);
        let good = frame(mac, [10, 77, 2, 100], [80, 4000]);
        assert_eq!(told(&good), Some((4000, Mac(mac))));
        assert_eq!(told(&frame(mac, [10, 77, 2, 1], [80, 4000])), None);
        assert_eq!(told(&frame(mac, [10, 77, 2, 100], [81, 4000])), None);
        for length in 0..good.len() {
            assert_eq!(told(&good[..length]), None, "{length}");
        }
    }
}
