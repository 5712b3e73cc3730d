//! A lab for one run: made, used, and torn down whatever happens.

use std::path::Path;

use stead_lab::cluster::Cluster;
use stead_lab::{CutSpec, Direction, Home, Lab, Station, UpOptions};
use stead_model::NodeId;
use stead_model::record::Record;
use stead_model::request::Request;
use stead_model::view::{GroupView, View};

use crate::program::{self, Said};
use crate::{PATIENCE, evidence, wait};

/// What tells of harm, whatever a run is about: a lease that ended, a stop of everything.
const HARM: [&str; 2] = ["lease-lost", "hard-stop"];

/// A lab whose cluster serves.
#[derive(Debug)]
pub struct World {
    home: tempfile::TempDir,
    lab: Lab,
}

impl World {
    /// Two nodes and a quorum disk, profile `standard`.
    #[must_use]
    pub fn up(name: &str) -> Self {
        Self::with(name, |_| {})
    }

    /// As [`Self::up`], with other options.
    #[must_use]
    pub fn with(name: &str, choose: impl FnOnce(&mut UpOptions)) -> Self {
        Self::within(tempfile::tempdir().unwrap(), name, choose)
    }

    /// As [`Self::with`], with everything in this directory.
    #[must_use]
    pub fn within(
        home: tempfile::TempDir,
        name: &str,
        choose: impl FnOnce(&mut UpOptions),
    ) -> Self {
        let mut options = UpOptions::new(name);
        options.home = Home::at(home.path());
        options.program = Some(program::path().to_owned());
        choose(&mut options);
        match stead_lab::up(&options, &mut |_| {}) {
            Ok(lab) => Self { home, lab },
            Err(error) => panic!("lab {name}: {error}: {:?}", std::error::Error::source(&error)),
        }
    }

    /// The lab.
    #[must_use]
    pub fn lab(&self) -> &Lab {
        &self.lab
    }

    /// Where the lab lives.
    #[must_use]
    pub fn home(&self) -> &Path {
        self.home.path()
    }

    /// The cluster, asked over its API.
    #[must_use]
    pub fn cluster(&self) -> Cluster<'_> {
        Cluster::of(&self.lab)
    }

    /// Runs `stead --lab NAME …`.
    #[must_use]
    pub fn stead(&self, words: &[&str]) -> Said {
        let all: Vec<&str> = ["--lab", self.lab.name()].iter().chain(words).copied().collect();
        program::stead(self.home(), &all)
    }

    /// What a node knows; it must answer.
    #[must_use]
    pub fn view(&self, node: NodeId) -> View {
        self.cluster().view(node).unwrap_or_else(|error| panic!("{node}: {error}"))
    }

    /// A group as a node sees it.
    #[must_use]
    pub fn group(&self, node: NodeId, group: &str) -> GroupView {
        let found = self.view(node).groups.into_iter().find(|g| g.group.as_str() == group);
        found.unwrap_or_else(|| panic!("{node} does not know group {group}"))
    }

    /// Asks for a change and waits for its answer.
    pub fn ask(&self, request: &Request) {
        if let Err(error) = self.cluster().request(request) {
            panic!("{request:?}: {error}");
        }
    }

    /// Waits until a group is online on a node in the eyes of every node.
    pub fn online(&self, group: &str, on: NodeId) -> GroupView {
        let online = self.cluster().wait_online(group, Some(on), PATIENCE);
        online.unwrap_or_else(|error| panic!("{error}"))
    }

    /// Brings a group to a node, where it is not there, and waits until it is online there.
    pub fn place(&self, group: &str, node: NodeId) {
        let move_here = Request::MoveGroup { group: group.into(), to: Some(node) };
        wait(&format!("group {group} can be moved to {node}"), || {
            let seen = self.group(node, group);
            if seen.owner == Some(node) {
                return Ok(());
            }
            if seen.state.word() != "online" {
                return Err(format!("it is {}", seen.state.word()));
            }
            match self.cluster().request(&move_here) {
                Ok(_) => Ok(()),
                // It may be on its way already.
                Err(error) => Err(error.to_string()),
            }
        });
        self.online(group, node);
    }

    /// Waits until a node that survives sees the group online on it.
    pub fn taken_over(&self, group: &str, by: NodeId) -> GroupView {
        wait(&format!("{by} serves {group}"), || {
            let view = self.cluster().view(by).map_err(|error| error.to_string())?;
            let seen = view.groups.into_iter().find(|g| g.group.as_str() == group);
            let seen = seen.ok_or("it is unknown")?;
            let there = seen.owner == Some(by) && seen.state.word() == "online";
            if there { Ok(seen) } else { Err(format!("{} on {:?}", seen.state.word(), seen.owner)) }
        })
    }

    /// All records of a node.
    #[must_use]
    pub fn records(&self, node: NodeId) -> Vec<Record> {
        self.cluster().records(node, 0).unwrap_or_else(|error| panic!("{node}: {error}"))
    }

    /// No record of these nodes since a moment tells of harm, nor has one of these other codes. A
    /// node keeps a thousand records: they must reach back to that moment.
    pub fn assert_unharmed(&self, nodes: &[NodeId], from_ns: u64, nor: &[&str]) {
        for node in nodes {
            let mut told = self.records(*node);
            let reach_back = told.first().is_some_and(|r| r.number <= 1 || r.boot_ns < from_ns);
            assert!(reach_back, "what {node} told then is not kept: {:?}", told.first());
            told.retain(|record| {
                let code = record.code.as_str();
                record.boot_ns >= from_ns && (HARM.contains(&code) || nor.contains(&code))
            });
            assert!(told.is_empty(), "{node} was harmed: {told:#?}");
        }
    }

    /// Power cut; CLOCK_BOOTTIME of its begin.
    pub fn crash(&self, node: NodeId) -> u64 {
        self.lab.crash(node).unwrap()
    }

    /// Power on.
    pub fn start(&self, node: NodeId) {
        self.lab.start(node).unwrap_or_else(|error| panic!("{error}"));
    }

    /// Cuts all networks between two nodes; the client still reaches both.
    pub fn split(&self, from: NodeId, to: NodeId) -> u64 {
        let (from, to) = (Station::Node(from), Station::Node(to));
        let cut = CutSpec::Pair { from, to, direction: Direction::BothWays, network: None };
        self.lab.cut(cut).unwrap()
    }

    /// Mends all cuts.
    pub fn heal(&self) {
        self.lab.heal().unwrap();
    }

    /// PID 1 of a node, as this host counts.
    #[must_use]
    pub fn pid_of(&self, node: NodeId) -> u32 {
        let status = self.lab.status().unwrap();
        let found = status.nodes.iter().find(|n| n.node == node).and_then(|n| n.pid);
        found.unwrap_or_else(|| panic!("{node} is off"))
    }
}

impl Drop for World {
    fn drop(&mut self) {
        if std::thread::panicking() {
            evidence::keep(self);
        }
        let down = stead_lab::down(&Home::at(self.home.path()), Some(self.lab.name()));
        if !std::thread::panicking() {
            down.unwrap_or_else(|error| panic!("lab {}: {error}", self.lab.name()));
        }
    }
}
