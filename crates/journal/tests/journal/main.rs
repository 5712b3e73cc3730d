//! The journal on a disk that loses power, tears writes, changes bits and is read while written.

mod adoption;
mod bit_flips;
mod copies;
mod disk;
mod limits;
mod lives;
mod model;
#[cfg(feature = "planted")]
mod planted;
mod power_cut;
mod sealing;
mod workload;
