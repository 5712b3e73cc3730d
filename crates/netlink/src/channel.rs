//! One blocking netlink socket: a request goes out, its answer comes back, within a time limit.
//!
//! Every request carries its own sequence number and answers with another one are skipped, so an
//! answer that comes after its request was given up cannot be taken for the next one.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

use netlink_packet_core::{NLM_F_ACK, NLM_F_DUMP, NLM_F_DUMP_INTR, NLM_F_REQUEST};
use netlink_packet_core::{NLMSG_DONE, NLMSG_ERROR, NLMSG_OVERRUN};
use netlink_sys::{Socket, SocketAddr};
use rustix::net::RecvFlags;
use rustix::net::sockopt::{self, Timeout};

use crate::attribute;
use crate::wait::Deadline;

/// Why a request to the kernel did not succeed.
#[derive(Debug, thiserror::Error)]
pub enum ExchangeError {
    /// The kernel has no such netlink family, or it may not be used here.
    #[error("no netlink socket")]
    Open(#[source] io::Error),
    #[error("the request could not be sent")]
    Send(#[source] io::Error),
    #[error("the answer could not be received")]
    Receive(#[source] io::Error),
    /// The kernel did not answer within the time limit of the socket.
    #[error("no answer from the kernel within {limit_ms} ms")]
    Timeout { limit_ms: u128 },
    /// The kernel answered with an error; `detail` is its own sentence where it gives one.
    #[error("refused by the kernel{}", detail_suffix(.detail))]
    Refused { detail: Option<String>, source: io::Error },
    /// The tables changed during each of several attempts to list them.
    #[error("the tables changed while they were read, {attempts} times in a row")]
    Interrupted { attempts: u32 },
    #[error("the kernel's answer lacks {what}")]
    Malformed { what: &'static str },
}

impl ExchangeError {
    /// The error number of the kernel, if it gave one.
    pub fn errno(&self) -> Option<i32> {
        match self {
            Self::Open(source)
            | Self::Send(source)
            | Self::Receive(source)
            | Self::Refused { source, .. } => source.raw_os_error(),
            Self::Timeout { .. } | Self::Interrupted { .. } | Self::Malformed { .. } => None,
        }
    }
}

fn detail_suffix(detail: &Option<String>) -> String {
    detail.as_ref().map(|text| format!(" ({text})")).unwrap_or_default()
}

/// One message of an answer, header taken apart.
#[derive(Debug, Clone)]
pub(crate) struct Message {
    pub(crate) kind: u16,
    pub(crate) flags: u16,
    pub(crate) sequence: u32,
    pub(crate) payload: Vec<u8>,
}

/// Bytes of `struct nlmsghdr`.
pub(crate) const HEADER_BYTES: usize = 16;
const LIST_ATTEMPTS: u32 = 10;
/// More than the kernel says about one refusal.
const ANSWER_BYTES: usize = 4096;

/// A netlink socket of one protocol, bound to a port the kernel chose.
#[derive(Debug)]
pub(crate) struct Channel {
    socket: Socket,
    limit: Duration,
    sequence: Cell<u32>,
    unread: RefCell<VecDeque<Message>>,
}

impl Channel {
    /// Opens a socket of `protocol` whose answers must come within `limit`.
    pub(crate) fn open(protocol: isize, limit: Duration) -> Result<Self, ExchangeError> {
        let mut socket = Socket::new(protocol).map_err(ExchangeError::Open)?;
        socket.bind_auto().map_err(ExchangeError::Open)?;
        let channel =
            Self { socket, limit, sequence: Cell::new(0), unread: RefCell::new(VecDeque::new()) };
        channel.configure().map_err(ExchangeError::Open)?;
        Ok(channel)
    }

    /// The bare socket, for what goes beyond request and answer.
    pub(crate) fn socket(&self) -> &Socket {
        &self.socket
    }

    /// Sends one request and waits for the kernel's yes or no.
    pub(crate) fn acknowledged(&self, mut request: Vec<u8>) -> Result<(), ExchangeError> {
        let sequence = self.send(&mut request, NLM_F_REQUEST | NLM_F_ACK)?;
        loop {
            let message = self.receive_for(sequence)?;
            if message.kind == NLMSG_ERROR {
                return outcome(&message);
            }
        }
    }

    /// Sends one request that is answered by exactly one message.
    pub(crate) fn answered(&self, mut request: Vec<u8>) -> Result<Message, ExchangeError> {
        let sequence = self.send(&mut request, NLM_F_REQUEST)?;
        let message = self.receive_for(sequence)?;
        if message.kind == NLMSG_ERROR {
            outcome(&message)?;
            return Err(ExchangeError::Malformed { what: "the answer itself" });
        }
        Ok(message)
    }

    /// Lists a whole table; starts again when it changed meanwhile.
    pub(crate) fn listed(&self, request: &[u8]) -> Result<Vec<Message>, ExchangeError> {
        for _ in 0..LIST_ATTEMPTS {
            if let Some(messages) = self.list_once(request.to_vec())? {
                return Ok(messages);
            }
        }
        Err(ExchangeError::Interrupted { attempts: LIST_ATTEMPTS })
    }

    /// Sends messages that belong together as one datagram (an nfnetlink batch), sequence numbers
    /// given one by one from `first`; the last but one must ask for an acknowledgement.
    pub(crate) fn transacted(&self, messages: Vec<Vec<u8>>) -> Result<(), ExchangeError> {
        let first = self.sequence.get().wrapping_add(1);
        let mut datagram = Vec::new();
        let mut sequence = first;
        for mut message in messages {
            seal(&mut message, 0, sequence);
            datagram.append(&mut message);
            sequence = sequence.wrapping_add(1);
        }
        let last = sequence.wrapping_sub(1);
        self.sequence.set(last);
        self.transmit(&datagram)?;
        loop {
            let message = self.receive()?;
            let own = message.sequence.wrapping_sub(first) <= last.wrapping_sub(first);
            if own && message.kind == NLMSG_ERROR {
                return outcome(&message);
            }
        }
    }

    /// Sends a whole batch that asks for no acknowledgement, all its messages under one sequence
    /// number. The kernel carries it out before the call that sends it returns, so a refusal is
    /// there to be read or there is none. Nothing is allocated unless it is refused.
    pub(crate) fn committed(&self, batch: &[u8], sequence: u32) -> Result<(), ExchangeError> {
        self.transmit(batch)?;
        let mut buffer = [0; ANSWER_BYTES];
        let mut verdict = Ok(());
        loop {
            match rustix::net::recv(&self.socket, &mut buffer[..], RecvFlags::DONTWAIT) {
                Ok((length, _)) => {
                    let refused = |m: &Message| m.sequence == sequence && m.kind == NLMSG_ERROR;
                    let mut answers = messages(&buffer[..length.min(ANSWER_BYTES)]).into_iter();
                    if let (Ok(()), Some(refusal)) = (&verdict, answers.find(refused)) {
                        verdict = outcome(&refusal);
                    }
                }
                Err(rustix::io::Errno::AGAIN) => return verdict,
                Err(rustix::io::Errno::INTR) => {}
                Err(errno) => return Err(ExchangeError::Receive(errno.into())),
            }
        }
    }

    /// Waits for the next message, whatever it answers.
    pub(crate) fn receive(&self) -> Result<Message, ExchangeError> {
        loop {
            if let Some(message) = self.unread.borrow_mut().pop_front() {
                return Ok(message);
            }
            let (bytes, sender) = match self.socket.recv_from_full() {
                Ok(received) => received,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    return Err(ExchangeError::Timeout { limit_ms: self.limit.as_millis() });
                }
                Err(error) => return Err(ExchangeError::Receive(error)),
            };
            if sender.port_number() == 0 {
                self.unread.borrow_mut().extend(messages(&bytes));
            }
        }
    }

    /// Waits for the next message, whatever it answers; `None` when the deadline passed first.
    pub(crate) fn receive_before(
        &self,
        deadline: Deadline,
    ) -> Result<Option<Message>, ExchangeError> {
        if self.unread.borrow().is_empty()
            && !deadline.readable(self).map_err(ExchangeError::Receive)?
        {
            return Ok(None);
        }
        self.receive().map(Some)
    }

    fn configure(&self) -> io::Result<()> {
        sockopt::set_socket_timeout(&self.socket, Timeout::Recv, Some(self.limit))?;
        sockopt::set_socket_timeout(&self.socket, Timeout::Send, Some(self.limit))?;
        self.socket.set_cap_ack(true)?;
        self.socket.set_ext_ack(true)
    }

    fn list_once(&self, mut request: Vec<u8>) -> Result<Option<Vec<Message>>, ExchangeError> {
        let sequence = self.send(&mut request, NLM_F_REQUEST | NLM_F_DUMP)?;
        let mut found = Vec::new();
        let mut intact = true;
        loop {
            let message = self.receive_for(sequence)?;
            intact &= message.flags & NLM_F_DUMP_INTR == 0;
            match message.kind {
                NLMSG_DONE => {
                    done_outcome(&message)?;
                    return Ok(intact.then_some(found));
                }
                NLMSG_ERROR => {
                    outcome(&message)?;
                    return Ok(Some(found));
                }
                NLMSG_OVERRUN => intact = false,
                _ => found.push(message),
            }
        }
    }

    fn send(&self, request: &mut [u8], flags: u16) -> Result<u32, ExchangeError> {
        let sequence = self.sequence.get().wrapping_add(1);
        self.sequence.set(sequence);
        self.unread.borrow_mut().clear();
        seal(request, flags, sequence);
        self.transmit(request)?;
        Ok(sequence)
    }

    fn transmit(&self, bytes: &[u8]) -> Result<(), ExchangeError> {
        loop {
            match self.socket.send_to(bytes, &SocketAddr::new(0, 0), 0) {
                Ok(_) => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(ExchangeError::Send(error)),
            }
        }
    }

    fn receive_for(&self, sequence: u32) -> Result<Message, ExchangeError> {
        loop {
            let message = self.receive()?;
            if message.sequence == sequence {
                return Ok(message);
            }
        }
    }
}

impl AsFd for Channel {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// A message with an empty header of this kind in front of `body`; [`seal`] completes it.
pub(crate) fn message(kind: u16, flags: u16, body: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0; HEADER_BYTES];
    bytes[4..6].copy_from_slice(&kind.to_ne_bytes());
    bytes[6..8].copy_from_slice(&flags.to_ne_bytes());
    bytes.extend_from_slice(body);
    bytes.resize(attribute::aligned(bytes.len()), 0);
    bytes
}

/// Completes a header: length, further flags, sequence number.
pub(crate) fn seal(message: &mut [u8], more_flags: u16, sequence: u32) {
    let length = u32::try_from(message.len()).expect("requests of this crate are below 4 GiB");
    let flags = u16::from_ne_bytes([message[6], message[7]]) | more_flags;
    message[0..4].copy_from_slice(&length.to_ne_bytes());
    message[6..8].copy_from_slice(&flags.to_ne_bytes());
    message[8..12].copy_from_slice(&sequence.to_ne_bytes());
}

/// Splits a datagram into its messages; ends at the first that does not fit.
fn messages(mut bytes: &[u8]) -> Vec<Message> {
    let mut found = Vec::new();
    while let Some((header, _)) = bytes.split_first_chunk::<HEADER_BYTES>() {
        let [l0, l1, l2, l3, k0, k1, f0, f1, s0, s1, s2, s3, ..] = *header;
        let length = u32::from_ne_bytes([l0, l1, l2, l3]) as usize;
        if length < HEADER_BYTES || length > bytes.len() {
            break;
        }
        found.push(Message {
            kind: u16::from_ne_bytes([k0, k1]),
            flags: u16::from_ne_bytes([f0, f1]),
            sequence: u32::from_ne_bytes([s0, s1, s2, s3]),
            payload: bytes[HEADER_BYTES..length].to_vec(),
        });
        bytes = &bytes[attribute::aligned(length).min(bytes.len())..];
    }
    found
}

/// What an `NLMSG_ERROR` says: acknowledgement or refusal.
fn outcome(message: &Message) -> Result<(), ExchangeError> {
    /// The kernel's own sentence about the refusal.
    const ATTRIBUTE_MESSAGE: u16 = 1;
    let code = error_code(message)?;
    if code == 0 {
        return Ok(());
    }
    let details = message.payload.get(4 + HEADER_BYTES..).unwrap_or_default();
    let detail = attribute::find(details, ATTRIBUTE_MESSAGE).map(attribute::text);
    Err(ExchangeError::Refused { detail, source: io::Error::from_raw_os_error(-code) })
}

/// What an `NLMSG_DONE` says: the list is complete, or it ended with an error.
fn done_outcome(message: &Message) -> Result<(), ExchangeError> {
    if message.payload.is_empty() {
        return Ok(());
    }
    match error_code(message)? {
        code if code < 0 => Err(ExchangeError::Refused {
            detail: None,
            source: io::Error::from_raw_os_error(-code),
        }),
        _ => Ok(()),
    }
}

fn error_code(message: &Message) -> Result<i32, ExchangeError> {
    let code = message.payload.first_chunk::<4>();
    code.map(|bytes| i32::from_ne_bytes(*bytes))
        .ok_or(ExchangeError::Malformed { what: "an error code" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn splits_a_datagram_and_survives_damage() {
        let mut bytes = Vec::new();
        for sequence in 1..=2 {
            let mut one = message(20, 0, &[1, 2, 3]);
            seal(&mut one, NLM_F_ACK, sequence);
            bytes.extend(one);
        }
        let found = messages(&bytes);
        assert_eq!(found.iter().map(|m| m.sequence).collect::<Vec<_>>(), [1, 2]);
        assert_eq!(found[0].flags, NLM_F_ACK);
        for end in 0..bytes.len() {
            assert!(messages(&bytes[..end]).len() < 2);
        }
    }

    #[test]
    fn a_refusal_carries_the_kernels_sentence() {
        let mut payload = (-libc::EINVAL).to_ne_bytes().to_vec();
        payload.extend([0; HEADER_BYTES]);
        attribute::push_text(&mut payload, 1, "no such thing");
        let refusal = Message { kind: NLMSG_ERROR, flags: 0, sequence: 1, payload };
        let error = outcome(&refusal).unwrap_err();
        assert_eq!(error.errno(), Some(libc::EINVAL));
        assert_eq!(error.to_string(), "refused by the kernel (no such thing)");
    }
}
