//! `stead cluster …`: what is done on the host itself.

use std::net::IpAddr;
use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};
use stead_model::profile::Profile;

/// What can be done with a cluster on a host.
#[derive(Debug, Subcommand)]
pub(crate) enum LifeCommand {
    /// Makes a cluster with this host as its first node; goes on where it was interrupted
    Create(CreateArguments),
    /// Ends the cluster of which this host is the only node; nothing of it is left on this host
    Destroy {
        /// Name of the cluster, so that no other one is ended
        #[arg(value_name = "NAME")]
        name: String,
        /// The node does not answer, and no other node needs this one; the quorum disk is kept
        #[arg(long)]
        force: bool,
    },
}

/// Arguments of `cluster create`.
#[derive(Debug, Args)]
pub(crate) struct CreateArguments {
    /// Name of the cluster, of no host: 1 to 63 of `a-z 0-9 -`
    #[arg(value_name = "NAME")]
    pub(crate) name: String,
    /// An address of this host on each network; without it those of all interfaces that are up
    #[arg(long = "address", value_name = "ADDR")]
    pub(crate) addresses: Vec<IpAddr>,
    /// Blank disk, or file on one, that all nodes see under this path: the vote that two need
    #[arg(long, value_name = "PATH")]
    pub(crate) quorum_disk: Option<PathBuf>,
    /// Timing
    #[arg(long, value_enum, default_value = "standard")]
    pub(crate) profile: ProfileName,
    /// UDP and TCP port between nodes
    #[arg(long, value_name = "PORT", default_value_t = 7410, value_parser = port)]
    pub(crate) port: u16,
}

fn port(text: &str) -> Result<u16, String> {
    let port = text.parse().ok().filter(|port| *port != 0);
    port.ok_or_else(|| "a port is a number from 1 to 65535".to_owned())
}

/// The profiles that a cluster may be made with.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub(crate) enum ProfileName {
    /// Outages of about a second
    Standard,
    /// Outages of a quarter second; needs real-time priority
    Fast,
}

impl From<ProfileName> for Profile {
    fn from(name: ProfileName) -> Self {
        match name {
            ProfileName::Standard => Self::Standard,
            ProfileName::Fast => Self::Fast,
        }
    }
}
