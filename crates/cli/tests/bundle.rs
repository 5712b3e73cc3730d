//! The support bundle of a node whose service is down: what files tell is in it, what is secret
//! is not.

#![expect(clippy::unwrap_used, reason = "a test fails by a panic")]

use std::fs;
use std::path::Path;
use std::process::Command;

/// Every secret of the test has it.
const PLANTED: &str = "hunter2";

fn plant(root: &Path, path: &str, text: &str) {
    let path = root.join(path);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
}

#[test]
fn a_bundle_of_a_node_that_is_down_has_its_files_and_no_secret() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("node");
    plant(&root, "etc/stead/cluster.json", r#"{"cluster":"office","dns-secret":"hunter2"}"#);
    plant(&root, "etc/stead/cluster.key", PLANTED);
    plant(&root, "etc/stead/pki/node.key", PLANTED);
    let records = "{\"code\":\"started\",\"text\":\"asks https://me:hunter2@host/x\"}\n\
        {\"code\":\"set\",\"env\":\"DB_PASS=hunter2 LANG=C\"}\n{\"text\":\"cut, token=hunter2";
    plant(&root, "var/lib/stead/events.jsonl", records);
    let long =
        format!("begun: {}\n--password hunter-shown\npassword=hunter2 end", "x".repeat(400_000));
    plant(&root, "var/lib/stead/logs/web.0", &long);
    let out = folder.path().join("bundle.tar.gz");
    let mut command = Command::new(env!("CARGO_BIN_EXE_stead"));
    command.args(["support-bundle", "-o"]).arg(&out).env("STEAD_ROOT", &root);
    command.env("STEAD_LAB_HOME", folder.path()).env_remove("STEAD_API");
    let said = command.output().unwrap();
    assert!(said.status.success(), "{said:?}");
    assert_eq!(String::from_utf8_lossy(&said.stdout).trim(), out.to_str().unwrap());

    let unpacked = folder.path().join("unpacked");
    fs::create_dir(&unpacked).unwrap();
    let tar = Command::new("tar").arg("-xzf").arg(&out).arg("-C").arg(&unpacked).status();
    assert!(tar.unwrap().success());
    let mut all = Vec::new();
    read(&unpacked, &mut all);
    for (path, text) in &all {
        assert!(!text.contains(PLANTED), "{path}: {text}");
        assert!(!path.contains("key"), "{path}");
        assert!(text.len() < 300_000, "{path} is whole");
    }
    let text = |part: &str| {
        let found = all.iter().find(|(path, _)| path.ends_with(part));
        &found.unwrap_or_else(|| panic!("no {part}: {:?}", all.iter().map(|a| &a.0))).1
    };
    assert!(text("etc/stead/cluster.json").contains("office"));
    assert!(text("events.jsonl").contains("DB_PASS=") && text("events.jsonl").contains("LANG="));
    assert!(text("logs/web.0").contains("end"));
    assert!(text("version.txt").starts_with("stead "));
    assert!(text("proc/loadavg").contains('/'));
    assert!(text("missing.txt").contains("the node service: cannot find a cluster"));
    let left = fs::read_dir(folder.path()).unwrap().flatten();
    let hidden = left.filter(|e| e.file_name().to_string_lossy().starts_with(".stead"));
    assert_eq!(hidden.count(), 0, "the folder of the archive is left");
}

/// Every file with its text.
fn read(folder: &Path, into: &mut Vec<(String, String)>) {
    for entry in fs::read_dir(folder).unwrap().flatten() {
        if entry.path().is_dir() {
            read(&entry.path(), into);
        } else {
            let bytes = fs::read(entry.path()).unwrap();
            let path = entry.path().display().to_string();
            into.push((path, String::from_utf8_lossy(&bytes).into_owned()));
        }
    }
}
