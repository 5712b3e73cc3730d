//! `stead alert …`.

use std::collections::BTreeMap;

use clap::{ArgGroup, Args, Subcommand};

/// What can be done with alerts.
#[derive(Debug, Subcommand)]
pub(crate) enum AlertCommand {
    /// Shows all alerts, and how they go on the node that is asked
    List,
    /// Shows an alert, and how it goes on the node that is asked
    Show {
        /// The alert
        name: String,
    },
    /// Adds an alert: every node calls it for the records it wants
    #[command(group(ArgGroup::new("call").required(true).args(["webhook", "command"])))]
    Add {
        /// Its name
        name: String,
        #[command(flatten)]
        wanted: WantedArguments,
    },
    /// Removes an alert; what waits to be told is forgotten
    Remove {
        /// The alert
        name: String,
    },
    /// Tells a sample at once, from the node that is asked
    Test {
        /// The alert
        name: String,
    },
}

/// What an alert is.
#[derive(Debug, Args)]
pub(crate) struct WantedArguments {
    /// Posts the record as JSON to this address, as in `http://10.0.0.9:8080/stead`
    #[arg(long, value_name = "URL")]
    webhook: Option<String>,
    /// Runs this with the record as JSON on its standard input; an absolute path and arguments
    #[arg(long, value_name = "COMMAND")]
    command: Option<String>,
    /// The least level: `info`, `warning` or `error`. Default: `warning`, with `--code` `info`
    #[arg(long, value_name = "LEVEL")]
    level: Option<String>,
    /// Only records with this code, as in `group-granted` or `lease-*`; repeatable
    #[arg(long = "code", value_name = "CODE")]
    codes: Vec<String>,
    /// Only records about this group; repeatable
    #[arg(long = "group", value_name = "GROUP")]
    groups: Vec<String>,
    /// How long a call may take, up to 20 s. Default: 10 s
    #[arg(long, value_name = "TIME")]
    timeout: Option<String>,
}

impl WantedArguments {
    /// As properties.
    pub(crate) fn properties(self) -> BTreeMap<String, String> {
        let listed = |all: Vec<String>| (!all.is_empty()).then(|| all.join(","));
        let all = [
            ("webhook", self.webhook),
            ("command", self.command),
            ("level", self.level),
            ("codes", listed(self.codes)),
            ("groups", listed(self.groups)),
            ("timeout", self.timeout),
        ];
        let given = all.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?)));
        given.collect()
    }
}
