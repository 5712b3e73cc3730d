//! `stead node …`, `stead quorum …` and `stead resource-type …`.

use clap::Subcommand;

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
}
