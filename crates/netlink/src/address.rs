//! Addresses of interfaces, and the form in which a cluster address is added.
//!
//! A cluster address comes and goes while the node's own address stays, so it must leave no trace
//! in what the node does for itself: it is a host address (`/32`, `/128`) without a route of its
//! own, and the kernel never picks it as the source of a new connection. In the node's own prefix
//! the kernel would make one of the two secondary and delete it together with the other.

use std::fmt;
use std::net::IpAddr;

use netlink_packet_core::{NLM_F_ACK, NLM_F_CREATE, NLM_F_EXCL, NLM_F_REQUEST};
use netlink_packet_route::address::{
    AddressAttribute, AddressFlags, AddressHeaderFlags, AddressMessage, AddressScope, CacheInfo,
};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};

use crate::attribute;
use crate::channel::{self, Message};
use crate::route::{IfIndex, Route, RouteError, encode};

/// An address to add to or delete from an interface.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AddressSpec {
    pub ifindex: IfIndex,
    pub address: IpAddr,
    /// Bits of the network part, 32 or 128 for a host address.
    pub prefix_len: u8,
    pub prefix_route: PrefixRoute,
    pub source: SourceUse,
    pub duplicates: DuplicateCheck,
    /// IPv4 only: the name old tools show; starts with the interface's name, at most 15 bytes.
    pub label: Option<String>,
}

/// Whether the kernel adds the route to the address's network by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PrefixRoute {
    Added,
    Omitted,
}

/// Whether the kernel may choose the address for connections that did not choose one themselves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SourceUse {
    Ordinary,
    /// IPv6: deprecated (`preferred_lft 0`). IPv4 has no such thing in source selection; there the
    /// address gets host scope, too narrow for any route that leaves the node.
    Never,
}

/// Whether IPv6 waits for duplicate address detection before the address works (1-2 s).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DuplicateCheck {
    Kernel,
    Skipped,
}

impl AddressSpec {
    /// An ordinary address, as a node has for itself.
    pub fn node(ifindex: IfIndex, address: IpAddr, prefix_len: u8) -> Self {
        Self {
            ifindex,
            address,
            prefix_len,
            prefix_route: PrefixRoute::Added,
            source: SourceUse::Ordinary,
            duplicates: DuplicateCheck::Kernel,
            label: None,
        }
    }

    /// A cluster address, see the module.
    pub fn cluster(ifindex: IfIndex, address: IpAddr) -> Self {
        Self {
            ifindex,
            address,
            prefix_len: if address.is_ipv4() { 32 } else { 128 },
            prefix_route: PrefixRoute::Omitted,
            source: SourceUse::Never,
            duplicates: DuplicateCheck::Skipped,
            label: None,
        }
    }

    fn message(&self) -> AddressMessage {
        let flags = self.flags();
        let mut message = self.identity();
        message.header.flags = AddressHeaderFlags::from_bits_truncate((flags.bits() & 0xff) as u8);
        message.header.scope = self.scope();
        message.attributes.push(AddressAttribute::Flags(flags));
        if self.address.is_ipv6() && self.source == SourceUse::Never {
            let mut lifetimes = CacheInfo::default();
            lifetimes.ifa_valid = FOREVER;
            lifetimes.ifa_preferred = 0;
            message.attributes.push(AddressAttribute::CacheInfo(lifetimes));
        }
        message
    }

    /// What tells the address apart from others: enough to delete it.
    fn identity(&self) -> AddressMessage {
        let mut message = AddressMessage::default();
        message.header.family = match self.address {
            IpAddr::V4(_) => AddressFamily::Inet,
            IpAddr::V6(_) => AddressFamily::Inet6,
        };
        message.header.prefix_len = self.prefix_len;
        message.header.index = self.ifindex.0;
        message.attributes.push(AddressAttribute::Local(self.address));
        message.attributes.push(AddressAttribute::Address(self.address));
        if let Some(label) = &self.label {
            message.attributes.push(AddressAttribute::Label(label.clone()));
        }
        message
    }

    fn flags(&self) -> AddressFlags {
        let mut flags = AddressFlags::empty();
        flags.set(AddressFlags::Noprefixroute, self.prefix_route == PrefixRoute::Omitted);
        flags.set(
            AddressFlags::Nodad,
            self.address.is_ipv6() && self.duplicates == DuplicateCheck::Skipped,
        );
        flags
    }

    fn scope(&self) -> AddressScope {
        match (self.address, self.source) {
            (IpAddr::V4(_), SourceUse::Never) => AddressScope::Host,
            (IpAddr::V4(_), SourceUse::Ordinary) | (IpAddr::V6(_), _) => AddressScope::Universe,
        }
    }
}

impl fmt::Display for AddressSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "address {}/{} on interface {}", self.address, self.prefix_len, self.ifindex)
    }
}

/// A lifetime without end, in the kernel's seconds.
const FOREVER: u32 = u32::MAX;

/// A request that deletes the address, complete: whoever has a raw `NETLINK_ROUTE` socket can send
/// these bytes without knowing netlink. The answer is one message; the 4 bytes after its 16 byte
/// header are 0, or a negated error number, of which `EADDRNOTAVAIL` (not there) and `ENODEV` (the
/// interface is gone, and the address with it) mean the same as success.
pub fn encode_delete_address(spec: &AddressSpec) -> Vec<u8> {
    let message = RouteNetlinkMessage::DelAddress(spec.identity());
    let mut bytes = encode(message, NLM_F_REQUEST | NLM_F_ACK);
    channel::seal(&mut bytes, 0, 1);
    bytes
}

/// An address the kernel has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AddressEntry {
    pub ifindex: IfIndex,
    pub address: IpAddr,
    pub prefix_len: u8,
    pub label: Option<String>,
    /// Not chosen as source while there is another (IPv6).
    pub deprecated: bool,
    /// Duplicate address detection has not ended; the address does not work yet.
    pub tentative: bool,
    /// Duplicate address detection found another owner; the address does not work.
    pub duplicate: bool,
    /// IPv4: deleted together with the primary address of its network.
    pub secondary: bool,
    /// No route to its network was made for it.
    pub without_prefix_route: bool,
    /// IPv4: valid only within the node for source selection.
    pub host_scope: bool,
    /// It goes by itself unless it is renewed: a lease of DHCP, or what an IPv6 router gave.
    pub leased: bool,
}

impl Route {
    /// Adds an address; [`RouteError::already_exists`] when it is there already.
    pub fn add_address(&self, spec: &AddressSpec) -> Result<(), RouteError> {
        let message = RouteNetlinkMessage::NewAddress(spec.message());
        self.change(message, NLM_F_CREATE | NLM_F_EXCL)
            .map_err(|cause| RouteError::new("add", spec, cause))
    }

    /// Deletes an address; [`RouteError::not_found`] when it is not there.
    pub fn delete_address(&self, spec: &AddressSpec) -> Result<(), RouteError> {
        self.change(RouteNetlinkMessage::DelAddress(spec.identity()), 0)
            .map_err(|cause| RouteError::new("delete", spec, cause))
    }

    /// Deletes a listed address; [`RouteError::not_found`] when it is not there any more.
    pub fn remove_address(&self, entry: &AddressEntry) -> Result<(), RouteError> {
        let AddressEntry { ifindex, address, prefix_len, .. } = *entry;
        self.delete_address(&AddressSpec::node(ifindex, address, prefix_len))
    }

    /// All IPv4 and IPv6 addresses of the net namespace.
    pub fn addresses(&self) -> Result<Vec<AddressEntry>, RouteError> {
        let messages = self
            .list(RouteNetlinkMessage::GetAddress(AddressMessage::default()))
            .map_err(|cause| RouteError::new("list", "the addresses", cause))?;
        Ok(messages.iter().filter_map(AddressEntry::read).collect())
    }
}

impl AddressEntry {
    /// Reads an `RTM_NEWADDR` or `RTM_DELADDR`; `None` for other families.
    pub(crate) fn read(message: &Message) -> Option<Self> {
        let (header, rest) = message.payload.split_first_chunk::<INFO_BYTES>()?;
        let [_, prefix_len, short_flags, scope, i0, i1, i2, i3] = *header;
        let local = attribute::find(rest, libc::IFA_LOCAL);
        let address = local.or_else(|| attribute::find(rest, libc::IFA_ADDRESS))?;
        let flags = attribute::find(rest, libc::IFA_FLAGS).and_then(attribute::number_u32);
        let flags = AddressFlags::from_bits_retain(flags.unwrap_or_else(|| short_flags.into()));
        let lifetimes = attribute::find(rest, libc::IFA_CACHEINFO);
        let valid = lifetimes.and_then(|all| all.get(VALID_AT..)).and_then(attribute::number_u32);
        Some(Self {
            ifindex: IfIndex(u32::from_ne_bytes([i0, i1, i2, i3])),
            address: attribute::address(address)?,
            prefix_len,
            label: attribute::find(rest, libc::IFA_LABEL).map(attribute::text),
            deprecated: flags.contains(AddressFlags::Deprecated),
            tentative: flags.contains(AddressFlags::Tentative),
            duplicate: flags.contains(AddressFlags::Dadfailed),
            // IPv6 uses the same bit for temporary addresses.
            secondary: address.len() == 4 && flags.contains(AddressFlags::Secondary),
            without_prefix_route: flags.contains(AddressFlags::Noprefixroute),
            host_scope: AddressScope::from(scope) == AddressScope::Host,
            leased: valid.is_some_and(|seconds| seconds != FOREVER),
        })
    }
}

/// Bytes of `struct ifaddrmsg`.
const INFO_BYTES: usize = 8;
/// Where `struct ifa_cacheinfo` has the valid lifetime, in seconds.
const VALID_AT: usize = 4;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_with_an_end_is_leased() {
        let told = |lifetimes: &[u32]| {
            let mut payload = vec![libc::AF_INET as u8, 24, 0, 0];
            payload.extend_from_slice(&7_u32.to_ne_bytes());
            attribute::push(&mut payload, libc::IFA_LOCAL, &[10, 1, 0, 1]);
            let lifetimes: Vec<u8> = lifetimes.iter().flat_map(|l| l.to_ne_bytes()).collect();
            attribute::push(&mut payload, libc::IFA_CACHEINFO, &lifetimes);
            let message = Message { kind: libc::RTM_NEWADDR, flags: 0, sequence: 1, payload };
            let entry = AddressEntry::read(&message).unwrap();
            assert_eq!((entry.ifindex, entry.prefix_len), (IfIndex(7), 24));
            entry.leased
        };
        assert!(told(&[1800, 3600, 0, 0]));
        assert!(told(&[0, 3600, 0, 0]), "one that is about to go");
        assert!(!told(&[FOREVER, FOREVER, 0, 0]));
        assert!(!told(&[0, FOREVER, 0, 0]), "a cluster address, which is never a source");
        assert!(!told(&[]), "a kernel that does not say");
    }
}
