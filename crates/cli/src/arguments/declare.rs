//! `stead apply` and `stead export`.

use std::path::PathBuf;

use clap::Args;

/// Arguments of `apply`.
#[derive(Debug, Args)]
pub(crate) struct ApplyArguments {
    /// The file, with `[group]` and `[[resource]]`; `-` reads it from the standard input
    pub(crate) file: PathBuf,
    #[command(flatten)]
    pub(crate) manner: Manner,
}

/// How a declaration is carried out.
#[derive(Clone, Copy, Debug, Args)]
pub(crate) struct Manner {
    /// Only shows what would change, and what would be started, stopped and moved
    #[arg(long)]
    pub(crate) plan: bool,
    /// Waits until its groups are as declared, showing the steps
    #[arg(long, conflicts_with = "plan")]
    pub(crate) wait: bool,
    /// Also if a possible owner lacks something that a resource needs there
    #[arg(long)]
    pub(crate) force: bool,
}

/// Arguments of `export`.
#[derive(Debug, Args)]
pub(crate) struct ExportArguments {
    /// Groups; without them all
    #[arg(value_name = "GROUP")]
    pub(crate) groups: Vec<String>,
}
