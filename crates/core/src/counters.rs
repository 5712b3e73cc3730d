//! Counters of what a core went through; the soak fails if one of them stays zero.

/// What happened in one core since it started.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Counters {
    /// Groups taken from a silent node because its lease was over.
    pub takeovers: u64,
    /// Elections won after a timeout.
    pub elections_by_timeout: u64,
    /// Elections won because a leader transferred leadership.
    pub elections_by_transfer: u64,
    /// Leadership handed by D to its host.
    pub handovers: u64,
    /// Terms led by D.
    pub terms_led_by_disk: u64,
    /// Claims of D begun.
    pub claims: u64,
    /// Adoptions of D completed.
    pub adoptions: u64,
    /// Incarnations of D dropped by the guard or by an error.
    pub disk_drops: u64,
    /// Torn tails cut when a log was opened.
    pub torn_tails: u64,
    /// Membership changes applied.
    pub membership_changes: u64,
    /// Changes of a node's lease length applied.
    pub lease_length_changes: u64,
    /// Leases gained.
    pub leases: u64,
    /// Reports about another epoch than the last one, refused.
    pub stale_reports: u64,
    /// Hard stops seen.
    pub hard_stops: u64,
}

impl Counters {
    /// Adds the counts of another core.
    pub fn add(&mut self, other: &Self) {
        self.takeovers += other.takeovers;
        self.elections_by_timeout += other.elections_by_timeout;
        self.elections_by_transfer += other.elections_by_transfer;
        self.handovers += other.handovers;
        self.terms_led_by_disk += other.terms_led_by_disk;
        self.claims += other.claims;
        self.adoptions += other.adoptions;
        self.disk_drops += other.disk_drops;
        self.torn_tails += other.torn_tails;
        self.membership_changes += other.membership_changes;
        self.lease_length_changes += other.lease_length_changes;
        self.leases += other.leases;
        self.stale_reports += other.stale_reports;
        self.hard_stops += other.hard_stops;
    }
}
