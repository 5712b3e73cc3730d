//! The guard: the parent of everything stead runs on a node, and the one that stops it in time.
//!
//! [`admission`] decides (pure, also used by the simulator); [`process`] carries it out in one
//! thread: it starts node service and monitor, clones applications under the small [`init`], and
//! holds the deadline of the lease. It hosts no resource code and speaks to no other node.

pub mod admission;
pub mod init;
pub mod process;
mod sys;
