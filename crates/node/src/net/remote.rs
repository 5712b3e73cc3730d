//! Administration from other machines: the API inside mutual TLS 1.3, on a port of its own.
//!
//! ```text
//!   nobody may ask ──► no port        somebody was added ──► one port per address of this node
//!                                                            and one at the cluster IP
//! ```
//!
//! Every node listens at the cluster IP, which comes to the one that has it at the moment: whoever
//! asks there needs not know which. A node proves that it is one of the cluster, at whatever
//! address it is reached, and nothing else counts for whoever asks.
//!
//! A certificate of the cluster is not enough: the cluster must name it (its fingerprint) for that
//! name and role. One that is named no more loses its connections at once. Who has not proved
//! itself is bounded per address and in all, and comes at a bounded rate.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use rustls::ServerConfig;
use stead_api::{Backend, Caller, router};
use stead_model::config::NodeConfig;
use stead_model::record::Level;
use stead_model::remote::RemoteAdmin;
use stead_model::view::{GroupView, View, cluster_ip};
use stead_trust::{AdminIdentity, Credentials, TrustError};
use tokio::net::TcpStream;
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::callers::Callers;
use super::incoming::listen;
use super::tls::Current;
use crate::records::Records;

/// A caller proves who it is within this time.
const PROOF_TIMEOUT: Duration = Duration::from_secs(5);
/// Callers that have not proved who they are, in all; of one address `Callers` bounds them.
const PROVING_MAX: usize = 64;
/// Connections served at once.
const SERVED_MAX: usize = 64;
/// Each address of the node takes a caller at most this often.
const PACE: Duration = Duration::from_millis(10);
/// A port that cannot be had is tried again after this time.
const RETRY: Duration = Duration::from_secs(5);

/// What the last view says.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
struct Known {
    /// Who may ask.
    admins: Vec<RemoteAdmin>,
    /// Where this node is.
    own: Vec<IpAddr>,
    /// Where the cluster can be asked, whichever node has it.
    cluster_ip: Option<IpAddr>,
}

/// The door for other machines.
#[derive(Debug)]
pub(crate) struct Remote {
    cluster_id: u64,
    port: u16,
    server: Current<ServerConfig>,
    known: watch::Sender<Known>,
    callers: Arc<Callers>,
    records: Arc<Records>,
    proving: Semaphore,
    serving: Semaphore,
}

impl Remote {
    /// A door that is open while somebody may ask.
    pub(crate) fn new(
        config: &NodeConfig,
        credentials: &Credentials,
        records: Arc<Records>,
    ) -> Result<Arc<Self>, TrustError> {
        let port = crate::remote::port(config.port);
        Ok(Arc::new(Self {
            cluster_id: config.cluster_id,
            port,
            server: Current::new(credentials.admin_server()?),
            known: watch::Sender::default(),
            callers: Arc::new(Callers::of_askers(Arc::clone(&records))),
            records,
            proving: Semaphore::new(PROVING_MAX),
            serving: Semaphore::new(SERVED_MAX),
        }))
    }

    /// Connections from now on prove themselves with these.
    pub(crate) fn rekey(&self, credentials: &Credentials) -> Result<(), TrustError> {
        self.server.set(credentials.admin_server()?);
        Ok(())
    }

    /// Takes from a view who may ask; and from its groups, where they were looked at, where that
    /// may be done besides the addresses of this node.
    pub(crate) fn look(&self, view: &View, groups: Option<&[GroupView]>) {
        let own = view.nodes.iter().filter(|node| node.node == view.node);
        let own = own.flat_map(|node| &node.addresses).map(|at| at.address);
        self.known.send_if_modified(|known| {
            let cluster_ip = groups.map_or(known.cluster_ip, cluster_ip);
            let is_old = known.admins == view.admins
                && known.own.iter().copied().eq(own.clone())
                && known.cluster_ip == cluster_ip;
            if !is_old {
                *known = Known { admins: view.admins.clone(), own: own.collect(), cluster_ip };
            }
            !is_old
        });
    }

    /// Serves until the future is dropped.
    pub(crate) async fn run(self: Arc<Self>, backend: Arc<dyn Backend>) {
        let own = Arc::clone(&self).keep(Arc::clone(&backend), |remote, known| {
            let open = known.own.iter().filter(|_| !known.admins.is_empty());
            open.map(|address| SocketAddr::new(*address, remote.port)).collect()
        });
        // A door of its own: what is asked at the node's addresses goes on when it changes.
        let of_cluster = Arc::clone(&self).keep(backend, |remote, known| {
            let open = known.cluster_ip.filter(|_| !known.admins.is_empty());
            open.map(|address| SocketAddr::new(address, remote.port)).into_iter().collect()
        });
        tokio::join!(own, of_cluster);
    }

    /// Keeps the doors open that there shall be.
    async fn keep(
        self: Arc<Self>,
        backend: Arc<dyn Backend>,
        wanted: fn(&Self, &Known) -> Vec<SocketAddr>,
    ) {
        let mut known = self.known.subscribe();
        loop {
            let addresses = wanted(&self, &known.borrow_and_update());
            let mut doors = JoinSet::new();
            for address in addresses.clone() {
                doors.spawn(Arc::clone(&self).open(address, Arc::clone(&backend)));
            }
            // With the doors the connections end, too.
            if known.wait_for(|known| wanted(&self, known) != addresses).await.is_err() {
                return;
            }
        }
    }

    async fn open(self: Arc<Self>, address: SocketAddr, backend: Arc<dyn Backend>) {
        let mut told = false;
        let listener = loop {
            match listen(address) {
                Ok(listener) => break listener,
                Err(error) if !told => {
                    told = true;
                    let text = format!("other machines cannot ask this node at {address}: {error}");
                    self.records.note(Level::Warning, "remote-not-open", &text);
                }
                Err(_) => {}
            }
            tokio::time::sleep(RETRY).await;
        };
        let mut connections = JoinSet::new();
        loop {
            if let Ok((stream, from)) = listener.accept().await {
                let number = self.callers.number();
                let serve = Arc::clone(&self).serve((from, number), stream, Arc::clone(&backend));
                let task = connections.spawn(serve);
                self.callers.wait(from.ip(), number, task);
            }
            while connections.try_join_next().is_some() {}
            tokio::time::sleep(PACE).await;
        }
    }

    async fn serve(
        self: Arc<Self>,
        (from, number): (SocketAddr, u64),
        stream: TcpStream,
        backend: Arc<dyn Backend>,
    ) {
        let proved = self.proved(from.ip(), stream).await;
        self.callers.done(from.ip(), number);
        let (stream, admin) = match proved {
            Ok(proved) => proved,
            Err(why) => return self.callers.without_role(&format!("{from}: {why}")),
        };
        let Ok(_seat) = self.serving.try_acquire() else { return };
        let who = format!("`{}` from {from} by certificate", admin.admin);
        let caller = Caller { who: who.into(), role: Some(admin.role) };
        let mut known = self.known.subscribe();
        tokio::select! {
            () = stead_api::server::answer(stream, router(backend), caller) => {}
            // Named no more, or the service ends.
            _ = known.wait_for(|known| !known.admins.contains(&admin)) => {}
        }
    }

    /// Lets a caller prove who it is; the reason if it does not.
    async fn proved(
        &self,
        from: IpAddr,
        stream: TcpStream,
    ) -> Result<(TlsStream<TcpStream>, RemoteAdmin), String> {
        let _seat = self.proving.try_acquire().map_err(|_| "too many prove who they are")?;
        let accept = TlsAcceptor::from(self.server.get()).accept(stream);
        let stream = match tokio::time::timeout(PROOF_TIMEOUT, accept).await {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) => return Err(error.to_string()),
            Err(_) => return Err(format!("{from} did not prove who it is in time")),
        };
        let shown = stream.get_ref().1.peer_certificates();
        let (found, certificate) = AdminIdentity::of(shown).map_err(|error| error.to_string())?;
        let AdminIdentity { cluster_id, role, admin } = found;
        let claimed = RemoteAdmin { admin, role, certificate: certificate.to_string() };
        if cluster_id != self.cluster_id || !self.known.borrow().admins.contains(&claimed) {
            return Err(format!(
                "the certificate of `{}` does not count (any more)",
                claimed.admin
            ));
        }
        Ok((stream, claimed))
    }
}
