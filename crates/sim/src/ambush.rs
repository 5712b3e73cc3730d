//! A fault that waits for its moment: the host of D is cut off and its path to the disk hangs just
//! when it switches superblocks, and the path is back just when the next host adopts (R2, H2).
//!
//! By chance alone the two meet a few times in a thousand runs, and that is where a log is lost
//! if adopting is done wrong.

use stead_core::Device;
use stead_journal::BLOCK_BYTES;
use stead_model::NodeId;

use crate::agenda::Happening;
use crate::disks::{Body, Flight, Path};
use crate::faults::{Kind, Recovery};
use crate::machine;
use crate::world::World;

/// How far an ambush is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Ambush {
    /// The host has not switched superblocks yet.
    Laid {
        /// The host of D.
        host: NodeId,
    },
    /// Its superblock is on the way and takes long.
    Held {
        /// The host of D.
        host: NodeId,
        /// Its superblock.
        superblock: u64,
    },
    /// It is cut off.
    Sprung {
        /// The host of D that was.
        host: NodeId,
        /// Its superblock.
        superblock: u64,
    },
}

impl World {
    /// Lies in wait for a node, if it hosts D and no other ambush is under way.
    pub fn lie_in_wait(&mut self, node: NodeId) {
        let hosts = |node| self.node(node).service.as_ref().is_some_and(|s| s.seen.hosts);
        let is_open = self.ambush.is_some_and(|ambush| match ambush {
            Ambush::Laid { host } => hosts(host),
            Ambush::Held { superblock, .. } | Ambush::Sprung { superblock, .. } => {
                self.flights.contains_key(&superblock)
            }
        });
        if hosts(node) && !is_open {
            self.ambush = Some(Ambush::Laid { host: node });
        }
    }

    /// An operation begins: the superblock that an ambush waits for? It takes longer by what this
    /// gives, while the host goes on and what it has to write next piles up.
    pub fn ambush_holds(&mut self, flight: u64) -> u64 {
        let Some(Ambush::Laid { host }) = self.ambush else { return 0 };
        let begins = &self.flights[&flight];
        let switches = matches!(begins.body, Body::Write { .. }) && self.is_superblock(begins);
        if begins.node != host || !switches {
            return 0;
        }
        self.ambush = Some(Ambush::Held { host, superblock: flight });
        let beat = self.timing.heartbeat.0;
        self.rng.between(beat / 2, beat * 4)
    }

    /// An operation is about to end: the superblock? Now the host is cut off.
    pub fn ambush_springs(&mut self, flight: u64) {
        let Some(Ambush::Held { host, superblock }) = self.ambush else { return };
        if flight != superblock {
            return;
        }
        self.ambush = Some(Ambush::Sprung { host, superblock });
        // Unless another host adopts before.
        let lasts = self.timing.heartbeat.0 * 40;
        self.set_path(host, Path::Hung);
        self.recover_later(Recovery::PathBack(host), lasts);
        self.cut(Kind::Isolate, host);
        self.recover_later(Recovery::Mend, lasts);
    }

    /// An operation ended: has another host begun to adopt?
    pub fn ambush_ends(&mut self, flight: &Flight) {
        let Some(Ambush::Sprung { host, superblock }) = self.ambush else { return };
        let adopts = matches!(flight.body, Body::Read { .. }) && self.is_superblock(flight);
        if flight.node == host || !adopts {
            return;
        }
        self.ambush = None;
        self.trace.milestone(self.now, || format!("{} adopts from {host}", flight.node));
        self.recover(Recovery::PathBack(host));
        self.agenda.put(self.now, Happening::Ended { flight: superblock });
    }

    fn is_superblock(&self, flight: &Flight) -> bool {
        let geometry = machine::geometry(&self.plan);
        flight.device == Device::QuorumDisk
            && (0..geometry.slots())
                .map(|slot| geometry.area(slot).base())
                .any(|base| (base..base + 2 * BLOCK_BYTES).contains(&flight.offset))
    }
}
