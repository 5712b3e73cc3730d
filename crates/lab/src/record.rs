//! What a lab is made of, written once by `lab up` and read by everybody who opens the lab.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use stead_model::NodeId;
use stead_model::config::QuorumMode;
use stead_model::profile::Profile;

use crate::cabling::Station;
use crate::disks;
use crate::home::LabDirs;
use crate::step::{Step, StepError};

/// What a lab is made of.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct LabRecord {
    /// Its name.
    pub name: String,
    /// Number of nodes.
    pub nodes: u16,
    /// How many of them, the last ones, are no members of the cluster at first.
    #[serde(default)]
    pub spares: u16,
    /// How quorum is formed.
    pub quorum: QuorumMode,
    /// The timing profile the cluster starts with.
    pub profile: Profile,
    /// The program that made the lab and runs its supervisor and nodes.
    pub program: PathBuf,
    /// What PID 1 of every node starts.
    pub node_command: NodeCommand,
    /// Names of its data disks.
    #[serde(default)]
    pub disks: Vec<String>,
    /// Whether the quorum disk is a lab disk as well; it is a plain file where there are none.
    #[serde(default)]
    pub quorum_served: bool,
    /// Variables in the environment of every node's command.
    #[serde(default)]
    pub environment: BTreeMap<String, String>,
    /// Where it lives.
    pub dirs: LabDirs,
    /// Version of the program.
    pub version: String,
    /// Random number of the cluster.
    pub cluster_id: u64,
}

/// What PID 1 of every node starts and keeps running.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum NodeCommand {
    /// `stead guard`, with this very program.
    Guard,
    /// Something else: the lab then is namespaces and cables only, without a cluster.
    Other(Vec<String>),
}

impl LabRecord {
    /// All nodes.
    pub fn node_ids(&self) -> impl Iterator<Item = NodeId> + use<> {
        (1..=self.nodes).map(NodeId)
    }

    /// The nodes that the cluster is formed with.
    pub fn founders(&self) -> impl Iterator<Item = NodeId> + use<> {
        (1..=self.nodes.saturating_sub(self.spares)).map(NodeId)
    }

    /// All nodes and the client.
    pub fn stations(&self) -> impl Iterator<Item = Station> + use<> {
        self.node_ids().map(Station::Node).chain([Station::Client])
    }

    /// Names of the disks that are served over a path per node.
    pub(crate) fn served_disks(&self) -> impl Iterator<Item = &str> {
        let quorum = self.quorum_served.then_some(disks::QUORUM);
        self.disks.iter().map(String::as_str).chain(quorum)
    }

    pub(crate) fn read(dirs: &LabDirs) -> Result<Self, StepError> {
        let path = dirs.record();
        let text = fs::read(&path).step("read", path.display())?;
        serde_json::from_slice(&text).step("understand", path.display())
    }

    pub(crate) fn write(&self) -> Result<(), StepError> {
        let path = self.dirs.record();
        let text = serde_json::to_vec_pretty(self).step("encode", path.display())?;
        fs::write(&path, text).step("write", path.display())
    }
}
