//! Addresses of nodes that another machine has, too.
//!
//! Each node tells the MAC addresses of its interfaces when a stream to it begins. When the kernel
//! learns that a node's address is at another one, and that lasts, two machines have the address:
//! what is sent to the node on that network may go astray. It is told, and nothing is decided: the
//! links of that network fall silent by themselves, and the others go on.

use std::collections::BTreeMap;
use std::net::IpAddr;

use stead_model::{NodeId, Span, Time};
use stead_netlink::Mac;

use super::interfaces::MACS_MAX;
use super::rarely::Rarely;

/// A node whose interface was exchanged says so within a moment.
const MOMENT: Span = Span::from_secs(3);

/// The kernel asks again who has an address that is in use within a minute or so: what was not
/// seen again for so long is over.
const OVER: Span = Span::from_secs(600);

/// Who answers for an address of a node on this host's networks, as the kernel learned it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Neighbour {
    pub(crate) node: NodeId,
    pub(crate) address: IpAddr,
    pub(crate) mac: Mac,
}

/// What was seen of strangers with an address of a node.
#[derive(Default, Debug)]
pub(crate) struct Doubles {
    strange: BTreeMap<IpAddr, Strange>,
}

#[derive(Clone, Copy, Debug)]
struct Strange {
    since: Time,
    last: Time,
    told: Rarely,
}

impl Doubles {
    /// Judges a neighbour by the MAC addresses that its node tells. Something to tell is given.
    pub(crate) fn seen(
        &mut self,
        Neighbour { node, address, mac }: Neighbour,
        told: Option<&[[u8; 6]]>,
        now: Time,
    ) -> Option<String> {
        // One that tells as many as can be told may have more.
        let told = told.filter(|told| told.len() < MACS_MAX)?;
        if told.contains(&mac.0) {
            return None;
        }
        let strange = self.strange.entry(address).or_insert_with(|| Strange {
            since: now,
            last: now,
            told: Rarely::default(),
        });
        if now.since(strange.last) >= OVER {
            strange.since = now;
        }
        strange.last = now;
        let lasts = now.since(strange.since) >= MOMENT;
        if !lasts || !strange.told.may_tell(now) {
            return None;
        }
        Some(format!(
            "{address} of {node} is answered for by a machine with MAC {mac}, and {node} has no \
             such interface: two machines have this address, and what is sent to {node} there may \
             go astray. Take the address away from that machine"
        ))
    }

    /// A node has told its interfaces anew: what was seen before may have been an older one.
    pub(crate) fn told(&mut self, addresses: impl Iterator<Item = IpAddr>) {
        for address in addresses {
            self.strange.remove(&address);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TWO: NodeId = NodeId(2);
    const OWN: [u8; 6] = [2, 0, 0, 0, 0, 2];
    const ALIEN: [u8; 6] = [2, 0, 0, 0, 0, 9];

    fn at(ms: u64) -> Time {
        Time(ms * 1_000_000)
    }

    fn neighbour(mac: [u8; 6]) -> Neighbour {
        Neighbour { node: TWO, address: IpAddr::from([10, 0, 0, 2]), mac: Mac(mac) }
    }

    #[test]
    fn a_stranger_with_the_address_of_a_node_is_told_when_it_lasts_and_not_too_often() {
        let (mut doubles, own) = (Doubles::default(), [OWN]);
        let mut see = |mac, ms| doubles.seen(neighbour(mac), Some(&own), at(ms));
        assert_eq!(see(OWN, 0), None);
        assert_eq!(see(ALIEN, 1_000), None, "it may be a new interface");
        assert_eq!(see(OWN, 2_000), None, "both answer by turns");
        let told = see(ALIEN, 4_000).unwrap();
        assert!(told.starts_with("10.0.0.2 of n2 is answered for by a machine"), "{told}");
        assert!(told.contains("02:00:00:00:00:09"), "{told}");
        assert_eq!(see(ALIEN, 60_000), None);
        assert!(see(ALIEN, 64_000).is_some());
        assert_eq!(see(ALIEN, 3_600_000), None, "another moment, long after");
        assert!(see(ALIEN, 3_603_000).is_some());
    }

    #[test]
    fn a_new_interface_and_a_node_that_told_nothing_are_no_strangers() {
        let mut doubles = Doubles::default();
        assert_eq!(doubles.seen(neighbour(ALIEN), None, at(0)), None);
        let many = vec![OWN; MACS_MAX];
        for ms in [0, 9_000] {
            assert_eq!(doubles.seen(neighbour(ALIEN), Some(&many), at(ms)), None);
        }
        assert_eq!(doubles.seen(neighbour(ALIEN), Some(&[OWN]), at(10_000)), None);
        doubles.told([neighbour(ALIEN).address].into_iter());
        assert_eq!(doubles.seen(neighbour(ALIEN), Some(&[OWN, ALIEN]), at(14_000)), None);
        assert_eq!(doubles.seen(neighbour(ALIEN), Some(&[OWN]), at(15_000)), None, "since now");
    }
}
