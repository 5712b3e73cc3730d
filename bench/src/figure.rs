//! A figure: what was measured, in which case, all its values, and what it should be.

use std::fmt;

use serde::Serialize;
use stead_model::NodeId;
use stead_model::profile::Profile;

use crate::scale::Load;
use crate::statistics::{Spread, rounded};
use crate::target::{self, Peer};

/// What is measured. The serialized names are stable.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Kind {
    /// Last good answer to first good answer around a power cut.
    Outage,
    /// Power cut to the first suspicion of the node that decides.
    Detect,
    /// Power cut to the committed ownership entry.
    Decide,
    /// Power cut to the last resource reported online.
    Online,
    /// Last good answer of the old owner to the first of the new one.
    MoveOutage,
    /// Application killed to the next good answer, without the application's own start.
    AppRestart,
    /// Application killed to the next good answer.
    AppAnswer,
    /// The application's own start: executed to its first good answer.
    AppStart,
    /// User and system time of all processes of a node that are ours.
    IdleCpu,
    /// Sum of their resident memory.
    Rss,
    /// Sum of their proportional share of it.
    Pss,
    /// Packets that a node sends in a second.
    IdlePackets,
    /// Bytes that it sends in a second.
    IdleBytes,
    /// A waiting node added to it being one of the cluster.
    Join,
    /// All nodes switched on to all being one cluster.
    Form,
    /// Power cut to the last of the others calling the node down.
    NodeLost,
    /// A node switched on to it being one of the cluster again.
    NodeBack,
    /// Last acknowledgement to the next around a power cut of PostgreSQL's node.
    DbOutage,
    /// Power cut to the clustered disk reserved and mounted.
    DbDisk,
    /// PostgreSQL's own start after a crash: executed to letting clients in.
    DbStart,
    /// The ownership entry to the first acknowledgement, without PostgreSQL's own start.
    DbOurs,
    /// Last acknowledgement to the next around a planned move of PostgreSQL.
    DbMove,
    /// Last acknowledgement to the next around a kill of PostgreSQL's first process.
    DbKill,
    /// One declaration of many resources to all of them online.
    ScaleUp,
    /// Power cut of the owner of many resources to all of them online on the other node.
    ScaleTakeover,
    /// What a node costs that owns many resources and whose checks run: processor time.
    ScaleCpu,
    /// Sum of its resident memory.
    ScaleRss,
    /// Sum of its proportional share of memory.
    ScalePss,
    /// A node known lost to the entry that places its groups, as bytes.
    Place,
    /// `lab up` to quorum on all nodes.
    Up,
    /// The same and on, until a client gets a page of the demo group.
    UpAnswer,
}

impl Kind {
    const fn title(self) -> &'static str {
        match self {
            Self::Outage => "client outage, node crash",
            Self::Detect => "  of it: detect",
            Self::Decide => "  of it: decide",
            Self::Online => "  of it: online",
            Self::MoveOutage => "client outage, planned move",
            Self::AppRestart => "application killed -> answering, its start excluded",
            Self::AppAnswer => "  with its start",
            Self::AppStart => "  its start alone",
            Self::IdleCpu => "idle CPU of a node",
            Self::Rss => "memory of a node, RSS",
            Self::Pss => "memory of a node, PSS",
            Self::IdlePackets => "  packets it sends",
            Self::IdleBytes => "  bytes it sends",
            Self::Join => "a node added -> a member like the others",
            Self::Form => "all nodes switched on -> one cluster",
            Self::NodeLost => "a node lost power -> no other calls it up",
            Self::NodeBack => "that node switched on -> a member like the others",
            Self::DbOutage => "client outage, node crash, PostgreSQL on a clustered disk",
            Self::DbDisk => "  of it: disk reserved and mounted",
            Self::DbStart => "  PostgreSQL's own start alone, after a crash",
            Self::DbOurs => "  decided -> answering, PostgreSQL's start excluded",
            Self::DbMove => "client outage, planned move of PostgreSQL",
            Self::DbKill => "client outage, PostgreSQL killed",
            Self::ScaleUp => "many resources online after one request",
            Self::ScaleTakeover => "many resources online elsewhere after a power cut",
            Self::ScaleCpu => "CPU of a node with many resources, checks running",
            Self::ScaleRss => "  its memory, RSS",
            Self::ScalePss => "  its memory, PSS",
            Self::Place => "10,000 groups, a node lost -> the proposed entry",
            Self::Up => "`lab up` until all nodes have quorum",
            Self::UpAnswer => "`lab up` and a group until it answers a client",
        }
    }

    const fn unit(self) -> Unit {
        match self {
            Self::Outage | Self::Detect | Self::Decide | Self::Online | Self::MoveOutage => {
                Unit::Milliseconds
            }
            Self::AppRestart | Self::AppAnswer | Self::AppStart => Unit::Milliseconds,
            Self::DbOutage | Self::DbDisk | Self::DbStart | Self::DbOurs => Unit::Milliseconds,
            Self::DbMove | Self::DbKill | Self::Place => Unit::Milliseconds,
            Self::IdleCpu | Self::ScaleCpu => Unit::PercentOfACore,
            Self::Rss | Self::Pss | Self::ScaleRss | Self::ScalePss => Unit::MiB,
            Self::Up | Self::UpAnswer | Self::ScaleUp | Self::ScaleTakeover => Unit::Seconds,
            Self::Join | Self::Form | Self::NodeBack => Unit::Seconds,
            Self::NodeLost => Unit::Milliseconds,
            Self::IdlePackets | Self::IdleBytes => Unit::PerSecond,
        }
    }
}

/// What the values count.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
pub(crate) enum Unit {
    #[serde(rename = "ms")]
    Milliseconds,
    #[serde(rename = "s")]
    Seconds,
    #[serde(rename = "percent-of-a-core")]
    PercentOfACore,
    #[serde(rename = "MiB")]
    MiB,
    #[serde(rename = "per-second")]
    PerSecond,
}

impl Unit {
    /// A value with its unit, in as many digits as mean something.
    pub(crate) fn show(self, value: f64) -> String {
        match self {
            Self::Milliseconds if value < 100.0 => format!("{value:.1} ms"),
            Self::Milliseconds => format!("{value:.0} ms"),
            Self::Seconds => format!("{value:.2} s"),
            Self::PercentOfACore => format!("{value:.2} %"),
            Self::MiB => format!("{value:.1} MiB"),
            Self::PerSecond => format!("{value:.1} /s"),
        }
    }
}

/// In which lab it was measured.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
pub(crate) struct Case {
    pub(crate) profile: Profile,
    pub(crate) nodes: u16,
    /// The node that it is about, where it is about one.
    pub(crate) node: Option<NodeId>,
    /// Whether that node owned the group.
    pub(crate) owner: Option<bool>,
    /// What runs there, where that is the point.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) load: Option<Load>,
}

impl Case {
    /// A whole lab.
    pub(crate) const fn of(profile: Profile, nodes: u16) -> Self {
        Self { profile, nodes, node: None, owner: None, load: None }
    }
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, {} nodes", self.profile.name(), self.nodes)?;
        if let Some(load) = self.load {
            write!(f, ", {load}")?;
        }
        if let Some(node) = self.node {
            write!(f, ", {node}")?;
        }
        match self.owner {
            Some(true) if self.load.is_some() => f.write_str(" with them"),
            Some(true) => f.write_str(" with the group"),
            Some(false) if self.load.is_some() => f.write_str(" without them"),
            Some(false) => f.write_str(" without it"),
            None => Ok(()),
        }
    }
}

/// A share of a figure.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub(crate) struct Part {
    pub(crate) name: String,
    pub(crate) value: f64,
}

/// One line of a report.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub(crate) struct Figure {
    pub(crate) figure: Kind,
    pub(crate) title: &'static str,
    pub(crate) case: Case,
    pub(crate) unit: Unit,
    /// One per run, in the order of the runs.
    pub(crate) values: Vec<f64>,
    /// Of the values; `None` when no run had one.
    pub(crate) spread: Option<Spread>,
    /// The median shall not be more, where there is a target.
    pub(crate) target: Option<f64>,
    /// Whether it is not.
    pub(crate) met: Option<bool>,
    /// What others need for the same, in the same unit.
    pub(crate) peers: &'static [Peer],
    /// What it is made of, where that is known.
    pub(crate) parts: Vec<Part>,
}

impl Figure {
    /// With target and peers of its case.
    pub(crate) fn new(kind: Kind, case: Case, values: &[f64]) -> Self {
        let values: Vec<f64> = values.iter().copied().map(rounded).collect();
        let spread = Spread::of(&values);
        let target = target::target(kind, &case);
        Self {
            figure: kind,
            title: kind.title().trim_start(),
            case,
            unit: kind.unit(),
            met: spread.zip(target).map(|(spread, target)| spread.median <= target),
            values,
            spread,
            target,
            peers: target::peers(kind, &case),
            parts: Vec::new(),
        }
    }

    /// As a person reads it; what belongs to the line above is indented.
    pub(crate) const fn heading(&self) -> &'static str {
        self.figure.title()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_held_against_the_target() {
        let case = Case::of(Profile::Standard, 2);
        let met = |values: &[f64]| Figure::new(Kind::Outage, case, values).met;
        assert_eq!(met(&[900.0, 1250.0, 5000.0]), Some(true));
        assert_eq!(met(&[900.0, 1250.1, 1300.0]), Some(false));
        assert_eq!(met(&[]), None);
        assert_eq!(Figure::new(Kind::Detect, case, &[1.0]).met, None);
    }
}
