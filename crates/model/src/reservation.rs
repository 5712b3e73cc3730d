//! Reservations of shared disks: what is asked of a device, and the keys of owners.
//!
//! The meaning is that of SCSI-3 persistent reservations, of which one type is used: Write
//! Exclusive – Registrants Only. Everybody may read; while the disk is reserved only registered
//! paths may write. The owner of a group registers alone, so a former owner's writes are refused
//! by the device, whatever became of its node: safety level A.
//!
//! The requests and answers travel as one line of JSON each way over the socket of a lab disk.
//! Not here: who carries them out (crate `lab`), who asks (crate `resmon`).

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::ids::{Epoch, GroupId, NodeId};

/// The key a path registers. Zero is no key.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Key(pub u64);

/// What can be asked of a disk over one path to it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(tag = "op", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Request {
    /// Registers the path, or changes its key.
    Register {
        /// Not zero.
        key: Key,
    },
    /// Removes the path's registration.
    Unregister,
    /// Takes the reservation.
    Reserve {
        /// The path's own.
        key: Key,
    },
    /// Gives the reservation back.
    Release {
        /// The path's own.
        key: Key,
    },
    /// Removes the registrations with another key, and aborts what their paths have queued.
    PreemptAndAbort {
        /// The path's own.
        key: Key,
        /// Whose writes shall end.
        victim: Key,
    },
    /// Removes every registration and the reservation.
    Clear {
        /// The path's own.
        key: Key,
    },
    /// Asks who is registered and who holds.
    ReadKeys,
}

/// What a disk answers.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(tag = "answer", rename_all = "kebab-case")]
pub enum Answer {
    /// Done, victims' requests aborted.
    Done,
    /// RESERVATION CONFLICT: nothing was changed.
    Conflict,
    /// Who is registered.
    Keys(Keys),
    /// The question was not understood.
    Invalid {
        /// Why.
        why: String,
    },
}

/// Registrations of a disk.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Keys {
    /// Counts registrations, preemptions and clears.
    pub generation: u32,
    /// One key per registered path.
    pub keys: Vec<Key>,
    /// Key of the path that holds the reservation.
    pub holder: Option<Key>,
}

/// Who owns a disk, as far as a key tells: its parts are shortened to fit into 64 bits.
///
/// ```text
///   63       40 39    32 31    24 23        0
///   | cluster  |  node  | group  |   epoch   |
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Owner {
    /// From the number of the cluster; never zero.
    cluster: u32,
    /// The node.
    pub node: NodeId,
    /// From the name of the group.
    group: u8,
    /// The epoch's low bits.
    epoch: u32,
}

const EPOCH_BITS: u32 = 24;
const EPOCH_MASK: u64 = (1 << EPOCH_BITS) - 1;

impl Owner {
    /// The owner of a group in an epoch.
    #[must_use]
    pub fn new(cluster_id: u64, node: NodeId, group: &GroupId, epoch: Epoch) -> Self {
        let folded = (cluster_id ^ (cluster_id >> 24) ^ (cluster_id >> 48)) & 0xff_ffff;
        let group = group
            .as_str()
            .bytes()
            .fold(0x811c_9dc5_u32, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193));
        Self {
            cluster: (folded as u32).max(1),
            node: NodeId(node.0 & 0xff),
            group: (group ^ (group >> 8) ^ (group >> 16) ^ (group >> 24)) as u8,
            epoch: (epoch.0 & EPOCH_MASK) as u32,
        }
    }

    /// Its key.
    #[must_use]
    pub fn key(self) -> Key {
        let Self { cluster, node, group, epoch } = self;
        Key(u64::from(cluster) << 40
            | u64::from(node.0) << 32
            | u64::from(group) << 24
            | u64::from(epoch))
    }

    /// Whom a key means, if it is one of the same cluster.
    #[must_use]
    pub fn of(self, key: Key) -> Option<Self> {
        let other = Self {
            cluster: (key.0 >> 40) as u32,
            node: NodeId((key.0 >> 32) as u8 as u16),
            group: (key.0 >> 24) as u8,
            epoch: (key.0 & EPOCH_MASK) as u32,
        };
        (other.cluster == self.cluster).then_some(other)
    }

    /// Whether the other one owns the same group in a later epoch.
    #[must_use]
    pub const fn is_older_than(self, other: Self) -> bool {
        let ahead = other.epoch.wrapping_sub(self.epoch) & (EPOCH_MASK as u32);
        self.group == other.group && ahead != 0 && ahead < 1 << (EPOCH_BITS - 1)
    }
}

impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} in e{}", self.node, self.epoch)
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "0x{:016x}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn owner(cluster: u64, node: u16, group: &str, epoch: u64) -> Owner {
        Owner::new(cluster, NodeId(node), &group.into(), Epoch(epoch))
    }

    #[test]
    fn a_key_tells_its_owner_within_the_cluster_only() {
        let own = owner(7, 64, "db", 3);
        assert_eq!(own.of(own.key()), Some(own));
        assert_eq!(own.of(own.key()).unwrap().to_string(), "n64 in e3");
        assert_eq!(owner(8, 64, "db", 3).of(own.key()), None);
        assert_ne!(owner(0, 0, "", 0).key(), Key(0), "zero is no key");
        for other in [owner(7, 1, "db", 3), owner(7, 64, "web", 3), owner(7, 64, "db", 4)] {
            assert_ne!(other.key(), own.key());
        }
    }

    #[test]
    fn epochs_of_one_group_are_ordered_also_where_they_wrap() {
        assert!(owner(7, 1, "db", 3).is_older_than(owner(7, 2, "db", 4)));
        assert!(!owner(7, 2, "db", 4).is_older_than(owner(7, 1, "db", 3)));
        assert!(!owner(7, 2, "db", 4).is_older_than(owner(7, 1, "db", 4)));
        assert!(!owner(7, 1, "db", 3).is_older_than(owner(7, 1, "web", 9)), "another group's");
        let last = (1 << EPOCH_BITS) - 1;
        assert!(owner(7, 1, "db", last).is_older_than(owner(7, 1, "db", last + 1)));
    }
}
