//! `stead resource …`.

use clap::Subcommand;

use super::{Assignment, TermArguments};

/// What can be done with resources.
#[derive(Debug, Subcommand)]
pub(crate) enum ResourceCommand {
    /// Creates a resource in a group
    Create {
        /// Its name
        name: String,
        /// Its type; `stead resource-type list` shows all
        #[arg(long = "type", value_name = "TYPE")]
        kind: String,
        /// The group it belongs to
        #[arg(long, value_name = "GROUP")]
        group: String,
        /// Properties; `stead resource-type show TYPE` explains them
        #[arg(value_name = "KEY=VALUE")]
        properties: Vec<Assignment>,
        /// Also if a possible owner lacks something that it needs there
        #[arg(long)]
        force: bool,
    },
    /// Deletes a resource
    Delete {
        /// The resource
        name: String,
    },
    /// Shows a resource with its properties
    Show {
        /// The resource
        name: String,
    },
    /// Shows all resources
    List,
    /// Shows what goes offline if a resource goes, in which order, and what follows if it fails
    Impact {
        /// The resource
        name: String,
    },
    /// Brings a resource online
    Online {
        /// The resource
        name: String,
        /// Waits until it is online, showing the steps
        #[arg(long)]
        wait: bool,
    },
    /// Takes a resource offline
    Offline {
        /// The resource
        name: String,
        /// Waits until it is offline, showing the steps
        #[arg(long)]
        wait: bool,
    },
    /// Rehearses a failure of a resource
    Fail {
        /// The resource
        name: String,
    },
    /// Puts a resource and what stands on it in maintenance for a while: nothing is done about them
    Maintain {
        /// The resource
        name: String,
        #[command(flatten)]
        term: TermArguments,
    },
    /// Changes properties of a resource
    Set {
        /// The resource
        name: String,
        /// Properties of its type and common ones
        #[arg(value_name = "KEY=VALUE", required = true)]
        properties: Vec<Assignment>,
        /// Also if a possible owner lacks something that it needs there
        #[arg(long)]
        force: bool,
    },
    /// Resets properties of a resource to their defaults
    Unset {
        /// The resource
        name: String,
        /// Names of properties
        #[arg(value_name = "KEY", required = true)]
        keys: Vec<String>,
    },
    /// Shows what a resource wrote on the node that owns it, or on `--node`
    Logs {
        /// The resource
        name: String,
        /// At most this many lines, the latest
        #[arg(long, value_name = "COUNT", default_value_t = 100)]
        lines: usize,
    },
    /// Asks something of its type's own of a resource, on the node that owns it, or on `--node`
    Control {
        /// The resource
        name: String,
        /// A control code of its type; `stead resource-type show TYPE` shows all
        code: String,
        /// What goes with it
        #[arg(default_value = "")]
        text: String,
    },
    /// Makes a resource depend on another of its group
    Depend {
        /// The resource
        name: String,
        /// What must be online before it
        #[arg(long, value_name = "OTHER")]
        on: String,
    },
    /// Ends a dependency
    Undepend {
        /// The resource
        name: String,
        /// What need not be online before it any more
        #[arg(long, value_name = "OTHER")]
        on: String,
    },
}
