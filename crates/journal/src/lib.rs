//! The journal: one format for the node's own log, the quorum disk and the witness file.
//!
//! A voter must not forget what it promised, on any medium, through any power cut. The journal
//! keeps numbered records and one snapshot in a bounded area, tells a torn write from damage, and
//! never turns damage into silence. It is pure: no IO, no clock, no randomness. Writes come out as
//! values whose completions go back in ([`Journal`]); reads are asked for ([`Opening`]). So the
//! simulator can delay, tear or lose each of them.
//!
//! # On the disk
//!
//! Everything is little-endian and aligned to 4096 bytes.
//!
//! ```text
//!  node's own log, one file               quorum disk or witness file
//!  ┌──────────┬────────────────────┐      ┌──────────┬──────────────────┬────────┬────────┬─
//!  │ identity │ area               │      │ identity │ header table     │ area 0 │ area 1 │ ..
//!  │ 4 KiB    │                    │      │ 4 KiB    │ 4 KiB x slots    │        │        │
//!  └──────────┴────────────────────┘      └──────────┴──────────────────┴────────┴────────┴─
//!
//!  area   ┌──────────────┬──────────────┬────────────────────────┬────────────┬────────────┐
//!         │ superblock   │ superblock   │ ring of blocks         │ snapshot 1 │ snapshot 2 │
//!         │ even, 4 KiB  │ odd, 4 KiB   │ 8 MiB                  │ slot       │ slot       │
//!         └──────────────┴──────────────┴────────────────────────┴────────────┴────────────┘
//!
//!  block  ┌── sector 0, 512 bytes ────────────────────┬─────┬── sector 7 ──────────────────┐
//!  4 KiB  │ head 64 │ content 440           │ stamp 8 │ ... │ content 488 │ check 16 │ st. │
//!         └─────────┴───────────────────────┴─────────┴─────┴─────────────┴──────────┴─────┘
//!
//!  head    magic "stjb" · format · kind · life · counter · at · durable · first record
//!          · index · blocks · content bytes
//!  check   own log: CRC-32 over disk id, head, content.   shared media: ChaCha20-Poly1305 tag over
//!          head and encrypted content; key = HKDF-SHA256(cluster key; disk id, slot, life),
//!          nonce = counter. The superblock holds positions only and stays readable.
//!  stamp   place (32 bits) and life (32 bits, masked with disk id and slot), the same in all
//!          eight sectors of one write. Not covered by the check.
//!
//!  superblock content   first sector: ring bytes, snapshot bytes, oldest life, start place,
//!                       start record, place at which the life began.
//!                       last sector: snapshot slot, life, id, covers, length
//!  record content       per record: length (32 bits), bytes; cut into blocks of 3952 bytes
//!  snapshot slot        chunks of 64 KiB (the last one shorter): magic "stjs" · format · life ·
//!                       counter · id · index · content bytes (48 in all), content, check 16
//!  header (one sector)  magic "stjh" · format · slot · disk id · claim · active · counter ·
//!                       incarnation · BLAKE3 keyed with the cluster key · CRC-32
//!  identity             magic "stead id" · format · use · disk id · slots · ring bytes ·
//!                       snapshot bytes · BLAKE3 keyed with the cluster key · CRC-32
//! ```
//!
//! # How it works
//!
//! *Place.* The log is an endless row of blocks; `at` counts them. The block at place `at` lies in
//! the ring at `at mod ring blocks`, so a block of an earlier round never fits where it lies.
//!
//! *Life.* One span of writing: the epoch on shared media, the number of openings in the own log.
//! The superblock that begins a life is durable before its first append goes out and names the
//! place where it begins. Below that place everything was there when it began, so what is missing
//! is damage; from there on only this life counts, so whatever a crash left behind the end cannot
//! join what is written later, not even where that is torn as well.
//!
//! *Batch.* All records of one append (R10: HardState and entries of one Ready are one record).
//! It counts only if all its blocks are valid, and always starts in a fresh block: nothing that
//! was acknowledged is ever written again in place. That costs 4 KiB per append; rewriting or
//! carrying forward half-full blocks would save ring space, but no device writes, and would put
//! acknowledged records at risk or in two places.
//!
//! *The end of the log* is its first incomplete batch. Each block says what was durable when it
//! was made (`durable`), and stamps tell a half-written block from one that was changed later. If
//! the end contradicts either, it is damage: an error with the place, never a shorter log. One
//! flipped bit anywhere leaves the contents as they were or gives an error.
//!
//! *Snapshot.* Written into the slot that is not in use; then the superblock switches; then the
//! ring is free up to the first record that is not contained. [`Journal::needs_snapshot`] asks for
//! one when half of the ring is used.
//!
//! *What cannot be seen:* a device that acknowledged the very last write and lost it entirely
//! leaves no trace, unless something was appended after it.
//!
//! # Invariants
//!
//! - I-ACK: a record whose number `durable_seq` has reached is in every later opening, or that
//!   opening fails.
//! - R2, H2: what adoption reads is what one superblock described, during all of the reading.
//! - R10: an append appears whole or not at all.
//! - A nonce is used once: counters only grow within a life, and a life has one [`Journal`].
//!
//! *Not here:* claim, adopt and guard (R1 to R3) are machines of the core; files and devices
//! belong to the node's executor.

mod area;
mod batch;
mod block;
mod bytes;
mod geometry;
mod header;
mod identity;
mod journal;
mod opening;
mod planted;
mod plate;
mod ring;
mod seal;
mod snapshot;
mod superblock;

pub use area::{Area, AreaError, RING_BYTES, RING_BYTES_MAX, RING_BYTES_MIN};
pub use block::{BLOCK_BYTES, BlockFault, FORMAT_VERSION};
pub use geometry::{
    DATABASE_LIMIT_BYTES, DATABASE_LIMIT_BYTES_MIN, Geometry, GeometryError, NODES_DEFAULT,
};
pub use header::{Header, HeaderPlace};
pub use identity::{Identity, Medium};
pub use journal::{
    AppendError, Appended, Contents, CreateError, Fresh, Journal, Progress, SnapshotError, Write,
    WriteId,
};
pub use opening::{OpenError, Opened, Opening, Recovered, Resumed, StaleEpoch, Step};
pub use planted::Planted;
pub use plate::PlateError;
pub use ring::Damage;
pub use seal::{ClusterKey, DiskId, Plain, Seal, Sealed};
pub use snapshot::Snapshot;
