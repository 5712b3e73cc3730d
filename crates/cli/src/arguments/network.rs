//! `stead network …`.

use clap::builder::PossibleValuesParser;
use clap::{ArgGroup, Subcommand};
use stead_model::config::NetworkRole;
use stead_model::resource_type::Form;
use stead_model::rules::Priority;

/// What can be asked about networks, and done with them.
#[derive(Debug, Subcommand)]
pub(crate) enum NetworkCommand {
    /// Shows all networks, and how many nodes' interfaces are up on each
    List,
    /// Shows a network with the interface of every node on it
    Show {
        /// The network
        #[arg(value_name = "NETWORK")]
        name: String,
    },
    /// Changes what a network is called, what may use it, or how much it is preferred
    #[command(group = ArgGroup::new("change").required(true).multiple(true))]
    Set {
        /// The network
        #[arg(value_name = "NETWORK")]
        network: String,
        /// Its name from now on
        #[arg(long, value_name = "NAME", group = "change")]
        name: Option<String>,
        /// What may use it from now on: the nodes, clients, or both
        #[arg(long, value_name = "ROLE", group = "change",
            value_parser = PossibleValuesParser::new(NetworkRole::ALL.map(NetworkRole::word)))]
        role: Option<String>,
        /// Streams between nodes go over the usable network with the highest one: low, medium, high
        /// or a number from 1 to 9999
        #[arg(long, value_name = "PRIORITY", group = "change", value_parser = priority)]
        priority: Option<Priority>,
    },
    /// Shows the links of a node to all others: state, loss, round trips, datagrams
    Stats,
}

fn priority(text: &str) -> Result<Priority, String> {
    Priority::parse(text).ok_or_else(|| format!("it is not {}", Form::Priority.words()))
}
