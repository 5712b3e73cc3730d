//! TLS around a stream: who is at the other end, before anything is said to it or read from it.

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ServerConfig};
use stead_model::NodeId;
use stead_trust::{Credentials, Identity, TrustError};
use thiserror::Error;
use tokio::net::TcpStream;
use tokio_rustls::{TlsAcceptor, TlsConnector, client, server};

/// Both directions, for one node.
#[derive(Clone, Debug)]
pub(crate) struct Tls {
    own: Identity,
    client: Current<ClientConfig>,
    server: Current<ServerConfig>,
}

/// What is used for the next connection; all that have it see another one at once.
#[derive(Debug)]
pub(crate) struct Current<T>(Arc<Mutex<Arc<T>>>);

impl<T> Clone for Current<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<T> Current<T> {
    pub(crate) fn new(first: Arc<T>) -> Self {
        Self(Arc::new(Mutex::new(first)))
    }

    pub(crate) fn get(&self) -> Arc<T> {
        Arc::clone(&self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(crate) fn set(&self, next: Arc<T>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = next;
    }
}

/// Why there is no stream.
#[derive(Debug, Error)]
pub(super) enum Broken {
    /// It ended, or nothing came: that happens to honest nodes, too.
    #[error(transparent)]
    Io(io::Error),
    /// Whoever is there is not the node that should be.
    #[error("{0}")]
    NotTrusted(String),
}

impl From<io::Error> for Broken {
    /// TLS tells what it does not believe, and what the other side did not believe, as data that is
    /// not valid.
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::InvalidData => Self::NotTrusted(error.to_string()),
            _ => Self::Io(error),
        }
    }
}

impl Tls {
    /// Of what a node proves itself with.
    pub(crate) fn new(credentials: &Credentials) -> Result<Self, TrustError> {
        let client = Current::new(credentials.client()?);
        let server = Current::new(credentials.server()?);
        Ok(Self { own: credentials.identity(), client, server })
    }

    /// Connections from now on prove themselves with these.
    pub(crate) fn rekey(&self, credentials: &Credentials) -> Result<(), TrustError> {
        let (client, server) = (credentials.client()?, credentials.server()?);
        self.client.set(client);
        self.server.set(server);
        Ok(())
    }

    /// Calls a peer over a connection to its address.
    pub(super) async fn call(
        &self,
        peer: NodeId,
        remote: SocketAddr,
        stream: TcpStream,
    ) -> Result<client::TlsStream<TcpStream>, Broken> {
        let connector = TlsConnector::from(self.client.get());
        let stream = connector.connect(ServerName::from(remote.ip()), stream).await?;
        self.is(peer, stream.get_ref().1.peer_certificates())?;
        Ok(stream)
    }

    /// Answers a caller at a peer's address.
    pub(super) async fn answer(
        &self,
        peer: NodeId,
        stream: TcpStream,
    ) -> Result<server::TlsStream<TcpStream>, Broken> {
        let acceptor = TlsAcceptor::from(self.server.get());
        let stream = acceptor.accept(stream).await?;
        self.is(peer, stream.get_ref().1.peer_certificates())?;
        Ok(stream)
    }

    /// A certificate of the cluster is not enough: it must be the one of the node whose address
    /// this is.
    fn is(&self, peer: NodeId, shown: Option<&[CertificateDer<'_>]>) -> Result<(), Broken> {
        let found = Identity::of(shown).map_err(|error| Broken::NotTrusted(error.to_string()))?;
        let expected = Identity { node: peer, ..self.own };
        if found == expected {
            return Ok(());
        }
        Err(Broken::NotTrusted(format!(
            "its certificate is that of {} of cluster {:x}, its address is that of {peer} of \
             cluster {:x}",
            found.node, found.cluster_id, expected.cluster_id
        )))
    }
}
