//! `stead admin …`.

use std::path::PathBuf;

use clap::Subcommand;

/// What can be done about who may ask from other machines.
#[derive(Debug, Subcommand)]
pub(crate) enum AdminCommand {
    /// Shows who may ask nodes from other machines
    List,
    /// Lets somebody ask from other machines: writes a file to prove it with. On a node, as root
    Add {
        /// A name for whoever it is
        name: String,
        /// `viewer`, `operator` or `admin`
        #[arg(long, value_name = "ROLE")]
        role: String,
        /// The file; it holds a key, and there must be none of that name
        #[arg(long, value_name = "FILE")]
        out: PathBuf,
    },
    /// Takes that back: the file counts no more, and connections made with it end
    Remove {
        /// The name
        name: String,
    },
}
