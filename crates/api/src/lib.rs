//! The HTTP contract of stead: what may be read and asked of a node, as JSON over a Unix socket.
//!
//! ```text
//!   command line ── client ──► socket ── server ── routes ──► trait Backend (crate `node`)
//! ```
//!
//! Handlers only translate: HTTP to [`stead_model::request::Request`],
//! [`stead_model::reason::Reason`] to a status. Reads look at the last published view and never
//! touch the core. Reading order: `contract`, `backend`, `caller`, `routes`, `status`, `server`,
//! `stream`, `client`, `events`, `explain`, `attention`, `availability`, `tree`, `export`, `file`
//! and `backup` (declarations), `metrics`, `document`.
//!
//! Not here: decisions (crate `core`), rendering for people (crate `cli`).

pub mod attention;
pub mod availability;
pub mod backend;
pub mod backup;
mod caller;
pub mod client;
pub mod contract;
pub mod document;
pub mod events;
pub mod explain;
pub mod export;
pub mod file;
pub mod metrics;
mod routes;
pub mod server;
pub mod status;
mod stream;
pub mod tree;

pub use backend::{Backend, Later};
pub use caller::Caller;
pub use client::{Client, ClientError};
pub use routes::router;
pub use server::{bind, serve};
