//! Frames: how a message becomes bytes and back, between nodes and between processes of one node.
//!
//! ```text
//! 0      4        5      6          8         12       16          16+length
//! | magic| version| kind | reserved | length  | crc32  | payload   |
//! ```
//!
//! `kind` 0 is a clear frame: between processes of one node, and inside TLS between nodes. Kind 1
//! is a sealed datagram, which goes on differently after the kind (`stead-trust`, `datagram`) and
//! is refused here. All numbers are little-endian; the payload is postcard. Whatever a peer sends
//! is a value: nothing here panics on any input.

use serde::Serialize;
use serde::de::DeserializeOwned;
use thiserror::Error;

/// Bytes before the payload.
pub const HEADER_BYTES: usize = 16;
/// Largest payload accepted: a snapshot of the largest database and some.
pub const PAYLOAD_BYTES_MAX: usize = 80 << 20;
/// Format version written.
pub const VERSION: u8 = 1;

/// What every frame and every datagram begins with.
pub const MAGIC: [u8; 4] = *b"STD\x01";

/// Why bytes are no frame.
#[derive(Clone, PartialEq, Eq, Debug, Error)]
pub enum FrameError {
    /// They do not begin like one.
    #[error("not a stead frame: wrong magic {0:02x?}")]
    Magic([u8; 4]),
    /// Written by another version.
    #[error(
        "a program that writes frame version {found} wrote it, stead {own} here writes {VERSION}: \
         upgrade the older one",
        own = env!("CARGO_PKG_VERSION")
    )]
    Version {
        /// The version found.
        found: u8,
    },
    /// A kind this version does not accept.
    #[error("frame kind {0} is not accepted here")]
    Kind(u8),
    /// Too long.
    #[error("frame of {0} bytes, at most {PAYLOAD_BYTES_MAX} are allowed")]
    TooLong(usize),
    /// Damaged.
    #[error("frame checksum does not match")]
    Checksum,
    /// The payload does not decode.
    #[error("frame payload does not decode: {0}")]
    Payload(String),
}

/// Encodes a message as one frame.
///
/// # Panics
/// Never for our own message types: postcard into a growing buffer cannot fail for them.
#[must_use]
pub fn encode<M: Serialize>(message: &M) -> Vec<u8> {
    let mut bytes = vec![0; HEADER_BYTES];
    bytes = postcard::to_extend(message, bytes).expect("own messages encode");
    let payload = &bytes[HEADER_BYTES..];
    let (length, crc) = (payload.len() as u32, crc32fast::hash(payload));
    bytes[..4].copy_from_slice(&MAGIC);
    bytes[4] = VERSION;
    bytes[8..12].copy_from_slice(&length.to_le_bytes());
    bytes[12..16].copy_from_slice(&crc.to_le_bytes());
    bytes
}

/// Encodes a message without a frame, behind `room` zero bytes for a header of another kind.
///
/// # Panics
/// As [`encode`].
#[must_use]
pub fn encode_behind<M: Serialize>(room: usize, message: &M) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(room + TYPICAL_BYTES);
    bytes.resize(room, 0);
    postcard::to_extend(message, bytes).expect("own messages encode")
}

/// Most messages are shorter: they are encoded into one piece of memory.
const TYPICAL_BYTES: usize = 220;

/// Decodes a message that came without a frame.
///
/// # Errors
/// The bytes are no such message.
pub fn decode_bare<M: DeserializeOwned>(bytes: &[u8]) -> Result<M, FrameError> {
    postcard::from_bytes(bytes).map_err(|e| FrameError::Payload(e.to_string()))
}

/// Takes one frame off the front of `bytes`: the message and the bytes it used; `None` if the
/// frame is not complete yet.
///
/// # Errors
/// The bytes are no frame of ours; the connection they came from cannot be used any more.
pub fn decode<M: DeserializeOwned>(bytes: &[u8]) -> Result<Option<(M, usize)>, FrameError> {
    let Some(header) = bytes.first_chunk::<HEADER_BYTES>() else { return Ok(None) };
    let magic = [header[0], header[1], header[2], header[3]];
    if magic != MAGIC {
        return Err(FrameError::Magic(magic));
    }
    if header[4] != VERSION {
        return Err(FrameError::Version { found: header[4] });
    }
    if header[5] != 0 {
        return Err(FrameError::Kind(header[5]));
    }
    let length = u32::from_le_bytes([header[8], header[9], header[10], header[11]]) as usize;
    let crc = u32::from_le_bytes([header[12], header[13], header[14], header[15]]);
    if length > PAYLOAD_BYTES_MAX {
        return Err(FrameError::TooLong(length));
    }
    let end = HEADER_BYTES + length;
    let Some(payload) = bytes.get(HEADER_BYTES..end) else { return Ok(None) };
    if crc32fast::hash(payload) != crc {
        return Err(FrameError::Checksum);
    }
    Ok(Some((decode_bare(payload)?, end)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_round_trip_and_wait_for_the_rest() {
        let frame = encode(&(7u32, "hello"));
        for cut in 0..frame.len() {
            assert_eq!(decode::<(u32, String)>(&frame[..cut]).unwrap(), None);
        }
        let (message, used) = decode::<(u32, String)>(&frame).unwrap().unwrap();
        assert_eq!((message, used), ((7, "hello".into()), frame.len()));
    }

    #[test]
    fn every_flipped_bit_is_noticed_or_waits() {
        let frame = encode(&(7u32, "hello"));
        for bit in 0..frame.len() * 8 {
            let mut bad = frame.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            let reserved = (48..64).contains(&bit);
            if let Ok(Some(_)) = decode::<(u32, String)>(&bad) {
                assert!(reserved, "bit {bit} went unnoticed");
            }
        }
    }
}
