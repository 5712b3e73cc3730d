//! The reading side: superblock, snapshot, records; a machine that asks for bytes.
//!
//! ```text
//!   superblocks ─► snapshot ─► ring ─► done                       own log: nobody else writes
//!        ▲                        │
//!        └── changed, or damage ◄─┴─► superblocks again ─► done   adoption: the old host may
//!            seen for the first time       unchanged
//! ```
//!
//! Adoption reads an area that its old host may still be writing (R2 step 3, H2). What was read
//! counts only if the superblock is the same afterwards, because ring and slots are reused only
//! after a newer one is durable. Damage counts only if a second pass under the same superblock
//! finds the same: a block that is being written looks damaged for a moment.

use std::marker::PhantomData;

use crate::area::Area;
use crate::block::{BLOCK_BYTES, BlockFault};
use crate::journal::{Contents, Journal, Position, Write};
use crate::planted::Planted;
use crate::ring::{Break, Damage, RingReader};
use crate::seal::{Plain, Seal, Sealed};
use crate::snapshot::{self, Snapshot, SnapshotPlace};
use crate::superblock::{Found, Superblock};

/// What an [`Opening`] wants next.
#[derive(Debug)]
pub enum Step<S> {
    /// Read these bytes of the device and [`Opening::feed`] them.
    Read {
        offset: u64,
        len: u64,
    },
    Done(Box<Opened<S>>),
    Failed(OpenError),
}

/// A journal that was read.
#[derive(Debug)]
pub struct Opened<S> {
    pub contents: Contents,
    /// Life that wrote last: the epoch on shared media.
    pub life: u64,
    /// What was passed over without loss of anything acknowledged.
    pub recovered: Vec<Recovered>,
    /// How often the reading began anew because the area was being changed.
    pub restarts: u32,
    position: Position,
    seal: PhantomData<S>,
}

/// Something a power cut left behind.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Recovered {
    /// An interrupted append at this byte; its records were never acknowledged.
    TornTail { offset: u64 },
    /// An interrupted switch of superblocks; the other one is in force.
    BadSuperblock { offset: u64, fault: BlockFault },
}

/// Why a journal cannot be opened. Nothing was changed on the device.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum OpenError {
    #[error("journal at byte {offset}: nothing was ever written there; create it first")]
    Blank { offset: u64 },
    #[error(
        "journal at byte {offset}: neither superblock is valid (first: {first}; second: {second}); \
         do not format it, add this voter anew from the others"
    )]
    NoSuperblock { offset: u64, first: BlockFault, second: BlockFault },
    #[error(
        "journal at byte {offset}: it was made with a ring of {ring_bytes} bytes and snapshots of \
         {snapshot_bytes}, not with the sizes given; use the sizes it was made with"
    )]
    OtherSizes { offset: u64, ring_bytes: u64, snapshot_bytes: u64 },
    #[error(
        "journal at byte {offset}: the header says that epoch {active} is active, the newest log \
         is of epoch {found}; the disk lost writes: replace it by a new voter"
    )]
    Outdated { offset: u64, active: u64, found: u64 },
    #[error(
        "journal: the snapshot is damaged at byte {offset}; \
         keep the disk for analysis and add this voter anew from the others"
    )]
    SnapshotDamaged { offset: u64 },
    #[error(
        "journal: the log is damaged at byte {offset}, in or after record {seq}; \
         keep the disk for analysis and add this voter anew from the others"
    )]
    Damaged {
        offset: u64,
        seq: u64,
        #[source]
        damage: Damage,
    },
    #[error(
        "journal at byte {offset}: its superblock changed during each of {passes} readings; \
         its host still writes to it: claim again"
    )]
    KeepsChanging { offset: u64, passes: u32 },
    #[error("journal: a read at byte {offset} gave {got} of {wanted} bytes: the device is shorter")]
    ShortRead { offset: u64, wanted: u64, got: u64 },
    #[error("journal: the opening was fed or asked after its end")]
    Ended,
}

/// Why writing cannot go on in the given epoch.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("journal: epoch {epoch} cannot follow epoch {last}, which wrote here: claim a higher one")]
pub struct StaleEpoch {
    pub epoch: u64,
    pub last: u64,
}

/// Reads one log area; see the module. `S` is [`Plain`] or [`Sealed`].
#[derive(Debug)]
pub struct Opening<S> {
    area: Area,
    seal: Option<Seal>,
    audience: Audience,
    planted: Planted,
    phase: Phase,
    restarts: u32,
    suspicion: Option<(Option<Superblock>, OpenError)>,
    kind: PhantomData<S>,
}

#[derive(Clone, Copy, Debug)]
enum Audience {
    /// Nobody writes meanwhile.
    Quiet,
    /// The old host may still write; its header says that `active` is the epoch of the log.
    Live { active: u64 },
}

#[derive(Debug)]
enum Phase {
    Superblocks,
    Snapshot { place: SnapshotPlace, pass: Box<Pass> },
    Ring { pass: Box<Pass>, chunk_bytes: u64 },
    Again { pass: Box<Pass> },
    Read { pass: Box<Pass> },
    Failed(OpenError),
    Ended,
}

/// What one pass over the area has read.
#[derive(Debug)]
struct Pass {
    superblock: Superblock,
    recovered: Vec<Recovered>,
    snapshot: Vec<u8>,
    ring: RingReader,
}

impl<S: Into<Seal>> Opening<S> {
    /// Opens an area that nobody else writes: the node's own log, or any journal for inspection.
    pub fn quiet(area: Area, seal: S) -> Self {
        Self::begin(area, seal, Audience::Quiet)
    }

    /// Opens an area for adoption while its old host may still write to it. `active` is the epoch
    /// that the slot's header names.
    pub fn live(area: Area, seal: S, active: u64) -> Self {
        Self::begin(area, seal, Audience::Live { active })
    }

    fn begin(area: Area, seal: S, audience: Audience) -> Self {
        Self {
            area,
            seal: Some(seal.into()),
            audience,
            planted: Planted::default(),
            phase: Phase::Superblocks,
            restarts: 0,
            suspicion: None,
            kind: PhantomData,
        }
    }
}

impl<S> Opening<S> {
    /// Plants faults, for tests of the tests.
    pub fn with_planted(mut self, planted: Planted) -> Self {
        self.planted = planted;
        self
    }

    /// What to do now. A read is asked for again until it is fed; the end is given once.
    pub fn step(&mut self) -> Step<S> {
        if let Some((offset, len)) = self.wanted() {
            return Step::Read { offset, len };
        }
        match (std::mem::replace(&mut self.phase, Phase::Ended), self.seal.take()) {
            (Phase::Read { pass }, Some(seal)) => Step::Done(Box::new(self.opened(*pass, seal))),
            (Phase::Failed(error), _) => Step::Failed(error),
            (
                Phase::Superblocks
                | Phase::Snapshot { .. }
                | Phase::Ring { .. }
                | Phase::Again { .. }
                | Phase::Read { .. }
                | Phase::Ended,
                _,
            ) => Step::Failed(OpenError::Ended),
        }
    }

    /// Takes the bytes of the read that [`Opening::step`] asked for.
    pub fn feed(&mut self, bytes: &[u8]) {
        let wanted = self.wanted();
        let (Some(seal), Some((offset, wanted))) = (self.seal.take(), wanted) else {
            self.phase = Phase::Failed(OpenError::Ended);
            return;
        };
        let got = bytes.len() as u64;
        self.phase = match std::mem::replace(&mut self.phase, Phase::Ended) {
            _phase if got != wanted => Phase::Failed(OpenError::ShortRead { offset, wanted, got }),
            Phase::Superblocks => self.take_superblocks(bytes, &seal),
            Phase::Snapshot { place, pass } => self.take_snapshot(bytes, &seal, (place, pass)),
            Phase::Ring { pass, .. } => self.take_ring(bytes, &seal, pass),
            Phase::Again { pass } => self.take_again(bytes, &seal, pass),
            ended @ (Phase::Read { .. } | Phase::Failed(_) | Phase::Ended) => ended,
        };
        self.seal = Some(seal);
    }

    fn wanted(&self) -> Option<(u64, u64)> {
        match &self.phase {
            Phase::Superblocks | Phase::Again { .. } => Some((self.area.base(), 2 * BLOCK_BYTES)),
            Phase::Snapshot { place, pass } => {
                let done = snapshot::device_bytes(pass.snapshot.len() as u64);
                let left = snapshot::device_bytes(place.len) - done;
                Some((self.area.snapshot_offset(place.slot) + done, left.min(READ_BYTES_MAX)))
            }
            Phase::Ring { pass, chunk_bytes } => pass.ring.wanted().map(|(at, blocks)| {
                (self.area.ring_offset(at), (blocks * BLOCK_BYTES).min(*chunk_bytes))
            }),
            Phase::Read { .. } | Phase::Failed(_) | Phase::Ended => None,
        }
    }

    fn take_superblocks(&mut self, pair: &[u8], seal: &Seal) -> Phase {
        let offset = self.area.base();
        let found = Superblock::decode_pair(pair, &self.area, seal, self.planted);
        let Some(superblock) = newest(found) else {
            return self.doubt(None, no_superblock(offset, found));
        };
        match self.audience {
            Audience::Live { active } if superblock.life < active => {
                let outdated = OpenError::Outdated { offset, active, found: superblock.life };
                return self.doubt(Some(superblock), outdated);
            }
            Audience::Live { .. } | Audience::Quiet => {}
        }
        let ring = RingReader::new(self.area, seal, superblock);
        let recovered = bad_superblocks(&self.area, found);
        let pass = Box::new(Pass { superblock, recovered, snapshot: Vec::new(), ring });
        match superblock.snapshot {
            Some(place) if place.len > 0 => Phase::Snapshot { place, pass },
            Some(_) | None => Phase::Ring { pass, chunk_bytes: READ_BYTES_MIN },
        }
    }

    fn take_snapshot(
        &mut self,
        bytes: &[u8],
        seal: &Seal,
        at: (SnapshotPlace, Box<Pass>),
    ) -> Phase {
        let (place, mut pass) = at;
        let start = self.area.snapshot_offset(place.slot)
            + snapshot::device_bytes(pass.snapshot.len() as u64);
        let mut device = bytes.to_vec();
        let life_seal = seal.life(place.life);
        match snapshot::decode(&place, &mut device, &life_seal, &mut pass.snapshot) {
            Ok(()) if (pass.snapshot.len() as u64) < place.len => Phase::Snapshot { place, pass },
            Ok(()) => Phase::Ring { pass, chunk_bytes: READ_BYTES_MIN },
            Err(chunk) => {
                let offset = start + chunk as u64;
                self.doubt(Some(pass.superblock), OpenError::SnapshotDamaged { offset })
            }
        }
    }

    fn take_ring(&mut self, bytes: &[u8], seal: &Seal, mut pass: Box<Pass>) -> Phase {
        match pass.ring.take(bytes, seal) {
            Ok(()) => {}
            Err(_misfit) if self.planted.skip_reread() => pass.ring.cut_here(),
            Err(Break { at, damage }) => {
                let (offset, seq) = (self.area.ring_offset(at), pass.ring.next_seq);
                let damaged = OpenError::Damaged { offset, seq, damage };
                return self.doubt(Some(pass.superblock), damaged);
            }
        }
        let is_live = matches!(self.audience, Audience::Live { .. });
        if pass.ring.wanted().is_some() {
            let chunk_bytes = (bytes.len() as u64 * 2).clamp(READ_BYTES_MIN, READ_BYTES_MAX);
            Phase::Ring { pass, chunk_bytes }
        } else if is_live && !self.planted.skip_reread() {
            Phase::Again { pass }
        } else {
            Phase::Read { pass }
        }
    }

    fn take_again(&mut self, pair: &[u8], seal: &Seal, pass: Box<Pass>) -> Phase {
        let found = Superblock::decode_pair(pair, &self.area, seal, self.planted);
        if newest(found).map(|now| now.age()) == Some(pass.superblock.age()) {
            Phase::Read { pass }
        } else {
            self.begin_anew()
        }
    }

    /// An error in an area that is being written counts when it is found twice.
    fn doubt(&mut self, superblock: Option<Superblock>, error: OpenError) -> Phase {
        let suspicion = Some((superblock, error.clone()));
        match self.audience {
            Audience::Live { .. } if self.suspicion != suspicion && !self.planted.skip_reread() => {
                self.suspicion = suspicion;
                self.begin_anew()
            }
            Audience::Live { .. } | Audience::Quiet => Phase::Failed(error),
        }
    }

    fn begin_anew(&mut self) -> Phase {
        self.restarts += 1;
        if self.restarts < PASSES_MAX {
            return Phase::Superblocks;
        }
        Phase::Failed(OpenError::KeepsChanging { offset: self.area.base(), passes: PASSES_MAX })
    }

    fn opened(&self, pass: Pass, seal: Seal) -> Opened<S> {
        let Pass { superblock, mut recovered, snapshot: bytes, ring } = pass;
        let head_at = ring.end_at();
        if ring.is_torn {
            recovered.push(Recovered::TornTail { offset: self.area.ring_offset(head_at) });
        }
        let snapshot = superblock.snapshot.map(|place| Snapshot { covers: place.covers, bytes });
        let covered = snapshot.as_ref().map_or(0, |snapshot| snapshot.covers);
        let RingReader { next_seq, batches, records, .. } = ring;
        let next_seq = next_seq.max(covered + 1);
        Opened {
            contents: Contents { snapshot, records },
            life: superblock.life,
            recovered,
            restarts: self.restarts,
            position: Position { area: self.area, seal, superblock, batches, head_at, next_seq },
            seal: PhantomData,
        }
    }
}

/// A journal that is written again; its writes are to be carried out like all others.
#[derive(Debug)]
pub struct Resumed {
    pub contents: Contents,
    pub journal: Journal,
    pub writes: Vec<Write>,
}

impl Opened<Plain> {
    /// Goes on writing the node's own log.
    pub fn resume(self) -> Resumed {
        let life = self.life + 1;
        let (journal, writes) = Journal::resume(self.position, life);
        Resumed { contents: self.contents, journal, writes }
    }
}

impl Opened<Sealed> {
    /// Goes on writing in the same slot under a newly claimed epoch: adoption of the own slot,
    /// where nothing is copied (R2). The same epoch cannot go on: its nonces are used up.
    pub fn resume_as(self, epoch: u64) -> Result<Resumed, StaleEpoch> {
        if epoch <= self.life {
            return Err(StaleEpoch { epoch, last: self.life });
        }
        let (journal, writes) = Journal::resume(self.position, epoch);
        Ok(Resumed { contents: self.contents, journal, writes })
    }
}

fn newest(found: [Found; 2]) -> Option<Superblock> {
    found.into_iter().filter_map(Found::superblock).max_by_key(Superblock::age)
}

fn no_superblock(offset: u64, found: [Found; 2]) -> OpenError {
    match found {
        [Found::OtherSizes { ring_bytes, snapshot_bytes }, _]
        | [_, Found::OtherSizes { ring_bytes, snapshot_bytes }] => {
            OpenError::OtherSizes { offset, ring_bytes, snapshot_bytes }
        }
        [Found::Bad(BlockFault::Blank), Found::Bad(BlockFault::Blank)] => {
            OpenError::Blank { offset }
        }
        [first, second] => {
            OpenError::NoSuperblock { offset, first: first.fault(), second: second.fault() }
        }
    }
}

fn bad_superblocks(area: &Area, found: [Found; 2]) -> Vec<Recovered> {
    let faults = found.into_iter().enumerate().filter_map(|(index, found)| match found {
        Found::Bad(BlockFault::Blank) | Found::Valid(_) | Found::OtherSizes { .. } => None,
        Found::Bad(fault) => Some((index as u64, fault)),
    });
    faults
        .map(|(index, fault)| Recovered::BadSuperblock {
            offset: area.superblock_offset(index),
            fault,
        })
        .collect()
}

/// First read of the ring; each further one is twice as large, up to the maximum.
const READ_BYTES_MIN: u64 = 64 << 10;
/// Largest single read. A multiple of the snapshot's chunks.
const READ_BYTES_MAX: u64 = 1 << 20;
/// Readings of a changing area before giving up; its host learns within one guard that it lost it.
const PASSES_MAX: u32 = 32;
