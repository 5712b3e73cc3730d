//! The owner's side of groups: one resource by table, one node by stories and exhaustively.

#[cfg(test)]
mod bench;
#[cfg(test)]
mod exhaustive;
#[cfg(test)]
mod interfaces;
#[cfg(test)]
mod leftovers;
#[cfg(test)]
mod many;
#[cfg(test)]
mod mended;
#[cfg(test)]
mod own_monitor;
#[cfg(test)]
mod probes;
#[cfg(test)]
mod restart;
#[cfg(test)]
mod servers;
#[cfg(test)]
mod shapes;
#[cfg(test)]
mod stories;
#[cfg(test)]
mod table;
