//! Pinned screens: what the program prints, and how it ends, in made-up clusters.
//!
//! A file in `screens/` is a story: `in WORLD` chooses the cluster, `$ stead …` is typed, and below
//! it stand the exit code, stdout (`|`) and stderr (`!`). `UPDATE=1` writes what is seen now; the
//! difference is for a reviewer to read.

#![expect(clippy::unwrap_used, reason = "a test fails by a panic")]

mod fake;

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::Stdio;

use fake::worlds::World;

#[test]
fn every_screen_is_as_pinned() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/screens");
    let mut stories: Vec<_> =
        std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    stories.sort();
    assert!(stories.len() >= 10, "the screens are in {}", folder.display());
    let mut changed = Vec::new();
    for path in stories {
        let pinned = std::fs::read_to_string(&path).unwrap();
        let seen = told(&pinned);
        if seen == pinned {
            continue;
        }
        if std::env::var_os("UPDATE").is_some() {
            std::fs::write(&path, &seen).unwrap();
        } else {
            changed.push(format!("{}\n{}", path.display(), difference(&pinned, &seen)));
        }
    }
    assert!(changed.is_empty(), "UPDATE=1 rewrites these:\n{}", changed.join("\n"));
}

/// The story as it goes now.
fn told(pinned: &str) -> String {
    let mut world = World::named("nothing");
    let mut seen = String::new();
    for line in pinned.lines() {
        if let Some(name) = line.strip_prefix("in ") {
            world = World::named(name);
            lay_out(&world);
        }
        let is_output = ["|", "!", "exit "].iter().any(|mark| line.starts_with(mark));
        if is_output {
            continue;
        }
        seen.push_str(&format!("{line}\n"));
        if let Some(typed) = line.strip_prefix("$ stead") {
            seen.push_str(&screen(&world, typed));
        }
    }
    seen
}

/// The files of `declared/`, where the program runs.
fn lay_out(world: &World) {
    let from = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/declared");
    for entry in std::fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        std::fs::copy(&path, world.folder().join(path.file_name().unwrap())).unwrap();
    }
}

fn screen(world: &World, typed: &str) -> String {
    let words = stead_model::resource_type::split_words(typed).unwrap();
    let output = world.stead(&words).output().unwrap();
    let mut seen = format!("exit {}\n", output.status.code().unwrap());
    for (mark, text) in [("|", output.stdout), ("!", output.stderr)] {
        for line in neutral(world, &String::from_utf8(text).unwrap()).lines() {
            seen.push_str(format!("{mark} {line}").trim_end());
            seen.push('\n');
        }
    }
    seen
}

/// Without what differs from run to run: the folder of the world, and how long a wait took.
fn neutral(world: &World, text: &str) -> String {
    let folder = world.folder().to_str().unwrap();
    let text = text.replace(folder, "DIR");
    let lines = text.lines().map(|line| match line.split_once(" after ") {
        Some((before, after)) if after.ends_with(" s") => format!("{before} after N s\n"),
        Some(_) | None => format!("{line}\n"),
    });
    lines.collect()
}

fn difference(pinned: &str, seen: &str) -> String {
    let mut text = String::new();
    let (pinned, seen): (Vec<_>, Vec<_>) = (pinned.lines().collect(), seen.lines().collect());
    let same = pinned.iter().zip(&seen).take_while(|(a, b)| a == b).count();
    for line in pinned.iter().skip(same).take(12) {
        text.push_str(&format!("  pinned: {line}\n"));
    }
    for line in seen.iter().skip(same).take(12) {
        text.push_str(&format!("  seen:   {line}\n"));
    }
    text
}

/// The lines a running command prints, one by one.
struct Running {
    child: std::process::Child,
    lines: std::io::Lines<BufReader<std::process::ChildStdout>>,
}

impl Running {
    fn start(world: &World, typed: &str) -> Self {
        let words = stead_model::resource_type::split_words(typed).unwrap();
        let mut command = world.stead(&words);
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        Self { child, lines }
    }

    /// Reads on until a line holds the text.
    fn until(&mut self, text: &str) {
        let found = self.lines.by_ref().any(|line| line.unwrap().contains(text));
        assert!(found, "the program ended before it printed `{text}`");
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

#[test]
fn followed_records_come_as_they_are_written() {
    let world = World::named("minority");
    let mut running = Running::start(&world, "event list --follow");
    running.until("group-granted");
    world.nodes[0].write("lease-lost", "the lease is over", Some(1));
    running.until("lease-lost");
}

#[test]
fn a_watched_status_is_shown_again_when_it_changes() {
    let world = World::named("healthy");
    let mut running = Running::start(&world, "status --watch --node n1");
    running.until("cluster demo: healthy");
    let output = world
        .stead(&["--node".into(), "n1".into(), "group".into(), "offline".into(), "web".into()])
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    running.until("offline");
}

#[test]
fn a_reader_that_goes_away_is_no_failure() {
    let world = World::named("healthy");
    let words = ["status".to_owned(), "--json".into()];
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let output = world.stead(&words).stdout(writer).stderr(Stdio::piped()).output().unwrap();
    assert_eq!((output.status.code(), output.stderr.len()), (Some(0), 0));
}

#[test]
fn a_move_asks_for_what_was_typed() {
    use stead_model::NodeId;
    use stead_model::request::Request;
    let world = World::named("one-of-two");
    for to in ["n3", "3", "node3"] {
        let words = ["group", "move", "web", "--to", to].map(str::to_owned);
        assert_eq!(world.stead(&words).output().unwrap().status.code(), Some(1), "{to}");
    }
    let expected = Request::MoveGroup { group: "web".into(), to: Some(NodeId(3)) };
    assert_eq!(*world.nodes[1].asked.lock().unwrap(), vec![expected; 3]);
    assert!(world.nodes[0].asked.lock().unwrap().is_empty(), "it has no quorum");
}

#[test]
fn processes_of_a_node_are_not_understood_as_typed() {
    let world = World::named("nothing");
    for words in [["monitor", "x"].as_slice(), &["node", "run", "x"], &["guard", "x"]] {
        let words: Vec<String> = words.iter().map(ToString::to_string).collect();
        let output = world.stead(&words).output().unwrap();
        let told = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{told}");
        assert!(!told.contains("cannot understand"), "{told}");
    }
}
