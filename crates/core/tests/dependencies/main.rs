//! The six dependency rules (A-115, I-DEP), a module for each: its unit test and its property
//! test. The same rules are told as scenarios in `scenarios/dependencies/`, and the simulator
//! counts how often each was judged (`sim/checkers/dep`).
//!
//! Judged by what the guards of a small world hold and what its monitors have not answered yet,
//! never by what the code under test says of itself.

#[cfg(test)]
mod all_online_on_the_same_node;
#[cfg(test)]
mod any_number_in_the_same_group;
#[cfg(test)]
mod offline_before_any_it_depends_on;
#[cfg(test)]
mod online_after_all_it_depends_on;
#[cfg(test)]
mod online_on_one_node_only;
#[cfg(test)]
mod story;
#[cfg(test)]
mod wholly_in_one_group;
#[cfg(test)]
#[path = "../groups/world.rs"]
#[expect(dead_code, reason = "the stories of groups look at more of it")]
mod world;
