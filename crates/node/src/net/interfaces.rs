//! The addresses of this host's interfaces: what a cluster can be made on.

#![expect(unsafe_code, reason = "the list of interfaces has no safe interface")]

use std::ffi::CStr;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use serde::{Deserialize, Serialize};

/// An address of an interface that is up.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) struct Held {
    /// Name of the interface.
    pub(crate) interface: String,
    /// The address.
    pub(crate) address: IpAddr,
    /// How many of its first bits are those of its network.
    pub(crate) prefix: u8,
}

impl fmt::Display for Held {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{} on {}", self.address, self.prefix, self.interface)
    }
}

impl Held {
    /// Whether another address belongs to the same network.
    pub(crate) fn is_beside(&self, other: IpAddr) -> bool {
        first_bits(self.address, self.prefix) == first_bits(other, self.prefix)
    }

    /// Whether other hosts can reach it at all.
    pub(crate) fn is_reachable(&self) -> bool {
        match self.address {
            IpAddr::V4(v4) => !v4.is_loopback() && !v4.is_link_local(),
            IpAddr::V6(v6) => !v6.is_loopback() && !v6.is_unicast_link_local(),
        }
    }
}

/// The network of an address; nothing that equals that of the other family.
fn first_bits(address: IpAddr, prefix: u8) -> (bool, u128) {
    let (is_v6, bits, width) = match address {
        IpAddr::V4(v4) => (false, u128::from(v4.to_bits()), 32),
        IpAddr::V6(v6) => (true, v6.to_bits(), 128),
    };
    let beyond = u32::from(width - prefix.min(width));
    (is_v6, bits.checked_shr(beyond).unwrap_or_default())
}

/// All addresses of all interfaces that are up, in the system's order; none where it does not say.
pub(crate) fn held() -> Vec<Held> {
    let mut first: *mut libc::ifaddrs = std::ptr::null_mut();
    // SAFETY: the call writes one pointer, which is freed below.
    if unsafe { libc::getifaddrs(&raw mut first) } != 0 {
        return Vec::new();
    }
    let mut all = Vec::new();
    let mut next = first;
    // SAFETY: the list is ours until it is freed, and its last entry has no next one.
    while let Some(entry) = unsafe { next.as_ref() } {
        all.extend(of_entry(entry));
        next = entry.ifa_next;
    }
    // SAFETY: from `getifaddrs`, freed once.
    unsafe { libc::freeifaddrs(first) };
    all
}

fn of_entry(entry: &libc::ifaddrs) -> Option<Held> {
    if entry.ifa_flags & libc::IFF_UP as u32 == 0 {
        return None;
    }
    let address = ip(entry.ifa_addr)?;
    let prefix = match ip(entry.ifa_netmask)? {
        IpAddr::V4(mask) => mask.to_bits().leading_ones(),
        IpAddr::V6(mask) => mask.to_bits().leading_ones(),
    };
    // SAFETY: a text that lives as long as the entry.
    let name = unsafe { CStr::from_ptr(entry.ifa_name) };
    let interface = name.to_string_lossy().into_owned();
    Some(Held { interface, address, prefix: u8::try_from(prefix).ok()? })
}

fn ip(address: *const libc::sockaddr) -> Option<IpAddr> {
    // SAFETY: null or an address that lives as long as the entry.
    let family = unsafe { address.as_ref() }?.sa_family;
    match i32::from(family) {
        libc::AF_INET => {
            // SAFETY: an address of this family has this form.
            let v4 = unsafe { address.cast::<libc::sockaddr_in>().read_unaligned() };
            Some(IpAddr::V4(Ipv4Addr::from_bits(u32::from_be(v4.sin_addr.s_addr))))
        }
        libc::AF_INET6 => {
            // SAFETY: an address of this family has this form.
            let v6 = unsafe { address.cast::<libc::sockaddr_in6>().read_unaligned() };
            Some(IpAddr::V6(Ipv6Addr::from(v6.sin6_addr.s6_addr)))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(address: &str, prefix: u8) -> Held {
        Held { interface: "eth0".into(), address: address.parse().unwrap(), prefix }
    }

    #[test]
    fn the_loopback_is_there_and_reaches_nobody() {
        let all = held();
        let own = all.iter().find(|h| h.address == IpAddr::V4(Ipv4Addr::LOCALHOST));
        let own = own.unwrap_or_else(|| panic!("{all:?}"));
        assert_eq!((own.interface.as_str(), own.prefix), ("lo", 8));
        assert!(!own.is_reachable() && at("10.0.0.1", 8).is_reachable());
        assert!(!at("fe80::1", 64).is_reachable() && !at("169.254.3.1", 16).is_reachable());
    }

    #[test]
    fn networks_are_told_apart_by_their_first_bits() {
        let is = |one: &Held, other: &str| one.is_beside(other.parse().unwrap());
        assert!(is(&at("10.1.2.3", 24), "10.1.2.200") && !is(&at("10.1.2.3", 24), "10.1.3.3"));
        assert!(is(&at("fd00::1", 64), "fd00::2") && !is(&at("fd00::1", 64), "fd01::2"));
        assert!(is(&at("0.0.0.9", 0), "200.0.0.1") && !is(&at("0.0.0.9", 0), "::9"));
        assert!(is(&at("10.1.2.3", 32), "10.1.2.3") && !is(&at("10.1.2.3", 32), "10.1.2.2"));
    }
}
