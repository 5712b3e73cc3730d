//! The program of a former version: what `cargo xtask kept` builds of the commit that `e2e/kept`
//! names.

use std::path::{Path, PathBuf};
use std::process::Command;

/// The program; built where it is not there.
///
/// # Panics
/// It cannot be had: a round with two versions is not passed with one.
#[must_use]
pub fn path() -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let made = Command::new(cargo).args(["xtask", "kept"]).current_dir(root).output().unwrap();
    let text = String::from_utf8_lossy(&made.stdout);
    let said = String::from_utf8_lossy(&made.stderr);
    assert!(made.status.success(), "`cargo xtask kept`: {said}");
    let program = PathBuf::from(text.trim());
    assert!(program.is_file(), "{} is missing", program.display());
    program
}
