//! The crate against the real kernel, in net namespaces the tests make for themselves.
#![expect(clippy::unwrap_used, reason = "a test ends at the first failure and shows where")]

mod addresses;
mod claims;
mod cuts;
mod links;
mod passage;
mod sandbox;
mod sockets;
mod wire;
