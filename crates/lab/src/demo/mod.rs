//! `lab demo`: the main job, shown and measured. A virtual server (address and web server) runs on
//! one node, a node loses power without a word, another takes over, and a client says how long
//! nobody answered.
//!
//! All moments are on CLOCK_BOOTTIME and counted from the power cut: *detect* is the first record
//! `suspected` of the node that decides, *decide* the record `group-granted` (the ownership entry
//! is committed), *online* the record `group-online` of the new owner.

mod report;
mod round;
mod web;

use std::net::{Ipv4Addr, SocketAddrV4};
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use stead_model::config::QuorumMode;
use stead_model::profile::Profile;

use crate::cabling::{Network, PREFIX_LEN};
use crate::cluster::{Cluster, ClusterError};
use crate::control::ControlError;
use crate::home::Home;
use crate::lab::{self, DownError, ExecError, Lab, NodeError};
use crate::prober::Prober;
use crate::step::StepError;
use crate::up::{self, UpError, UpOptions};

pub use report::{DemoMedians, DemoReport, DemoRun};
pub use web::{WebServer, create_group};

/// The group of the demo.
pub const GROUP: &str = "web";

/// Host number of the virtual address in the public network.
const VIRTUAL_HOST: u8 = 100;

/// The virtual address of the demo.
#[must_use]
pub const fn virtual_address() -> Ipv4Addr {
    Network::Public.address(VIRTUAL_HOST)
}

/// Which node loses power, and what it is before.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Victim {
    /// The owner of the group, which also leads and hosts the quorum disk.
    #[default]
    Owner,
    /// The leader, which does not own the group: the client shall notice nothing.
    Leader,
    /// The owner of the group, which neither leads nor hosts the quorum disk.
    Follower,
}

/// What `lab demo` is asked for.
#[derive(Clone, Debug)]
pub struct DemoOptions {
    /// Name of the lab made for it.
    pub name: String,
    /// How often the power is cut. Default 1.
    pub runs: u32,
    /// Number of nodes. Default 2.
    pub nodes: u16,
    /// How quorum is formed; `None` as in `lab up`.
    pub quorum: Option<QuorumMode>,
    /// The timing profile.
    pub profile: Profile,
    /// Which node loses power.
    pub crash: Victim,
    /// As [`UpOptions::program`].
    pub program: Option<PathBuf>,
    /// Where labs live.
    pub home: Home,
}

impl Default for DemoOptions {
    fn default() -> Self {
        Self {
            name: "demo".into(),
            runs: 1,
            nodes: 2,
            quorum: None,
            profile: Profile::default(),
            crash: Victim::default(),
            program: None,
            home: Home::of_user(),
        }
    }
}

/// The demo did not come to its end; its lab is gone.
#[derive(Debug, thiserror::Error)]
pub enum DemoError {
    /// No lab.
    #[error(transparent)]
    Up(#[from] UpError),
    /// No clean end of the lab.
    #[error(transparent)]
    Down(#[from] DownError),
    /// The cluster.
    #[error(transparent)]
    Cluster(#[from] ClusterError),
    /// The supervisor.
    #[error(transparent)]
    Control(#[from] ControlError),
    /// A node.
    #[error(transparent)]
    Node(#[from] NodeError),
    /// The client.
    #[error(transparent)]
    Client(#[from] ExecError),
    /// This host.
    #[error(transparent)]
    Step(#[from] StepError),
    /// The client waited in vain.
    #[error(
        "run {run}: nobody answered on {} within {} s after the power cut of {victim}",
        virtual_address(),
        .limit.as_secs()
    )]
    NotBack {
        /// Number of the run.
        run: u32,
        /// Who lost power.
        victim: String,
        /// How long.
        limit: Duration,
    },
    /// The leader cannot be told.
    #[error("no node leads")]
    NoLeader,
    /// With one node nobody can take over.
    #[error("the demo needs at least two nodes")]
    OneNode,
}

/// Runs the demo in a lab of its own; `progress` gets a line per step.
pub fn demo(
    options: &DemoOptions,
    progress: &mut dyn FnMut(&str),
) -> Result<DemoReport, DemoError> {
    if options.nodes < 2 {
        return Err(DemoError::OneNode);
    }
    let mut up_options = UpOptions::new(&options.name);
    up_options.nodes = options.nodes;
    up_options.quorum = options.quorum;
    up_options.profile = options.profile;
    up_options.program = options.program.clone();
    up_options.home = options.home.clone();
    let lab = up::up(&up_options, progress)?;
    let done = in_lab(&lab, options, progress);
    let down = lab::down(&options.home, Some(&options.name));
    let report = done?;
    down?;
    Ok(report)
}

fn in_lab(
    lab: &Lab,
    options: &DemoOptions,
    progress: &mut dyn FnMut(&str),
) -> Result<DemoReport, DemoError> {
    for missing in lab.status()?.missing {
        progress(&format!("this lab goes without: {missing}"));
    }
    let web = WebServer::find();
    progress(&format!("web server: {web}"));
    let cluster = Cluster::of(lab);
    create_group(lab, &cluster, &web)?;
    let group = cluster.wait_online(GROUP, None, ONLINE_LIMIT)?;
    let owner = group.owner.map_or_else(|| "nobody".into(), |node| node.to_string());
    let (address, bits) = (virtual_address(), PREFIX_LEN);
    progress(&format!("group {GROUP} is online on {owner}: http://{address}/ ({address}/{bits})"));
    let prober = Prober::start(lab, SocketAddrV4::new(address, 80))?;
    let mut runs = Vec::new();
    for number in 1..=options.runs {
        let round = round::Round { lab, cluster: &cluster, prober: &prober, number };
        let run = round.run(options.crash, progress)?;
        progress(&run.to_string());
        runs.push(run);
    }
    let report = DemoReport::new(options, lab.record(), web.to_string(), runs);
    progress(&report.medians.to_string());
    Ok(report)
}

const ONLINE_LIMIT: Duration = Duration::from_secs(30);
