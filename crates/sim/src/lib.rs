//! The simulator: N cores in a deterministic world of faults, judged by one checker per promise.
//!
//! A seed chooses the world ([`swarm`]), the faults ([`faults`]) and every delay; it replays
//! bit-identically. The core, the guard's machine and the journal are the product's own code; what
//! is simulated is the outside: clocks ([`clock`]), networks ([`net`]), disks ([`disks`], [`io`]),
//! power and processes ([`machine`], [`keeper`], [`operation`]), administrators ([`clients`]).
//!
//! Reading order: [`world`], [`execute`], then whatever fails. [`checkers`] has the table of
//! promises, [`script`] the language of the directories under `scenarios/`, [`mutants`] the proof
//! that the checkers can fail.
//!
//! Not here: real processes and sockets (the lab), which tell the same stories.

pub mod acts;
pub mod agenda;
pub mod ambush;
pub mod checkers;
pub mod chores;
pub mod clients;
pub mod clock;
pub mod disks;
pub mod execute;
pub mod faults;
pub mod forcing;
mod interfaces;
pub mod io;
pub mod judge;
pub mod keeper;
mod keys;
pub mod machine;
pub mod monitor;
pub mod mutants;
pub mod net;
pub mod node;
pub mod operation;
pub mod rng;
pub mod rules;
pub mod run;
pub mod script;
pub mod soak;
pub mod swarm;
pub mod tally;
pub mod telling;
pub mod trace;
pub mod visits;
pub mod world;
