//! This host: its name, its addresses, and whether it is in a cluster.

use std::path::Path;

use serde::{Deserialize, Serialize};
use stead_model::NodeId;
use stead_model::config::NodeConfig;
use stead_model::reason::{Code, Reason};

use super::destroy::DiskEnd;
use super::files;
use super::join::JoinPlan;
use crate::bootstrap::{self, Paths};
use crate::net::interfaces::{self, Held};

/// The host on which a command runs.
#[derive(Clone, Debug)]
pub struct Host {
    pub(super) paths: Paths,
    /// Its host name.
    pub(super) name: String,
    /// The addresses of its interfaces that are up.
    pub(super) held: Vec<Held>,
}

/// What was decided and is not done yet.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Plan {
    /// It makes a cluster, of which this will be the configuration.
    Create(NodeConfig),
    /// It joins a cluster.
    Join(JoinPlan),
    /// It ends the cluster that it has this configuration of.
    Destroy {
        /// That configuration.
        config: NodeConfig,
        /// What becomes of its quorum disk.
        disk: DiskEnd,
    },
}

/// Where a host is between no cluster and one.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Stand {
    /// In none.
    Free,
    /// On its way into one.
    Began(Plan),
    /// In one.
    Member(NodeConfig),
}

impl Host {
    /// This one; `STEAD_ROOT` moves its files.
    #[must_use]
    pub fn this() -> Self {
        let name = rustix::system::uname().nodename().to_string_lossy().into_owned();
        Self { paths: Paths::of_environment(), name, held: interfaces::held() }
    }

    /// Where its files are.
    #[must_use]
    pub const fn paths(&self) -> &Paths {
        &self.paths
    }

    /// Its host name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether it is in a cluster, with no command under way.
    #[must_use]
    pub fn is_member(&self) -> bool {
        matches!(self.stand(), Ok(Stand::Member(_)) | Err(_))
    }

    /// Name of the cluster that it is in, on its way into or out of, and its number where it is in.
    ///
    /// # Errors
    /// It is in none.
    pub fn cluster(&self) -> Result<(String, Option<NodeId>), Reason> {
        match self.stand()? {
            Stand::Member(config) => Ok((config.cluster, Some(config.node))),
            Stand::Began(Plan::Create(config) | Plan::Destroy { config, .. }) => {
                Ok((config.cluster, None))
            }
            Stand::Began(Plan::Join(plan)) => Ok((plan.cluster, None)),
            Stand::Free => Err(Reason::new(Code::NotFound, "this host is in no cluster")),
        }
    }

    /// What it is a node with, if it is one and no command is under way.
    #[must_use]
    pub fn member(&self) -> Option<NodeConfig> {
        match self.stand() {
            Ok(Stand::Member(config)) => Some(config),
            Ok(Stand::Began(_) | Stand::Free) | Err(_) => None,
        }
    }

    pub(super) fn stand(&self) -> Result<Stand, Reason> {
        let (plan, config) = (self.paths.plan(), self.paths.config());
        if let Some(text) = read(&plan)? {
            let plan = serde_json::from_slice(&text).map_err(|error| {
                Reason::new(Code::Invalid, format!("`{}` cannot be read", plan.display()))
                    .because(error.to_string())
                    .hint("`stead cluster destroy NAME` removes what an interrupted command left")
            })?;
            return Ok(Stand::Began(plan));
        }
        if read(&config)?.is_none() {
            return Ok(Stand::Free);
        }
        bootstrap::read_config(&config).map(Stand::Member).map_err(|error| {
            let reason = Reason::new(Code::Conflict, error.to_string());
            match error.hint() {
                Some(hint) => reason.hint(hint),
                None => reason,
            }
        })
    }
}

fn read(path: &Path) -> Result<Option<Vec<u8>>, Reason> {
    match std::fs::read(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(files::failed("read", path)(error)),
    }
}

/// The refusal of a host that is in a cluster already: what, where, what to do.
pub(super) fn is_member(doing: &str, host: &Host, config: &NodeConfig) -> Reason {
    let cause = format!(
        "this host is {} of cluster `{}` (`{}`)",
        config.node,
        config.cluster,
        host.paths.config().display()
    );
    Reason::new(Code::Exists, format!("cannot {doing}"))
        .because(cause)
        .hint("`stead status` shows it; `stead cluster destroy NAME` ends one of a single node")
}
