//! The program under test: the one that `STEAD_PROGRAM` names, or `stead` beside the running test.
//!
//! The gate builds the program as a release and the tests of it as tests are: they only wait.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::OnceLock;

/// Names another program than the one beside the test.
pub const VARIABLE: &str = "STEAD_PROGRAM";

/// The program; built if it is not there.
#[must_use]
pub fn path() -> &'static Path {
    static PATH: OnceLock<PathBuf> = OnceLock::new();
    PATH.get_or_init(|| {
        if let Some(named) = std::env::var_os(VARIABLE) {
            let named = PathBuf::from(named);
            assert!(named.exists(), "{VARIABLE}: {} is missing", named.display());
            return named;
        }
        // `target/release/deps/runs-…` beside `target/release/stead`.
        let test = std::env::current_exe().unwrap();
        let path = test.ancestors().nth(2).unwrap().join("stead");
        if !path.exists() {
            build(path.parent().and_then(Path::parent).unwrap());
        }
        assert!(path.exists(), "{} is missing: cargo build --release", path.display());
        path
    })
}

/// A place in cargo's folder for integration tests, which outlives a run.
pub(crate) fn kept(name: &str) -> PathBuf {
    let test = std::env::current_exe().unwrap();
    test.ancestors().nth(3).unwrap().join("tmp").join(name)
}

/// The stories: beside the program, where a run is for a user who may not read the checkout.
#[must_use]
pub fn scenarios() -> PathBuf {
    let beside = path().with_file_name("scenarios");
    let here = Path::new(env!("CARGO_MANIFEST_DIR")).join("../scenarios");
    if beside.is_dir() { beside } else { here }
}

fn build(target_dir: &Path) {
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.args(["build", "--release", "--package", "stead-cli", "--target-dir"]).arg(target_dir);
    assert!(cargo.current_dir(workspace).status().unwrap().success(), "stead does not build");
}

/// What a command of `stead` said and how it ended.
#[derive(Debug)]
pub struct Said {
    /// Exit code.
    pub code: i32,
    /// What it printed as data.
    pub out: String,
    /// What it said to people.
    pub err: String,
}

impl From<Output> for Said {
    fn from(output: Output) -> Self {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let code = output.status.code().unwrap_or(-1);
        Self { code, out: text(&output.stdout), err: text(&output.stderr) }
    }
}

/// Runs `stead` for labs under this home.
#[must_use]
pub fn stead(home: &Path, words: &[&str]) -> Said {
    let mut command = Command::new(path());
    command.args(words).env("STEAD_LAB_HOME", home).env_remove("STEAD_API");
    Said::from(command.output().unwrap())
}
