//! Groups from both sides: the planner on the leader and the owners, in a small world.

#[cfg(test)]
mod alerts;
#[cfg(test)]
mod core_group;
#[cfg(test)]
mod declared;
#[cfg(test)]
mod independent;
#[cfg(test)]
mod measured;
#[cfg(test)]
mod packing;
#[cfg(test)]
mod placement;
#[cfg(test)]
mod policies;
#[cfg(test)]
mod quarantine;
#[cfg(test)]
mod stories;
#[cfg(test)]
mod swarm;
#[cfg(test)]
mod upkeep;
#[cfg(test)]
mod view;
#[cfg(test)]
mod whole;
#[cfg(test)]
mod world;
