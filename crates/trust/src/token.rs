//! A join token as an administrator carries it from a member to a host.
//!
//! ```text
//!   SECRET-FINGERPRINT@ADDRESS:PORT,ADDRESS:PORT
//! ```
//!
//! The fingerprint pins the authority: whoever answers at an address and is no node of that
//! cluster is not talked to, so the secret reaches members only.

use std::fmt;
use std::net::SocketAddr;
use std::str::FromStr;

use ring::rand::{SecureRandom, SystemRandom};
use stead_model::token::TokenHash;

use crate::{Fingerprint, TrustError, unusable};

/// Addresses that a token names at most.
const TOKEN_ADDRESSES_MAX: usize = 8;
const SECRET_BYTES: usize = 16;

/// The token.
#[derive(Clone, PartialEq, Eq)]
pub struct JoinToken {
    secret: [u8; SECRET_BYTES],
    authority: Fingerprint,
    members: Vec<SocketAddr>,
}

impl JoinToken {
    /// A new one with a secret of its own; of `members` the first few are named.
    ///
    /// # Errors
    /// The system gives no random numbers.
    pub fn create(
        authority: Fingerprint,
        mut members: Vec<SocketAddr>,
    ) -> Result<Self, TrustError> {
        let mut secret = [0; SECRET_BYTES];
        let drawn = SystemRandom::new().fill(&mut secret);
        drawn.map_err(|_| unusable("the system gives no random numbers"))?;
        members.truncate(TOKEN_ADDRESSES_MAX);
        Ok(Self { secret, authority, members })
    }

    /// What the cluster knows it by.
    #[must_use]
    pub fn hash(&self) -> TokenHash {
        hash(&self.secret)
    }

    /// What a member is shown, inside TLS.
    #[must_use]
    pub const fn secret(&self) -> &[u8; SECRET_BYTES] {
        &self.secret
    }

    /// The authority of the cluster that made it.
    #[must_use]
    pub const fn authority(&self) -> Fingerprint {
        self.authority
    }

    /// Where members let hosts in.
    #[must_use]
    pub fn members(&self) -> &[SocketAddr] {
        &self.members
    }

    /// What the cluster knows the token of a secret by.
    #[must_use]
    pub fn hash_of(secret: &[u8; SECRET_BYTES]) -> TokenHash {
        hash(secret)
    }
}

fn hash(secret: &[u8]) -> TokenHash {
    let digest = ring::digest::digest(&ring::digest::SHA256, secret);
    let mut bytes = [0; 32];
    bytes.copy_from_slice(digest.as_ref());
    TokenHash(bytes)
}

impl fmt::Display for JoinToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.secret.iter().try_for_each(|byte| write!(f, "{byte:02x}"))?;
        write!(f, "-{}@", self.authority)?;
        let members: Vec<String> = self.members.iter().map(ToString::to_string).collect();
        f.write_str(&members.join(","))
    }
}

impl fmt::Debug for JoinToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "JoinToken({})", self.hash())
    }
}

impl FromStr for JoinToken {
    type Err = TrustError;

    /// What is wrong with it is said without quoting it: it holds a secret.
    fn from_str(text: &str) -> Result<Self, TrustError> {
        let whole = || unusable("it is no join token, or not all of it: it was one line");
        let (secret, rest) = text.trim().split_once('-').ok_or_else(whole)?;
        let (authority, members) = rest.split_once('@').ok_or_else(whole)?;
        let secret = crate::identity::read_bytes(secret).ok_or_else(whole)?;
        let authority = authority.parse().map_err(|_| whole())?;
        let members: Result<Vec<SocketAddr>, _> = members.split(',').map(str::parse).collect();
        let members = members.map_err(|_| whole())?;
        if members.len() > TOKEN_ADDRESSES_MAX {
            return Err(whole());
        }
        Ok(Self { secret, authority, members })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn some() -> JoinToken {
        let authority = "5a".repeat(32).parse().unwrap();
        let members = ["10.1.0.1:7411", "[fd00::1]:7411"].map(|m| m.parse().unwrap());
        JoinToken::create(authority, members.to_vec()).unwrap()
    }

    #[test]
    fn a_token_reads_back_and_each_has_a_secret_of_its_own() {
        let (one, other) = (some(), some());
        let read: JoinToken = format!(" {one}\n").parse().unwrap();
        assert_eq!(read, one);
        assert_eq!(JoinToken::hash_of(read.secret()), one.hash());
        assert_ne!(one.hash(), other.hash());
        let many = vec!["10.1.0.1:7411".parse().unwrap(); 20];
        let cut = JoinToken::create(one.authority(), many).unwrap();
        assert_eq!(cut.to_string().parse::<JoinToken>().unwrap(), cut);
    }

    #[test]
    fn a_part_of_a_token_is_none_and_is_not_quoted() {
        let text = some().to_string();
        for end in 0..text.find(':').unwrap() {
            let error = text[..end].parse::<JoinToken>().unwrap_err().to_string();
            assert!(!error.contains(text.get(..8).unwrap()), "{error}");
        }
        for wrong in ["", "-@", "g0-5a@1.2.3.4:5"] {
            assert!(wrong.parse::<JoinToken>().is_err(), "{wrong}");
        }
        assert!(!format!("{:?}", some()).contains(&text[..32]));
    }
}
