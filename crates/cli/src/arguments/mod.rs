//! What may be typed: one enum per noun, the source of parsing and help alike.

mod admin;
mod alert;
mod assignment;
mod cluster;
mod declare;
mod group;
mod lab;
mod network;
mod node;
mod resource;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use stead_model::resource_type::parse_time_ms;

pub(crate) use admin::AdminCommand;
pub(crate) use alert::AlertCommand;
pub(crate) use assignment::Assignment;
pub(crate) use cluster::{IpArguments, LifeCommand, RestoreArguments, RotateArguments};
pub(crate) use declare::{ApplyArguments, ExportArguments, Manner};
pub(crate) use group::{GroupCommand, TermArguments, TreeFormat};
pub(crate) use lab::{
    CutArguments, DemoArguments, DiskArguments, JitterArguments, LabCommand, UpArguments,
};
pub(crate) use network::NetworkCommand;
pub(crate) use node::{NodeCommand, OnNetwork, QuorumCommand, ResourceTypeCommand};
pub(crate) use resource::ResourceCommand;

/// Failover cluster service
///
/// Exit codes: 0 ok, 1 refused or unhealthy, 2 usage, 3 nobody answers, 4 a bug of stead.
#[derive(Debug, Parser)]
#[command(name = "stead", version, disable_help_subcommand = true, max_term_width = 100)]
pub(crate) struct Arguments {
    /// The lab that is meant; without it the only running one, or this node
    #[arg(long, global = true, value_name = "NAME", display_order = 100)]
    pub(crate) lab: Option<String>,
    /// The node that is asked (`n2`, `2` or its host name); without it one with quorum
    #[arg(long = "node", id = "asked", global = true, value_name = "N", display_order = 101)]
    pub(crate) node: Option<String>,
    /// A node that is asked from another machine, with its port if that is not 7411
    #[arg(long, global = true, value_name = "ADDRESS", display_order = 103)]
    pub(crate) host: Option<String>,
    /// The file that `stead admin add` wrote, which goes with `--host`
    #[arg(long, global = true, value_name = "FILE", display_order = 104)]
    pub(crate) identity: Option<PathBuf>,
    /// Data as JSON, in the types of the API
    #[arg(long, global = true, display_order = 102)]
    pub(crate) json: bool,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// Everything that can be typed.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Clusters in a box on this machine, to try and to test
    #[command(subcommand)]
    Lab(LabCommand),
    /// Prints what makes a shell complete the commands of stead
    Completions {
        /// The shell
        #[arg(value_name = "SHELL")]
        shell: Shell,
    },
    #[command(flatten)]
    Cluster(ClusterCommand),
}

impl Command {
    /// Whether it does something to the machine where it is typed, whichever node is asked.
    pub(crate) const fn is_of_this_machine(&self) -> bool {
        match self {
            Self::Lab(_)
            | Self::Completions { .. }
            | Self::Cluster(ClusterCommand::SupportBundle { .. }) => true,
            Self::Cluster(ClusterCommand::Cluster(command)) => {
                !matches!(command, LifeCommand::Ip(_))
            }
            Self::Cluster(_) => false,
        }
    }
}

/// A shell that completes what is typed.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum Shell {
    /// `source <(stead completions bash)`
    Bash,
    /// `source <(stead completions zsh)`
    Zsh,
    /// `stead completions fish | source`
    Fish,
}

/// What is asked of a node.
#[derive(Debug, Subcommand)]
pub(crate) enum ClusterCommand {
    /// Shows quorum, nodes and groups; exit code 1 if anything needs attention
    Status(StatusArguments),
    /// Lists what needs somebody, each with the command to begin with; exit code 1 if it is urgent
    Attention,
    /// Prints the figures of a node in the text format of Prometheus
    Metrics,
    /// Packs what somebody who helps wants to see of this node; keys and secrets are left out
    SupportBundle {
        /// The archive; without it one with the time in its name, here
        #[arg(short, long, value_name = "FILE")]
        output: Option<PathBuf>,
    },
    /// Makes groups as a file declares them, all of it or nothing
    Apply(ApplyArguments),
    /// Prints groups as a file that `apply` takes
    Export(ExportArguments),
    /// Groups: what is failed over as one
    #[command(subcommand)]
    Group(GroupCommand),
    /// Resources: the members of groups
    #[command(subcommand)]
    Resource(ResourceCommand),
    /// Types of resources and their properties
    #[command(subcommand)]
    ResourceType(ResourceTypeCommand),
    /// The cluster itself: made on this host, joined by it, left
    #[command(subcommand)]
    Cluster(LifeCommand),
    /// Nodes and their links
    #[command(subcommand)]
    Node(NodeCommand),
    /// Networks: interfaces and links
    #[command(subcommand)]
    Network(NetworkCommand),
    /// Quorum: who votes, who leads
    #[command(subcommand)]
    Quorum(QuorumCommand),
    /// Shows the event log of the cluster: the records of all nodes, causes before effects
    Events(EventsArguments),
    /// The event log of a node
    #[command(subcommand)]
    Event(EventCommand),
    /// Who may ask nodes from other machines
    #[command(subcommand)]
    Admin(AdminCommand),
    /// Who asked a node for which changes, and how they ended
    Audit(AuditArguments),
    /// Alerts: who outside the cluster is told of which records
    #[command(subcommand)]
    Alert(AlertCommand),
    /// Why things are as they are
    #[command(subcommand)]
    Explain(ExplainCommand),
    /// Statements about the whole cluster
    #[command(subcommand)]
    Report(ReportCommand),
}

/// Arguments of `status`.
#[derive(Debug, Args)]
pub(crate) struct StatusArguments {
    /// Shows it again whenever it changes, until interrupted
    #[arg(long)]
    pub(crate) watch: bool,
}

/// What can be done with records.
#[derive(Debug, Subcommand)]
pub(crate) enum EventCommand {
    /// Shows the records of a node, oldest first
    List {
        /// At most this many, the latest
        #[arg(long, value_name = "COUNT", default_value_t = 100)]
        last: usize,
        /// Goes on with new ones as they come, until interrupted
        #[arg(long)]
        follow: bool,
    },
}

/// Arguments of `events`.
#[derive(Debug, Args)]
pub(crate) struct EventsArguments {
    /// At most this many, the latest
    #[arg(long, value_name = "COUNT", default_value_t = 100)]
    pub(crate) last: usize,
    /// Only what is about this group, and what caused it
    #[arg(long, value_name = "NAME")]
    pub(crate) group: Option<String>,
}

/// Arguments of `audit`.
#[derive(Debug, Args)]
pub(crate) struct AuditArguments {
    /// At most this many, the latest
    #[arg(long, value_name = "COUNT", default_value_t = 100)]
    pub(crate) last: usize,
    /// Only what was asked within this time, as in `90s`, `15min`, `2h`
    #[arg(long, value_name = "TIME", value_parser = parse_time_ms)]
    pub(crate) since: Option<u64>,
    /// Goes on with new ones as they come, until interrupted
    #[arg(long)]
    pub(crate) follow: bool,
}

/// What can be stated.
#[derive(Debug, Subcommand)]
pub(crate) enum ReportCommand {
    /// States how available each group is: who takes it over when its node fails
    Availability,
}

/// What can be explained.
#[derive(Debug, Subcommand)]
pub(crate) enum ExplainCommand {
    /// Why a group is where it is and in its state
    Group {
        /// The group
        name: String,
    },
    /// All timeouts and how each is derived
    Timeouts,
}

#[cfg(test)]
mod tests {
    use clap::{Command, CommandFactory};

    use super::*;

    /// Every command below one, as it is typed.
    fn typed(command: &Command, before: &str) -> Vec<String> {
        let name = format!("{before}{}", command.get_name());
        if command.get_subcommands().next().is_none() {
            return vec![name];
        }
        let below = command.get_subcommands();
        below.flat_map(|command| typed(command, &format!("{name} "))).collect()
    }

    #[test]
    fn the_reference_names_every_command_and_no_other() {
        let page = include_str!("../../../../docs/reference/cli.md");
        let rows: Vec<&str> =
            page.lines().filter_map(|line| line.strip_prefix("| `stead ")).collect();
        let commands = typed(&Arguments::command(), "");
        for command in &commands {
            let words = command.strip_prefix("stead ").unwrap();
            let row = rows.iter().find(|row| row.starts_with(words));
            assert!(row.is_some(), "no row for `{command}`");
        }
        assert_eq!(rows.len(), commands.len(), "{rows:#?}");
    }

    #[test]
    fn the_arguments_fit_together() {
        Arguments::command().debug_assert();
    }
}
