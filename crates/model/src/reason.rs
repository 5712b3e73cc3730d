//! Refusals: stable codes, each with a text for people and a hint what to do.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Why a request was refused or failed.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Reason {
    /// Stable code.
    pub code: Code,
    /// What failed, on which object.
    pub text: String,
    /// Because of what.
    pub cause: Option<String>,
    /// What to do about it.
    pub hint: Option<String>,
}

/// Stable refusal codes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Code {
    /// No such group, resource, node, type or property.
    NotFound,
    /// The name is taken.
    Exists,
    /// A value is malformed or out of range.
    Invalid,
    /// The object's state does not allow it.
    Conflict,
    /// This node has no quorum.
    NoQuorum,
    /// The cluster took too long to agree; the request may still take effect.
    Timeout,
    /// The change rate or size limit was hit.
    TooMuch,
    /// A bug: an own invariant was broken.
    Bug,
    /// Whoever asks may not: its role does not reach.
    Denied,
}

impl Reason {
    /// A refusal without cause and hint.
    #[must_use]
    pub fn new(code: Code, text: impl Into<String>) -> Self {
        Self { code, text: text.into(), cause: None, hint: None }
    }

    /// Adds the cause.
    #[must_use]
    pub fn because(mut self, cause: impl Into<String>) -> Self {
        self.cause = Some(cause.into());
        self
    }

    /// Adds the hint.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.text)?;
        if let Some(cause) = &self.cause {
            write!(f, ": {cause}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Reason {}
