//! The filter that keeps a frame socket asleep until a frame is about one address.
//!
//! Without it every ARP request and every IPv6 packet of the interface would wake the process. The
//! filter only saves work; what a frame means is decided by [`crate::frame::statement`].

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use libc::sock_filter;

use crate::frame::{self, offset};

/// A filter program that passes claims of `address` and probes for it.
pub(crate) fn about(address: IpAddr) -> Vec<sock_filter> {
    match address {
        IpAddr::V4(ip) => assemble(&arp(ip)),
        IpAddr::V6(ip) => assemble(&neighbour_discovery(ip)),
    }
}

/// One step; a frame that passes all is accepted.
#[derive(Debug, Clone, Copy)]
enum Step {
    LoadByte(u32),
    LoadWord(u32),
    /// Refuses the frame unless the loaded value is this.
    Require(u32),
    /// Accepts the frame at once if the loaded value is this.
    AcceptIf(u32),
}

fn arp(ip: Ipv4Addr) -> Vec<Step> {
    let ip = u32::from(ip);
    vec![
        Step::LoadWord(offset::ARP_SENDER_IP),
        Step::AcceptIf(ip),
        Step::Require(0),
        Step::LoadWord(offset::ARP_TARGET_IP),
        Step::Require(ip),
    ]
}

fn neighbour_discovery(ip: Ipv6Addr) -> Vec<Step> {
    let mut steps =
        vec![Step::LoadByte(offset::IPV6_NEXT_HEADER), Step::Require(frame::ICMPV6.into())];
    for (at, word) in (offset::ND_TARGET..).step_by(4).zip(ip.octets().chunks_exact(4)) {
        let word = word.iter().fold(0, |sum, byte| sum << 8 | u32::from(*byte));
        steps.extend([Step::LoadWord(at), Step::Require(word)]);
    }
    steps.extend([
        Step::LoadByte(offset::ICMPV6_KIND),
        Step::AcceptIf(frame::ADVERTISEMENT.into()),
        Step::Require(frame::SOLICITATION.into()),
        Step::LoadWord(offset::IPV6_SOURCE),
        Step::Require(0),
    ]);
    steps
}

/// Machine code: the steps, then "accept", then "refuse".
fn assemble(steps: &[Step]) -> Vec<sock_filter> {
    let jump = (libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K) as u16;
    let instruction = |code: u32, k| sock_filter { code: code as u16, jt: 0, jf: 0, k };
    let mut program: Vec<_> = steps
        .iter()
        .enumerate()
        .map(|(at, step)| {
            let to_accept = u8::try_from(steps.len() - at - 1).expect("programs of a dozen steps");
            match *step {
                Step::LoadByte(k) => instruction(libc::BPF_LD | libc::BPF_B | libc::BPF_ABS, k),
                Step::LoadWord(k) => instruction(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, k),
                Step::Require(k) => sock_filter { code: jump, jt: 0, jf: to_accept + 1, k },
                Step::AcceptIf(k) => sock_filter { code: jump, jt: to_accept, jf: 0, k },
            }
        })
        .collect();
    program.push(instruction(libc::BPF_RET | libc::BPF_K, u32::MAX));
    program.push(instruction(libc::BPF_RET | libc::BPF_K, 0));
    program
}
