//! Trouble for the owner of a database, of every kind: chosen by chance from a seed, brought,
//! lasting for its time, and mended.

use std::collections::BTreeMap;
use std::fmt;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use stead_lab::disks::Condition;
use stead_lab::{CutSpec, Network, Station};
use stead_model::NodeId;
use stead_model::request::Request;

use crate::processes::{self, Role};
use crate::{Database, World, other, tell};

/// What may happen.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Kind {
    /// The owner loses power.
    Crash,
    /// The owner's processes stand still for 5 s.
    Freeze,
    /// The owner and its kernel's traffic stand still for 5 s.
    Hang,
    /// One network of the owner is cut.
    CutOne(Network),
    /// Both networks of the owner are cut.
    CutBoth,
    /// Every request of the owner to the disk fails.
    DiskLoss,
    /// A process of stead or PostgreSQL is killed.
    Kill(Victim),
    /// An administrator moves the group.
    Move,
}

/// Whom a kill hits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Victim {
    /// `stead guard` of the owner: everything under it ends, too.
    Guard,
    /// `stead node run` of the owner.
    Service,
    /// `stead monitor` of the owner.
    Monitor,
    /// `stead guard` of the node that is not the owner.
    OtherGuard,
    /// The first process of PostgreSQL.
    Postmaster,
    /// The process of PostgreSQL that serves the client.
    Backend,
}

/// All of them; the eight of the list, some in variants.
const ALL: &[&[Kind]] = &[
    &[Kind::Crash],
    &[Kind::Freeze],
    &[Kind::Hang],
    &[Kind::CutOne(Network::Private), Kind::CutOne(Network::Public)],
    &[Kind::CutBoth],
    &[Kind::DiskLoss],
    &[
        Kind::Kill(Victim::Guard),
        Kind::Kill(Victim::Service),
        Kind::Kill(Victim::Monitor),
        Kind::Kill(Victim::OtherGuard),
        Kind::Kill(Victim::Postmaster),
        Kind::Kill(Victim::Backend),
    ],
    &[Kind::Move],
];

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Crash => f.write_str("crash"),
            Self::Freeze => f.write_str("freeze 5 s"),
            Self::Hang => f.write_str("hang 5 s"),
            Self::CutOne(network) => write!(f, "cut of {} 4 s", network.name()),
            Self::CutBoth => f.write_str("cut of both networks 4 s"),
            Self::DiskLoss => f.write_str("disk path lost"),
            Self::Kill(Victim::Guard) => f.write_str("kill guard"),
            Self::Kill(Victim::Service) => f.write_str("kill node service"),
            Self::Kill(Victim::Monitor) => f.write_str("kill monitor"),
            Self::Kill(Victim::OtherGuard) => f.write_str("kill guard of the other"),
            Self::Kill(Victim::Postmaster) => f.write_str("kill postmaster"),
            Self::Kill(Victim::Backend) => f.write_str("kill backend"),
            Self::Move => f.write_str("planned move"),
        }
    }
}

/// Chooses by chance; one seed always chooses the same.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Dice {
    state: u64,
}

impl Dice {
    /// From `STEAD_SEED`, or else by the clock; told, so that a run can be repeated.
    #[must_use]
    pub fn cast() -> Self {
        let given = std::env::var("STEAD_SEED").ok().and_then(|text| text.parse().ok());
        let seed = given.unwrap_or_else(|| stead_lab::boot_ns() / 1000);
        tell(&format!("seed {seed}; `STEAD_SEED={seed}` chooses the same again"));
        Self { state: seed }
    }

    /// A number below `end`: splitmix64.
    pub fn below(&mut self, end: usize) -> usize {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((z ^ (z >> 31)) % u64::try_from(end).unwrap()).unwrap()
    }

    /// What happens next.
    pub fn kind(&mut self) -> Kind {
        let variants = ALL[self.below(ALL.len())];
        variants[self.below(variants.len())]
    }
}

/// Brings the trouble upon the owner of a database; when this returns, it is mended or mends
/// itself.
pub fn bring(world: &World, database: &Database, owner: NodeId, kind: Kind) {
    let lab = world.lab();
    let station = Station::Node(owner);
    match kind {
        Kind::Crash => {
            world.crash(owner);
            world.taken_over(&database.group, other(owner));
            world.start(owner);
        }
        Kind::Freeze => {
            lab.freeze(owner).unwrap();
            last(STALL);
            lab.thaw(owner).unwrap();
        }
        Kind::Hang => {
            lab.hang(owner).unwrap();
            last(STALL);
            lab.thaw(owner).unwrap();
        }
        Kind::CutOne(network) => cut(world, station, Some(network)),
        Kind::CutBoth => cut(world, station, None),
        Kind::DiskLoss => {
            lab.set_disk(owner, &database.group, Condition::Failing).unwrap();
            world.taken_over(&database.group, other(owner));
            lab.set_disk(owner, &database.group, Condition::Healthy).unwrap();
        }
        Kind::Kill(victim) => kill(world, database, owner, victim),
        Kind::Move => {
            let to = Some(other(owner));
            world.ask(&Request::MoveGroup { group: database.group.as_str().into(), to });
            world.online(&database.group, other(owner));
        }
    }
}

fn cut(world: &World, station: Station, network: Option<Network>) {
    world.lab().cut(CutSpec::Station { station, network }).unwrap();
    last(CUT);
    world.heal();
}

fn kill(world: &World, database: &Database, owner: NodeId, victim: Victim) {
    let data = database.data();
    let pid = match victim {
        Victim::Guard => processes::find(world, owner, Role::Guard),
        Victim::Service => processes::find(world, owner, Role::Service),
        Victim::Monitor => processes::find(world, owner, Role::Monitor),
        Victim::OtherGuard => processes::find(world, other(owner), Role::Guard),
        Victim::Postmaster => processes::find(world, owner, Role::Application(&data)),
        Victim::Backend => {
            let server = processes::find(world, owner, Role::Application(&data));
            crate::wait("a client is served", || {
                let found = processes::children(server, "postgres postgres ");
                found.first().copied().ok_or_else(|| "no process does".into())
            })
        }
    };
    processes::signal(pid, Signal::KILL);
    crate::until("the killed process is gone", || !processes::lives(pid));
}

/// Lets a trouble last: this is its length, not a wait for something.
fn last(time: Duration) {
    let end = Instant::now() + time;
    while let Some(left) = end.checked_duration_since(Instant::now()) {
        std::thread::sleep(left);
    }
}

const STALL: Duration = Duration::from_secs(5);
/// Longer than the longest wait for a lost owner.
const CUT: Duration = Duration::from_secs(4);

/// How long clients waited, by kind of trouble.
#[derive(Clone, PartialEq, Default, Debug)]
pub struct Outages {
    ms: BTreeMap<Kind, Vec<f64>>,
}

impl Outages {
    /// Adds one.
    pub fn add(&mut self, kind: Kind, ms: f64) {
        self.ms.entry(kind).or_default().push(ms);
    }

    /// The table: rounds, min, median and max of each kind, milliseconds.
    #[must_use]
    pub fn table(&self) -> String {
        let mut lines = vec![
            "| trouble                  | rounds | min ms | median ms | max ms |".to_owned(),
            "| ------------------------ | ------ | ------ | --------- | ------ |".to_owned(),
        ];
        for (kind, ms) in &self.ms {
            let mut ms = ms.clone();
            ms.sort_by(f64::total_cmp);
            let (min, max) = (ms[0], ms[ms.len() - 1]);
            let median = f64::midpoint(ms[(ms.len() - 1) / 2], ms[ms.len() / 2]);
            let (name, rounds) = (kind.to_string(), ms.len());
            lines.push(format!(
                "| {name:<24} | {rounds:>6} | {min:>6.0} | {median:>9.0} | {max:>6.0} |"
            ));
        }
        lines.join("\n")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_chooses_everything_and_always_the_same() {
        let chosen = |seed| {
            let mut dice = Dice { state: seed };
            (0..300).map(|_| dice.kind()).collect::<Vec<_>>()
        };
        assert_eq!(chosen(1), chosen(1));
        assert_ne!(chosen(1), chosen(2));
        for kind in ALL.iter().flat_map(|variants| variants.iter()) {
            assert!(chosen(1).contains(kind), "{kind}");
        }
    }

    #[test]
    fn the_table_has_the_middle_of_each_kind() {
        let mut outages = Outages::default();
        for ms in [30.0, 10.0, 20.0, 40.0] {
            outages.add(Kind::Crash, ms);
        }
        let table = outages.table();
        let row = table.lines().find(|line| line.starts_with("| crash ")).unwrap();
        let cells: Vec<&str> = row.split('|').map(str::trim).collect();
        assert_eq!(cells[2..6], ["4", "10", "25", "40"]);
    }
}
