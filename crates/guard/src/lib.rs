//! The guard: the parent of everything stead runs on a node, and the one that stops it in time.
//!
//! [`admission`] decides (pure, also used by the simulator); the rest carries it out. It hosts no
//! resource code and speaks to no other node.

pub mod admission;
