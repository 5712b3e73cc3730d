//! Mutants: the ordinary soak with one fault planted, until the named checker fires.
//!
//! The distribution is the same for all faults and for the clean code, so what finds a mutant is
//! what guards the product. Recorded seeds are replayed: each must find its fault again, and the
//! clean code must pass it.

use stead_core::Fault;

use crate::checkers::Promise;
use crate::run;
use crate::soak::{self, Budget, Soak};
use crate::trace::Detail;

/// Seeds after which a mutant counts as not found.
pub const SEEDS_MAX: u64 = 20_000;

/// The recorded seeds, one per line: fault, seed, promise.
pub const RECORDED: &str = include_str!("../mutants.txt");

/// Which promises a fault breaks.
#[must_use]
pub const fn breaks(fault: Fault) -> &'static [Promise] {
    use Promise::{Ack, Agree, Converge, Dep, Election, NoPanic, Own, Quorum, StopStart};
    match fault {
        // Histories part: an acknowledged change is gone, or two leaders share a term.
        Fault::ActiveBeforeCopy => &[Ack, Agree, Election, Own, StopStart, Converge],
        Fault::ClaimForgetsActive
        | Fault::AdoptWithoutReread
        | Fault::CommitIndexLost
        | Fault::FallBackToOlderSlot
        | Fault::SlotReusedTooEarly
        | Fault::NoGuard
        | Fault::GuardReadsBeforeWrite
        | Fault::UnguardedRecordless
        | Fault::NoSecondRead
        | Fault::SentBeforePersisted => &[Ack, Agree, Election, Own, StopStart],
        // What is read back makes no sense.
        Fault::TornSuperblockAccepted => &[Ack, Agree, Election, NoPanic],
        // Two owners.
        Fault::TakeoverIgnoresGrace
        | Fault::RestartClaimsAge
        | Fault::HostChangeClaimsAge
        | Fault::AgeClearedByTerm
        | Fault::AgeOnlyForHigherTerms
        | Fault::NoWaitAfterFailedTransfer
        | Fault::BarrierIsCommitIndex
        | Fault::OfflineWithoutEpoch
        | Fault::RestartStartsOldEpoch
        | Fault::NoClockMargin
        | Fault::LeaseFromReceipt
        | Fault::NoQuorumConfirmation
        | Fault::NoWaitAfterTransfer
        | Fault::NoWaitAfterRestart
        | Fault::ExLeaderNotCounted
        | Fault::NoBarrier
        | Fault::WaitFromLastAnswer => &[Own, StopStart],
        // A cluster that stops without need.
        Fault::HolderNeverLetsGo => &[Converge],
        Fault::StartBeforeStop => &[Own, StopStart, Dep],
        // Orders against the tree.
        Fault::DependenciesIgnored
        | Fault::OneDependencyCounts
        | Fault::StoppedBeforeDependents => &[Dep],
        Fault::ForcedWithoutWait | Fault::ForcedWithoutDisk | Fault::OlderHistoryCounts => {
            &[Own, StopStart]
        }
        Fault::MonitorActsAfterHardStop => &[Own, Quorum, StopStart],
    }
}

/// How the hunt for one mutant ended.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Hunt {
    /// The fault.
    pub fault: Fault,
    /// Runs needed.
    pub seeds: u64,
    /// The seed and the promise it broke.
    pub found: Option<(u64, Promise)>,
}

/// Runs seeds from 1 on until a named promise breaks.
#[must_use]
pub fn hunt(fault: Fault, budget: u64, threads: usize) -> Hunt {
    let named = breaks(fault);
    let mut from = 1;
    while from <= budget {
        let seeds = Budget::Seeds((budget + 1 - from).min(64));
        let chunk = Soak {
            from,
            budget: seeds,
            planted: Some(fault),
            first: Vec::new(),
            threads,
            keep_going: true,
        };
        let result = soak::soak(&chunk, &|_, _| {});
        let hit = (result.broken.iter())
            .filter(|(_, v)| named.contains(&v.promise))
            .find(|(seed, _)| run::seed(*seed, None, Detail::Hash).violation.is_none());
        if let Some((seed, violation)) = hit {
            return Hunt { fault, seeds: *seed, found: Some((*seed, violation.promise)) };
        }
        from += 64;
    }
    Hunt { fault, seeds: budget, found: None }
}

/// One recorded seed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Recorded {
    /// The fault.
    pub fault: Fault,
    /// The seed that finds it.
    pub seed: u64,
}

/// All recorded seeds.
#[must_use]
pub fn recorded() -> Vec<Recorded> {
    let lines = RECORDED.lines().filter(|l| !l.starts_with('#'));
    let parse = |line: &str| {
        let mut words = line.split_whitespace();
        let fault = Fault::parse(words.next()?)?;
        Some(Recorded { fault, seed: words.next()?.parse().ok()? })
    };
    lines.filter_map(parse).collect()
}

/// Faults that no seed of a hunt has found yet, with the size of that hunt: they are told and do
/// not fail the replay, but every fault must stand in the list one way or the other.
#[must_use]
pub fn open() -> Vec<(Fault, u64)> {
    let parse = |line: &str| {
        let mut words = line.split_whitespace();
        let fault = Fault::parse(words.next()?)?;
        (words.next()? == "open").then_some((fault, words.next()?.parse().ok()?))
    };
    RECORDED.lines().filter_map(parse).collect()
}

/// Replays a recorded seed with its fault and without.
///
/// # Errors
/// The fault is not found any more, or the clean code breaks a promise.
pub fn replay(recorded: &Recorded) -> Result<Hunt, String> {
    let Recorded { fault, seed } = *recorded;
    let clean = run::seed(seed, None, Detail::Hash);
    if let Some(violation) = clean.violation {
        return Err(format!("seed {seed} without a planted fault breaks {violation}"));
    }
    let planted = run::seed(seed, Some(fault), Detail::Hash);
    let found = planted.violation.map(|v| v.promise).filter(|p| breaks(fault).contains(p));
    match found {
        Some(promise) => Ok(Hunt { fault, seeds: 1, found: Some((seed, promise)) }),
        None => Err(format!("seed {seed} does not find {} any more", fault.name())),
    }
}
