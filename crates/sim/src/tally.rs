//! Counters over runs: proof that the soak visits what it claims to visit.

use std::fmt;

use stead_core::Counters;

use crate::checkers::dep::Judged;
use crate::chores::Chore;

/// What happened in one run or in many.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Tally {
    /// What the cores counted.
    pub cores: Counters,
    /// Runs.
    pub runs: u64,
    /// Things that happened.
    pub steps: u64,
    /// Machines that lost power.
    pub crashes: u64,
    /// Services started.
    pub services: u64,
    /// Services started while their guard held a lease.
    pub services_within_lease: u64,
    /// Adoptions of D under way when their host died.
    pub adoptions_cut: u64,
    /// Writes torn by power loss.
    pub torn_writes: u64,
    /// Operations that failed.
    pub io_failed: u64,
    /// Operations that took so long that their core may have given them up.
    pub late_writes: u64,
    /// Hard stops finished.
    pub hard_stops: u64,
    /// Things admitted.
    pub starts: u64,
    /// Things started elsewhere after a guard killed them at the end of its lease.
    pub takeovers_alive: u64,
    /// Of those, within four timer ticks of the kill.
    pub takeovers_close: u64,
    /// The closest of them, in thousandths of a timer tick.
    pub closest_permille: Option<u64>,
    /// Things refused by a guard.
    pub refusals: u64,
    /// Requests acknowledged.
    pub acknowledged: u64,
    /// Nodes that left in order.
    pub left: u64,
    /// Absences that were asked for or ended.
    pub absences: u64,
    /// Monitors that were silent and were replaced.
    pub monitors_replaced: u64,
    /// How often each of the six dependency rules was judged.
    pub dependency_rules: Judged,
    /// Chores that were done, by [`Chore`].
    pub chores: [u64; Chore::ALL.len()],
    /// Quorums that were forced, and nodes that gave their log up for that.
    pub forced: u64,
    /// Acknowledged changes that nobody had who went on by force.
    pub forced_away: u64,
    /// Times a frozen owner woke and acted beside another (stated hole).
    pub holes_frozen: u64,
    /// Times a stopped clock let two owners act (stated hole, H14).
    pub holes_clock: u64,
}

impl Tally {
    /// Keeps the counts of a core that ended.
    pub fn bury(&mut self, counters: &Counters) {
        self.cores.add(counters);
        self.adoptions_cut += u64::from(counters.claims > counters.adoptions + counters.disk_drops);
    }

    /// A start elsewhere came this close to the kill before it, in thousandths of a tick.
    pub fn came_close(&mut self, gap: u64) {
        self.closest_permille = Some(self.closest_permille.map_or(gap, |least| least.min(gap)));
    }

    /// Adds another run.
    pub fn add(&mut self, other: &Self) {
        self.cores.add(&other.cores);
        self.runs += other.runs;
        self.steps += other.steps;
        self.crashes += other.crashes;
        self.services += other.services;
        self.services_within_lease += other.services_within_lease;
        self.adoptions_cut += other.adoptions_cut;
        self.torn_writes += other.torn_writes;
        self.io_failed += other.io_failed;
        self.late_writes += other.late_writes;
        self.hard_stops += other.hard_stops;
        self.starts += other.starts;
        self.takeovers_alive += other.takeovers_alive;
        self.takeovers_close += other.takeovers_close;
        other.closest_permille.into_iter().for_each(|gap| self.came_close(gap));
        self.refusals += other.refusals;
        self.acknowledged += other.acknowledged;
        self.left += other.left;
        self.absences += other.absences;
        self.monitors_replaced += other.monitors_replaced;
        for (rule, judged) in self.dependency_rules.iter_mut().zip(other.dependency_rules) {
            *rule += judged;
        }
        for (chore, done) in self.chores.iter_mut().zip(other.chores) {
            *chore += done;
        }
        self.forced += other.forced;
        self.forced_away += other.forced_away;
        self.holes_frozen += other.holes_frozen;
        self.holes_clock += other.holes_clock;
    }

    /// What the soak must have visited, by name.
    #[must_use]
    pub fn required(&self) -> [(&'static str, u64); 30] {
        let Self { cores, dependency_rules: rules, chores, .. } = self;
        [
            ("takeovers", cores.takeovers),
            ("elections by timeout", cores.elections_by_timeout),
            ("elections by transfer", cores.elections_by_transfer),
            ("hand-overs from D", cores.handovers),
            ("terms led by D", cores.terms_led_by_disk),
            ("claims of D", cores.claims),
            ("adoptions cut by a crash", self.adoptions_cut),
            ("torn writes", self.torn_writes),
            ("torn writes recovered", cores.torn_tails),
            ("membership changes", cores.membership_changes),
            ("lease length changes", cores.lease_length_changes),
            ("service restarts within a lease", self.services_within_lease),
            ("refused stale reports", cores.stale_reports),
            ("changes acknowledged", self.acknowledged),
            ("nodes that left in order", self.left),
            ("absences asked for", self.absences),
            ("silent monitors replaced", self.monitors_replaced),
            ("logs that begin by force", self.forced),
            ("levels raised", chores[Chore::Level as usize]),
            ("rotations of keys begun", chores[Chore::Keys as usize]),
            ("networks changed", chores[Chore::Network as usize]),
            ("nodes readdressed or renamed", chores[Chore::Node as usize]),
            ("nodes evicted", chores[Chore::Evict as usize]),
            ("programs replaced", chores[Chore::Program as usize]),
            ("trees kept in one group", rules[0]),
            ("starts on several dependencies", rules[1]),
            ("starts beside the rest of the tree", rules[2]),
            ("starts after another node", rules[3]),
            ("starts after all they depend on", rules[4]),
            ("stops before all they depend on", rules[5]),
        ]
    }

    /// Names of what must not be zero and is.
    #[must_use]
    pub fn missing(&self) -> Vec<&'static str> {
        self.required().into_iter().filter(|(_, n)| *n == 0).map(|(name, _)| name).collect()
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (name, number) in self.required() {
            writeln!(f, "{number:>12} {name}")?;
        }
        let more = [
            ("runs", self.runs),
            ("steps", self.steps),
            ("crashes", self.crashes),
            ("services started", self.services),
            ("operations failed", self.io_failed),
            ("operations that hung", self.late_writes),
            ("hard stops", self.hard_stops),
            ("things started", self.starts),
            ("starts elsewhere after a kill", self.takeovers_alive),
            ("of those within four ticks", self.takeovers_close),
            ("thousandths of a tick, the closest", self.closest_permille.unwrap_or(0)),
            ("starts refused by guards", self.refusals),
            ("leases gained", self.cores.leases),
            ("incarnations of D dropped", self.cores.disk_drops),
            ("changes lost by force", self.forced_away),
            ("holes: frozen owner woke", self.holes_frozen),
            ("holes: clock stood still", self.holes_clock),
        ];
        more.iter().try_for_each(|(name, number)| writeln!(f, "{number:>12} {name}"))
    }
}
