//! The cluster a lab is born with: `cluster.json`, the key and the formatted quorum disk.

use std::fs::OpenOptions;
use std::net::IpAddr;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::FallocateFlags;
use stead_journal::Geometry;
use stead_model::config::{
    NetworkEntry, NetworkRole, NodeAddress, NodeConfig, NodeEntry, QuorumConfig, QuorumDisk,
    QuorumMode,
};
use stead_model::{NodeId, VoterId};

use crate::cabling::{Network, Station};
use crate::disks;
use crate::record::LabRecord;
use crate::step::{Step, StepError};

/// Where every node finds its configuration.
pub(crate) const CONFIG_DIR: &str = "/etc/stead";

/// Where every node keeps its state.
pub(crate) const STATE_DIR: &str = "/var/lib/stead";

/// Where every node finds a quorum disk that is a plain file: the same inode for all.
pub(crate) const QUORUM_DIR: &str = "/var/lib/stead-quorum";

/// Transport of the cluster, UDP and TCP.
const PORT: u16 = 7410;

/// The configuration of one node.
pub(crate) fn config(record: &LabRecord, disk_id: [u8; 16], node: NodeId) -> NodeConfig {
    let disk =
        QuorumDisk { voter: VoterId(VoterId::DISK_FIRST), path: quorum_disk(record), disk_id };
    let joins = record.founders().all(|founder| founder != node);
    let uses_disk = record.quorum != QuorumMode::NodeMajority;
    NodeConfig {
        cluster: record.name.clone(),
        cluster_id: record.cluster_id,
        node,
        port: PORT,
        nodes: record.founders().chain(joins.then_some(node)).map(node_entry).collect(),
        founders: joins.then(|| record.founders().collect()),
        networks: Network::ALL.into_iter().map(network_entry).collect(),
        quorum: QuorumConfig { mode: record.quorum, disk: uses_disk.then_some(disk) },
        profile: record.profile,
        watchdog: None,
    }
}

/// Where every node finds the quorum disk.
fn quorum_disk(record: &LabRecord) -> PathBuf {
    if record.quorum_served {
        Path::new(disks::DEVICE_DIR).join(disks::QUORUM)
    } else {
        Path::new(QUORUM_DIR).join("disk")
    }
}

/// Where a node of a lab is.
pub(crate) fn node_entry(id: NodeId) -> NodeEntry {
    let station = Station::Node(id);
    let address = |network: Network| NodeAddress {
        network: network.id(),
        address: IpAddr::V4(station.address(network)),
    };
    let addresses = Network::ALL.into_iter().map(address).collect();
    NodeEntry { id, name: station.name(), addresses }
}

fn network_entry(network: Network) -> NetworkEntry {
    let role = match network {
        Network::Private => NetworkRole::Private,
        Network::Public => NetworkRole::Mixed,
    };
    NetworkEntry::new(network.id(), network.name(), role)
}

/// The default of the field: the disk where nodes alone can split evenly.
#[must_use]
pub fn default_quorum(nodes: u16) -> QuorumMode {
    if nodes.is_multiple_of(2) { QuorumMode::NodeAndDiskMajority } else { QuorumMode::NodeMajority }
}

/// The file of a node's configuration below its `etc`.
pub(crate) fn config_file(etc: &Path) -> PathBuf {
    etc.join("cluster.json")
}

/// The file below a node's `etc` without which it never makes itself a log.
pub(crate) fn first_start_file(etc: &Path) -> PathBuf {
    etc.join("first-start")
}

/// Makes the quorum disk: a file with all its room, formatted for this cluster and so many nodes,
/// also those that join later.
pub(crate) fn format_quorum_disk(
    config: &NodeConfig,
    nodes: u16,
    key: &[u8; 32],
    path: &Path,
) -> Result<(), StepError> {
    let nodes_max = u32::from(nodes).max(NODES_PLANNED);
    let device_bytes = u64::from(nodes_max) * BYTES_PER_NODE;
    let geometry = Geometry::plan(device_bytes, nodes_max).step("divide", path.display())?;
    let pieces = stead_core::format::quorum_disk(config, *key, geometry);
    let pieces = pieces.step("format", path.display())?;
    let opened = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
    let file = opened.step("make", path.display())?;
    file.set_len(device_bytes).step("make room in", path.display())?;
    let room = rustix::fs::fallocate(&file, FallocateFlags::empty(), 0, device_bytes);
    match room {
        // A file system that cannot, finds room when it is needed.
        Ok(()) | Err(rustix::io::Errno::OPNOTSUPP) => {}
        Err(errno) => return Err(StepError::new("make room in", path.display(), errno)),
    }
    for (offset, bytes) in pieces {
        file.write_all_at(&bytes, offset).step("write", path.display())?;
    }
    Ok(())
}

/// A quorum disk has room for at least so many nodes.
const NODES_PLANNED: u32 = 4;

/// With four nodes this makes the 512 MiB of an ordinary quorum disk: a database of 24 MiB.
const BYTES_PER_NODE: u64 = 128 << 20;
