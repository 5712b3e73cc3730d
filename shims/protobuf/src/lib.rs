//! The part of the `protobuf` 2 interface that `raft` 0.7 calls, with postcard as the encoding.
//!
//! Why: `raft` names `protobuf` as a dependency but calls three methods and one error type of it.
//! With this stand-in wired by `[patch.crates-io]` no protobuf code, no `protoc` and no advisory
//! against protobuf 2 enters the build, and a raft message has one encoding on the wire and on
//! disk.
//!
//! Refuses: it is not protobuf. Its bytes cannot be exchanged with protobuf peers, and nothing
//! beyond what `raft` needs is offered.

use serde::Serialize;
use serde::de::DeserializeOwned;
use std::any::type_name;

/// Result of a conversion between a message and its bytes.
pub type ProtobufResult<T> = Result<T, ProtobufError>;

/// Why a message could not be turned into bytes or read back.
#[derive(Debug, thiserror::Error)]
pub enum ProtobufError {
    /// The value could not be written.
    #[error("encode {message}")]
    Encode {
        /// Rust path of the message type.
        message: &'static str,
        /// What postcard says.
        source: postcard::Error,
    },
    /// The bytes are not a value of this message.
    #[error("decode {message}")]
    Decode {
        /// Rust path of the message type.
        message: &'static str,
        /// What postcard says.
        source: postcard::Error,
    },
    /// A value was read, but bytes are left after it.
    #[error("decode {message}: {count} bytes left over")]
    LeftOver {
        /// Rust path of the message type.
        message: &'static str,
        /// Number of bytes after the value.
        count: usize,
    },
}

/// A message with a byte form. A type opts in with an empty `impl`.
pub trait Message: Serialize + DeserializeOwned + Default {
    /// Length of the encoded message in bytes, saturating at `u32::MAX`.
    ///
    /// `raft` uses it to limit the size of an append message, so a value that cannot be encoded
    /// counts as the largest size: it then never shares a message with others.
    fn compute_size(&self) -> u32 {
        let flavor = postcard::ser_flavors::Size::default();
        postcard::serialize_with_flavor(self, flavor)
            .map_or(u32::MAX, |bytes| u32::try_from(bytes).unwrap_or(u32::MAX))
    }

    /// The encoded message.
    ///
    /// # Errors
    /// [`ProtobufError::Encode`] when postcard refuses the value.
    fn write_to_bytes(&self) -> ProtobufResult<Vec<u8>> {
        postcard::to_allocvec(self)
            .map_err(|source| ProtobufError::Encode { message: type_name::<Self>(), source })
    }

    /// Replaces `self` by the message in `bytes`; on an error `self` is unchanged.
    ///
    /// Zero bytes are the default message, as in protobuf: `raft` writes the entry that leaves a
    /// joint configuration by itself with no data at all.
    ///
    /// # Errors
    /// [`ProtobufError::Decode`] when the bytes are no such message, [`ProtobufError::LeftOver`]
    /// when there are more bytes than the message has.
    fn merge_from_bytes(&mut self, bytes: &[u8]) -> ProtobufResult<()> {
        *self = decode(bytes)?;
        Ok(())
    }
}

fn decode<M: Message>(bytes: &[u8]) -> ProtobufResult<M> {
    let message = type_name::<M>();
    if bytes.is_empty() {
        return Ok(M::default());
    }
    let (value, rest) = postcard::take_from_bytes(bytes)
        .map_err(|source| ProtobufError::Decode { message, source })?;
    if rest.is_empty() {
        Ok(value)
    } else {
        Err(ProtobufError::LeftOver { message, count: rest.len() })
    }
}
