//! The judge outside of stead: stamps of (node, epoch, CLOCK_BOOTTIME) every millisecond.

use std::collections::BTreeMap;

use stead_lab::stamp::{self, Stamp};
use stead_model::NodeId;

use crate::{Site, World};

/// One stay of an application on a node in one epoch.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Stay {
    /// The node.
    pub node: NodeId,
    /// The epoch.
    pub epoch: u64,
    /// First stamp.
    pub first_ns: u64,
    /// Last stamp.
    pub last_ns: u64,
}

/// All stamps of a site after a moment, from all nodes, in the order of time.
#[must_use]
pub fn stamps(world: &World, site: &Site, after_ns: u64) -> Vec<Stamp> {
    let mut all = Vec::new();
    for node in world.lab().record().node_ids() {
        let path = world.lab().witness_dir(node).join(site.stamps());
        let stamps = stamp::read(&path).unwrap();
        assert!(stamps.iter().all(|stamp| stamp.node == u64::from(node.0) && stamp.epoch != 0));
        all.extend(stamps.into_iter().filter(|stamp| stamp.boot_ns >= after_ns));
    }
    all.sort_unstable();
    all
}

/// All stays after a moment, in the order of their begin.
#[must_use]
pub fn stays(world: &World, site: &Site, after_ns: u64) -> Vec<Stay> {
    let mut stays: BTreeMap<(u64, u64), Stay> = BTreeMap::new();
    for Stamp { boot_ns, node, epoch } in stamps(world, site, after_ns) {
        let node_id = NodeId(u16::try_from(node).unwrap());
        let new = Stay { node: node_id, epoch, first_ns: boot_ns, last_ns: boot_ns };
        stays.entry((epoch, node)).or_insert(new).last_ns = boot_ns;
    }
    let mut stays: Vec<Stay> = stays.into_values().collect();
    stays.sort_by_key(|stay| stay.first_ns);
    stays
}

/// I-OWN and I-STOP-START as seen from outside: every stay begins after the last stamp of all
/// before it, in a higher epoch.
pub fn one_at_a_time(world: &World, site: &Site, after_ns: u64) -> Vec<Stay> {
    let stays = stays(world, site, after_ns);
    for pair in stays.windows(2) {
        let (old, new) = (pair[0], pair[1]);
        assert!(old.last_ns < new.first_ns, "{} ran twice: {old:?} {new:?}", site.group);
        assert!(old.epoch < new.epoch, "{} without a new epoch: {old:?} {new:?}", site.group);
    }
    stays
}

/// The longest time between two stamps after a moment, nanoseconds.
#[must_use]
pub fn longest_gap_ns(world: &World, site: &Site, after_ns: u64) -> u64 {
    let stamps = stamps(world, site, after_ns);
    assert!(stamps.len() > 1, "the witness of {} saw nothing", site.group);
    stamps.windows(2).map(|pair| pair[1].boot_ns - pair[0].boot_ns).max().unwrap()
}
