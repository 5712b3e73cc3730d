//! The way into the cluster for hosts that show a join token, on a port of its own, the second
//! one above that of the nodes.
//!
//! ```text
//!   host                               member
//!    │ TLS, the authority is pinned      │ open while a token is good, else nobody listens
//!    │ ── version, secret ─────────────► │ asks its core whether the token is good
//!    │ ◄──────────── what the cluster is │
//!    │ ── reach me ────────────────────► │ calls back on every network
//!    │ ── admit me ────────────────────► │ asks the cluster; waits until its own log says so
//!    │ ◄──────── configuration, secrets  │
//! ```
//!
//! A thread of its own, while a token is good: nothing that happens here delays a heartbeat. Who
//! has not shown a good token is bounded in number, time and bytes, whatever its address, and gets
//! nothing but a refusal.
//!
//! Reading order: `wire`, `desk` (one conversation), `reach`. The host's side is `life/join`;
//! whom a token lets in the core decides (`core/db/tokens`).

mod desk;
mod reach;
pub(crate) mod wire;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rustls::ServerConfig;
use stead_core::Cluster;
use stead_model::record::Level;
use stead_model::{LogIndex, Time};
use stead_trust::{Credentials, TrustError};
use tokio::sync::watch;

use crate::board::Board;
use crate::bootstrap::Paths;
use crate::inbox::Inbox;
use crate::net::{Current, Peers};
use crate::records::Records;
use crate::threads::{self, Serving};
use desk::Desk;

/// How far the port is above that of the nodes: behind that of remote administration.
pub(crate) const ABOVE: u16 = 2;

/// The port on which hosts are let in.
#[must_use]
pub(crate) const fn port(of_nodes: u16) -> Option<u16> {
    of_nodes.checked_add(ABOVE)
}

/// What does not change while a node service lives.
#[derive(Clone, Debug)]
struct Setting {
    tls: Current<ServerConfig>,
    peers: Arc<Peers>,
    paths: Paths,
    records: Arc<Records>,
    inbox: Arc<Inbox>,
}

/// What conversations must know of the core.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
struct Standing {
    /// Whether some host may be let in.
    admits: bool,
    /// Index of the last applied entry.
    applied: LogIndex,
}

/// The way into the cluster by this node.
#[derive(Debug)]
pub(crate) struct Admission {
    setting: Setting,
    standing: watch::Sender<Standing>,
    /// Whether the thread is there.
    is_open: Arc<AtomicBool>,
}

impl Admission {
    pub(crate) fn new(
        tls: Arc<ServerConfig>,
        peers: Arc<Peers>,
        (paths, records, inbox): (Paths, Arc<Records>, Arc<Inbox>),
    ) -> Self {
        let tls = Current::new(tls);
        let setting = Setting { tls, peers, paths, records, inbox };
        Self { setting, standing: watch::Sender::default(), is_open: Arc::default() }
    }

    /// Nodes joined or are no members any more, or another use is made of the networks. A way
    /// that is open stays where it is until it is closed: good tokens name it.
    pub(crate) fn meet(&mut self, peers: Arc<Peers>) {
        self.setting.peers = peers;
    }

    /// Hosts that call from now on see these.
    pub(crate) fn rekey(&self, credentials: &Credentials) -> Result<(), TrustError> {
        self.setting.tls.set(credentials.admission_server()?);
        Ok(())
    }

    /// Opens with the first token that is good; the thread ends by itself with the last one.
    pub(crate) fn look(
        &self,
        core: (&Cluster, Time),
        (serving, board): (&mut Serving, &Arc<Board>),
    ) {
        let (cluster, now) = core;
        let admits = cluster.admits(now);
        let is_open = self.is_open.load(Ordering::Acquire);
        if !admits && !is_open {
            return;
        }
        let seen = Standing { admits, applied: cluster.applied() };
        self.standing.send_if_modified(|standing| {
            let is_news = *standing != seen;
            *standing = seen;
            is_news
        });
        if !is_open && let Err(why) = self.open(serving, board) {
            // Said once: it stays marked as open, and a new service tries again.
            let text = format!("no host can join by this node: {why}");
            self.setting.records.note(Level::Warning, "admission-failed", &text);
        }
    }

    fn open(&self, serving: &mut Serving, board: &Arc<Board>) -> std::io::Result<()> {
        self.is_open.store(true, Ordering::Release);
        let desk = Desk::new(self.setting.clone(), self.standing.subscribe(), Arc::clone(board));
        let is_open = Arc::clone(&self.is_open);
        let work = async move {
            desk.run().await;
            is_open.store(false, Ordering::Release);
        };
        serving.start("admission", (Arc::clone(&self.setting.inbox), threads::runtime()?), work)
    }
}
