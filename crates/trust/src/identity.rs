//! What a certificate says about its holder, and how an authority is named in a join token.

use std::fmt;
use std::str::FromStr;

use rustls::pki_types::CertificateDer;
use stead_model::NodeId;
use webpki::EndEntityCert;

use crate::{TrustError, unusable};

pub(crate) const SCHEME: &str = "stead://";

/// The holder of a certificate.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Identity {
    /// The cluster, as in its configuration.
    pub cluster_id: u64,
    /// The node.
    pub node: NodeId,
}

impl Identity {
    /// Reads it out of the certificates that a peer showed and TLS has verified; the first one is
    /// the peer's own.
    ///
    /// # Errors
    /// There is none, or it names no node of a cluster.
    pub fn of(shown: Option<&[CertificateDer<'_>]>) -> Result<Self, TrustError> {
        let own = shown.and_then(<[_]>::first);
        let own = own.ok_or_else(|| unusable("it showed no certificate"))?;
        uris(own)?.iter().find_map(|uri| Self::read(uri)).ok_or_else(|| {
            unusable("its certificate names no node of a cluster (`stead://CLUSTER/node/NUMBER`)")
        })
    }

    pub(crate) fn uri(self) -> String {
        format!("{}/node/{}", cluster_uri(self.cluster_id), self.node.0)
    }

    fn read(uri: &str) -> Option<Self> {
        let (cluster, node) = uri.strip_prefix(SCHEME)?.split_once("/node/")?;
        let found = Self { cluster_id: read_hex(cluster)?, node: NodeId(node.parse().ok()?) };
        // One way of writing each: `+3` or `03` is no number of a node.
        (found.uri() == uri).then_some(found)
    }
}

/// What the certificate of a cluster's authority names.
pub(crate) fn cluster_uri(cluster_id: u64) -> String {
    format!("{SCHEME}{cluster_id:016x}")
}

/// The cluster of an authority's certificate.
pub(crate) fn cluster_of(certificate: &CertificateDer<'_>) -> Result<u64, TrustError> {
    let uris = uris(certificate)?;
    let found = uris.iter().find_map(|uri| read_hex(uri.strip_prefix(SCHEME)?));
    found.ok_or_else(|| unusable("it is no certificate of the authority of a cluster"))
}

pub(crate) fn uris<'a>(certificate: &'a CertificateDer<'_>) -> Result<Vec<&'a str>, TrustError> {
    let parsed = EndEntityCert::try_from(certificate)
        .map_err(|error| unusable(format_args!("it is no certificate: {error}")))?;
    Ok(parsed.valid_uri_names().collect())
}

pub(crate) fn read_hex(text: &str) -> Option<u64> {
    let digits = text.len() == 16 && text.bytes().all(|b| b.is_ascii_hexdigit());
    digits.then(|| u64::from_str_radix(text, 16).ok()).flatten()
}

/// SHA-256 of the certificate of an authority: short enough for a join token, and nobody can make
/// another certificate that has it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Fingerprint([u8; 32]);

impl Fingerprint {
    pub(crate) fn of(certificate: &CertificateDer<'_>) -> Self {
        let hash = ring::digest::digest(&ring::digest::SHA256, certificate);
        let mut bytes = [0; 32];
        bytes.copy_from_slice(hash.as_ref());
        Self(bytes)
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Fingerprint {
    type Err = TrustError;

    fn from_str(text: &str) -> Result<Self, TrustError> {
        let wrong = || unusable("a fingerprint has 64 digits of 0-9 and a-f");
        read_bytes(text).map(Self).ok_or_else(wrong)
    }
}

/// Exactly so many bytes, two digits of 0-9 and a-f each.
pub(crate) fn read_bytes<const BYTES: usize>(text: &str) -> Option<[u8; BYTES]> {
    if text.len() != 2 * BYTES || !text.bytes().all(|b| b.is_ascii_hexdigit()) {
        return None;
    }
    let mut bytes = [0; BYTES];
    for (at, byte) in bytes.iter_mut().enumerate() {
        *byte = u8::from_str_radix(&text[2 * at..2 * at + 2], 16).ok()?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_has_one_way_of_being_written() {
        let three = Identity { cluster_id: 0xab, node: NodeId(3) };
        assert_eq!(three.uri(), "stead://00000000000000ab/node/3");
        assert_eq!(Identity::read(&three.uri()), Some(three));
        for wrong in [
            "stead://00000000000000ab/node/03",
            "stead://00000000000000ab/node/+3",
            "stead://00000000000000ab/node/65536",
            "stead://00000000000000AB/node/3",
            "stead://ab/node/3",
            "stead://00000000000000ab/node/3/",
            "stead://00000000000000ab",
            "https://00000000000000ab/node/3",
        ] {
            assert_eq!(Identity::read(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn a_fingerprint_reads_back_and_nothing_else_is_one() {
        let some = Fingerprint([0x5a; 32]);
        assert_eq!(some.to_string().parse::<Fingerprint>().unwrap(), some);
        for wrong in ["", "5a", &"g0".repeat(32), &"+5".repeat(32), &"ä".repeat(32)] {
            assert!(wrong.parse::<Fingerprint>().is_err(), "{wrong}");
        }
    }
}
