//! The authority of a cluster: made once, kept by every node, signs the certificates of nodes.

use std::fmt;
use std::time::SystemTime;

use rcgen::string::Ia5String;
use rcgen::{
    BasicConstraints, Certificate, CertificateParams, DistinguishedName, DnType,
    ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose, PublicKeyData, SanType,
    date_time_ymd,
};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use stead_model::role::Role;
use stead_model::{AdminId, NodeId};
use webpki::EndEntityCert;

use crate::identity::{cluster_of, cluster_uri};
use crate::{AdminIdentity, Fingerprint, Identity, TrustError, unusable};

/// Certificates say that they began on the first day of this year, long before any of them was
/// made: a clock that is behind refuses none.
const BEGINS: i32 = 2020;
/// A clock that shows an earlier year than this is not believed when a certificate is made.
const YEAR_FIRST: i32 = 2026;
/// How many years a certificate says that it lasts.
const YEARS_OF_AUTHORITY: i32 = 20;
const YEARS_OF_NODE: i32 = 10;

/// A text that nobody shall see.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Hides a text.
    #[must_use]
    pub const fn new(text: String) -> Self {
        Self(text)
    }

    /// The text, for the file or the sealed line it belongs in.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret")
    }
}

/// A certificate of a node and its key, in PEM.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Issued {
    /// The certificate.
    pub certificate: String,
    /// Its key.
    pub key: Secret,
}

impl Issued {
    /// What the certificate is named by.
    ///
    /// # Errors
    /// It is none.
    pub fn fingerprint(&self) -> Result<Fingerprint, TrustError> {
        let der = CertificateDer::from_pem_slice(self.certificate.as_bytes());
        Ok(Fingerprint::of(&der.map_err(unusable)?))
    }
}

/// The authority of one cluster.
pub struct Authority {
    cluster_id: u64,
    certificate: CertificateDer<'static>,
    certificate_pem: String,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    /// Makes the authority of a new cluster, or one that shall follow its present one.
    ///
    /// # Errors
    /// The system gives no random numbers.
    pub fn create(cluster_id: u64, now: SystemTime) -> Result<Self, TrustError> {
        let key = KeyPair::generate()?;
        let certificate: Certificate = params(cluster_id, now)?.self_signed(&key)?;
        let certificate_pem = certificate.pem();
        let certificate = certificate.der().clone();
        let issuer = Issuer::new(params(cluster_id, now)?, key);
        Ok(Self { cluster_id, certificate, certificate_pem, issuer })
    }

    /// Takes an authority from what its files hold; of several certificates the first is the one
    /// that signs.
    ///
    /// # Errors
    /// They hold no certificate of an authority, or a key that is not its.
    pub fn from_pem(certificate: &str, key: &Secret) -> Result<Self, TrustError> {
        let der = CertificateDer::from_pem_slice(certificate.as_bytes())
            .map_err(|error| unusable(format_args!("it holds no certificate: {error}")))?;
        let cluster_id = cluster_of(&der)?;
        // What the parser says of a key stays unsaid: it may quote it.
        let key = KeyPair::from_pem(key.reveal())
            .map_err(|_| unusable("the key of the authority is no key"))?;
        let parsed = EndEntityCert::try_from(&der).map_err(unusable)?;
        if parsed.subject_public_key_info().as_ref() != key.subject_public_key_info() {
            return Err(unusable("the key of the authority belongs to another certificate"));
        }
        let end = certificate.find(END).map_or(certificate.len(), |at| at + END.len());
        let certificate_pem = format!("{}\n", &certificate[..end]);
        let issuer = Issuer::new(params(cluster_id, SystemTime::UNIX_EPOCH)?, key);
        Ok(Self { cluster_id, certificate: der, certificate_pem, issuer })
    }

    /// The cluster.
    #[must_use]
    pub const fn cluster_id(&self) -> u64 {
        self.cluster_id
    }

    /// Its certificate in PEM.
    #[must_use]
    pub fn certificate_pem(&self) -> &str {
        &self.certificate_pem
    }

    /// Its key in PEM.
    #[must_use]
    pub fn key_pem(&self) -> Secret {
        Secret::new(self.issuer.key().serialize_pem())
    }

    /// What a join token names it by.
    #[must_use]
    pub fn fingerprint(&self) -> Fingerprint {
        Fingerprint::of(&self.certificate)
    }

    /// A new certificate for a node, with a new key.
    ///
    /// # Errors
    /// The system gives no random numbers.
    pub fn issue(&self, node: NodeId, now: SystemTime) -> Result<Issued, TrustError> {
        let identity = Identity { cluster_id: self.cluster_id, node };
        let usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        self.sign((&format!("stead node {}", node.0), identity.uri()), usages, now)
    }

    /// A new certificate, with a new key, for somebody who asks nodes from another machine. It
    /// counts as soon as the cluster names it, and as long.
    ///
    /// # Errors
    /// The system gives no random numbers.
    pub fn issue_admin(
        &self,
        role: Role,
        admin: &AdminId,
        now: SystemTime,
    ) -> Result<Issued, TrustError> {
        let (cluster_id, admin) = (self.cluster_id, admin.clone());
        let common = format!("stead {role} {admin}");
        let identity = AdminIdentity { cluster_id, role, admin };
        self.sign((&common, identity.uri()), vec![ExtendedKeyUsagePurpose::ClientAuth], now)
    }

    fn sign(
        &self,
        (common, uri): (&str, String),
        usages: Vec<ExtendedKeyUsagePurpose>,
        now: SystemTime,
    ) -> Result<Issued, TrustError> {
        let mut params = CertificateParams::default();
        params.distinguished_name = name(common);
        params.subject_alt_names = vec![SanType::URI(Ia5String::try_from(uri)?)];
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = usages;
        params.use_authority_key_identifier_extension = true;
        params.not_before = date_time_ymd(BEGINS, 1, 1);
        params.not_after = date_time_ymd(year(now) + YEARS_OF_NODE, 1, 1);
        let key = KeyPair::generate()?;
        let certificate = params.signed_by(&key, &self.issuer)?;
        Ok(Issued { certificate: certificate.pem(), key: Secret::new(key.serialize_pem()) })
    }
}

impl fmt::Debug for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Authority({:016x} {})", self.cluster_id, self.fingerprint())
    }
}

const END: &str = "-----END CERTIFICATE-----";

fn params(cluster_id: u64, now: SystemTime) -> Result<CertificateParams, TrustError> {
    let mut params = CertificateParams::default();
    // Nothing that may be renamed: a certificate of a node is matched with its issuer by this.
    params.distinguished_name = name(&format!("stead cluster {cluster_id:016x}"));
    params.subject_alt_names = vec![SanType::URI(Ia5String::try_from(cluster_uri(cluster_id))?)];
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params.not_before = date_time_ymd(BEGINS, 1, 1);
    params.not_after = date_time_ymd(year(now) + YEARS_OF_AUTHORITY, 1, 1);
    Ok(params)
}

fn name(common: &str) -> DistinguishedName {
    let mut name = DistinguishedName::new();
    name.push(DnType::CommonName, common);
    name
}

/// About the year that the clock shows; an end of ten years is not a matter of days.
fn year(now: SystemTime) -> i32 {
    const SECONDS_OF_YEAR: u64 = 31_556_952;
    let seconds = now.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let year = 1970 + (seconds / SECONDS_OF_YEAR).min(1000) as i32;
    year.max(YEAR_FIRST)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn an_authority_comes_back_from_its_files_and_no_other_key_fits() {
        let made = Authority::create(7, SystemTime::now()).unwrap();
        let read = Authority::from_pem(made.certificate_pem(), &made.key_pem()).unwrap();
        assert_eq!((read.cluster_id(), read.fingerprint()), (7, made.fingerprint()));
        assert_eq!(read.certificate_pem().trim(), made.certificate_pem().trim());
        let other = Authority::create(7, SystemTime::now()).unwrap();
        let wrong = Authority::from_pem(made.certificate_pem(), &other.key_pem()).unwrap_err();
        assert!(wrong.to_string().contains("belongs to another certificate"), "{wrong}");
        let node = made.issue(NodeId(1), SystemTime::now()).unwrap();
        let wrong = Authority::from_pem(&node.certificate, &node.key).unwrap_err();
        assert!(wrong.to_string().contains("no certificate of the authority"), "{wrong}");
        assert!(Authority::from_pem("noise", &node.key).is_err());
    }

    #[test]
    fn secrets_do_not_show() {
        let made = Authority::create(7, SystemTime::now()).unwrap();
        let node = made.issue(NodeId(1), SystemTime::now()).unwrap();
        let shown = format!("{made:?} {:?} {node:?}", made.key_pem());
        assert!(!shown.contains("PRIVATE"), "{shown}");
        let broken = Secret::new(made.key_pem().reveal().replace("MI", "MM"));
        let told = Authority::from_pem(made.certificate_pem(), &broken).unwrap_err();
        assert_eq!(told.to_string(), "the key of the authority is no key");
    }

    #[test]
    fn a_clock_that_shows_nonsense_makes_usable_certificates() {
        assert_eq!(year(SystemTime::UNIX_EPOCH), YEAR_FIRST);
        assert_eq!(year(SystemTime::UNIX_EPOCH + Duration::from_secs(u64::MAX / 4)), 2970);
    }
}
