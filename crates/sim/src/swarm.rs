//! Swarm choice: what kind of world a seed makes.
//!
//! One seed chooses cluster size, quorum mode, profile, the habits of networks, disks, clocks and
//! clients, and which faults exist and how often. Some faults are wholly off, others come at wild
//! weights, so that corners get visited. Mutants and the clean code run the same distribution.

use stead_model::Span;
use stead_model::config::QuorumMode;
use stead_model::profile::{CLOCK_RATE_PPM, Profile, Timing};

use crate::chores::Chores;
use crate::clock::Instant;
use crate::faults::Kind;
use crate::forcing::Forces;
use crate::net::Weather;
use crate::rng::Rng;
use crate::rules::RuleHabits;
use crate::visits::Visits;

/// Everything that is chosen before a run begins.
#[derive(Clone, Debug)]
pub struct Plan {
    /// How many nodes.
    pub nodes: u16,
    /// How many of them, the last ones, join when the cluster runs.
    pub joiners: u16,
    /// The quorum mode.
    pub mode: QuorumMode,
    /// The timing profile.
    pub profile: Profile,
    /// Clock rates by node, parts per million.
    pub rates_ppm: Vec<i64>,
    /// The networks.
    pub weather: Weather,
    /// Roles: for each network whether it carries clients only.
    pub clients_only: Vec<bool>,
    /// Whether the nodes say how their interfaces are.
    pub interfaces: Told,
    /// The disks.
    pub disks: DiskHabits,
    /// Processes on the nodes.
    pub processes: ProcessHabits,
    /// What the clients set up and ask for.
    pub clients: ClientHabits,
    /// Which faults, how often.
    pub faults: FaultHabits,
    /// True time at which faults end and everything is healed.
    pub heal_at: Instant,
    /// What stays broken all the same.
    pub away: Away,
    /// Whether nodes leave in order and announce absences.
    pub visits: Option<Visits>,
    /// Whether the faults end with a disaster, after which quorum is forced.
    pub forces: Option<Forces>,
    /// Whether the cluster itself is changed.
    pub chores: Option<Chores>,
}

/// Whether the nodes of a world say something.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Told {
    /// They do.
    Yes,
    /// They do not.
    No,
}

/// A node that never comes back: the others must do without it (R4, H17).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Away {
    /// All come back.
    None,
    /// One stays cut off on all networks, with power and disks.
    Isolated,
    /// One stays without power.
    Dead,
}

/// How disks behave.
#[derive(Clone, Debug)]
pub struct DiskHabits {
    /// Shortest time of a read or write.
    pub latency_min_ns: u64,
    /// Longest ordinary one.
    pub latency_max_ns: u64,
    /// Reads and writes that are sampled or land in two steps, per mille.
    pub interleaved: u64,
    /// Quorum disk operations that fail or hang, per mille.
    pub failing: u64,
    /// Of those, operations that hang and end well, per mille.
    pub late: u64,
    /// By node, how much slower than others its disks are.
    pub slow: Vec<u64>,
    /// Size of the ring of every log: small ones are snapshotted often.
    pub ring_bytes: u64,
}

/// How processes of a node behave.
#[derive(Clone, Copy, Debug)]
pub struct ProcessHabits {
    /// Longest delay of an effect inside a node.
    pub effect_max_ns: u64,
    /// Longest way of a monitor's question to the guard.
    pub ask_max_ns: u64,
    /// Longest delay of a timer.
    pub wake_max_ns: u64,
    /// By node, how late its timers are, as bits: 1 never late, 2 always by the longest delay.
    pub wakes: [u64; 2],
    /// How much of the grace a kill takes.
    pub kill: KillHabit,
    /// Longest start of a resource.
    pub start_max_ns: u64,
    /// Longest stop of a resource.
    pub stop_max_ns: u64,
    /// Starts that fail, per mille.
    pub start_fails: u64,
    /// Starts and stops that hang until terminated, per mille.
    pub hangs: u64,
}

/// How much of the grace a hard stop uses.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum KillHabit {
    /// Next to nothing.
    Quick,
    /// Anything up to the grace.
    Any,
    /// The whole grace.
    Last,
}

/// What clients do.
#[derive(Clone, Debug)]
pub struct ClientHabits {
    /// Groups: for each, resource `i` depends on those of its bits that are set.
    pub groups: Vec<Vec<u8>>,
    /// Mean time between requests.
    pub pause_ns: u64,
    /// Shortest length of the values that are set.
    pub value_bytes: usize,
    /// How long a client waits for an answer.
    pub patience_ns: u64,
    /// Weights of: set a key, move a group, group off or on, resource off or on, give or take
    /// a vote, rehearse a failure.
    pub weights: [u64; 6],
    /// Votes that are given rather than taken, per mille.
    pub votes_given: u64,
    /// Of all requests those that change what depends on what, per mille.
    pub trees: u64,
    /// Rules between the groups, and what nodes have.
    pub rules: RuleHabits,
}

/// Which faults exist.
#[derive(Clone, Debug)]
pub struct FaultHabits {
    /// Mean time between two faults.
    pub pause_ns: u64,
    /// Longest duration of a fault that ends by itself.
    pub lasts_max_ns: u64,
    /// All last between these times, if they are drawn apart.
    pub lasts_between_ns: Option<[u64; 2]>,
    /// Weights by [`crate::faults::Kind`].
    pub weights: Vec<u64>,
    /// Faults that strike a node in a role instead of any, per mille: the leader, the host of D,
    /// an owner.
    pub aimed: [u64; 3],
}

impl FaultHabits {
    /// No other faults than this kind.
    fn only(&mut self, kind: Kind) {
        self.weights = Kind::ORDINARY.iter().map(|other| u64::from(*other == kind)).collect();
    }
}

impl Plan {
    /// The ordinary distribution: what `soak` and `mutants` run. Parts that came later have streams
    /// of their own, with numbers that leave the recorded seeds of the mutants what they were.
    #[must_use]
    pub fn ordinary(seed: u64) -> Self {
        let mut rng = Rng::new(seed).fork(1);
        let nodes = [1, 2, 3, 4, 5][rng.weighted(&[3, 45, 36, 9, 7]).unwrap_or(1)];
        let mode = mode(nodes, &mut rng);
        let profiles = [Profile::Fast, Profile::Standard, Profile::Relaxed];
        let profile = profiles[rng.weighted(&[30, 55, 15]).unwrap_or(1)];
        let timing = profile.timing();
        let (long, quick) = (rng.chance(200), rng.chance(250));
        let beats = if long { rng.between(150, 400) } else { rng.between(50, 170) };
        Self {
            nodes,
            joiners: 0,
            mode,
            profile,
            rates_ppm: (0..nodes).map(|_| rate(&mut rng)).collect(),
            weather: weather(&timing, quick, &mut rng),
            clients_only: vec![false, rng.chance(200)],
            interfaces: Told::No,
            disks: disks(&timing, (nodes, quick), &mut rng),
            processes: processes(&timing, &mut rng),
            clients: clients(&timing, &mut rng),
            faults: faults(&timing, &mut rng),
            heal_at: timing.heartbeat.0 * beats,
            away: Away::None,
            visits: None,
            forces: None,
            chores: None,
        }
        .with_away(&mut rng)
        .with_crowded_logs(&mut rng)
        .with_close_returns(&mut Rng::new(seed).fork(51))
        .with_visits(&mut Rng::new(seed).fork(5))
        .with_ambushes(&mut Rng::new(seed).fork(6))
        .with_joiners(&mut Rng::new(seed).fork(7))
        .with_trees(&mut Rng::new(seed).fork(8))
        .with_rules(&mut Rng::new(seed).fork(9))
        .with_late_questions(&mut Rng::new(seed).fork(42))
        .with_forces(&mut Rng::new(seed).fork(61))
        .with_chores(&mut Rng::new(seed).fork(277))
    }

    /// In one world of eight the cluster itself is changed: its level, keys, networks, nodes. Drawn
    /// apart like visits.
    fn with_chores(mut self, rng: &mut Rng) -> Self {
        if self.nodes > 1 && rng.chance(125) {
            self.chores = Some(Chores::draw(rng, &self));
        }
        self
    }

    /// In one world of sixteen quorum is forced. Votes stay what they are there, so that what is
    /// said to be no majority is none. Drawn apart like visits.
    fn with_forces(mut self, rng: &mut Rng) -> Self {
        let possible = self.nodes > 1 && self.joiners == 0 && self.mode != QuorumMode::DiskOnly;
        if possible && rng.chance(60) {
            self.away = Away::None;
            self.visits = self.visits.map(|visits| Visits { leaves: false, ..visits });
            self.clients.weights[4] = 0;
            let disk_too = self.has_disk() && rng.chance(400);
            self.faults.weights[Kind::SlotDamaged as usize] = 0;
            // Nodes that are cut off contend for a slow disk for ever.
            self.disks.slow.fill(1);
            // Two nodes and a disk: one and the disk are a majority.
            let disk_too = disk_too || (self.has_disk() && self.nodes == 2);
            self.forces = Some(Forces {
                disk_too,
                regroup: !disk_too && self.has_disk() && rng.chance(500),
                dead: rng.below(1000),
                trouble: rng.below(20),
            });
        }
        self
    }

    /// In one world of ten nodes join a cluster that was formed by fewer. Drawn apart like visits.
    fn with_joiners(mut self, rng: &mut Rng) -> Self {
        if self.nodes > 1 && self.away == Away::None && rng.chance(100) {
            self.joiners = rng.between(1, u64::from(self.nodes) - 1) as u16;
        }
        self
    }

    /// In one world of ten the questions of monitors take long, so that leases, services and
    /// monitors end before they are answered: what the guard refuses then is what it is for. Drawn
    /// apart like visits.
    fn with_late_questions(mut self, rng: &mut Rng) -> Self {
        if rng.chance(100) {
            let timing = self.timing();
            self.processes.ask_max_ns = rng.between(timing.heartbeat.0, timing.lease.0 * 2);
        }
        self
    }

    /// In one world of eight groups have rules and nodes have only so much. Drawn apart like
    /// visits.
    fn with_rules(mut self, rng: &mut Rng) -> Self {
        if self.nodes > 1 && rng.chance(125) {
            while self.clients.groups.len() < 2
                || (self.clients.groups.len() < 5 && rng.chance(600))
            {
                self.clients.groups.push(vec![0]);
            }
            self.clients.rules = RuleHabits::draw(rng, self.nodes, self.clients.groups.len());
        }
        self
    }

    /// In some worlds hosts of D are caught while they compact, again and again: small rings, long
    /// values, and most of the time a log that only D has. Drawn apart like visits.
    fn with_ambushes(mut self, rng: &mut Rng) -> Self {
        if self.nodes > 1 && self.has_disk() && rng.chance(60) {
            if self.nodes > 2 || rng.chance(500) {
                self.mode = QuorumMode::DiskOnly;
            }
            let beat = self.timing().heartbeat.0;
            self.clients.pause_ns = rng.wild(beat / 4, beat * 2);
            self.clients.value_bytes = 4_100;
            self.disks.ring_bytes = rng.between(5, 8) * 4096;
            self.faults.only(Kind::Ambush);
            self.faults.aimed = [0, 1000, 0];
            self.faults.pause_ns = rng.between(beat * 5, beat * 30);
        }
        self
    }

    /// In one world of twelve trees are larger and change all the time, also to what is refused.
    /// Drawn apart like visits.
    fn with_trees(mut self, rng: &mut Rng) -> Self {
        if rng.chance(80) {
            let group = |rng: &mut Rng| {
                let count = rng.between(3, 6);
                (0..count).map(|i| (rng.below(1 << i) & rng.any()) as u8).collect()
            };
            self.clients.groups = (0..rng.between(2, 3)).map(|_| group(rng)).collect();
            self.clients.trees = rng.between(100, 600);
        }
        self
    }

    /// In one larger world of ten owners are cut off and come back just when others may take over:
    /// what the leader knows of their leases decides then (R6). No disk is needed there, so that
    /// leases are short. Drawn apart like visits.
    fn with_close_returns(mut self, rng: &mut Rng) -> Self {
        if self.nodes > 2 && rng.chance(100) {
            self.mode = QuorumMode::NodeMajority;
            self.away = Away::None;
            let timing = self.timing();
            let wait = timing.wait(timing.lease).0;
            let asked_before = timing.renewal.0 + timing.heartbeat.0 * 2;
            self.faults.only(Kind::Isolate);
            self.faults.aimed = [0, 0, rng.between(500, 1000)];
            self.faults.lasts_between_ns = Some([wait - asked_before, wait + timing.heartbeat.0]);
            self.faults.pause_ns = rng.between(wait, wait * 3);
        }
        self
    }

    /// In one world of eight nodes leave and come back. Its chances are drawn apart, so that all
    /// other worlds are what they would be without.
    fn with_visits(mut self, rng: &mut Rng) -> Self {
        if self.nodes > 1 && rng.chance(125) {
            let beat = self.timing().heartbeat.0;
            self.visits = Some(Visits {
                pause_ns: rng.wild(beat, beat * 30),
                away_max_ns: rng.wild(beat, beat * 60),
                leaves: self.away == Away::None,
            });
        }
        self
    }

    /// Now and then much is written into small rings on a disk that stalls: logs are compacted
    /// all the time, also while another host adopts them (R2, H2).
    fn with_crowded_logs(mut self, rng: &mut Rng) -> Self {
        if rng.chance(200) {
            let beat = self.timing().heartbeat.0;
            self.clients.pause_ns = rng.wild(beat / 16, beat / 2);
            self.disks.ring_bytes = rng.between(5, 8) * 4096;
            self.disks.failing = rng.between(20, 100);
            self.disks.late = 1000;
        }
        self
    }

    /// Leaves a node away for good, where the others can do without it whatever happened before.
    fn with_away(mut self, rng: &mut Rng) -> Self {
        let [.., votes, _] = self.clients.weights;
        let spare = self.nodes >= 3 || (self.nodes == 2 && self.has_disk());
        if spare && votes == 0 {
            let choices = [Away::None, Away::Isolated, Away::Dead];
            self.away = choices[rng.weighted(&[50, 35, 15]).unwrap_or(0)];
        }
        self
    }

    /// A calm world for directed scenarios: exact clocks, small fixed delays, no chance faults.
    #[must_use]
    pub fn calm(nodes: u16, mode: QuorumMode, profile: Profile) -> Self {
        let timing = profile.timing();
        Self {
            nodes,
            joiners: 0,
            mode,
            profile,
            rates_ppm: vec![0; usize::from(nodes)],
            weather: Weather {
                delay_min_ns: 100_000,
                delay_max_ns: 200_000,
                loss: 0,
                duplicates: 0,
                stragglers: 0,
                straggle_max_ns: 0,
                breaks: 0,
                stall_max_ns: timing.lease.0,
            },
            clients_only: vec![false, false],
            interfaces: Told::No,
            disks: DiskHabits {
                latency_min_ns: 300_000,
                latency_max_ns: 600_000,
                interleaved: 0,
                failing: 0,
                late: 0,
                slow: vec![1; usize::from(nodes)],
                ring_bytes: 64 * 4096,
            },
            processes: ProcessHabits {
                effect_max_ns: 20_000,
                ask_max_ns: 20_000,
                wake_max_ns: 50_000,
                wakes: [0; 2],
                kill: KillHabit::Quick,
                start_max_ns: 5_000_000,
                stop_max_ns: 5_000_000,
                start_fails: 0,
                hangs: 0,
            },
            clients: ClientHabits {
                groups: Vec::new(),
                pause_ns: 0,
                value_bytes: 0,
                patience_ns: timing.heartbeat.0 * 2,
                weights: [0; 6],
                votes_given: 500,
                trees: 0,
                rules: RuleHabits::default(),
            },
            faults: FaultHabits {
                pause_ns: 0,
                lasts_max_ns: 0,
                lasts_between_ns: None,
                weights: Vec::new(),
                aimed: [0; 3],
            },
            heal_at: Instant::MAX,
            away: Away::None,
            visits: None,
            forces: None,
            chores: None,
        }
    }

    /// The base times of the profile.
    #[must_use]
    pub const fn timing(&self) -> Timing {
        self.profile.timing()
    }

    /// Whether a quorum disk exists.
    #[must_use]
    pub const fn has_disk(&self) -> bool {
        !matches!(self.mode, QuorumMode::NodeMajority)
    }

    /// The longest time a hard stop takes after its beginning.
    #[must_use]
    pub const fn grace(&self) -> Span {
        self.timing().grace
    }
}

fn mode(nodes: u16, rng: &mut Rng) -> QuorumMode {
    let even = nodes.is_multiple_of(2);
    let weights = if even { [68, 16, 16] } else { [40, 44, 16] };
    let modes = [QuorumMode::NodeAndDiskMajority, QuorumMode::NodeMajority, QuorumMode::DiskOnly];
    modes[rng.weighted(&weights).unwrap_or(0)]
}

/// Extremes are more likely than what lies between.
fn rate(rng: &mut Rng) -> i64 {
    let bound = CLOCK_RATE_PPM as i64;
    match rng.below(4) {
        0 => -bound,
        1 => bound,
        2 => 0,
        _ => rng.between(0, 2 * CLOCK_RATE_PPM) as i64 - bound,
    }
}

/// Off in half of the runs, else any order of magnitude.
fn sometimes(per_mille_max: u64, rng: &mut Rng) -> u64 {
    if rng.chance(500) { 0 } else { rng.wild(1, per_mille_max) }
}

/// In a quick world little lies between a decision and its effect.
const QUICK_NS: u64 = 60_000;

fn weather(timing: &Timing, quick: bool, rng: &mut Rng) -> Weather {
    let beat = timing.heartbeat.0;
    let delay_min_ns = if quick { 5_000 } else { rng.wild(5_000, beat / 50) };
    let spread = if quick { QUICK_NS } else { rng.wild(5_000, beat / 4) };
    Weather {
        delay_min_ns,
        delay_max_ns: delay_min_ns + spread,
        loss: sometimes(200, rng),
        duplicates: sometimes(100, rng),
        stragglers: sometimes(30, rng),
        straggle_max_ns: rng.wild(beat, beat * 40),
        breaks: sometimes(30, rng),
        stall_max_ns: rng.wild(beat, beat * 30),
    }
}

fn disks(timing: &Timing, (nodes, quick): (u16, bool), rng: &mut Rng) -> DiskHabits {
    let beat = timing.heartbeat.0;
    let latency_min_ns = if quick { 5_000 } else { rng.wild(5_000, beat / 100) };
    let spread = if quick { QUICK_NS } else { rng.wild(5_000, beat / 8) };
    let uneven = rng.chance(400);
    DiskHabits {
        latency_min_ns,
        latency_max_ns: latency_min_ns + spread,
        slow: (0..nodes).map(|_| if uneven { rng.wild(1, 16) } else { 1 }).collect(),
        interleaved: if rng.chance(400) { 0 } else { rng.between(50, 1000) },
        failing: if rng.chance(450) { 0 } else { rng.wild(1, 80) },
        late: if rng.chance(500) { 1000 } else { rng.below(1001) },
        ring_bytes: rng.wild(8, 64) * 4096,
    }
}

fn processes(timing: &Timing, rng: &mut Rng) -> ProcessHabits {
    let beat = timing.heartbeat.0;
    let kills = [KillHabit::Quick, KillHabit::Any, KillHabit::Last];
    let effect_max_ns = rng.wild(1_000, beat / 50);
    ProcessHabits {
        effect_max_ns,
        ask_max_ns: effect_max_ns,
        wake_max_ns: if rng.chance(300) { timing.tick.0 } else { rng.wild(1_000, timing.tick.0) },
        wakes: [rng.any() & rng.any(), rng.any() & rng.any()],
        kill: *rng.pick(&kills),
        start_max_ns: rng.wild(1_000, beat * 4),
        stop_max_ns: rng.wild(1_000, beat * 4),
        start_fails: if rng.chance(700) { 0 } else { rng.wild(1, 100) },
        hangs: if rng.chance(800) { 0 } else { rng.wild(1, 50) },
    }
}

fn clients(timing: &Timing, rng: &mut Rng) -> ClientHabits {
    let beat = timing.heartbeat.0;
    let group = |rng: &mut Rng| {
        let count = rng.between(1, 3);
        (0..count).map(|i| rng.below(1 << i) as u8).collect()
    };
    let count = rng.between(1, 3);
    let mut weights = [rng.between(1, 100), 0, 0, 0, 0, 0];
    for weight in &mut weights[1..] {
        *weight = if rng.chance(400) { 0 } else { rng.wild(1, 60) };
    }
    ClientHabits {
        groups: (0..count).map(|_| group(rng)).collect(),
        pause_ns: rng.wild(beat / 16, beat * 8),
        value_bytes: 0,
        patience_ns: rng.wild(beat, beat * 30),
        weights,
        votes_given: rng.between(300, 800),
        trees: 0,
        rules: RuleHabits::default(),
    }
}

fn faults(timing: &Timing, rng: &mut Rng) -> FaultHabits {
    let beat = timing.heartbeat.0;
    let kinds = Kind::ORDINARY.len() - 1;
    let mut weights: Vec<u64> =
        (0..kinds).map(|_| if rng.chance(450) { 0 } else { rng.wild(1, 100) }).collect();
    // What makes an owner silent while it acts is the heart of the matter: often much of it.
    if rng.chance(600) {
        for kind in
            [Kind::Isolate, Kind::CutOff, Kind::StallAndCut, Kind::SlowAndCut, Kind::DieAndCut]
        {
            let at = Kind::ORDINARY.iter().position(|k| *k == kind).unwrap_or(0);
            weights[at] += rng.wild(1, 120);
        }
    }
    if weights.iter().all(|w| *w == 0) {
        weights[rng.below(kinds as u64) as usize] = 1;
    }
    FaultHabits {
        pause_ns: rng.wild(beat, beat * 24),
        lasts_max_ns: rng.wild(beat * 3, beat * 80),
        lasts_between_ns: None,
        weights,
        aimed: [rng.below(400), rng.below(300), rng.below(300)],
    }
}
