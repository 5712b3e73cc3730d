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
use stead_core::db::Db;
use stead_model::record::Level;
use stead_model::resource_type::{DISK, PHYSICAL_DISK};
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
use wire::GroupDisk;

/// How far the port is above that of the nodes: behind that of remote administration.
pub(crate) const ABOVE: u16 = 2;

/// The port on which hosts are let in.
#[must_use]
pub(crate) const fn port(of_nodes: u16) -> Option<u16> {
    of_nodes.checked_add(ABOVE)
}

/// A host is told of so many bytes of disks; what is beyond, it is not told.
const DISKS_BYTES_MAX: usize = 32 << 10;
/// What one of them takes in an answer besides its names.
const DISK_BYTES: usize = 24;

/// The disks of the groups that a node which joins may own: those that anybody may own, for
/// possible owners are named one by one.
pub(crate) fn disks(db: &Db) -> Vec<GroupDisk> {
    let mut room = DISKS_BYTES_MAX;
    let mut disks = Vec::new();
    for group in db.groups().values() {
        let resources = || group.resources.values();
        if resources().any(|resource| resource.possible_owners.is_some()) {
            continue;
        }
        let paths = resources().filter(|resource| resource.kind == PHYSICAL_DISK);
        for path in paths.filter_map(|resource| resource.properties.get(DISK)) {
            let bytes = group.id.as_str().len() + path.len() + DISK_BYTES;
            let Some(left) = room.checked_sub(bytes) else { return disks };
            room = left;
            disks.push(GroupDisk { group: group.id.clone(), path: path.into() });
        }
    }
    disks
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

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use stead_model::change::Change;
    use stead_model::group::{Desired, GroupPolicy};
    use stead_model::resource::{ResourceConfig, ResourcePolicy};
    use stead_model::{Epoch, NodeId};

    use super::*;

    /// A group with one resource of this type and with this disk.
    fn make(db: &mut Db, name: &str, (kind, disk): (&str, &str), owner: Option<NodeId>) {
        let resource = ResourceConfig {
            id: format!("{name}-disk").as_str().into(),
            kind: kind.into(),
            properties: BTreeMap::from([(DISK.to_owned(), disk.to_owned())]),
            depends_on: BTreeSet::new(),
            possible_owners: owner.map(|owner| BTreeSet::from([owner])),
            desired: Desired::Online,
            policy: ResourcePolicy::default(),
            new_in: Epoch::default(),
        };
        let policy = GroupPolicy::default();
        db.rehearse(&Change::CreateGroup { group: name.into(), policy }).unwrap();
        db.rehearse(&Change::CreateResource { group: name.into(), resource }).unwrap();
    }

    #[test]
    fn a_host_is_told_the_disks_of_the_groups_that_it_may_own() {
        let mut db = Db::default();
        make(&mut db, "mail", (PHYSICAL_DISK, "/dev/disk/by-id/2"), None);
        make(&mut db, "web", ("dummy", "/dev/disk/by-id/3"), None);
        make(&mut db, "files", (PHYSICAL_DISK, "/dev/disk/by-id/1"), Some(NodeId(1)));
        let mail = GroupDisk { group: "mail".into(), path: "/dev/disk/by-id/2".into() };
        assert_eq!(disks(&db), std::slice::from_ref(&mail));
        let long = format!("/{}", "d".repeat(DISKS_BYTES_MAX / 2));
        make(&mut db, "x1", (PHYSICAL_DISK, &long), None);
        make(&mut db, "x2", (PHYSICAL_DISK, &long), None);
        let told = disks(&db);
        assert_eq!((told.len(), &told[0]), (2, &mail), "no more than an answer may have");
    }
}
