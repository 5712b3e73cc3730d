//! `stead group …`.

use clap::{Args, Subcommand, ValueEnum};

use super::Assignment;

/// How long maintenance goes on.
#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
pub(crate) struct TermArguments {
    /// For how long, as in `2h`; at most 31 days
    #[arg(long = "for", value_name = "TIME")]
    pub(crate) time: Option<String>,
    /// Ends it now
    #[arg(long)]
    pub(crate) end: bool,
}

/// How a tree is drawn.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub(crate) enum TreeFormat {
    /// For people.
    Text,
    /// For Graphviz.
    Dot,
}

/// What can be done with groups.
#[derive(Debug, Subcommand)]
pub(crate) enum GroupCommand {
    /// Creates a group without resources
    Create {
        /// Its name
        name: String,
        /// Properties, as `stead group properties` lists them
        #[arg(value_name = "KEY=VALUE")]
        properties: Vec<Assignment>,
    },
    /// Deletes a group without resources
    Delete {
        /// The group
        name: String,
    },
    /// Shows a group with its resources
    Show {
        /// The group
        name: String,
    },
    /// Shows all groups
    List {
        /// Only those that are virtual servers: with a network name and an address
        #[arg(long)]
        virtual_servers: bool,
    },
    /// Brings a group online
    Online {
        /// The group
        name: String,
        /// Waits until it is online, showing the steps
        #[arg(long)]
        wait: bool,
    },
    /// Takes a group offline
    Offline {
        /// The group
        name: String,
        /// Waits until it is offline, showing the steps
        #[arg(long)]
        wait: bool,
    },
    /// Shows what depends on what in a group, as a tree
    Tree {
        /// The group
        name: String,
        /// A tree of text, or a graph for Graphviz
        #[arg(long, value_enum, default_value_t = TreeFormat::Text)]
        format: TreeFormat,
        /// Proposes the commands that make a row of a tree that forks; changes nothing
        #[arg(long, conflicts_with = "format")]
        fix: bool,
    },
    /// Pins a group to a node for a while: it goes there, and comes back after a failover
    Pin {
        /// The group
        name: String,
        /// The node it belongs on
        #[arg(long, value_name = "NODE")]
        to: String,
        /// For how long, as in `2h`; at most 31 days
        #[arg(long = "for", value_name = "TIME")]
        time: String,
    },
    /// Ends a pin; nothing moves by itself
    Unpin {
        /// The group
        name: String,
    },
    /// Puts a group in maintenance for a while: it is watched, and nothing is done about it
    Maintain {
        /// The group
        name: String,
        #[command(flatten)]
        term: TermArguments,
    },
    /// Moves a group to another node
    Move {
        /// The group
        name: String,
        /// The node it goes to; without it the best one is chosen
        #[arg(long, value_name = "NODE")]
        to: Option<String>,
        /// Waits until it is there, showing the steps
        #[arg(long)]
        wait: bool,
    },
    /// Forgets the failures of a group and its resources, and tries again what was given up
    ClearFailures {
        /// The group
        name: String,
    },
    /// Shows the properties that groups have, with their defaults
    Properties,
    /// Changes properties of a group
    Set {
        /// The group
        name: String,
        /// Properties, as `stead group properties` lists them
        #[arg(value_name = "KEY=VALUE", required = true)]
        properties: Vec<Assignment>,
    },
    /// Resets properties of a group to their defaults
    Unset {
        /// The group
        name: String,
        /// Names of properties
        #[arg(value_name = "KEY", required = true)]
        keys: Vec<String>,
    },
}
