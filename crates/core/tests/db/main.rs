//! The replicated database: applying, the barrier, what an administrator may ask for.

#[cfg(test)]
mod apply;
#[cfg(test)]
mod barrier;
#[cfg(test)]
mod core_group;
#[cfg(test)]
mod fixture;
#[cfg(test)]
mod networks;
#[cfg(test)]
mod pinned;
#[cfg(test)]
mod requests;
#[cfg(test)]
#[path = "../../../model/tests/pinned/sampler.rs"]
mod sampler;
#[cfg(test)]
mod servers;
#[cfg(test)]
mod tokens;
#[cfg(test)]
mod total;
