//! What programs use: measured by the node that runs them, told in steps.
//!
//! A number that moves with every look would be told to all nodes with every look, and would have
//! groups placed by noise. So what is used is rounded up to a step, four between one power of two
//! and the next, and a step once told stays until what is used leaves it: above at once, below
//! when less than [`STAY_PERCENT`] of it is used.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::amounts::{Amounts, CPU, MEMORY, written};

/// A step stays as long as more than this part of it is used: two steps below.
pub const STAY_PERCENT: u64 = 60;
/// The smallest steps: a hundredth of a processor, one mebibyte. Less is told as nothing.
const LEAST_CPU: u64 = 10;
const LEAST_MEMORY: u64 = 1 << 20;

/// What programs use of a node.
#[derive(
    Clone,
    Copy,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Default,
    Debug,
    Serialize,
    Deserialize,
    utoipa::ToSchema,
)]
pub struct Usage {
    /// Processor time, in thousandths of a processor.
    pub cpu: u64,
    /// Memory that is theirs and cannot be dropped, in bytes.
    pub memory: u64,
}

impl Usage {
    /// What is told of `self`, which was just measured, after `told`.
    #[must_use]
    pub fn in_steps(self, told: Option<Self>) -> Self {
        let told = told.unwrap_or_default();
        Self {
            cpu: settled(told.cpu, self.cpu, LEAST_CPU),
            memory: settled(told.memory, self.memory, LEAST_MEMORY),
        }
    }

    /// With what others use.
    #[must_use]
    pub const fn plus(self, other: Self) -> Self {
        Self {
            cpu: self.cpu.saturating_add(other.cpu),
            memory: self.memory.saturating_add(other.memory),
        }
    }

    /// How much of a unit; `None`: that is nothing which is measured.
    #[must_use]
    pub fn get(self, unit: &str) -> Option<u64> {
        self.units().into_iter().find(|(name, _)| *name == unit).map(|(_, amount)| amount)
    }

    /// By unit, as demands are.
    #[must_use]
    pub const fn units<'a>(self) -> [(&'a str, u64); 2] {
        [(CPU, self.cpu), (MEMORY, self.memory)]
    }
}

impl From<Usage> for Amounts {
    fn from(usage: Usage) -> Self {
        let mut amounts = Self::default();
        usage.units().into_iter().for_each(|(unit, amount)| amounts.add(unit, amount));
        amounts
    }
}

impl fmt::Display for Usage {
    /// As demands are written: `cpu=0.25,memory=96M`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{CPU}={},{MEMORY}={}", written(CPU, self.cpu), written(MEMORY, self.memory))
    }
}

fn settled(told: u64, used: u64, least: u64) -> u64 {
    let stays = used <= told && used.saturating_mul(100) > told.saturating_mul(STAY_PERCENT);
    if stays { told } else { step(used, least) }
}

/// The next step: `least`, times a power of two, times 1, 1.25, 1.5 or 1.75.
fn step(used: u64, least: u64) -> u64 {
    if used < least {
        return 0;
    }
    let mut power = least;
    while let Some(double) = power.checked_mul(2).filter(|double| *double <= used) {
        power = double;
    }
    let quarters = (0..=4).map(|quarter| power.saturating_add(power / 4 * quarter));
    quarters.into_iter().find(|step| *step >= used).unwrap_or_else(|| power.saturating_mul(2))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    fn mib(memory: u64) -> Usage {
        Usage { cpu: 0, memory: memory * MIB }
    }

    #[test]
    fn it_is_rounded_up_to_a_step_and_never_much() {
        for used in (MIB..4_000 * MIB).step_by(777_777) {
            let told = Usage { cpu: 0, memory: used }.in_steps(None).memory;
            assert!(told >= used && told <= used + used / 4 + 1, "{used} is told as {told}");
        }
        let told = |cpu| Usage { cpu, memory: 0 }.in_steps(None).cpu;
        assert_eq!([9, 10, 11, 21, 1_000].map(told), [0, 10, 12, 25, 1_120]);
    }

    #[test]
    fn a_step_stays_while_what_is_used_moves_a_little() {
        let told = mib(100).in_steps(None);
        assert_eq!(told, mib(112));
        for used in [112, 100, 90, 70, 68] {
            assert_eq!(mib(used).in_steps(Some(told)), told, "{used} MiB");
        }
        assert_eq!(mib(113).in_steps(Some(told)), mib(128), "more is told at once");
        assert_eq!(mib(67).in_steps(Some(told)), mib(80), "much less, too");
        assert_eq!(mib(0).in_steps(Some(told)), mib(0));
    }

    #[test]
    fn the_largest_numbers_are_no_trouble() {
        let most = Usage { cpu: u64::MAX, memory: u64::MAX };
        assert_eq!(most.in_steps(None), most);
        assert_eq!(most.plus(most), most);
    }
}
