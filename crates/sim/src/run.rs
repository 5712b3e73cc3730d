//! One run: a seed (or a script) from power-on to its verdict.

use std::cell::RefCell;

use stead_core::Fault;

use crate::checkers::Violation;
use crate::clock::Instant;
use crate::swarm::Plan;
use crate::tally::Tally;
use crate::trace::Detail;
use crate::world::{Setup, World};

/// Steps after which a run counts as one that never ends.
const STEPS_MAX: u64 = 5_000_000;

/// How a run ended.
#[derive(Debug)]
pub struct Outcome {
    /// Its seed.
    pub seed: u64,
    /// The first broken promise.
    pub violation: Option<Violation>,
    /// What happened, in numbers.
    pub tally: Tally,
    /// Hash over everything that happened.
    pub hash: u64,
    /// True time at the end.
    pub ended_at: Instant,
    /// Milestones, if they were kept.
    pub story: Vec<String>,
    /// All lines that were kept.
    pub lines: Vec<String>,
}

/// Runs a seed of the ordinary distribution.
#[must_use]
pub fn seed(seed: u64, planted: Option<Fault>, detail: Detail) -> Outcome {
    let plan = Plan::ordinary(seed);
    run(Setup { seed, plan, planted, detail, script: None })
}

/// Runs any world to its end.
#[must_use]
pub fn run(setup: Setup) -> Outcome {
    let seed = setup.seed;
    let mut world = World::new(setup);
    while world.tally.steps < STEPS_MAX && world.step() {}
    if world.tally.steps >= STEPS_MAX {
        let text = format!("the run does not end: {STEPS_MAX} steps");
        world.broken(crate::checkers::Promise::Converge, text);
    }
    world.count_all();
    Outcome {
        seed,
        violation: world.violation.take(),
        tally: world.tally,
        hash: world.trace.hash(),
        ended_at: world.now,
        story: world.trace.story().to_vec(),
        lines: world.trace.lines().map(str::to_owned).collect(),
    }
}

thread_local! {
    static LAST_PANIC: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// Panics of a core are caught by the core and become a violation; their message on standard
/// error would only bury the story, so only the place is kept.
pub fn silence_panics() {
    std::panic::set_hook(Box::new(|panic| {
        let place = panic.location().map(ToString::to_string);
        LAST_PANIC.with(|last| *last.borrow_mut() = place);
    }));
}

/// Where the last panic of this thread was, once.
#[must_use]
pub fn take_panic() -> Option<String> {
    LAST_PANIC.with(RefCell::take)
}
