//! What a node proves itself with, and the configurations of TLS made of it.

use std::fmt;
use std::sync::Arc;

use rustls::client::Resumption;
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use rustls::version::TLS13;
use rustls::{ClientConfig, ConfigBuilder, RootCertStore, ServerConfig, WantsVerifier};

use crate::identity::cluster_of;
use crate::verify::{FixedDay, SignedByAuthority, Trusted};
use crate::{Fingerprint, Identity, Secret, TrustError, unusable};

/// What nodes speak with each other inside TLS (ALPN).
pub const NODE_PROTOCOL: &[u8] = b"stead-node/1";
/// What a node that joins speaks with one that is a member.
pub const JOIN_PROTOCOL: &[u8] = b"stead-join/1";
/// What somebody who asks from another machine speaks with a node: that of every HTTP client.
pub const ADMIN_PROTOCOL: &[u8] = b"http/1.1";
/// Authorities that count at once: the present one, and one that follows it or went before.
const AUTHORITIES_MAX: usize = 2;

/// The certificate of a node, its key, and the authorities it trusts.
pub struct Credentials {
    identity: Identity,
    /// Its own certificate, then those of the authorities.
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
    authorities: Arc<RootCertStore>,
}

impl Credentials {
    /// Takes them from what the files of a node hold.
    ///
    /// # Errors
    /// They do not belong together, or `authorities` holds none or more than two certificates.
    pub fn from_pem(
        authorities: &str,
        certificate: &str,
        key: &Secret,
    ) -> Result<Self, TrustError> {
        let mut chain = certificates(certificate)?;
        chain.truncate(1);
        let identity = Identity::of(Some(&chain))?;
        let key = PrivateKeyDer::from_pem_slice(key.reveal().as_bytes())
            .map_err(|_| unusable("the key of the node is no key"))?;
        let known = certificates(authorities)?;
        if known.len() > AUTHORITIES_MAX {
            return Err(unusable(format_args!(
                "there are {} authorities, at most {AUTHORITIES_MAX} count at once",
                known.len()
            )));
        }
        let mut roots = RootCertStore::empty();
        for authority in known {
            if cluster_of(&authority)? != identity.cluster_id {
                return Err(unusable("authority and node belong to different clusters"));
            }
            roots.add(authority.clone()).map_err(unusable)?;
            chain.push(authority);
        }
        let own = Self { identity, chain, key, authorities: Arc::new(roots) };
        // Certificate and key that do not fit are found here, not at the first connection.
        own.server()?;
        Ok(own)
    }

    /// Who the node is.
    #[must_use]
    pub const fn identity(&self) -> Identity {
        self.identity
    }

    /// For streams that other nodes open: they must show a certificate of the cluster.
    ///
    /// # Errors
    /// Certificate and key do not fit.
    pub fn server(&self) -> Result<Arc<ServerConfig>, TrustError> {
        self.server_for(NODE_PROTOCOL)
    }

    /// For whoever asks from another machine: it must show a certificate of the cluster, and then
    /// be found to be one that the cluster names.
    ///
    /// # Errors
    /// Certificate and key do not fit.
    pub fn admin_server(&self) -> Result<Arc<ServerConfig>, TrustError> {
        self.server_for(ADMIN_PROTOCOL)
    }

    fn server_for(&self, protocol: &[u8]) -> Result<Arc<ServerConfig>, TrustError> {
        let provider = provider();
        let roots = Arc::clone(&self.authorities);
        let verifier = WebPkiClientVerifier::builder_with_provider(roots, Arc::clone(&provider));
        let verifier = verifier.build().map_err(unusable)?;
        let begun = server_of(provider)?.with_client_cert_verifier(verifier);
        let made = begun.with_single_cert(self.chain.clone(), self.key.clone_key());
        Ok(Arc::new(served(made.map_err(unusable)?, protocol)))
    }

    /// For a node that joins: it has a token and no certificate, and is told who this node is.
    ///
    /// # Errors
    /// Certificate and key do not fit.
    pub fn admission_server(&self) -> Result<Arc<ServerConfig>, TrustError> {
        let begun = server_of(provider())?.with_no_client_auth();
        let made = begun.with_single_cert(self.chain.clone(), self.key.clone_key());
        Ok(Arc::new(served(made.map_err(unusable)?, JOIN_PROTOCOL)))
    }

    /// For streams to other nodes.
    ///
    /// # Errors
    /// Certificate and key do not fit.
    pub fn client(&self) -> Result<Arc<ClientConfig>, TrustError> {
        let provider = provider();
        let trusted = Trusted::Authorities(Arc::clone(&self.authorities));
        let verifier = SignedByAuthority { trusted, provider: Arc::clone(&provider) };
        let begun =
            client_of(provider)?.dangerous().with_custom_certificate_verifier(Arc::new(verifier));
        let made = begun.with_client_auth_cert(self.chain.clone(), self.key.clone_key());
        Ok(Arc::new(called(made.map_err(unusable)?, NODE_PROTOCOL)))
    }
}

impl Clone for Credentials {
    fn clone(&self) -> Self {
        Self {
            identity: self.identity,
            chain: self.chain.clone(),
            key: self.key.clone_key(),
            authorities: Arc::clone(&self.authorities),
        }
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Credentials({})", self.identity.uri())
    }
}

/// For a node that joins: only a node whose authority has this fingerprint is talked to.
///
/// # Errors
/// Never with the algorithms this program is built with.
pub fn pinned_client(authority: Fingerprint) -> Result<Arc<ClientConfig>, TrustError> {
    let provider = provider();
    let trusted = Trusted::Pinned(authority);
    let verifier = SignedByAuthority { trusted, provider: Arc::clone(&provider) };
    let begun =
        client_of(provider)?.dangerous().with_custom_certificate_verifier(Arc::new(verifier));
    Ok(Arc::new(called(begun.with_no_client_auth(), JOIN_PROTOCOL)))
}

pub(crate) fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}

fn server_of(
    provider: Arc<CryptoProvider>,
) -> Result<ConfigBuilder<ServerConfig, WantsVerifier>, TrustError> {
    let begun = ServerConfig::builder_with_details(provider, Arc::new(FixedDay));
    begun.with_protocol_versions(&[&TLS13]).map_err(unusable)
}

pub(crate) fn client_of(
    provider: Arc<CryptoProvider>,
) -> Result<ConfigBuilder<ClientConfig, WantsVerifier>, TrustError> {
    let begun = ClientConfig::builder_with_details(provider, Arc::new(FixedDay));
    begun.with_protocol_versions(&[&TLS13]).map_err(unusable)
}

/// Every connection proves itself anew: streams live long, and nothing is kept for the next one.
fn served(mut config: ServerConfig, protocol: &[u8]) -> ServerConfig {
    config.alpn_protocols = vec![protocol.to_vec()];
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    config
}

pub(crate) fn called(mut config: ClientConfig, protocol: &[u8]) -> ClientConfig {
    config.alpn_protocols = vec![protocol.to_vec()];
    config.resumption = Resumption::disabled();
    config.enable_sni = false;
    config
}

pub(crate) fn certificates(pem: &str) -> Result<Vec<CertificateDer<'static>>, TrustError> {
    let all: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem.as_bytes()).collect();
    let all = all.map_err(|error| unusable(format_args!("it holds no certificate: {error}")))?;
    if all.is_empty() { Err(unusable("it holds no certificate")) } else { Ok(all) }
}
