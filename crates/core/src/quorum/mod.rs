//! The quorum disk: hosting the voter D safely on any device with sector-atomic writes (R1-R5).
//!
//! ```text
//!            3 renewals missed, nobody announced
//!  watching ───────────────────────────────────► claiming: read all, write claim, read all
//!     ▲  ▲                                          │ no higher claim
//!     │  └── higher claim seen ◄────────────────────┤
//!     │                                             ▼
//!     │                                          adopting: copy the newest log, write active
//!     │                                             │
//!     └── higher claim, I/O error, no leader ◄── live: every effect behind the guard (R3)
//! ```
//!
//! `table` reads the headers of all slots, `seat` watches, claims and adopts, `live` runs the
//! replica behind the guard, `seat/rekey` has the disk sealed with keys that follow.
//!
//! No clock and no reservation is trusted: whoever releases something has read all headers after
//! it was durable, so a newcomer that claimed before that read has seen it, and one that claimed
//! after it copies it.

mod live;
mod seat;
mod table;

pub(crate) use live::Released;
pub(crate) use seat::{Seat, SeatConfig, Surroundings, Turn};
pub(crate) use table::SeatKeys;
