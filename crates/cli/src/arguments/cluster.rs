//! `stead cluster …`: what is done on the host itself.

use std::net::IpAddr;
use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};
use stead_model::profile::Profile;
use stead_model::resource_type::parse_time_ms;
use stead_node::life::PORT;

use super::{Assignment, Manner};

/// What can be done with a cluster on a host.
#[derive(Debug, Subcommand)]
pub(crate) enum LifeCommand {
    /// Makes a cluster with this host as its first node; goes on where it was interrupted
    Create(CreateArguments),
    /// Makes a token on a node: it lets one host join, once
    Token {
        /// For how long it is good
        #[arg(long = "expires", value_name = "MINUTES", default_value_t = 60,
            value_parser = clap::value_parser!(u32).range(1..=1440))]
        minutes: u32,
    },
    /// Makes this host a node of the cluster whose token is given; goes on where it was interrupted
    Join(JoinArguments),
    /// Looks whether this host can be a node, as `create` and `join` do first; changes nothing
    Check {
        /// What `stead cluster token` printed on a node; without it only this host is looked at
        #[arg(value_name = "TOKEN")]
        token: Option<String>,
        /// An address of this host on each network
        #[arg(long = "address", value_name = "ADDR")]
        addresses: Vec<IpAddr>,
        /// UDP and TCP port between the nodes of a new cluster; a token knows that of its own
        #[arg(long, value_name = "PORT", default_value_t = PORT, value_parser = port,
            conflicts_with = "token")]
        port: u16,
    },
    /// Has new keys and certificates follow those of the cluster, without a stop
    RotateKeys(RotateArguments),
    /// Shows the level of the cluster and what the program of each node knows; raises it
    Level {
        /// By one, when every node's program knows the next one; there is no way back
        #[arg(long)]
        raise: bool,
    },
    /// Shows, sets or removes the address and the name by which the cluster is administered
    Ip(IpArguments),
    /// Writes the configuration of the cluster to a file that is not there yet
    Backup {
        /// The file
        #[arg(value_name = "FILE")]
        file: PathBuf,
    },
    /// Makes the configuration of the cluster what it was when a backup was taken
    Restore(RestoreArguments),
    /// This host leaves its cluster for good: its groups go elsewhere, and nothing is left here
    Leave {
        /// The node does not answer: it is to be evicted by another one
        #[arg(long)]
        force: bool,
    },
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

/// Arguments of `cluster rotate-keys`.
#[derive(Debug, Args)]
pub(crate) struct RotateArguments {
    /// Shows what would end and which nodes it takes, or how far it is; changes nothing
    #[arg(long, conflicts_with = "abandon")]
    pub(crate) plan: bool,
    /// Goes back to the keys of before, while no node uses the new ones
    #[arg(long)]
    pub(crate) abandon: bool,
    /// For how long the end is waited for: `90s`, `5min`, `0s` for not at all
    #[arg(long, value_name = "TIME", default_value = "60s", value_parser = parse_time_ms)]
    pub(crate) wait: u64,
}

/// Arguments of `cluster ip`.
#[derive(Debug, Args)]
pub(crate) struct IpArguments {
    /// The address, free on a network that clients reach; without a prefix length it has that of
    /// the network
    #[arg(value_name = "ADDR[/PREFIX]")]
    pub(crate) address: Option<String>,
    /// The domain in which DNS has the name of the cluster
    #[arg(long, value_name = "ZONE")]
    pub(crate) zone: Option<String>,
    /// The servers of that zone that take updates
    #[arg(long, value_name = "ADDR,…")]
    pub(crate) dns_servers: Option<String>,
    /// File with the key of the updates, at the same path on every node
    #[arg(long, value_name = "FILE")]
    pub(crate) tsig_key: Option<String>,
    /// DNS has the name of the cluster no more
    #[arg(long, conflicts_with_all = ["zone", "dns_servers", "tsig_key"])]
    pub(crate) no_name: bool,
    /// The cluster has no address and no name any more
    #[arg(long, conflicts_with_all = ["address", "zone", "dns_servers", "tsig_key", "no_name"])]
    pub(crate) remove: bool,
    /// Waits until it is so, showing the steps
    #[arg(long)]
    pub(crate) wait: bool,
    /// Also if a node cannot have the address, or lacks the key
    #[arg(long)]
    pub(crate) force: bool,
}

/// Arguments of `cluster restore`.
#[derive(Debug, Args)]
pub(crate) struct RestoreArguments {
    /// What `stead cluster backup` wrote; `-` reads it from the standard input
    #[arg(value_name = "FILE")]
    pub(crate) file: PathBuf,
    /// Name of the cluster of which it is, where that is another one than this
    #[arg(long, value_name = "NAME")]
    pub(crate) from: Option<String>,
    /// Who stands for a node of the backup whose host name is another one now
    #[arg(long = "node-for", value_name = "OLD=NEW")]
    pub(crate) nodes: Vec<Assignment>,
    #[command(flatten)]
    pub(crate) manner: Manner,
}

/// Arguments of `cluster join`.
#[derive(Debug, Args)]
pub(crate) struct JoinArguments {
    /// What `stead cluster token` printed on a node
    #[arg(value_name = "TOKEN")]
    pub(crate) token: String,
    /// An address of this host on each network; without it the first one in each network of the
    /// cluster
    #[arg(long = "address", value_name = "ADDR")]
    pub(crate) addresses: Vec<IpAddr>,
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
    /// The address by which the cluster is administered, whichever node has it: `stead cluster ip`
    #[arg(long, value_name = "ADDR[/PREFIX]")]
    pub(crate) cluster_ip: Option<String>,
    /// Blank disk, or file on one, that all nodes see under this path: the vote that two need
    #[arg(long, value_name = "PATH")]
    pub(crate) quorum_disk: Option<PathBuf>,
    /// Timing
    #[arg(long, value_enum, default_value = "standard")]
    pub(crate) profile: ProfileName,
    /// UDP and TCP port between nodes
    #[arg(long, value_name = "PORT", default_value_t = PORT, value_parser = port)]
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
