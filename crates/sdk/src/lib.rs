//! Write a resource type of stead as a program of its own.
//!
//! stead runs the program under its guard and talks to it over stdin and stdout, one line of JSON
//! per message ([`protocol`]; the page for people is `docs/reference/external-types.md`). A type
//! implements [`Resource`] and calls [`run`]; everything else has a default. The program is
//! installed as `/etc/stead/types/NAME` (or by a package as `/usr/lib/stead/types/NAME`) on every
//! node that may own such a resource, whose type is then `ext:NAME`.
//!
//! A complete type, whose resource is a folder that is there while it is online:
//!
//! ```no_run
//! use std::path::PathBuf;
//! use stead_resource_sdk::{Call, Checked, Description, Form, Health, Property, Resource, Setup};
//!
//! struct Folder {
//!     path: PathBuf,
//! }
//!
//! impl Resource for Folder {
//!     fn describe() -> Description {
//!         Description::new("folder", env!("CARGO_PKG_VERSION"), "a folder that comes and goes")
//!             .property(Property::required("path", Form::Path, "where it is"))
//!     }
//!
//!     fn open(setup: Setup) -> Result<Self, String> {
//!         Ok(Self { path: setup.needed("path")?.into() })
//!     }
//!
//!     fn online(&self, _call: &Call) -> Result<(), String> {
//!         std::fs::create_dir_all(&self.path).map_err(|why| format!("cannot make it: {why}"))
//!     }
//!
//!     fn offline(&self, _call: &Call) -> Result<(), String> {
//!         match std::fs::remove_dir(&self.path) {
//!             Err(why) if why.kind() != std::io::ErrorKind::NotFound => Err(why.to_string()),
//!             Ok(()) | Err(_) => Ok(()),
//!         }
//!     }
//!
//!     fn is_alive(&self, _call: &Call) -> Checked {
//!         match self.path.is_dir() {
//!             true => Checked::good(),
//!             false => Checked { health: Health::Bad, text: "it is gone".to_owned() },
//!         }
//!     }
//! }
//!
//! fn main() -> std::process::ExitCode {
//!     stead_resource_sdk::run::<Folder>()
//! }
//! ```
//!
//! *Rules*, which `stead resource-type test PROGRAM` tries out: stdout belongs to the protocol, so
//! messages for people go to stderr (`stead resource logs` shows them); `online`, `offline` and
//! `terminate` may be called twice, and after a life of the program that ended at any point; what
//! takes long asks [`Call::is_cancelled`] or waits by [`Call::wait`]; online means that it serves.
//! A larger sample is `examples/counter.rs`.

pub mod protocol;
mod resource;
mod serve;

pub use protocol::{Checked, Control, Description, Form, Health, Property, Trial};
pub use resource::{Call, Cancelled, Resource, Setup, Teller};
pub use serve::run;
