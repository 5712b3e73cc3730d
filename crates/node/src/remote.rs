//! Asking a node from another machine: the client's side, and the port.
//!
//! Not here: who is believed by the node (`net/remote`).

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use rustls::pki_types::ServerName;
use stead_api::Client;
use stead_api::client::Wire;
use stead_trust::{AdminCredentials, Identity};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

/// The port for other machines: the one above that of the nodes.
#[must_use]
pub const fn port(of_nodes: u16) -> u16 {
    of_nodes.saturating_add(1)
}

/// A client of the node at an address, who proves itself with these credentials and talks to no
/// one but a node of their cluster.
#[must_use]
pub fn client(address: SocketAddr, credentials: &Arc<AdminCredentials>) -> Client {
    let credentials = Arc::clone(credentials);
    Client::over(address.to_string(), move || {
        let credentials = Arc::clone(&credentials);
        Box::pin(async move {
            let stream = TcpStream::connect(address).await?;
            let connector = TlsConnector::from(credentials.client());
            let stream = connector.connect(ServerName::from(address.ip()), stream).await?;
            let found = Identity::of(stream.get_ref().1.peer_certificates());
            let cluster = found.map_err(io::Error::other)?.cluster_id;
            if cluster != credentials.identity().cluster_id {
                return Err(io::Error::other("it is a node of another cluster"));
            }
            Ok(Box::new(stream) as Box<dyn Wire>)
        })
    })
}
