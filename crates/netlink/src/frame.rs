//! The Ethernet frames by which addresses are announced, probed and claimed.
//!
//! IPv4 speaks ARP (RFC 826, probes and announcements RFC 5227), IPv6 neighbour discovery
//! (RFC 4861, duplicate address detection RFC 4862). Pure: bytes in, bytes out.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::mac::Mac;

/// Offsets in a frame, shared with the socket filter.
pub(crate) mod offset {
    pub(crate) const ARP_SENDER_IP: u32 = 28;
    pub(crate) const ARP_TARGET_IP: u32 = 38;
    pub(crate) const IPV6_NEXT_HEADER: u32 = 20;
    pub(crate) const IPV6_SOURCE: u32 = 22;
    pub(crate) const ICMPV6_KIND: u32 = 54;
    pub(crate) const ND_TARGET: u32 = 62;
}

pub(crate) const ETHERTYPE_ARP: u16 = 0x0806;
pub(crate) const ETHERTYPE_IPV6: u16 = 0x86dd;
pub(crate) const ICMPV6: u8 = 58;
pub(crate) const SOLICITATION: u8 = 135;
pub(crate) const ADVERTISEMENT: u8 = 136;

const ARP_REQUEST: u16 = 1;
const ARP_REPLY: u16 = 2;
const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);
const OPTION_SOURCE_MAC: u8 = 1;
const OPTION_TARGET_MAC: u8 = 2;
/// Neighbours that know another MAC must replace it.
const FLAG_OVERRIDE: u8 = 0x20;

/// Frames that tell every neighbour "`address` is at `mac`": for IPv4 both ARP forms, since some
/// hosts learn only from requests and some only from replies; for IPv6 one advertisement.
pub(crate) fn announcements(mac: Mac, address: IpAddr) -> Vec<Vec<u8>> {
    match address {
        IpAddr::V4(ip) => {
            let request = Arp { operation: ARP_REQUEST, sender: (mac, ip), target: (NO_MAC, ip) };
            // Linux takes a reply for an announcement only when it names the MAC on both sides.
            let reply = Arp { operation: ARP_REPLY, sender: (mac, ip), target: (mac, ip) };
            vec![request.broadcast(), reply.broadcast()]
        }
        IpAddr::V6(ip) => {
            let mut body = vec![ADVERTISEMENT, 0, 0, 0, FLAG_OVERRIDE, 0, 0, 0];
            body.extend(ip.octets());
            body.extend([OPTION_TARGET_MAC, 1]);
            body.extend(mac.0);
            vec![icmpv6(mac, ip, ALL_NODES, body)]
        }
    }
}

/// The question "does anyone have `address`?", asked without claiming it.
pub(crate) fn probe(mac: Mac, address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(ip) => {
            let sender = (mac, Ipv4Addr::UNSPECIFIED);
            Arp { operation: ARP_REQUEST, sender, target: (NO_MAC, ip) }.broadcast()
        }
        IpAddr::V6(ip) => {
            let mut body = vec![SOLICITATION, 0, 0, 0, 0, 0, 0, 0];
            body.extend(ip.octets());
            icmpv6(mac, Ipv6Addr::UNSPECIFIED, solicited_node(ip), body)
        }
    }
}

/// What a frame says about an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Statement {
    /// The station at this MAC has the address.
    Owns(Mac),
    /// The station at this MAC asks whether it may have it.
    WantsIt(Mac),
}

/// What `frame` says about `address`; `None` when nothing.
pub(crate) fn statement(frame: &[u8], address: IpAddr) -> Option<Statement> {
    let kind = u16::from_be_bytes([*frame.get(12)?, *frame.get(13)?]);
    match (address, kind) {
        (IpAddr::V4(ip), ETHERTYPE_ARP) => arp_statement(frame, ip),
        (IpAddr::V6(ip), ETHERTYPE_IPV6) => nd_statement(frame, ip),
        (IpAddr::V4(_) | IpAddr::V6(_), _) => None,
    }
}

/// The Ethernet groups in which others speak about an IPv6 address.
pub(crate) fn groups(ip: Ipv6Addr) -> [Mac; 2] {
    [group_mac(ALL_NODES), group_mac(solicited_node(ip))]
}

struct Arp {
    operation: u16,
    sender: (Mac, Ipv4Addr),
    target: (Mac, Ipv4Addr),
}

const NO_MAC: Mac = Mac([0; 6]);

impl Arp {
    fn broadcast(&self) -> Vec<u8> {
        let mut frame = ethernet(Mac::BROADCAST, self.sender.0, ETHERTYPE_ARP);
        // Ethernet and IPv4, with their address lengths.
        frame.extend([0, 1, 8, 0, 6, 4]);
        frame.extend(self.operation.to_be_bytes());
        for (mac, ip) in [self.sender, self.target] {
            frame.extend(mac.0);
            frame.extend(ip.octets());
        }
        frame
    }
}

fn arp_statement(frame: &[u8], ip: Ipv4Addr) -> Option<Statement> {
    let sender = Mac::from_bytes(frame.get(22..28)?)?;
    let sender_ip: [u8; 4] = frame.get(28..32)?.try_into().ok()?;
    let target_ip: [u8; 4] = frame.get(38..42)?.try_into().ok()?;
    if sender_ip == ip.octets() {
        Some(Statement::Owns(sender))
    } else if sender_ip == [0; 4] && target_ip == ip.octets() {
        Some(Statement::WantsIt(sender))
    } else {
        None
    }
}

fn nd_statement(frame: &[u8], ip: Ipv6Addr) -> Option<Statement> {
    if frame.get(20) != Some(&ICMPV6) || frame.get(62..78)? != ip.octets() {
        return None;
    }
    let by_ethernet = Mac::from_bytes(frame.get(6..12)?)?;
    match *frame.get(54)? {
        ADVERTISEMENT => {
            let named = option_mac(frame.get(78..)?, OPTION_TARGET_MAC);
            Some(Statement::Owns(named.unwrap_or(by_ethernet)))
        }
        SOLICITATION if frame.get(22..38)? == [0; 16] => {
            let named = option_mac(frame.get(78..)?, OPTION_SOURCE_MAC);
            Some(Statement::WantsIt(named.unwrap_or(by_ethernet)))
        }
        _ => None,
    }
}

/// The MAC in the first neighbour discovery option of this kind.
fn option_mac(mut options: &[u8], kind: u8) -> Option<Mac> {
    while let [found, units, ..] = *options {
        let length = usize::from(units) * 8;
        if length == 0 || length > options.len() {
            return None;
        }
        if found == kind {
            return Mac::from_bytes(&options[2..8]);
        }
        options = &options[length..];
    }
    None
}

fn ethernet(destination: Mac, source: Mac, kind: u16) -> Vec<u8> {
    let mut frame = destination.0.to_vec();
    frame.extend(source.0);
    frame.extend(kind.to_be_bytes());
    frame
}

/// A neighbour discovery message to a group, checksum filled in.
fn icmpv6(mac: Mac, source: Ipv6Addr, group: Ipv6Addr, mut body: Vec<u8>) -> Vec<u8> {
    let length = u16::try_from(body.len()).expect("neighbour discovery messages are short");
    let sum = checksum(source, group, &body);
    body[2..4].copy_from_slice(&sum.to_be_bytes());
    let mut frame = ethernet(group_mac(group), mac, ETHERTYPE_IPV6);
    frame.extend([0x60, 0, 0, 0]);
    frame.extend(length.to_be_bytes());
    // Receivers refuse a lower hop limit: it proves that no router forwarded the message.
    frame.extend([ICMPV6, 255]);
    frame.extend(source.octets());
    frame.extend(group.octets());
    frame.extend(body);
    frame
}

fn checksum(source: Ipv6Addr, destination: Ipv6Addr, body: &[u8]) -> u16 {
    let mut covered = source.octets().to_vec();
    covered.extend(destination.octets());
    covered.extend((body.len() as u32).to_be_bytes());
    covered.extend([0, 0, 0, ICMPV6]);
    covered.extend(body);
    covered.resize(covered.len().next_multiple_of(2), 0);
    let mut sum: u32 =
        covered.chunks_exact(2).map(|pair| u32::from(u16::from_be_bytes([pair[0], pair[1]]))).sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}

fn solicited_node(ip: Ipv6Addr) -> Ipv6Addr {
    let [.., a, b, c] = ip.octets();
    let low = u16::from_be_bytes([b, c]);
    Ipv6Addr::new(0xff02, 0, 0, 0, 0, 1, 0xff00 | u16::from(a), low)
}

fn group_mac(group: Ipv6Addr) -> Mac {
    let [.., a, b, c, d] = group.octets();
    Mac([0x33, 0x33, a, b, c, d])
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAC: Mac = Mac([2, 0, 0, 0, 0, 1]);

    #[test]
    fn announcements_claim_and_probes_only_ask() {
        for text in ["10.0.0.1", "fd00::abcd:1234"] {
            let ip: IpAddr = text.parse().unwrap();
            for frame in announcements(MAC, ip) {
                assert_eq!(statement(&frame, ip), Some(Statement::Owns(MAC)));
                assert_eq!(statement(&frame, "10.0.0.2".parse().unwrap()), None);
                assert_eq!(statement(&frame, "fd00::1".parse().unwrap()), None);
            }
            assert_eq!(statement(&probe(MAC, ip), ip), Some(Statement::WantsIt(MAC)));
        }
    }

    #[test]
    fn short_frames_say_nothing() {
        for text in ["10.0.0.1", "fd00::1"] {
            let ip: IpAddr = text.parse().unwrap();
            let frame = announcements(MAC, ip).remove(0);
            let needed = if ip.is_ipv4() { frame.len() } else { 78 };
            for end in 0..needed {
                assert_eq!(statement(&frame[..end], ip), None, "{end}");
            }
        }
    }

    #[test]
    fn the_checksum_sums_to_all_ones() {
        let ip: Ipv6Addr = "fd00::1".parse().unwrap();
        let frame = announcements(MAC, ip.into()).remove(0);
        // A receiver sums the message with its checksum in place and must get zero.
        assert_eq!(checksum(ip, ALL_NODES, &frame[54..]), 0);
        assert_ne!(&frame[56..58], [0, 0]);
    }

    #[test]
    fn groups_follow_the_address() {
        let ip: Ipv6Addr = "fd00::ab:cdef".parse().unwrap();
        assert_eq!(solicited_node(ip).to_string(), "ff02::1:ffab:cdef");
        assert_eq!(groups(ip).map(|m| m.to_string())[1], "33:33:ff:ab:cd:ef");
    }
}
