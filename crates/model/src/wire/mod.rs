//! What crosses a socket: frames, and the messages in them.

pub mod codec;
pub mod guard;
pub mod monitor;
pub mod peer;
