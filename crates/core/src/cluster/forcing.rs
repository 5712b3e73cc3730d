//! Forced quorum: this node goes on without voters that an administrator says are off (R13).
//!
//! ```text
//!   confirmed ──► D claimed ──► L + g + m after the later of both ──► the log begins a new history
//!       │             │                     │
//!       └─────────────┴─────────────────────┴──► ended: one of them answers, or there is quorum
//! ```
//!
//! Nobody can know that all others are stopped: the administrator says so. The wait is for those
//! that are cut off and alive: without a majority none of them gets a new lease, and the last ones
//! are over by then. D is claimed before, so that none of them gets a majority with it meanwhile.
//!
//! Not here: what becomes of those that come back (`history`).

use std::collections::BTreeSet;

use stead_model::change::{Change, Entry};
use stead_model::config::QuorumMode;
use stead_model::forced::{Forced, History, names};
use stead_model::profile::LeaseLength;
use stead_model::reason::{Code, Reason};
use stead_model::record::Level;
use stead_model::request::Answer;
use stead_model::view::{ForcedView, ForcingView};
use stead_model::{NodeId, Span, Time, UtcMillis, VoterId};

use super::history::Remaking;
use super::{Cluster, Own};
use crate::db::Db;
use crate::db::snapshot::fold;
use crate::planted::Fault;

/// A quorum that is being forced.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Forcing {
    who: String,
    /// The voters that are said to be off.
    lost: BTreeSet<VoterId>,
    /// When the administrator said so.
    confirmed: Time,
    /// Since when D is hosted here.
    held: Option<Time>,
    /// Its generation, once the log is being replaced.
    generation: Option<u32>,
}

impl Cluster {
    /// An administrator confirmed that these voters are off.
    pub(super) fn force_quorum(
        &mut self,
        now: Time,
        who: &str,
        (node, lost): (NodeId, &BTreeSet<VoterId>),
    ) -> Answer {
        if let Err((cause, hint)) = self.may_force(now, node, lost) {
            let refused = Reason::new(Code::Conflict, format!("cannot force quorum on {node}"));
            return Answer::Refused(refused.because(cause).hint(hint));
        }
        let (who, lost) = (who.to_owned(), lost.clone());
        let (wait, without) = (self.forced_wait().as_millis().div_ceil(1_000), names(&lost));
        let needs = self.needs_disk(&lost);
        let disk = if needs { " after it has claimed the quorum disk" } else { "" };
        let notice = format!("{node} goes on without {without} in {wait} s{disk}");
        let text = format!("off, says {who}: {without}; {notice}");
        let (confirmed, held, generation) = (now, None, None);
        self.forcing = Some(Forcing { who, lost, confirmed, held, generation });
        self.record(now, Level::Warning, "quorum-forcing", text);
        Answer::Noted { index: self.applied(), notices: vec![notice] }
    }

    /// Why quorum cannot be forced, and what to do.
    fn may_force(
        &self,
        now: Time,
        node: NodeId,
        lost: &BTreeSet<VoterId>,
    ) -> Result<(), (String, String)> {
        let refused = |cause: &str, hint: &str| Err((cause.to_owned(), hint.to_owned()));
        let Some(own) = self.running().filter(|own| own.remaking.is_none()) else {
            return refused("its log is being read", "repeat the command in a moment");
        };
        if node != self.node {
            let hint = format!("run the command on {node}");
            return Err((format!("{} was asked, and only {node} can", self.node), hint));
        }
        if self.is_evicted(node) || !own.replica.is_member(VoterId::from(node)) {
            return refused("it is no member of the cluster", "`stead cluster join` makes it one");
        }
        if self.forcing.as_ref().is_some_and(|forcing| forcing.generation.is_some()) {
            return refused("it is being forced already", "`stead status` says how far that is");
        }
        if self.config.quorum.mode == QuorumMode::DiskOnly {
            let hint = "bring the disk back; a cluster that goes on without its disk is a new one";
            return refused("the quorum disk alone is the quorum of this cluster", hint);
        }
        if self.has_quorum(now) {
            return refused("it has quorum", "nothing has to be forced");
        }
        self.others_allow()?;
        self.is_so(now, lost)
    }

    fn has_quorum(&self, now: Time) -> bool {
        let limit = self.timing.election * 2;
        let hears = self.running().is_some_and(|own| own.replica.hears_leader(now, limit));
        self.asker.lease(now).is_some() || hears
    }

    /// Whether no node that answers forces quorum itself, or should.
    fn others_allow(&self) -> Result<(), (String, String)> {
        let Some(own) = self.running() else { return Ok(()) };
        let (is, last) = (own.replica.history(), own.replica.last());
        for node in self.heard_members() {
            let Some(peer) = self.histories.of(node) else { continue };
            if peer.forces {
                let hint = "wait until that is done: this node joins by itself then";
                return Err((format!("it is being forced on {node}"), hint.to_owned()));
            }
            if peer.history.generation > is.generation {
                let hint = "wait: this node joins it by itself when it has quorum";
                return Err((format!("it was forced before on the side of {node}"), hint.into()));
            }
            if peer.history == is && peer.last > last {
                let hint = format!("force it on {node}: nothing that it has is lost then");
                return Err((format!("{node} answers and has more of the log"), hint));
            }
        }
        Ok(())
    }

    /// Whether all that is silent is what the administrator said, and too much for a majority.
    fn is_so(&self, now: Time, lost: &BTreeSet<VoterId>) -> Result<(), (String, String)> {
        let Some(own) = self.running() else { return Ok(()) };
        let voters = own.replica.voters();
        let disk = voters.iter().copied().find(|v| v.is_disk());
        let hosted = self.disk_host(now).is_some();
        let answers = |voter: &VoterId| match voter.node() {
            Some(node) => node == self.node || self.links.is_heard(node),
            None => hosted,
        };
        let answering = voters.iter().filter(|v| answers(v)).count();
        if answering > voters.len() / 2 {
            let cause = format!("{answering} of {} votes answer", voters.len());
            return Err((cause, "that is a majority: wait for it".into()));
        }
        let silent: BTreeSet<VoterId> = voters.iter().copied().filter(|v| !answers(v)).collect();
        let nodes = |all: &BTreeSet<VoterId>| -> BTreeSet<VoterId> {
            all.iter().copied().filter(|v| !v.is_disk()).collect()
        };
        let disk_too = disk.is_some_and(|disk| lost.contains(&disk) && answers(&disk));
        if nodes(&silent) == nodes(lost)
            && lost.is_subset(&voters.iter().copied().collect())
            && !disk_too
        {
            return Ok(());
        }
        let cause = format!("silent are {}, and said to be off {}", names(&silent), names(lost));
        Err((cause, "look at `stead status`, and repeat the command with what is so".into()))
    }

    /// Nodes that answer and are members.
    fn heard_members(&self) -> Vec<NodeId> {
        let nodes = self.config.nodes.iter().map(|entry| entry.id);
        nodes.filter(|node| *node != self.node && self.links.is_heard(*node)).collect()
    }

    /// `L + g + m` of the longest lease that there can be.
    fn forced_wait(&self) -> Span {
        if self.planted.has(Fault::ForcedWithoutWait) {
            return Span::ZERO;
        }
        self.timing.wait(self.timing.length(LeaseLength::Absence))
    }

    /// Whether D is a voter and was not said to be lost.
    fn needs_disk(&self, lost: &BTreeSet<VoterId>) -> bool {
        if self.planted.has(Fault::ForcedWithoutDisk) {
            return false;
        }
        let voter = self.seat.as_ref().map(|seat| seat.voter());
        let votes = |v: &VoterId| self.running().is_some_and(|own| own.replica.is_voter(*v));
        voter.filter(votes).is_some_and(|disk| !lost.contains(&disk))
    }

    /// Whether D is claimed and held here, whoever leads.
    pub(super) fn forces_disk(&self) -> bool {
        self.forcing.as_ref().is_some_and(|forcing| self.needs_disk(&forcing.lost))
    }

    /// When the log may be replaced, as far as that is known.
    fn forced_at(&self) -> Option<Time> {
        let forcing = self.forcing.as_ref()?;
        let held = if self.needs_disk(&forcing.lost) { forcing.held? } else { forcing.confirmed };
        Some(forcing.confirmed.max(held) + self.forced_wait())
    }

    pub(super) fn forcing_deadline(&self) -> Option<Time> {
        let given_up = self.given_up_at(self.forcing.as_ref()?);
        Some(self.forced_at().unwrap_or(given_up))
    }

    /// When a node that has not claimed D by then gives up.
    fn given_up_at(&self, forcing: &Forcing) -> Time {
        forcing.confirmed + self.forced_wait() + DISK_PATIENCE
    }

    /// Takes what is being forced as far as it can go.
    pub(super) fn force_on(&mut self, now: Time) -> bool {
        let hosts = self.hosts_disk();
        let Some(forcing) = &mut self.forcing else { return false };
        forcing.held = if hosts { forcing.held.or(Some(now)) } else { None };
        let forcing = forcing.clone();
        if let Some(generation) = forcing.generation {
            // D is held until the new history has a leader.
            let begun = self.history().generation == generation && self.has_quorum(now);
            if begun {
                self.forcing = None;
            }
            return begun;
        }
        if let Some(why) = self.why_not_any_more(now, &forcing) {
            self.forcing = None;
            let text = format!("quorum is not forced: {why}");
            self.record(now, Level::Warning, "quorum-not-forced", text);
            return true;
        }
        let at = self.forced_at();
        let busy = self.running().is_none_or(|o| o.remaking.is_some() || o.replica.has_ready());
        if busy || at.is_none_or(|at| now < at) || !self.disk_is_aligned() {
            return false;
        }
        self.begin_history(now, &forcing);
        true
    }

    /// What shows that the administrator is wrong, or that nothing has to be forced.
    fn why_not_any_more(&self, now: Time, forcing: &Forcing) -> Option<String> {
        if self.has_quorum(now) {
            return Some("this node has quorum".into());
        }
        let lost = forcing.lost.iter().filter_map(|v| v.node());
        if let Some(node) = lost.clone().find(|node| self.links.is_heard(*node)) {
            return Some(format!("{node} is not off, it answers"));
        }
        let forces = |node: &NodeId| self.histories.of(*node).is_some_and(|peer| peer.forces);
        let other = self.heard_members().into_iter().find(forces);
        if let Some(other) = other.filter(|other| *other < self.node) {
            return Some(format!("it is being forced on {other}"));
        }
        let state = self.seat.as_ref().map(|seat| seat.describe()).unwrap_or_default();
        (self.forced_at().is_none() && now >= self.given_up_at(forcing)).then(|| {
            format!(
                "this node could not claim the quorum disk ({state}); if the disk is lost, too, \
                 say so: `stead node force-quorum --without-disk`"
            )
        })
    }

    /// The log of this node, or D's where that has more, begins a new history.
    fn begin_history(&mut self, now: Time, forcing: &Forcing) {
        let needs_disk = self.needs_disk(&forcing.lost);
        let at = self.utc_now(now);
        let Own::Running(own) = &mut self.own else { return };
        let live = self.seat.as_ref().and_then(|seat| seat.live()).filter(|_| needs_disk);
        let better = live.filter(|live| live.replica.last() > own.replica.last());
        let base = better.map_or(&own.replica, |live| &live.replica);
        let disk = self.seat.as_ref().map(|seat| seat.voter()).filter(|_| needs_disk);
        let voters: Vec<VoterId> = [VoterId::from(self.node)].into_iter().chain(disk).collect();
        let generation = base.history().generation + 1;
        let id = fold(self.asker.service().0, &now.0.to_le_bytes()).max(1);
        let dropped = base.voters().into_iter().filter(|v| !voters.contains(v)).collect();
        let forced = Forced {
            history: History { generation, id },
            node: self.node,
            who: forcing.who.clone(),
            at,
            dropped,
            voters,
            ends: base.ends(),
        };
        match base.forced_state(&forced, |db| entry(db, at, &forced)) {
            Ok(state) => {
                own.leading = None;
                own.remaking = Some(Remaking::Ending(Box::new(state)));
                if let Some(forcing) = &mut self.forcing {
                    forcing.generation = Some(generation);
                }
            }
            Err(why) => {
                self.forcing = None;
                let text = format!("quorum is not forced: the log cannot be read: {why}");
                self.record(now, Level::Error, "quorum-not-forced", text);
            }
        }
    }

    /// What was forced, until all are back.
    pub(super) fn forced_view(&self) -> Option<ForcedView> {
        let own = self.running()?;
        let missing = own.replica.db.not_back(|voter| own.replica.is_voter(voter));
        let forced = own.replica.db.forced().filter(|_| !missing.is_empty())?;
        let Forced { history, node, who, at, .. } = forced.clone();
        Some(ForcedView { generation: history.generation, node, who, at, missing })
    }

    pub(super) fn forcing_view(&self, now: Time) -> Option<ForcingView> {
        let lost = self.forcing.as_ref()?.lost.iter().copied().collect();
        let later = |at: Time| UtcMillis(self.utc_now(now).0 + at.since(now).as_millis());
        Some(ForcingView { until: self.forced_at().map(later), lost })
    }
}

/// The entry that says how the history began. Nothing runs anywhere: every group is given anew.
fn entry(db: &Db, utc: UtcMillis, forced: &Forced) -> Entry {
    let why = format!("off, said {}: {}", forced.who, names(&forced.dropped));
    let disowned = db.groups().values().filter_map(|group| {
        let epoch = group.ownership.as_ref()?.epoch;
        let why = format!("quorum was forced on {}", forced.node);
        Some(Change::Disown { group: group.id.clone(), epoch, why })
    });
    let change = Change::QuorumForced { forced: Box::new(forced.clone()) };
    let changes = disowned.chain([change]).collect();
    Entry { at: utc.max(db.at()), request: None, why, changes }
}

/// How much longer than for the leases a node waits until it has claimed D.
const DISK_PATIENCE: Span = Span::from_secs(20);
