//! The configurations to copy: files that `apply` reads, each told as a scenario, too.

#![expect(clippy::unwrap_used, reason = "a test fails by a panic")]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use stead_api::file;
use stead_api::tree::Tree;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// Names of the files, or folders, of a directory without what comes after the dot.
fn names(directory: &str) -> BTreeSet<String> {
    let entries = fs::read_dir(root().join(directory)).unwrap();
    entries
        .map(|entry| entry.unwrap().path().file_stem().unwrap().to_str().unwrap().to_owned())
        .collect()
}

#[test]
fn a_150_every_configuration_is_a_file_to_apply_and_a_scenario() {
    let files = names("examples/configurations");
    assert_eq!(files, names("scenarios/configurations"));
    assert_eq!(files.len(), 6, "{files:?}");
    for name in files {
        let path = root().join(format!("examples/configurations/{name}.toml"));
        let declared = file::read(&fs::read_to_string(path).unwrap()).unwrap();
        for tree in Tree::of_declaration(&declared) {
            assert_eq!(tree.hint(), None, "{name}: an example shows the vertical order");
        }
        let told = root().join(format!("scenarios/configurations/{name}/script.txt"));
        let script = fs::read_to_string(told).unwrap();
        for group in &declared.groups {
            let line = format!("group {} on n", group.group);
            assert!(script.contains(&line), "{name} does not tell of {}", group.group);
        }
    }
}
