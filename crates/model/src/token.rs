//! Join tokens as the cluster knows them: by the hash of their secret, never by the secret.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::ids::NodeId;
use crate::time::UtcMillis;

/// SHA-256 of the secret of a join token.
#[derive(
    Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize, utoipa::ToSchema,
)]
#[serde(transparent)]
pub struct TokenHash(pub [u8; 32]);

impl fmt::Display for TokenHash {
    /// As much as tells tokens of one cluster apart.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0[..4].iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// A token that lets one host become a node.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Token {
    /// Cluster time from which on it lets nobody in.
    pub until: UtcMillis,
    /// Whom it let in.
    pub used: Option<TokenUse>,
}

/// Whom a token let in.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct TokenUse {
    /// The attempt of a host: that one may go on where it was interrupted.
    pub by: Applicant,
    /// The node that the host became.
    pub node: NodeId,
}

/// A token as a host shows it to a member.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Shown {
    /// The token.
    pub token: TokenHash,
    /// The host's attempt.
    pub by: Applicant,
}

/// Random number of one host's way into a cluster, kept by it until it is there.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(transparent)]
pub struct Applicant(pub u64);
