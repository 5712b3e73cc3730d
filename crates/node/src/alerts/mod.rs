//! Alerts of this node: somebody outside the cluster is told of records.
//!
//! Core judges what is due ([`stead_core::alerts`]); here it is done. All of it runs on a thread of
//! its own, which is there only while the database has alerts: whoever is called may hang without
//! the node service noticing. `desk` keeps what waits, `call` makes one call, `memory` remembers
//! over restarts what waits.

mod call;
mod desk;
mod memory;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use stead_model::alert::Track;
use stead_model::record::Level;
use stead_model::view::View;
use stead_model::{AlertId, NodeId, VoterId};
use tokio::sync::{mpsc, oneshot, watch};

use crate::inbox::Inbox;
use crate::records::Records;
use crate::threads::{self, Serving};
use desk::Desk;

/// Tests that may wait at once.
const TESTS_MAX: usize = 8;
/// Pauses before a web address is tried again; then the record is given up. Long enough to
/// outlive a failover and a restart of whoever is called.
const PAUSES: [Duration; 4] = [
    Duration::from_secs(1),
    Duration::from_secs(4),
    Duration::from_secs(15),
    Duration::from_secs(60),
];

/// What the desk works with.
#[derive(Clone, Debug)]
struct Setting {
    /// Where it remembers what waits.
    path: PathBuf,
    cluster: String,
    node: NodeId,
    records: Arc<Records>,
    tracks: Arc<Mutex<BTreeMap<AlertId, Track>>>,
    pauses: &'static [Duration],
}

/// The alerts that there are, and whether changes of the database are told by this node.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
struct Standing {
    alerts: BTreeMap<AlertId, BTreeMap<String, String>>,
    leads: bool,
}

/// A sample that somebody wants to be told.
#[derive(Debug)]
struct Test {
    alert: AlertId,
    answer: oneshot::Sender<Result<String, String>>,
}

/// The alerts of this node.
#[derive(Debug)]
pub(crate) struct Alerts {
    setting: Setting,
    standing: watch::Sender<Standing>,
    /// Whether the thread is there.
    is_open: Arc<AtomicBool>,
    tests: Mutex<Option<mpsc::Sender<Test>>>,
}

impl Alerts {
    pub(crate) fn new(path: PathBuf, cluster: String, node: NodeId, records: Arc<Records>) -> Self {
        let tracks = Arc::default();
        let setting = Setting { path, cluster, node, records, tracks, pauses: &PAUSES };
        let standing = watch::Sender::new(Standing::default());
        Self { setting, standing, is_open: Arc::default(), tests: Mutex::default() }
    }

    /// Takes the alerts of a view over, and adds to it how they go. Starts the thread with the
    /// first alert; it ends by itself with the last one.
    pub(crate) fn look(&self, view: &mut View, serving: (&mut Serving, &Arc<Inbox>)) {
        let is_open = self.is_open.load(Ordering::Acquire);
        if view.alerts.is_empty() && !is_open {
            return;
        }
        let seen = Standing::of(view);
        self.standing.send_if_modified(|standing| {
            let is_news = *standing != seen;
            *standing = seen;
            is_news
        });
        let tracks = self.setting.tracks.lock().unwrap_or_else(PoisonError::into_inner);
        for alert in &mut view.alerts {
            alert.track = tracks.get(&alert.alert).cloned().unwrap_or_default();
        }
        drop(tracks);
        if !is_open && let Err(why) = self.open(serving) {
            // Said once: it stays marked as open, and a new service tries again.
            let text = format!("no alert is told from this node: {why}");
            self.setting.records.note(Level::Error, "alert-failed", &text);
        }
    }

    fn open(&self, (serving, inbox): (&mut Serving, &Arc<Inbox>)) -> std::io::Result<()> {
        self.is_open.store(true, Ordering::Release);
        let (sender, tests) = mpsc::channel(TESTS_MAX);
        *self.tests.lock().unwrap_or_else(PoisonError::into_inner) = Some(sender);
        let (desk, standing) = (Desk::open(self.setting.clone()), self.standing.subscribe());
        let is_open = Arc::clone(&self.is_open);
        let work = async move {
            desk.run(standing, tests).await;
            is_open.store(false, Ordering::Release);
        };
        serving.start("alerts", (Arc::clone(inbox), threads::runtime()?), work)
    }

    /// Tells a sample by an alert.
    ///
    /// # Errors
    /// Why it did not get through.
    pub(crate) async fn test(&self, alert: &AlertId) -> Result<String, String> {
        let (answer, answered) = oneshot::channel();
        let test = Test { alert: alert.clone(), answer };
        let tests = self.tests.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let sent = tests.is_some_and(|tests| tests.try_send(test).is_ok());
        let gone = || Err("this node is not ready for it; try again".to_owned());
        if sent { answered.await.unwrap_or_else(|_| gone()) } else { gone() }
    }
}

impl Standing {
    fn of(view: &View) -> Self {
        let alerts = view.alerts.iter().map(|a| (a.alert.clone(), a.properties.clone())).collect();
        let leads = view.quorum.leader.is_some_and(|leader| {
            leader == VoterId::from(view.node)
                || (leader.is_disk() && view.quorum.disk_host == Some(view.node))
        });
        Self { alerts, leads }
    }
}
