//! `stead lab …`.

use std::ffi::OsString;
use std::str::FromStr;

use clap::{Args, Subcommand, ValueEnum};
use stead_lab::demo::Victim;
use stead_lab::{Network, Station};
use stead_model::NodeId;
use stead_model::config::QuorumMode;
use stead_model::profile::Profile;

/// What can be done with labs.
#[derive(Debug, Subcommand)]
pub(crate) enum LabCommand {
    /// Makes a lab and waits until its cluster serves
    Up(UpArguments),
    /// Shows a failover in a lab of its own and measures the outage a client sees
    Demo(DemoArguments),
    /// Shows the machines of a lab
    Status {
        /// The lab; without it the only running one
        name: Option<String>,
    },
    /// Shows all labs
    List,
    /// Ends a lab and removes all that is left of it
    Down {
        /// The lab; without it the only one
        name: Option<String>,
    },
    /// Opens a port of this host that leads to the address of a group
    Open {
        /// The group; it needs a resource of type ip-address
        group: String,
        /// The port behind the address
        #[arg(long, default_value_t = 80)]
        port: u16,
    },
    /// Cuts the power of a node: nothing is said, nothing is flushed
    Crash {
        /// The node
        #[arg(value_name = "NODE")]
        machine: LabNode,
    },
    /// Gives a node power
    Start {
        /// The node
        #[arg(value_name = "NODE")]
        machine: LabNode,
    },
    /// Makes a spare node a member of the running cluster
    Join {
        /// The node
        #[arg(value_name = "NODE")]
        machine: LabNode,
    },
    /// Shuts a node down cleanly
    Stop {
        /// The node
        #[arg(value_name = "NODE")]
        machine: LabNode,
    },
    /// Stops all processes of a node; its kernel goes on
    Freeze {
        /// The node
        #[arg(value_name = "NODE")]
        machine: LabNode,
    },
    /// Ends a freeze or hang
    Thaw {
        /// The node
        #[arg(value_name = "NODE")]
        machine: LabNode,
    },
    /// Stops all processes of a node and all its traffic
    Hang {
        /// The node
        #[arg(value_name = "NODE")]
        machine: LabNode,
    },
    /// Cuts cables: one node off from everybody, or two from each other
    Cut(CutArguments),
    /// Makes every frame from and to a node take its own time, so that frames overtake each other
    Jitter(JitterArguments),
    /// Mends all cables that are cut or slow
    Heal,
    /// Makes every request of a node to a disk fail
    FailDisk(DiskArguments),
    /// Makes every request of a node to a disk take longer
    SlowDisk {
        /// The path
        #[command(flatten)]
        path: DiskArguments,
        /// By how many milliseconds
        #[arg(long, value_name = "MS", default_value_t = 100)]
        delay: u64,
    },
    /// Makes every request of a node to a disk wait until it is healed
    HangDisk(DiskArguments),
    /// Makes the path of a node to a disk whole again
    HealDisk(DiskArguments),
    /// Runs a command on a node or the client; ends as the command does
    Exec {
        /// The node, or `client`
        #[arg(value_name = "NODE|client")]
        machine: Station,
        /// The command and its arguments
        #[arg(last = true, required = true, value_name = "COMMAND")]
        command: Vec<OsString>,
    },
}

/// One node's path to one disk.
#[derive(Debug, Args)]
pub(crate) struct DiskArguments {
    /// The node
    #[arg(value_name = "NODE")]
    pub(crate) machine: LabNode,
    /// A data disk, or `quorum`
    pub(crate) disk: String,
}

/// Arguments of `lab up`.
#[derive(Debug, Args)]
pub(crate) struct UpArguments {
    /// Its name: 1 to 20 of `a-z`, `0-9` and `-`, a letter first
    #[arg(default_value = "lab")]
    pub(crate) name: String,
    /// Number of nodes
    #[arg(long, value_name = "N", default_value_t = 2)]
    pub(crate) nodes: u16,
    /// How many of the nodes, the last ones, are no members until `lab join` makes them some
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub(crate) spare: u16,
    /// How quorum is formed; without it the disk where the number of nodes is even
    #[arg(long, value_name = "MODE")]
    pub(crate) quorum: Option<LabQuorum>,
    /// How fast the cluster reacts
    #[arg(long, value_name = "P", value_parser = profile, default_value = "standard")]
    pub(crate) profile: Profile,
    /// A disk of 512 MiB with an empty ext4, shared by all nodes as /dev/stead/DISK; repeatable
    #[arg(long = "disk", value_name = "DISK")]
    pub(crate) disks: Vec<String>,
    /// With a group in it: `nginx`, `postgresql`, `redis`, or the path of a file like these
    #[arg(long, value_name = "EXAMPLE")]
    pub(crate) example: Option<String>,
}

/// Arguments of `lab demo`. Its lab is called `demo`, or as `--lab` says.
#[derive(Debug, Args)]
pub(crate) struct DemoArguments {
    /// How often the power is cut
    #[arg(long, value_name = "K", default_value_t = 1)]
    pub(crate) runs: u32,
    /// How fast the cluster reacts
    #[arg(long, value_name = "P", value_parser = profile, default_value = "standard")]
    pub(crate) profile: Profile,
    /// Which node loses power
    #[arg(long, value_name = "ROLE", default_value = "owner")]
    pub(crate) crash: Role,
    /// Number of nodes
    #[arg(long, value_name = "N", default_value_t = 2)]
    pub(crate) nodes: u16,
    /// How quorum is formed; without it the disk where the number of nodes is even
    #[arg(long, value_name = "MODE")]
    pub(crate) quorum: Option<LabQuorum>,
}

/// What the node that loses power is.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub(crate) enum Role {
    /// It owns the group, leads, and hosts the quorum disk
    Owner,
    /// It leads and does not own the group
    Leader,
    /// It owns the group, does not lead and does not host the quorum disk
    Follower,
}

impl From<Role> for Victim {
    fn from(role: Role) -> Self {
        match role {
            Role::Owner => Self::Owner,
            Role::Leader => Self::Leader,
            Role::Follower => Self::Follower,
        }
    }
}

/// Arguments of `lab cut`.
#[derive(Debug, Args)]
pub(crate) struct CutArguments {
    /// The node that is cut off, or the first of two
    #[arg(value_name = "NODE")]
    pub(crate) machine: Station,
    /// The second of two
    #[arg(value_name = "OTHER")]
    pub(crate) other: Option<Station>,
    /// Only in this network: private or public
    #[arg(long, value_name = "NET")]
    pub(crate) network: Option<Network>,
    /// The first no longer reaches the second; the second still reaches the first
    #[arg(long, requires = "other")]
    pub(crate) one_way: bool,
    /// Only so many of a hundred frames, by chance
    #[arg(long, value_name = "PERCENT", value_parser = clap::value_parser!(u8).range(1..=99))]
    pub(crate) loss: Option<u8>,
    /// Only packets with more bytes than this, as on a path with a smaller MTU
    #[arg(long, value_name = "BYTES", conflicts_with = "loss")]
    pub(crate) above: Option<u16>,
}

/// Arguments of `lab jitter`.
#[derive(Debug, Args)]
pub(crate) struct JitterArguments {
    /// The node, or `client`
    #[arg(value_name = "NODE|client")]
    pub(crate) machine: Station,
    /// Only in this network: private or public
    #[arg(long, value_name = "NET")]
    pub(crate) network: Option<Network>,
    /// The longest time that a frame takes each way, in milliseconds
    #[arg(
        long,
        value_name = "MS",
        default_value_t = 30,
        value_parser = clap::value_parser!(u16).range(1..=1000)
    )]
    pub(crate) up_to: u16,
}

/// A node of a lab: `n2`, `2` or `node2`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct LabNode(pub(crate) NodeId);

impl FromStr for LabNode {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.parse::<Station>().map_err(|error| error.to_string())? {
            Station::Node(node) => Ok(Self(node)),
            Station::Client => Err("the client is no node".into()),
        }
    }
}

/// How a lab forms quorum, in one word.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub(crate) enum LabQuorum {
    /// Nodes and the quorum disk vote
    Disk,
    /// Nodes alone vote
    Majority,
    /// The quorum disk alone votes
    DiskOnly,
}

impl From<LabQuorum> for QuorumMode {
    fn from(quorum: LabQuorum) -> Self {
        match quorum {
            LabQuorum::Disk => Self::NodeAndDiskMajority,
            LabQuorum::Majority => Self::NodeMajority,
            LabQuorum::DiskOnly => Self::DiskOnly,
        }
    }
}

fn profile(text: &str) -> Result<Profile, &'static str> {
    Profile::parse(text).ok_or("use `fast`, `standard` or `relaxed`")
}
