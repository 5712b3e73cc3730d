//! How blocks are protected: a checksum on the node's own disk, encryption on shared media.
//!
//! Both bind a block to the place it was written for (disk id, slot, life), so that a block of
//! another disk, slot or epoch is as invalid as a damaged one. A *life* is one span of writing: on
//! shared media the epoch, in the node's own log a number that grows with every opening. Sealed
//! blocks use one key per life and the write counter as nonce; a counter belongs to one `Journal`
//! value, starts at 0 and is never set back, and a life is never resumed, only followed by a
//! higher one, so no nonce is used twice under one key.

use chacha20poly1305::aead::{AeadInPlace, KeyInit};
use chacha20poly1305::{ChaCha20Poly1305, Key, Nonce, Tag};
use hkdf::Hkdf;
use sha2::Sha256;

use crate::bytes::put;

/// The 32 secret bytes that only nodes of the cluster hold.
#[derive(Clone, PartialEq, Eq)]
pub struct ClusterKey([u8; 32]);

impl ClusterKey {
    pub const fn new(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// A keyed hash of `message` for one purpose, named by `context`.
    pub(crate) fn mac(&self, context: &str, message: &[u8]) -> [u8; 32] {
        let key = blake3::derive_key(context, &self.0);
        *blake3::keyed_hash(&key, message).as_bytes()
    }
}

impl std::fmt::Debug for ClusterKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ClusterKey(secret)")
    }
}

/// Names one formatting of one disk or file: 16 random bytes, drawn anew by every formatting.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct DiskId(pub [u8; 16]);

impl std::fmt::Display for DiskId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// The node's own log: blocks in the clear with a CRC-32 over disk id, head and content.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Plain {
    pub disk: DiskId,
}

/// Shared media: blocks in ChaCha20-Poly1305 under HKDF-SHA256(cluster key; disk id, slot, epoch).
#[derive(Debug)]
pub struct Sealed {
    pub key: ClusterKey,
    pub disk: DiskId,
    pub slot: u32,
}

/// Either way of protecting a log area.
#[derive(Debug)]
pub enum Seal {
    Plain(Plain),
    Sealed(Sealed),
}

impl From<Plain> for Seal {
    fn from(plain: Plain) -> Self {
        Self::Plain(plain)
    }
}

impl From<Sealed> for Seal {
    fn from(sealed: Sealed) -> Self {
        Self::Sealed(sealed)
    }
}

impl Seal {
    pub(crate) fn life(&self, life: u64) -> LifeSeal {
        match self {
            Self::Plain(plain) => LifeSeal::Plain { binding: binding(plain.disk, 0) },
            Self::Sealed(sealed) => {
                let (_, key) = Hkdf::<Sha256>::extract(None, &sealed.key.0);
                let mut info = [0; 44];
                put(&mut info, 0, b"stead journal v1");
                put(&mut info, 16, &sealed.disk.0);
                put(&mut info, 32, &sealed.slot.to_le_bytes());
                put(&mut info, 36, &life.to_le_bytes());
                let mut block_key = [0; 32];
                key.expand(&info, &mut block_key)
                    .expect("32 bytes are a valid HKDF-SHA256 output length");
                LifeSeal::Sealed { cipher: ChaCha20Poly1305::new(Key::from_slice(&block_key)) }
            }
        }
    }

    /// What sector stamps are masked with, so that those of another disk or slot do not match.
    pub(crate) fn mark(&self) -> u32 {
        match self {
            Self::Plain(plain) => crc32fast::hash(&binding(plain.disk, 0)),
            Self::Sealed(sealed) => crc32fast::hash(&binding(sealed.disk, sealed.slot)),
        }
    }
}

fn binding(disk: DiskId, slot: u32) -> [u8; 20] {
    let mut bytes = [0; 20];
    put(&mut bytes, 0, &disk.0);
    put(&mut bytes, 16, &slot.to_le_bytes());
    bytes
}

/// The protection of one life.
pub(crate) enum LifeSeal {
    Plain { binding: [u8; 20] },
    Sealed { cipher: ChaCha20Poly1305 },
}

impl std::fmt::Debug for LifeSeal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Plain { .. } => "LifeSeal::Plain",
            Self::Sealed { .. } => "LifeSeal::Sealed",
        })
    }
}

impl LifeSeal {
    /// Protects `clear` against change and `hidden` against change and reading; returns the check.
    pub(crate) fn protect(&self, counter: u64, clear: &[u8], hidden: &mut [u8]) -> [u8; 16] {
        match self {
            Self::Plain { binding } => {
                let mut check = [0; 16];
                put(&mut check, 0, &crc(binding, clear, hidden));
                check
            }
            Self::Sealed { cipher } => cipher
                .encrypt_in_place_detached(&nonce(counter), clear, hidden)
                .expect("a block is far below the cipher's length limit")
                .into(),
        }
    }

    /// Opens `hidden` in place; false if anything was changed or belongs to another place.
    pub(crate) fn open(&self, counter: u64, clear: &[u8], sealed: (&mut [u8], [u8; 16])) -> bool {
        let (hidden, check) = sealed;
        match self {
            Self::Plain { binding } => check[..4] == crc(binding, clear, hidden),
            Self::Sealed { cipher } => cipher
                .decrypt_in_place_detached(&nonce(counter), clear, hidden, Tag::from_slice(&check))
                .is_ok(),
        }
    }
}

fn crc(binding: &[u8], clear: &[u8], hidden: &[u8]) -> [u8; 4] {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(binding);
    hasher.update(clear);
    hasher.update(hidden);
    hasher.finalize().to_le_bytes()
}

fn nonce(counter: u64) -> Nonce {
    let mut bytes = [0; 12];
    put(&mut bytes, 4, &counter.to_le_bytes());
    bytes.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sealed(key: u8, disk: u8, slot: u32) -> Seal {
        let key = ClusterKey::new([key; 32]);
        Sealed { key, disk: DiskId([disk; 16]), slot }.into()
    }

    #[test]
    fn a_block_opens_only_where_it_was_written() {
        let mut hidden = *b"hello";
        let check = sealed(1, 2, 3).life(4).protect(9, b"head", &mut hidden);
        assert_ne!(&hidden, b"hello");
        let opens = |seal: Seal, life: u64, counter: u64, clear: &[u8]| {
            let mut copy = hidden;
            let good = seal.life(life).open(counter, clear, (&mut copy, check));
            assert!(!good || &copy == b"hello");
            good
        };
        assert!(opens(sealed(1, 2, 3), 4, 9, b"head"));
        assert!(!opens(sealed(7, 2, 3), 4, 9, b"head"), "other key");
        assert!(!opens(sealed(1, 7, 3), 4, 9, b"head"), "other disk");
        assert!(!opens(sealed(1, 2, 7), 4, 9, b"head"), "other slot");
        assert!(!opens(sealed(1, 2, 3), 7, 9, b"head"), "other epoch");
        assert!(!opens(sealed(1, 2, 3), 4, 7, b"head"), "other counter");
        assert!(!opens(sealed(1, 2, 3), 4, 9, b"heat"), "other head");
    }

    #[test]
    fn a_plain_block_is_bound_to_its_disk() {
        let seal = |disk| Seal::from(Plain { disk: DiskId([disk; 16]) }).life(1);
        let mut hidden = *b"hello";
        let check = seal(1).protect(0, b"head", &mut hidden);
        assert!(seal(1).open(0, b"head", (&mut hidden, check)));
        assert!(!seal(2).open(0, b"head", (&mut hidden, check)));
    }

    #[test]
    fn secrets_do_not_show() {
        let seal = sealed(0x5a, 1, 0);
        assert!(!format!("{seal:?}").contains("90"));
        assert!(format!("{seal:?}").contains("secret"));
    }
}
