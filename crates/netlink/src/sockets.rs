//! The connections of an address: listed while it is here, ended when it has left the node.
//!
//! When an address moves away, its connections here can neither continue nor end: applications
//! hold sockets whose peer now talks to another node. The kernel can abort them (`SOCK_DESTROY` of
//! sock_diag); a reader then gets an error at once instead of after many minutes.
//!
//! Listeners stay: they hold no peer's state, and serve again when the address comes back.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use netlink_sys::protocols::NETLINK_SOCK_DIAG;

use crate::attribute::push;
use crate::channel::{self, Channel, ExchangeError, Message};
use crate::route::ANSWER_LIMIT;

/// An established TCP connection of an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Connection {
    /// The port at the address.
    pub port: u16,
    /// The other end.
    pub client: SocketAddr,
}

/// Lists connections in the net namespace the calling thread was in when it was opened.
#[derive(Debug)]
pub struct Listing {
    channel: Channel,
}

impl Listing {
    /// Opens a socket.
    ///
    /// # Errors
    /// The kernel has no sock_diag.
    pub fn open() -> Result<Self, ExchangeError> {
        Ok(Self { channel: Channel::open(NETLINK_SOCK_DIAG, ANSWER_LIMIT)? })
    }

    /// The established TCP connections whose local end is `address`, in no order. The kernel looks
    /// through all its connections for them.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn established(&self, address: IpAddr) -> Result<Vec<Connection>, ExchangeError> {
        let mut found = Vec::new();
        for family in families(address) {
            let mut request = request(SOCK_DIAG_BY_FAMILY, family, CONNECTED, &[0; ID_BYTES]);
            push(&mut request, INET_DIAG_REQ_BYTECODE, &local_is(address));
            let listed = self.channel.listed(&request)?;
            found.extend(listed.iter().filter_map(|found| connection(found, address)));
        }
        Ok(found)
    }
}

/// A program for the kernel: sockets whose local address is this one.
fn local_is(address: IpAddr) -> Vec<u8> {
    let (family, octets) = match address {
        IpAddr::V4(ip) => (libc::AF_INET, ip.octets().to_vec()),
        IpAddr::V6(ip) => (libc::AF_INET6, ip.octets().to_vec()),
    };
    // struct inet_diag_bc_op, whose "no" leads behind the end, and struct inet_diag_hostcond.
    let length = (4 + 8 + octets.len()) as u8;
    let mut program = vec![INET_DIAG_BC_S_COND, length];
    program.extend(u16::from(length + 4).to_ne_bytes());
    program.extend([family as u8, octets.len() as u8 * 8, 0, 0]);
    program.extend(ANY_PORT.to_ne_bytes());
    program.extend(octets);
    program
}

fn connection(found: &Message, address: IpAddr) -> Option<Connection> {
    let id = local_id(found, address)?;
    let family = i32::from(*found.payload.first()?);
    let client: [u8; 16] = id[20..36].try_into().ok()?;
    let port = |at: usize| u16::from_be_bytes([id[at], id[at + 1]]);
    Some(Connection { port: port(0), client: SocketAddr::new(ip(family, client), port(2)) })
}

/// What became of the connections of an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Destroyed {
    /// So many TCP connections and connected UDP sockets were ended.
    Sockets { tcp: usize, udp: usize },
    /// This kernel cannot end a connection (built without `INET_DIAG_DESTROY`).
    Unsupported,
}

/// The connections of an address could not be ended; the cause is the `source`.
#[derive(Debug, thiserror::Error)]
#[error("cannot end the {protocol} connections of {address}")]
pub struct DestroyError {
    protocol: &'static str,
    address: IpAddr,
    #[source]
    cause: ExchangeError,
}

impl DestroyError {
    /// Why: the kernel's answer, or that none came.
    pub fn cause(&self) -> &ExchangeError {
        &self.cause
    }
}

/// Ends all connections whose local end is `address` in the net namespace of the calling thread.
pub fn destroy_sockets(address: IpAddr) -> Result<Destroyed, DestroyError> {
    let [tcp, udp] = PROTOCOLS.map(|protocol| {
        destroy_all(protocol, address).map_err(|cause| DestroyError {
            protocol: protocol.name,
            address,
            cause,
        })
    });
    match (tcp?, udp?) {
        (Some(tcp), Some(udp)) => Ok(Destroyed::Sockets { tcp, udp }),
        (Some(_), None) | (None, Some(_) | None) => Ok(Destroyed::Unsupported),
    }
}

#[derive(Clone, Copy)]
struct Protocol {
    name: &'static str,
    number: u8,
    /// Bit per TCP state; UDP knows "established" for connected.
    states: u32,
}

const ESTABLISHED: u32 = 1 << 1;
const LISTEN: u32 = 1 << 10;
const ALL_STATES: u32 = 0x1ffe;
const PROTOCOLS: [Protocol; 2] = [
    Protocol { name: "TCP", number: libc::IPPROTO_TCP as u8, states: ALL_STATES & !LISTEN },
    Protocol { name: "UDP", number: libc::IPPROTO_UDP as u8, states: ESTABLISHED },
];

const CONNECTED: Protocol =
    Protocol { name: "TCP", number: libc::IPPROTO_TCP as u8, states: ESTABLISHED };

const INET_DIAG_REQ_BYTECODE: u16 = 1;
const INET_DIAG_BC_S_COND: u8 = 7;
const ANY_PORT: i32 = -1;
const SOCK_DIAG_BY_FAMILY: u16 = 20;
const SOCK_DESTROY: u16 = 21;
/// Bytes of `struct inet_diag_sockid`, and where it stands in `struct inet_diag_msg`.
const ID_BYTES: usize = 48;
const ID_OFFSET: usize = 4;

/// How many sockets were ended; `None` when the kernel cannot.
fn destroy_all(protocol: Protocol, address: IpAddr) -> Result<Option<usize>, ExchangeError> {
    let channel = match Channel::open(NETLINK_SOCK_DIAG, ANSWER_LIMIT) {
        Err(error) if error.errno() == Some(libc::EPROTONOSUPPORT) => return Ok(None),
        other => other?,
    };
    let mut ended = 0;
    for family in families(address) {
        let id = [0; ID_BYTES];
        let request = request(SOCK_DIAG_BY_FAMILY, family, protocol, &id);
        let listed = match channel.listed(&request) {
            Err(error) if error.errno() == Some(libc::ENOENT) => return Ok(None),
            other => other?,
        };
        for id in listed.iter().filter_map(|found| local_id(found, address)) {
            match channel.acknowledged(self::request(SOCK_DESTROY, family, protocol, &id)) {
                Ok(()) => ended += 1,
                Err(error) if error.errno() == Some(libc::ENOENT) => {}
                Err(error) if error.errno() == Some(libc::EOPNOTSUPP) => return Ok(None),
                Err(error) => return Err(error),
            }
        }
    }
    Ok(Some(ended))
}

/// The socket families in which a local address can occur: an IPv6 socket that serves both
/// carries IPv4 connections under mapped addresses.
fn families(address: IpAddr) -> impl Iterator<Item = u8> {
    let v4 = address.is_ipv4().then_some(libc::AF_INET as u8);
    v4.into_iter().chain([libc::AF_INET6 as u8])
}

/// A `struct inet_diag_req_v2` with its header.
fn request(kind: u16, family: u8, protocol: Protocol, id: &[u8; ID_BYTES]) -> Vec<u8> {
    let mut body = vec![family, protocol.number, 0, 0];
    body.extend(protocol.states.to_ne_bytes());
    body.extend(id);
    channel::message(kind, 0, &body)
}

/// The identity of the listed socket, if `address` is its local end.
fn local_id(found: &Message, address: IpAddr) -> Option<[u8; ID_BYTES]> {
    let family = i32::from(*found.payload.first()?);
    let id: [u8; ID_BYTES] = found.payload.get(ID_OFFSET..ID_OFFSET + ID_BYTES)?.try_into().ok()?;
    let source: [u8; 16] = id[4..20].try_into().ok()?;
    (ip(family, source) == address).then_some(id)
}

/// An address as sock_diag gives it; a mapped one is IPv4.
fn ip(family: i32, bytes: [u8; 16]) -> IpAddr {
    match family {
        libc::AF_INET => IpAddr::from([bytes[0], bytes[1], bytes[2], bytes[3]]),
        _ => Ipv6Addr::from(bytes).to_canonical(),
    }
}
