//! Who belongs to a cluster: its authority, the certificates of its nodes, TLS between them, and
//! datagrams that only they can make.
//!
//! ```text
//!   Authority (ca.pem, ca.key) ── issues ──► node.pem, node.key
//!        │                                        │
//!   Fingerprint (in a join token)           Credentials ── server, client ──► mutual TLS 1.3
//!        └── pinned_client ──► a node that joins           Identity::of a verified peer
//! ```
//!
//! Every node keeps the key of the authority, so that any node can admit another one
//! ([decision 0024](../../../docs/decisions/0024-trust-crate.md)). A certificate names the cluster
//! and the node (`stead://CLUSTER/node/3`), never a host name or an address: those may change.
//!
//! **No clock decides here.** Certificates carry dates for people and foreign programs, and are
//! judged as of one fixed day on which all of them are valid: neither a wrong clock nor the end of
//! ten years cuts a running cluster. What ends membership is eviction, and a new authority.
//!
//! Secrets are in no `Debug` and no message. Not here: who may join (node service), sockets (node).

mod acquaintance;
mod admin;
mod authority;
mod credentials;
mod datagram;
mod files;
mod identity;
mod rotation;
mod token;
mod verify;

use std::io;
use std::path::PathBuf;

pub use acquaintance::{Acquaintance, Here, Opened, Refusal};
pub use admin::{AdminCredentials, AdminIdentity};
pub use authority::{Authority, Issued, Secret};
pub use credentials::{ADMIN_PROTOCOL, Credentials, JOIN_PROTOCOL, NODE_PROTOCOL, pinned_client};
pub use datagram::{Addressee, Keyring, SEALED_HEADER_BYTES, Sealer, TAG_BYTES};
pub use files::Pki;
pub use identity::{Fingerprint, Identity};
pub use rotation::Loaded;
use thiserror::Error;
pub use token::JoinToken;

/// Why a certificate, a key or a file of them cannot be used or made.
#[derive(Debug, Error)]
pub enum TrustError {
    /// A file cannot be used.
    #[error("cannot {verb} `{}`: {source}", path.display())]
    Io {
        /// What was tried.
        verb: &'static str,
        /// On what.
        path: PathBuf,
        /// Why it failed.
        source: io::Error,
    },
    /// Others may read a key.
    #[error("key `{}` has mode {mode:o}: not only its owner may use it", path.display())]
    Mode {
        /// The file.
        path: PathBuf,
        /// Its permissions.
        mode: u32,
    },
    /// A file holds something else than it should.
    #[error("`{}` cannot be used: {what}", path.display())]
    Content {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        what: String,
    },
    /// A certificate or key is not what it should be; in no file, or in one that the caller knows.
    #[error("{0}")]
    Unusable(String),
    /// A certificate or key cannot be made.
    #[error("cannot make a certificate: {0}")]
    Make(#[from] rcgen::Error),
}

impl TrustError {
    /// What to do about it.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Io { source, .. } if source.kind() == io::ErrorKind::NotFound => {
                Some("`stead cluster create` or `stead cluster join` makes it".into())
            }
            Self::Mode { path, .. } => Some(format!("chmod 0600 {}", path.display())),
            Self::Content { .. } => {
                Some("bring the right file back, or remove the node and join it anew".into())
            }
            Self::Io { .. } | Self::Unusable(_) | Self::Make(_) => None,
        }
    }

    /// The same with the file in which it was found.
    pub(crate) fn found_in(self, path: &std::path::Path) -> Self {
        match self {
            Self::Unusable(what) => Self::Content { path: path.to_owned(), what },
            other
            @ (Self::Io { .. } | Self::Mode { .. } | Self::Content { .. } | Self::Make(_)) => other,
        }
    }
}

pub(crate) fn unusable(what: impl std::fmt::Display) -> TrustError {
    TrustError::Unusable(what.to_string())
}
