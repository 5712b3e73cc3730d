//! The network of one Linux host, changed and watched without any tool and without async.
//!
//! Four users: the lab builds its namespaces from veth pairs and bridges and cuts cables; the
//! `ip-address` resource adds, announces, probes and removes cluster addresses; the guard ties
//! their traffic to the lease; tests look at what the kernel made of it. Everything blocks, with a
//! time limit, and happens in the net namespace the calling thread is in. It works as root and
//! inside a user namespace.
//!
//! Not here: when an address may be added or must be gone (the core decides, the guard enforces).

mod address;
mod attribute;
mod channel;
mod claim;
mod cuts;
mod filter;
mod frame;
mod link;
mod mac;
mod monitor;
mod neighbour;
mod nftables;
mod packet;
mod passage;
mod route;
mod routing;
mod sockets;
mod tap;
mod tickle;
mod wait;

pub use address::{
    AddressEntry, AddressSpec, DuplicateCheck, PrefixRoute, SourceUse, encode_delete_address,
};
pub use channel::ExchangeError;
pub use claim::{Claim, ClaimError, ConflictWatch, Occupancy, PROBE_WAIT};
pub use cuts::{BridgeCuts, Cut, CutError, CutSupport, Frames, Port};
pub use link::{Link, LinkRef};
pub use mac::{Mac, MacParseError};
pub use monitor::{Event, Monitor};
pub use neighbour::{NeighbourEntry, NeighbourState};
pub use passage::{Passage, PassageError, addresses_pass};
pub use route::{ANSWER_LIMIT, IfIndex, Route, RouteError};
pub use routing::{RouteChoice, RouteEntry, RouteSpec, TABLE_MAIN};
pub use sockets::{Connection, DestroyError, Destroyed, Listing, destroy_sockets};
pub use tap::{Frame, Tap};
pub use tickle::Tickler;
