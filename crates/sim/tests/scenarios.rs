//! Every directory below `scenarios/` keeps all promises and tells its story.

use std::path::Path;

use stead_sim::run;
use stead_sim::script::directory::{self, Expected};

#[test]
fn every_scenario_tells_its_story() {
    run::silence_panics();
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../scenarios");
    let update = std::env::var_os("UPDATE").is_some_and(|value| value == "1");
    let expected = if update { Expected::Rewrite } else { Expected::Compare };
    let paths = directory::all(&root).unwrap();
    assert!(paths.len() >= 15, "scenarios are missing: {paths:?}");
    let mut failed = Vec::new();
    for path in paths {
        assert!(path.join("README.md").exists(), "{} has no README.md", path.display());
        if let Err(error) = directory::check(&path, expected) {
            failed.push(error.to_string());
        }
    }
    assert!(failed.is_empty(), "{}", failed.join("\n"));
}
