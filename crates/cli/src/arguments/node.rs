//! `stead node …`, `stead quorum …` and `stead resource-type …`.

use std::net::IpAddr;
use std::path::PathBuf;
use std::str::FromStr;

use clap::builder::PossibleValuesParser;
use clap::{ArgGroup, Subcommand};
use stead_model::probe::Probe;
use stead_model::resource_type::{Form, parse_time_ms};
use stead_resmon::kit;

use super::Assignment;

/// What can be done with nodes.
#[derive(Debug, Subcommand)]
pub(crate) enum NodeCommand {
    /// Shows all nodes
    List,
    /// Shows a node with its links
    Show {
        /// The node: `n2`, `2` or its host name
        #[arg(value_name = "NODE")]
        name: String,
    },
    /// Makes a node a member of the running cluster; nothing moves by itself
    Add {
        /// Its host name
        #[arg(value_name = "NAME")]
        name: String,
        /// Its address on a network, as in `private=10.0.0.3`; repeatable
        #[arg(long = "address", value_name = "NETWORK=ADDRESS", required = true)]
        addresses: Vec<OnNetwork>,
        /// Its number; without it the one above all that there are
        #[arg(long, value_name = "N")]
        number: Option<u16>,
    },
    /// Changes what a node is called, or where it is: first here, then on the node
    #[command(group = ArgGroup::new("change").required(true).multiple(true))]
    Set {
        /// The node: `n2`, `2` or its host name
        #[arg(value_name = "NODE")]
        node: String,
        /// Its host name from now on
        #[arg(long, value_name = "NAME", group = "change")]
        name: Option<String>,
        /// Its address on a network from now on, as in `private=10.0.0.3`; repeatable
        #[arg(long = "address", value_name = "NETWORK=ADDRESS", group = "change")]
        addresses: Vec<OnNetwork>,
    },
    /// Makes a node no member any more: its groups go elsewhere, then its vote is taken
    Evict {
        /// The node: `n2`, `2` or its host name
        #[arg(value_name = "NODE")]
        name: String,
        /// Takes groups that can run nowhere else offline
        #[arg(long)]
        force_offline: bool,
    },
    /// Has the node that is asked go on alone when a majority is lost for good
    ForceQuorum {
        /// The name of the cluster: it says that all that are silent are off, or cut off, and stay
        /// so. Without it nothing is done, and it is shown what there is to lose
        #[arg(value_name = "CLUSTER")]
        cluster: Option<String>,
        /// The quorum disk is lost, too
        #[arg(long)]
        without_disk: bool,
    },
    /// Pauses a node: it keeps its groups and is given no others, also at a failover
    Pause {
        /// The node: `n2`, `2` or its host name
        #[arg(value_name = "NODE")]
        name: String,
    },
    /// Pauses a node and moves its groups to others; refused when one can run nowhere else
    Drain {
        /// The node: `n2`, `2` or its host name
        #[arg(value_name = "NODE")]
        name: String,
        /// Takes groups that can run nowhere else offline until a node may take them
        #[arg(long)]
        force_offline: bool,
    },
    /// Ends a pause: the node may be given groups again; nothing moves by itself
    Resume {
        /// The node: `n2`, `2` or its host name
        #[arg(value_name = "NODE")]
        name: String,
    },
    /// Ends the node of this host until it is started, or the host boots; its groups go elsewhere
    Stop,
    /// Starts the node of this host, and waits until it has quorum
    Start,
    /// Says what a node has for groups, instead of what was said before
    Capacity {
        /// The node: `n2`, `2` or its host name
        #[arg(value_name = "NODE")]
        name: String,
        /// Amounts such as `cpu=16 memory=64G`, and units of your own such as `licence=2`
        #[arg(value_name = "UNIT=AMOUNT", required_unless_present_any = ["unlimited", "measured"])]
        amounts: Vec<Assignment>,
        /// The node is not limited in anything
        #[arg(long, conflicts_with = "amounts")]
        unlimited: bool,
        /// The processors and the memory that its machine has now
        #[arg(long, conflicts_with_all = ["amounts", "unlimited"])]
        measured: bool,
    },
    /// Lists a service of a node's own, which needs something there and never fails over
    Local {
        /// The node: `n2`, `2` or its host name
        #[arg(value_name = "NODE")]
        name: String,
        /// Name of the service
        service: String,
        /// What it needs, as in `cpu=1 memory=2G`
        #[arg(value_name = "UNIT=AMOUNT")]
        amounts: Vec<Assignment>,
        /// Lists it no more
        #[arg(long, conflicts_with = "amounts")]
        remove: bool,
    },
    /// Announces a pause of a node: nothing moves while it stands still for up to 30 s
    Absent {
        /// The node: `n2`, `2` or its host name
        #[arg(value_name = "NODE")]
        name: String,
    },
    /// Ends an announced pause
    Present {
        /// The node: `n2`, `2` or its host name
        #[arg(value_name = "NODE")]
        name: String,
    },
}

/// An address on a network, as in `private=10.0.0.3`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct OnNetwork {
    pub(crate) network: String,
    pub(crate) address: IpAddr,
}

impl FromStr for OnNetwork {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (network, address) = text.split_once('=').ok_or("write NETWORK=ADDRESS")?;
        let address = address.parse().map_err(|_| format!("`{address}` is no IP address"))?;
        Ok(Self { network: network.to_owned(), address })
    }
}

/// What can be asked about quorum.
#[derive(Debug, Subcommand)]
pub(crate) enum QuorumCommand {
    /// Shows who votes and who leads, as a node sees it; exit code 1 if it has no quorum
    Show,
}

/// What can be asked about types.
#[derive(Debug, Subcommand)]
pub(crate) enum ResourceTypeCommand {
    /// Shows all types
    List,
    /// Shows a type with its properties
    Show {
        /// The type
        #[arg(value_name = "TYPE")]
        name: String,
    },
    /// Tests the program of an external type; exit code 1 if a check fails
    Test {
        /// The program
        program: PathBuf,
        /// A property of the resource that it shall be; what keeps data gets a place of its own
        #[arg(long = "property", value_name = "KEY=VALUE")]
        properties: Vec<Assignment>,
        /// What works while the resource is online and not else, as in `tcp:8080`
        #[arg(long, value_name = "PROBE", value_parser = probe)]
        probe: Option<Probe>,
        /// Makes only this check
        #[arg(long, value_name = "CHECK", value_parser = PossibleValuesParser::new(kit::names()))]
        only: Option<String>,
        /// How long a call may take
        #[arg(long, value_name = "TIME", default_value = "60s", value_parser = parse_time_ms)]
        limit: u64,
    },
}

fn probe(text: &str) -> Result<Probe, String> {
    Probe::parse(text).ok_or_else(|| format!("it must be {}", Form::Probe.words()))
}
