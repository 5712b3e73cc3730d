//! Whether a certificate was signed by an authority of the cluster.
//!
//! A fixed day stands in for the clock (see the crate's page): every certificate of a node begins
//! before it and ends after it.

use std::sync::Arc;
use std::time::Duration;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::verify_server_cert_signed_by_trust_anchor;
use rustls::crypto::{CryptoProvider, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::time_provider::TimeProvider;
use rustls::{
    CertificateError, DigitallySignedStruct, Error, PeerIncompatible, RootCertStore,
    SignatureScheme,
};

use crate::Fingerprint;

/// 1 January 2025.
const DAY: UnixTime = UnixTime::since_unix_epoch(Duration::from_secs(1_735_689_600));

/// The fixed day.
#[derive(Debug)]
pub(crate) struct FixedDay;

impl TimeProvider for FixedDay {
    fn current_time(&self) -> Option<UnixTime> {
        Some(DAY)
    }
}

/// Which authorities count.
#[derive(Debug)]
pub(crate) enum Trusted {
    /// Those of the cluster; two while one follows the other.
    Authorities(Arc<RootCertStore>),
    /// The one with this fingerprint: the peer shows it behind its own certificate.
    Pinned(Fingerprint),
}

/// Takes the certificate of any node that a trusted authority signed. Which node it is, is read
/// out afterwards: the name of a server means nothing here.
#[derive(Debug)]
pub(crate) struct SignedByAuthority {
    pub(crate) trusted: Trusted,
    pub(crate) provider: Arc<CryptoProvider>,
}

impl SignedByAuthority {
    fn roots(&self, shown: &[CertificateDer<'_>]) -> Result<Arc<RootCertStore>, Error> {
        match &self.trusted {
            Trusted::Authorities(roots) => Ok(Arc::clone(roots)),
            Trusted::Pinned(pinned) => {
                let unknown = Error::InvalidCertificate(CertificateError::UnknownIssuer);
                let found = shown.iter().find(|shown| Fingerprint::of(shown) == *pinned);
                let mut roots = RootCertStore::empty();
                roots.add(found.ok_or(unknown)?.clone())?;
                Ok(Arc::new(roots))
            }
        }
    }
}

impl ServerCertVerifier for SignedByAuthority {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let own = ParsedCertificate::try_from(end_entity)?;
        let roots = self.roots(intermediates)?;
        let algorithms = self.provider.signature_verification_algorithms.all;
        verify_server_cert_signed_by_trust_anchor(&own, &roots, &[], now, algorithms)?;
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(Error::PeerIncompatible(PeerIncompatible::ServerTlsVersionIsDisabledByOurConfig))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
