//! What somebody who asks nodes from another machine proves itself with: one file.
//!
//! Its certificate names cluster, role and name (`stead://CLUSTER/admin/operator/ops`), which no
//! certificate of a node does: neither can be used as the other. Whether it still counts is the
//! cluster's to say.

use std::fmt;
use std::sync::Arc;

use rustls::ClientConfig;
use rustls::RootCertStore;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use stead_model::AdminId;
use stead_model::role::Role;

use crate::credentials::{called, certificates, client_of, provider};
use crate::identity::{SCHEME, cluster_of, cluster_uri, read_hex, uris};
use crate::verify::{SignedByAuthority, Trusted};
use crate::{ADMIN_PROTOCOL, Fingerprint, Issued, Secret, TrustError, unusable};

/// The holder of a certificate for asking nodes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct AdminIdentity {
    /// The cluster, as in its configuration.
    pub cluster_id: u64,
    /// What it may do.
    pub role: Role,
    /// Its name.
    pub admin: AdminId,
}

impl AdminIdentity {
    /// Reads it, with what the certificate is named by, out of the certificates that somebody
    /// showed and TLS has verified.
    ///
    /// # Errors
    /// There is none, or it is none for asking nodes.
    pub fn of(shown: Option<&[CertificateDer<'_>]>) -> Result<(Self, Fingerprint), TrustError> {
        let own = shown.and_then(<[_]>::first);
        let own = own.ok_or_else(|| unusable("it showed no certificate"))?;
        let found = uris(own)?.iter().find_map(|uri| Self::read(uri));
        let found = found.ok_or_else(|| {
            unusable("its certificate is none for administration (`stead://CLUSTER/admin/…`)")
        })?;
        Ok((found, Fingerprint::of(own)))
    }

    pub(crate) fn uri(&self) -> String {
        format!("{}/admin/{}/{}", cluster_uri(self.cluster_id), self.role, self.admin)
    }

    fn read(uri: &str) -> Option<Self> {
        let (cluster, rest) = uri.strip_prefix(SCHEME)?.split_once("/admin/")?;
        let (role, name) = rest.split_once('/')?;
        let admin = AdminId::is_valid(name).then(|| AdminId::from(name))?;
        let found = Self { cluster_id: read_hex(cluster)?, role: Role::parse(role)?, admin };
        (found.uri() == uri).then_some(found)
    }
}

/// What such a file holds: the certificate, its key, and the authorities of the cluster.
pub struct AdminCredentials {
    identity: AdminIdentity,
    client: Arc<ClientConfig>,
}

impl AdminCredentials {
    /// The text of a file: the certificate first.
    #[must_use]
    pub fn file(issued: &Issued, authorities: &str) -> Secret {
        let key = issued.key.reveal();
        Secret::new(format!("{}{key}{authorities}", issued.certificate))
    }

    /// Takes them from the text of a file.
    ///
    /// # Errors
    /// It is no such file.
    pub fn from_file(text: &Secret) -> Result<Self, TrustError> {
        let mut shown = certificates(text.reveal())?;
        let (identity, _) = AdminIdentity::of(Some(&shown))?;
        let key = PrivateKeyDer::from_pem_slice(text.reveal().as_bytes())
            .map_err(|_| unusable("it holds no key"))?;
        let mut roots = RootCertStore::empty();
        for authority in shown.drain(1..) {
            if cluster_of(&authority)? != identity.cluster_id {
                return Err(unusable("authority and certificate belong to different clusters"));
            }
            roots.add(authority).map_err(unusable)?;
        }
        let provider = provider();
        let trusted = Trusted::Authorities(Arc::new(roots));
        let verifier = SignedByAuthority { trusted, provider: Arc::clone(&provider) };
        let begun =
            client_of(provider)?.dangerous().with_custom_certificate_verifier(Arc::new(verifier));
        let made = begun.with_client_auth_cert(shown, key).map_err(unusable)?;
        Ok(Self { identity, client: Arc::new(called(made, ADMIN_PROTOCOL)) })
    }

    /// Who it is.
    #[must_use]
    pub const fn identity(&self) -> &AdminIdentity {
        &self.identity
    }

    /// For connections to nodes. Who answers must still be found to be a node of the cluster.
    #[must_use]
    pub fn client(&self) -> Arc<ClientConfig> {
        Arc::clone(&self.client)
    }
}

impl fmt::Debug for AdminCredentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "AdminCredentials({})", self.identity.uri())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_admin_has_one_way_of_being_written() {
        let ops = AdminIdentity { cluster_id: 0xab, role: Role::Operator, admin: "ops".into() };
        assert_eq!(ops.uri(), "stead://00000000000000ab/admin/operator/ops");
        assert_eq!(AdminIdentity::read(&ops.uri()), Some(ops));
        for wrong in [
            "stead://00000000000000ab/admin/king/ops",
            "stead://00000000000000ab/admin/operator/a/b",
            "stead://00000000000000ab/admin/operator/",
            "stead://00000000000000ab/node/3",
            "stead://ab/admin/operator/ops",
        ] {
            assert_eq!(AdminIdentity::read(wrong), None, "{wrong}");
        }
    }
}
