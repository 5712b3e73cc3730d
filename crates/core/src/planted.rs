//! Faults that the simulator plants into the product's own code paths, to prove its checkers.
//!
//! Each is one of the holes found in earlier drafts of the rules (docs/internals/faults.md).
//! Without the cargo feature `planted` the set is empty at compile time and costs nothing.

/// One planted fault.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Fault {
    /// H1: a claim overwrites the mark of the own newest log area.
    ClaimForgetsActive,
    /// H2: the source's superblock is not read again after the copy.
    AdoptWithoutReread,
    /// H3: a new leader forgets the stop grace.
    TakeoverIgnoresGrace,
    /// H4: a restarted voter claims a large age.
    RestartClaimsAge,
    /// H5: a moved D claims a large age.
    HostChangeClaimsAge,
    /// H6: a voter forgets whom it answered whenever a term rises.
    AgeClearedByTerm,
    /// H7: only votes at higher terms carry the age; votes at an equal term claim a large one.
    AgeOnlyForHigherTerms,
    /// H8: a leader elected right after a failed transfer does not wait.
    NoWaitAfterFailedTransfer,
    /// H9: the barrier of a lease answer is the commit index.
    BarrierIsCommitIndex,
    /// H10: "offline" reports count for every epoch.
    OfflineWithoutEpoch,
    /// H11: a restarted service starts resources on an old epoch.
    RestartStartsOldEpoch,
    /// H12: the commit index is not persisted with the entries.
    CommitIndexLost,
    /// H13: no margin for clock rates; catch-up ticks count as time.
    NoClockMargin,
    /// H15: a slot whose active log cannot be read is skipped for a lower one.
    FallBackToOlderSlot,
    /// H16: a slot with writes in flight of a dead incarnation is used again.
    SlotReusedTooEarly,
    /// H17: the holder of D keeps renewing although its side hears no leader.
    HolderNeverLetsGo,
    /// Effects of D leave without a guard.
    NoGuard,
    /// The guard reads the headers before its write is durable.
    GuardReadsBeforeWrite,
    /// Messages of D that carry no record leave without a guard.
    UnguardedRecordless,
    /// No second read of the headers after the claim.
    NoSecondRead,
    /// `active` is written before the copy is complete.
    ActiveBeforeCopy,
    /// A lease runs from the receipt of the answer.
    LeaseFromReceipt,
    /// The leader answers lease questions without a quorum.
    NoQuorumConfirmation,
    /// A leader elected by transfer does not wait.
    NoWaitAfterTransfer,
    /// A leader that counted a vote of unknown age does not wait.
    NoWaitAfterRestart,
    /// A leader of a new term does not count itself among the voters that confirmed leases.
    ExLeaderNotCounted,
    /// A lease counts before the barrier is applied.
    NoBarrier,
    /// The leader waits from its last answer instead of the last question.
    WaitFromLastAnswer,
    /// A group is granted before its old owner is known stopped.
    StartBeforeStop,
    /// A torn superblock is accepted.
    TornSuperblockAccepted,
    /// Messages leave before the entries they depend on are durable.
    SentBeforePersisted,
    /// The guard admits without looking at the lease (planted in the guard).
    MonitorActsAfterHardStop,
    /// A resource is started whatever it depends on.
    DependenciesIgnored,
    /// Only the first dependency of a resource counts.
    OneDependencyCounts,
    /// A resource is stopped while others that depend on it run.
    StoppedBeforeDependents,
    /// A forced node does not wait after the confirmation (R13).
    ForcedWithoutWait,
    /// A forced node goes on without having claimed D (R13).
    ForcedWithoutDisk,
    /// Messages of another history count, and an older one goes on until it is told (R13).
    OlderHistoryCounts,
}

impl Fault {
    /// All of them.
    pub const ALL: [Self; 38] = [
        Self::ClaimForgetsActive,
        Self::AdoptWithoutReread,
        Self::TakeoverIgnoresGrace,
        Self::RestartClaimsAge,
        Self::HostChangeClaimsAge,
        Self::AgeClearedByTerm,
        Self::AgeOnlyForHigherTerms,
        Self::NoWaitAfterFailedTransfer,
        Self::BarrierIsCommitIndex,
        Self::OfflineWithoutEpoch,
        Self::RestartStartsOldEpoch,
        Self::CommitIndexLost,
        Self::NoClockMargin,
        Self::FallBackToOlderSlot,
        Self::SlotReusedTooEarly,
        Self::HolderNeverLetsGo,
        Self::NoGuard,
        Self::GuardReadsBeforeWrite,
        Self::UnguardedRecordless,
        Self::NoSecondRead,
        Self::ActiveBeforeCopy,
        Self::LeaseFromReceipt,
        Self::NoQuorumConfirmation,
        Self::NoWaitAfterTransfer,
        Self::NoWaitAfterRestart,
        Self::ExLeaderNotCounted,
        Self::NoBarrier,
        Self::WaitFromLastAnswer,
        Self::StartBeforeStop,
        Self::TornSuperblockAccepted,
        Self::SentBeforePersisted,
        Self::MonitorActsAfterHardStop,
        Self::DependenciesIgnored,
        Self::OneDependencyCounts,
        Self::StoppedBeforeDependents,
        Self::ForcedWithoutWait,
        Self::ForcedWithoutDisk,
        Self::OlderHistoryCounts,
    ];

    /// Its name on the command line, as in `barrier-is-commit-index`.
    #[must_use]
    pub fn name(self) -> String {
        let mut name = String::new();
        for c in format!("{self:?}").chars() {
            if c.is_ascii_uppercase() && !name.is_empty() {
                name.push('-');
            }
            name.push(c.to_ascii_lowercase());
        }
        name
    }

    /// The fault of that name.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|f| f.name() == name)
    }
}

/// The set of faults planted in one core.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Planted {
    #[cfg(feature = "planted")]
    bits: u64,
}

impl Planted {
    /// Nothing planted: the product.
    pub const NONE: Self = Self {
        #[cfg(feature = "planted")]
        bits: 0,
    };

    /// One fault planted.
    #[cfg(feature = "planted")]
    #[must_use]
    pub const fn only(fault: Fault) -> Self {
        Self { bits: 1 << fault as u64 }
    }

    /// Whether the fault is planted.
    #[cfg(feature = "planted")]
    #[must_use]
    pub const fn has(self, fault: Fault) -> bool {
        self.bits & (1 << fault as u64) != 0
    }

    /// Whether the fault is planted: never, in the product.
    #[cfg(not(feature = "planted"))]
    #[must_use]
    pub const fn has(self, _fault: Fault) -> bool {
        false
    }
}
