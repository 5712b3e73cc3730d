//! Datagrams that only nodes of the cluster can make and read.
//!
//! ```text
//! 0      4        5      6        8      10    12            20          28         36
//! | magic| version| kind | key id | from | to  | incarnation | meant for | sequence | sealed, tag
//! ```
//!
//! ChaCha20-Poly1305; everything before the sealed part is authenticated with it. The key is
//! HKDF-SHA256 of the cluster key for one sender in one incarnation, the nonce is addressee and
//! sequence: an incarnation is drawn at random for each life of a node service and its numbers
//! only grow, so none is used twice. The same bytes go out on every network.
//!
//! `meant for` is the incarnation of the addressee that the sender knows, and what makes a datagram
//! fresh: one that was recorded in an earlier life of either side opens, and is not believed. What
//! follows from that is in [`crate::Acquaintance`].

use std::fmt;

use ring::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::hkdf::{HKDF_SHA256, Prk, Salt};
use stead_model::wire::codec::{MAGIC, VERSION};
use stead_model::{Incarnation, NodeId};

/// Bytes before the sealed part.
pub const SEALED_HEADER_BYTES: usize = 36;
/// Bytes behind it.
pub const TAG_BYTES: usize = 16;
/// The kind of a sealed datagram, where frames in clear have 0.
const KIND: u8 = 1;
/// Set in the sequence of a greeting, which has numbers of its own.
const GREETING: u64 = 1 << 63;
/// Keys that open: the one that seals too, and one that follows it or went before.
const KEYS_MAX: usize = 2;

/// What is written before the sealed part.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Header {
    pub(crate) key: u16,
    pub(crate) from: NodeId,
    pub(crate) to: NodeId,
    pub(crate) incarnation: Incarnation,
    pub(crate) meant_for: Incarnation,
    /// With the mark of a greeting.
    number: u64,
}

impl Header {
    pub(crate) fn read(bytes: &[u8]) -> Option<Self> {
        let header = bytes.first_chunk::<SEALED_HEADER_BYTES>()?;
        let sealed = header[..4] == MAGIC && header[4] == VERSION && header[5] == KIND;
        if !sealed || bytes.len() < SEALED_HEADER_BYTES + TAG_BYTES {
            return None;
        }
        let short = |at: usize| u16::from_le_bytes([header[at], header[at + 1]]);
        let long = |at: usize| {
            let mut number = [0; 8];
            number.copy_from_slice(&header[at..at + 8]);
            u64::from_le_bytes(number)
        };
        Some(Self {
            key: short(6),
            from: NodeId(short(8)),
            to: NodeId(short(10)),
            incarnation: Incarnation(long(12)),
            meant_for: Incarnation(long(20)),
            number: long(28),
        })
    }

    fn write(&self, bytes: &mut [u8]) {
        bytes[..4].copy_from_slice(&MAGIC);
        (bytes[4], bytes[5]) = (VERSION, KIND);
        bytes[6..8].copy_from_slice(&self.key.to_le_bytes());
        bytes[8..10].copy_from_slice(&self.from.0.to_le_bytes());
        bytes[10..12].copy_from_slice(&self.to.0.to_le_bytes());
        bytes[12..20].copy_from_slice(&self.incarnation.0.to_le_bytes());
        bytes[20..28].copy_from_slice(&self.meant_for.0.to_le_bytes());
        bytes[28..36].copy_from_slice(&self.number.to_le_bytes());
    }

    /// The number of a message; a greeting has none.
    pub(crate) const fn sequence(&self) -> Option<u64> {
        if self.number & GREETING == 0 { Some(self.number) } else { None }
    }

    fn nonce(&self) -> Nonce {
        let mut nonce = [0; NONCE_LEN];
        nonce[..2].copy_from_slice(&self.to.0.to_le_bytes());
        nonce[4..].copy_from_slice(&self.number.to_le_bytes());
        Nonce::assume_unique_for_key(nonce)
    }

    /// Opens what stands behind the header, in place.
    pub(crate) fn open<'a>(&self, key: &LessSafeKey, bytes: &'a mut [u8]) -> Option<&'a [u8]> {
        let (header, sealed) = bytes.split_at_mut(SEALED_HEADER_BYTES);
        let opened = key.open_in_place(self.nonce(), Aad::from(&*header), sealed).ok()?;
        Some(opened)
    }
}

/// The keys of a cluster.
pub struct Keyring {
    cluster_id: u64,
    /// The first one seals.
    keys: Vec<(u16, Prk)>,
}

impl Keyring {
    /// Of one cluster key, or of two while one follows the other: the first one seals, both open.
    /// More are left out.
    #[must_use]
    pub fn new(cluster_id: u64, keys: &[[u8; 32]]) -> Self {
        let keys = keys.iter().take(KEYS_MAX).map(numbered);
        Self { cluster_id, keys: keys.collect() }
    }

    pub(crate) fn key(&self, id: u16, from: NodeId, life: Incarnation) -> Option<LessSafeKey> {
        let (_, key) = self.keys.iter().find(|(known, _)| *known == id)?;
        Some(self.derived(key, from, life))
    }

    /// Whether a key of that number still counts.
    pub(crate) fn has(&self, id: u16) -> bool {
        self.keys.iter().any(|(known, _)| *known == id)
    }

    fn derived(&self, key: &Prk, from: NodeId, life: Incarnation) -> LessSafeKey {
        let (cluster, from, life) =
            (self.cluster_id.to_le_bytes(), from.0.to_le_bytes(), life.0.to_le_bytes());
        let info: [&[u8]; 4] = [b"sender", &cluster, &from, &life];
        let okm = key.expand(&info, &CHACHA20_POLY1305).expect("32 bytes are a valid length");
        LessSafeKey::new(UnboundKey::from(okm))
    }
}

fn numbered(key: &[u8; 32]) -> (u16, Prk) {
    let key = Salt::new(HKDF_SHA256, b"stead datagram v1").extract(key);
    (number_of(&key), key)
}

/// Whether datagrams tell two cluster keys apart.
pub(crate) fn differ(one: &[u8; 32], other: &[u8; 32]) -> bool {
    numbered(one).0 != numbered(other).0
}

/// What tells the keys of a cluster apart; it says nothing about them.
fn number_of(key: &Prk) -> u16 {
    let mut number = [0; 32];
    let okm = key.expand(&[b"number"], HKDF_SHA256).expect("32 bytes are a valid length");
    okm.fill(&mut number).expect("as long as asked for");
    u16::from_le_bytes([number[0], number[1]])
}

impl fmt::Debug for Keyring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Keyring({:016x}, {} keys)", self.cluster_id, self.keys.len())
    }
}

/// Seals what one node sends in one life.
pub struct Sealer {
    id: u16,
    key: LessSafeKey,
    from: NodeId,
    incarnation: Incarnation,
    greetings: u64,
}

/// For whom a datagram is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Addressee {
    /// The node.
    pub node: NodeId,
    /// Its life as far as it is known; zero: not yet.
    pub incarnation: Incarnation,
}

impl Sealer {
    /// For one life of a node service.
    ///
    /// # Panics
    /// The keyring has no key.
    #[must_use]
    pub fn new(keys: &Keyring, from: NodeId, incarnation: Incarnation) -> Self {
        let (id, key) = keys.keys.first().expect("a cluster has a key");
        Self { id: *id, key: keys.derived(key, from, incarnation), from, incarnation, greetings: 0 }
    }

    /// Seals a message: `bytes` has room for the header in front. Every `sequence` is used once for
    /// an addressee.
    pub fn seal(&self, to: Addressee, sequence: u64, bytes: &mut Vec<u8>) {
        self.seal_as(to, sequence & !GREETING, bytes);
    }

    /// Says who this is to somebody who does not know it yet.
    #[must_use]
    pub fn greeting(&mut self, to: Addressee) -> Vec<u8> {
        self.greetings += 1;
        let mut bytes = Vec::with_capacity(SEALED_HEADER_BYTES + TAG_BYTES);
        bytes.resize(SEALED_HEADER_BYTES, 0);
        self.seal_as(to, self.greetings | GREETING, &mut bytes);
        bytes
    }

    fn seal_as(&self, to: Addressee, number: u64, bytes: &mut Vec<u8>) {
        let header = Header {
            key: self.id,
            from: self.from,
            to: to.node,
            incarnation: self.incarnation,
            meant_for: to.incarnation,
            number,
        };
        let (head, message) = bytes.split_at_mut(SEALED_HEADER_BYTES);
        header.write(head);
        let tag = self.key.seal_in_place_separate_tag(header.nonce(), Aad::from(&*head), message);
        bytes.extend_from_slice(tag.expect("far below the cipher's length limit").as_ref());
    }
}

impl fmt::Debug for Sealer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Sealer({} {})", self.from, self.incarnation)
    }
}
