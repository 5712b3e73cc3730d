//! `cargo xtask fix`: mends what a program can mend. The only verb that writes to the tree.

use std::time::Duration;

use crate::metadata::{Metadata, cargo_words};
use crate::part::Part;
use crate::{Failure, no_arguments, test};

/// Formats the workspace.
pub(crate) fn run(metadata: &Metadata, arguments: &[String]) -> Result<(), Failure> {
    no_arguments("fix", arguments)?;
    let format = Part {
        name: "format",
        about: "rustfmt writes",
        commands: vec![cargo_words(&["fmt", "--all"])],
        limit: Duration::from_mins(2),
    };
    test::run_parts(&metadata.root, &[format])
}
