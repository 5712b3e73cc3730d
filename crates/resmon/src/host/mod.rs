//! The only place in the monitor that touches Linux besides sockets and files.

pub(crate) mod block;
pub(crate) mod capture;
pub(crate) mod check;
pub(crate) mod clock;
pub(crate) mod descriptor;
pub(crate) mod interface;
pub(crate) mod node;
pub(crate) mod usage;
pub(crate) mod users;
