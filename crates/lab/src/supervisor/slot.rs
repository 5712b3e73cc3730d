//! The place of a machine in the lab: what stays over its lives.

use std::path::PathBuf;

use stead_model::config::QuorumMode;

use super::machine::{self, Life};
use super::switch::Switch;
use crate::cabling::{PREFIX_LEN, Station};
use crate::cluster_file::{CONFIG_DIR, QUORUM_DIR, STATE_DIR};
use crate::control::{NodeStatus, Power};
use crate::disks::{self, DiskDevice};
use crate::init::PROGRAM_DIR;
use crate::init::order::{Interface, MachineSpec};
use crate::record::{LabRecord, NodeCommand};
use crate::step::StepError;

/// What a machine gets for one life.
#[derive(Debug)]
pub(crate) struct Born {
    pub(crate) cgroup: Option<PathBuf>,
    pub(crate) devices: Vec<DiskDevice>,
}

/// The place of one machine.
#[derive(Debug)]
pub(crate) struct Slot {
    pub(crate) station: Station,
    pub(crate) life: Option<Life>,
    /// Whether its cables lie.
    pub(crate) plugged: bool,
    boots: u32,
    /// What went wrong in the life before.
    trouble: Option<String>,
}

impl Power {
    /// In these there are processes.
    pub(crate) const WITH_PROCESSES: [Self; 6] =
        [Self::Booting, Self::On, Self::Stopping, Self::Frozen, Self::Hung, Self::Failed];

    /// The word people read.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::Booting => "booting",
            Self::On => "on",
            Self::Stopping => "shutting down",
            Self::Frozen => "frozen",
            Self::Hung => "hung",
            Self::Failed => "failed",
        }
    }
}

impl Slot {
    pub(crate) fn new(station: Station) -> Self {
        Self { station, life: None, plugged: false, boots: 0, trouble: None }
    }

    pub(crate) fn power(&self) -> Power {
        self.life.as_ref().map_or(Power::Off, |life| life.power)
    }

    /// Begins a life: namespaces, cables, the order to boot.
    pub(crate) fn power_on(
        &mut self,
        record: &LabRecord,
        born: Born,
        switch: &Switch,
    ) -> Result<(), StepError> {
        let dir = record.dirs.station(&self.station.name());
        let log = machine::open_log(&dir.join("log"))?;
        let life = Life::begin(&log, born.cgroup.clone())?;
        switch.plug(self.station, &life.network()?)?;
        self.plugged = true;
        life.boot(self.spec(record, born))?;
        self.life = Some(life);
        self.boots += 1;
        self.trouble = None;
        Ok(())
    }

    /// Ends the life, if there is one, at once.
    pub(crate) fn power_off(&mut self) -> Result<(), StepError> {
        if let Some(life) = self.life.take() {
            self.trouble = life.trouble.clone();
            life.kill()?;
        }
        Ok(())
    }

    /// Takes in what the machine reported, and its end; returns new trouble.
    pub(crate) fn look(&mut self) -> Option<String> {
        let life = self.life.as_mut()?;
        let before = life.trouble.clone();
        life.hear();
        let trouble = life.trouble.clone();
        if life.ended() {
            self.trouble.clone_from(&trouble);
            self.life = None;
        }
        trouble.filter(|now| before.as_ref() != Some(now))
    }

    /// `None` for the client.
    pub(crate) fn status(&self) -> Option<NodeStatus> {
        let Station::Node(node) = self.station else { return None };
        let life = self.life.as_ref();
        Some(NodeStatus {
            node,
            name: self.station.name(),
            power: self.power(),
            pid: life.map(Life::pid),
            boots: self.boots,
            guard_restarts: life.map_or(0, |life| life.guard_restarts),
            trouble: life.and_then(|life| life.trouble.clone()).or_else(|| self.trouble.clone()),
            cgroup: life.and_then(Life::cgroup).cloned(),
        })
    }

    fn spec(&self, record: &LabRecord, born: Born) -> MachineSpec {
        let interface = |network: &crate::cabling::Network| Interface {
            name: network.interface().into(),
            mac: self.station.mac(*network).0,
            address: self.station.address(*network),
            prefix_len: PREFIX_LEN,
        };
        MachineSpec {
            lab: record.name.clone(),
            hostname: self.station.name(),
            hosts: hosts(record),
            mountpoint: record.dirs.station(&self.station.name()).join("root"),
            binds: self.binds(record),
            interfaces: self.station.networks().iter().map(interface).collect(),
            cgroup: born.cgroup,
            disks: born.devices,
            program: record.program.clone(),
            command: self.command(record),
            environment: record.environment.clone(),
        }
    }

    fn binds(&self, record: &LabRecord) -> Vec<(PathBuf, PathBuf)> {
        let dir = record.dirs.station(&self.station.name());
        let mut binds = vec![(dir.join("log"), PathBuf::from("/var/log/stead"))];
        if let Station::Node(_) = self.station {
            binds.extend([
                (dir.join("etc"), PathBuf::from(CONFIG_DIR)),
                (dir.join("lib"), PathBuf::from(STATE_DIR)),
                (dir.join("witness"), PathBuf::from(WITNESS_DIR)),
                (dir.join("www"), PathBuf::from(WWW_DIR)),
            ]);
            if record.served_disks().next().is_some() {
                binds.push((dir.join("disks"), PathBuf::from(disks::SOCKET_DIR)));
            }
            if record.quorum != QuorumMode::NodeMajority && !record.quorum_served {
                binds.push((record.dirs.state.join("quorum"), PathBuf::from(QUORUM_DIR)));
            }
        }
        binds
    }

    fn command(&self, record: &LabRecord) -> Vec<String> {
        match (self.station, &record.node_command) {
            (Station::Client, _) => Vec::new(),
            (Station::Node(_), NodeCommand::Guard) => {
                vec![format!("{PROGRAM_DIR}/stead"), "guard".into()]
            }
            (Station::Node(_), NodeCommand::Other(command)) => command.clone(),
        }
    }
}

/// A directory of each node that stead knows nothing of: applications leave there what they saw.
pub(crate) const WITNESS_DIR: &str = "/var/lib/stead-witness";

/// Pages of each node's web server.
pub(crate) const WWW_DIR: &str = "/srv/stead-demo";

/// The same `/etc/hosts` for all: clients and nodes mean the public address.
fn hosts(record: &LabRecord) -> String {
    let mut lines = String::from("127.0.0.1 localhost\n");
    for station in record.stations() {
        let address = station.address(crate::cabling::Network::Public);
        lines.push_str(&format!("{address} {station}\n"));
    }
    lines
}
