//! The MAC addresses of this node's interfaces, for the other nodes: a station that answers for a
//! cluster address is judged by them.

#![expect(unsafe_code, reason = "the list of interfaces has no safe interface")]

/// Addresses told at most; a node has a few interfaces that matter.
pub(super) const MACS_MAX: usize = 64;

/// The MAC addresses of all interfaces; none where the system does not say.
pub(crate) fn own() -> Vec<[u8; 6]> {
    let mut first: *mut libc::ifaddrs = std::ptr::null_mut();
    // SAFETY: the call writes one pointer, which is freed below.
    if unsafe { libc::getifaddrs(&raw mut first) } != 0 {
        return Vec::new();
    }
    let mut macs = Vec::new();
    let mut next = first;
    // SAFETY: the list is ours until it is freed, and its last entry has no next one.
    while let Some(entry) = unsafe { next.as_ref() } {
        macs.extend(mac(entry));
        next = entry.ifa_next;
    }
    // SAFETY: from `getifaddrs`, freed once.
    unsafe { libc::freeifaddrs(first) };
    macs.sort_unstable();
    macs.dedup();
    macs.truncate(MACS_MAX);
    macs
}

fn mac(entry: &libc::ifaddrs) -> Option<[u8; 6]> {
    // SAFETY: null or an address that lives as long as the entry.
    let family = unsafe { entry.ifa_addr.as_ref() }?.sa_family;
    if i32::from(family) != libc::AF_PACKET {
        return None;
    }
    // SAFETY: an address of this family has this form.
    let link = unsafe { entry.ifa_addr.cast::<libc::sockaddr_ll>().read_unaligned() };
    let bytes = link.sll_addr;
    let mac = [bytes[0], bytes[1], bytes[2], bytes[3], bytes[4], bytes[5]];
    (link.sll_halen == 6 && mac != [0; 6]).then_some(mac)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn they_are_those_of_the_interfaces_and_the_loopback_has_none() {
        let mut there: Vec<[u8; 6]> = Vec::new();
        for entry in std::fs::read_dir("/sys/class/net").unwrap() {
            let text = std::fs::read_to_string(entry.unwrap().path().join("address"));
            let bytes = text.unwrap_or_default();
            let bytes = bytes.trim().split(':').map(|b| u8::from_str_radix(b, 16));
            let bytes: Result<Vec<u8>, _> = bytes.collect();
            there.extend(bytes.ok().and_then(|b| <[u8; 6]>::try_from(b).ok()));
        }
        there.retain(|mac| *mac != [0; 6]);
        there.sort_unstable();
        there.dedup();
        assert_eq!(own(), there);
    }
}
