//! The bytes of freshly formatted media: a node's own log and the quorum disk.
//!
//! Every voter of a new cluster begins with the same first state, so that none of them has to
//! trust another's word for it.

use stead_journal::{
    ClusterKey, Contents, DiskId, Fresh, Geometry, Header, Identity, Journal, Medium, Plain,
    Sealed, Snapshot,
};
use stead_model::VoterId;
use stead_model::config::NodeConfig;
use thiserror::Error;

use crate::consensus::replica::first_state;
use crate::db::Db;

/// One write of a formatting: byte offset and bytes.
pub type Piece = (u64, Vec<u8>);

/// Why a medium cannot be formatted.
#[derive(Debug, Error)]
pub enum FormatError {
    /// The sizes do not fit.
    #[error("cannot divide the medium")]
    Sizes(#[from] stead_journal::AreaError),
    /// The first state does not fit.
    #[error("cannot write the first state")]
    Create(#[from] stead_journal::CreateError),
    /// The configuration names no quorum disk.
    #[error("the configuration names no quorum disk")]
    NoDisk,
}

/// Sizes of a node's own log.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct LogSizes {
    /// Bytes of the ring. Default 8 MiB.
    pub ring_bytes: u64,
    /// Bytes of each of the two snapshot slots. Default 70 MiB: the largest database, what is in
    /// the log beside it, and frames.
    pub snapshot_bytes: u64,
}

impl Default for LogSizes {
    fn default() -> Self {
        Self { ring_bytes: stead_journal::RING_BYTES, snapshot_bytes: 70 << 20 }
    }
}

/// The bytes of a new node's own log, in an order in which an interruption leaves a blank log.
/// `disk` is a random number of this formatting.
///
/// # Errors
/// The sizes are impossible.
pub fn node_log(
    config: &NodeConfig,
    disk: [u8; 16],
    sizes: LogSizes,
) -> Result<Vec<Piece>, FormatError> {
    let disk = DiskId(disk);
    let identity = Identity::node_log(disk, sizes.ring_bytes, sizes.snapshot_bytes)?;
    let Medium::NodeLog { area } = identity.medium else { return Ok(Vec::new()) };
    let fresh = Fresh { area, seal: Plain { disk }.into(), life: 1 };
    let mut pieces = contents(fresh, config)?;
    pieces.push((Identity::OFFSET, identity.encode(None)));
    Ok(pieces)
}

/// The bytes of a new quorum disk: slot 0 is active with the first state.
///
/// # Errors
/// The configuration names no quorum disk, or the first state does not fit.
pub fn quorum_disk(
    config: &NodeConfig,
    key: [u8; 32],
    geometry: Geometry,
) -> Result<Vec<Piece>, FormatError> {
    let quorum = config.quorum.disk.as_ref().ok_or(FormatError::NoDisk)?;
    let (disk, key) = (DiskId(quorum.disk_id), ClusterKey::new(key));
    let epoch = u64::from(geometry.slots());
    let seal = Sealed { key: key.clone(), disk, slot: 0 };
    let fresh = Fresh { area: geometry.area(0), seal: seal.into(), life: epoch };
    let mut pieces = contents(fresh, config)?;
    pieces.push((geometry.header_table().0, geometry.blank_headers(disk, &key)));
    let place = geometry.header_place(disk, 0);
    let header = Header { claim: epoch, active: epoch, counter: 0, incarnation: 0 };
    pieces.push((place.offset, header.encode(&place, &key)));
    let identity = Identity { disk, medium: Medium::Shared { geometry } };
    pieces.push((Identity::OFFSET, identity.encode(Some(&key))));
    Ok(pieces)
}

/// All writes of a journal that holds the first state.
fn contents(fresh: Fresh, config: &NodeConfig) -> Result<Vec<Piece>, FormatError> {
    let voters = config.first_voters();
    let nodes = config.founders().map(VoterId::from);
    let learners: Vec<_> = nodes.filter(|n| !voters.contains(n)).collect();
    let state = first_state(&voters, &learners, &Db::default());
    let snapshot = Some(Snapshot { covers: 0, bytes: state.encode() });
    let (mut journal, mut writes) =
        Journal::create(fresh, &Contents { snapshot, records: Vec::new() })?;
    let mut pieces = Vec::new();
    while let Some(write) = writes.pop() {
        writes.extend(journal.written(write.id).writes);
        pieces.push((write.offset, write.data));
    }
    Ok(pieces)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use stead_model::NodeId;
    use stead_model::config::{NodeEntry, QuorumConfig, QuorumDisk, QuorumMode};
    use stead_model::profile::Profile;

    use super::*;

    #[test]
    fn the_log_of_a_node_that_joins_begins_like_those_of_the_founders() {
        let entry = |id| NodeEntry { id: NodeId(id), name: format!("n{id}"), addresses: vec![] };
        for mode in
            [QuorumMode::NodeMajority, QuorumMode::NodeAndDiskMajority, QuorumMode::DiskOnly]
        {
            let disk = QuorumDisk {
                voter: VoterId(VoterId::DISK_FIRST),
                path: "/q".into(),
                disk_id: [1; 16],
            };
            let founder = NodeConfig {
                cluster: "test".into(),
                cluster_id: 1,
                node: NodeId(1),
                port: 1,
                nodes: vec![entry(1), entry(2)],
                founders: None,
                networks: vec![],
                quorum: QuorumConfig { mode, disk: Some(disk) },
                profile: Profile::Standard,
                watchdog: None,
            };
            let mut joins = NodeConfig { node: NodeId(3), ..founder.clone() };
            joins.nodes.push(entry(3));
            let sizes = LogSizes { ring_bytes: 8 * 4096, snapshot_bytes: 8 * 4096 };
            let log = |config: &NodeConfig| node_log(config, [2; 16], sizes).unwrap();
            assert!(log(&joins) != log(&founder), "{mode:?}: it would be a member by itself");
            joins.founders = Some(BTreeSet::from([NodeId(1), NodeId(2)]));
            assert!(log(&joins) == log(&founder), "{mode:?}");
        }
    }
}
