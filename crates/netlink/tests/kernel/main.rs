//! The crate against the real kernel, in net namespaces the tests make for themselves.

mod addresses;
mod links;
mod sandbox;
