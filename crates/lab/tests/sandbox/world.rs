//! A place for the labs of one test, which must be as empty afterwards as it was before.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use stead_lab::stamp::Stamp;
use stead_lab::{Home, Lab, NodeCommand, Station, UpOptions};
use stead_model::NodeId;

use crate::stand_in;

pub(crate) const ONE: NodeId = NodeId(1);
pub(crate) const TWO: NodeId = NodeId(2);

/// More than a busy machine needs for anything here.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) struct World {
    dir: tempfile::TempDir,
}

impl World {
    /// Runs a case; then everything is ended, and nothing may be left.
    pub(crate) fn with(case: &fn(&Self)) {
        let world = Self { dir: tempfile::tempdir().unwrap() };
        let ended = world.home();
        struct End(Home);
        impl Drop for End {
            fn drop(&mut self) {
                for name in self.0.names().unwrap_or_default() {
                    let _ = stead_lab::down(&self.0, Some(&name));
                }
            }
        }
        let _end = End(ended);
        case(&world);
    }

    pub(crate) fn home(&self) -> Home {
        Home::at(self.dir.path())
    }

    pub(crate) fn path(&self) -> &Path {
        self.dir.path()
    }

    pub(crate) fn options(&self, name: &str) -> UpOptions {
        let mut options = UpOptions::new(name);
        let words = ["/run/lab/bin/stead", stand_in::SUBCOMMAND, "node"].map(String::from);
        options.node_command = NodeCommand::Other(words.into());
        options.home = self.home();
        options
    }

    pub(crate) fn up(&self, name: &str) -> Lab {
        self.up_with(&self.options(name))
    }

    pub(crate) fn up_with(&self, options: &UpOptions) -> Lab {
        let lab = stead_lab::up(options, &mut |_| {}).unwrap_or_else(|error| {
            panic!("lab {}: {error}: {:?}", options.name, std::error::Error::source(&error))
        });
        for node in [ONE, TWO] {
            until("the stand-in listens", || lab.in_node(node, &["look", "/run/stead/up"]));
        }
        lab
    }

    pub(crate) fn down(&self, name: &str) {
        stead_lab::down(&self.home(), Some(name)).unwrap();
    }
}

/// What the tests do with labs.
pub(crate) trait Probe {
    /// Runs the stand-in's small things in a machine.
    fn run(&self, station: Station, words: &[&str]) -> Output;
    fn in_node(&self, node: NodeId, words: &[&str]) -> bool;
    /// Whether the second answers the first.
    fn reaches(&self, from: NodeId, address: &str) -> bool;
    fn stamps(&self, node: NodeId) -> Vec<Stamp>;
    fn heard(&self, node: NodeId, text: &str) -> bool;
    fn disk(&self, node: NodeId) -> PathBuf;
    fn pid(&self, node: NodeId) -> u32;
}

impl Probe for Lab {
    fn run(&self, station: Station, words: &[&str]) -> Output {
        let all: Vec<&str> = ["stead", stand_in::SUBCOMMAND].iter().chain(words).copied().collect();
        let mut command = self.command(station, &all).unwrap();
        command.stdin(Stdio::null()).output().unwrap()
    }

    fn in_node(&self, node: NodeId, words: &[&str]) -> bool {
        self.run(Station::Node(node), words).status.success()
    }

    fn reaches(&self, from: NodeId, address: &str) -> bool {
        self.in_node(from, &["ask", address])
    }

    fn stamps(&self, node: NodeId) -> Vec<Stamp> {
        stead_lab::stamp::read(&self.witness_dir(node).join("stamps")).unwrap()
    }

    fn heard(&self, node: NodeId, text: &str) -> bool {
        let heard = fs::read_to_string(self.witness_dir(node).join("heard")).unwrap_or_default();
        heard.lines().any(|line| line == text)
    }

    fn disk(&self, node: NodeId) -> PathBuf {
        self.record().dirs.station(&Station::Node(node).name())
    }

    fn pid(&self, node: NodeId) -> u32 {
        let status = self.status().unwrap();
        status.nodes.iter().find(|n| n.node == node).unwrap().pid.unwrap()
    }
}

pub(crate) fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < end, "not in time: {what}");
        thread::sleep(Duration::from_millis(5));
    }
}

/// The namespaces a process is in, as the kernel names them.
pub(crate) fn namespaces(pid: u32) -> BTreeSet<PathBuf> {
    let kinds = ["net", "mnt", "pid", "ipc", "uts"];
    let read = |kind: &str| fs::read_link(format!("/proc/{pid}/ns/{kind}")).ok();
    kinds.into_iter().filter_map(read).collect()
}

/// Processes that are in any of the namespaces.
pub(crate) fn processes_in(spaces: &BTreeSet<PathBuf>) -> Vec<u32> {
    let pids = fs::read_dir("/proc").unwrap().flatten();
    let pids = pids.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    pids.filter(|pid| !namespaces(*pid).is_disjoint(spaces)).collect()
}
