//! What is wrong on this node itself, for its view and its records.
//!
//! The core judges the cluster; whether the processes beside it still answer and the disk takes
//! what it is given only the node service sees. It cannot heal them: it says so. It also says
//! for how long what runs here may go on when no majority answers.

use stead_model::Time;
use stead_model::record::Level;
use stead_model::view::View;

use crate::service::Service;

/// One kind of trouble, in the order in which they are told.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Trouble {
    /// The guard does not answer.
    Guard,
    /// A resource monitor does not answer.
    Monitor,
    /// A resource monitor ended again and again.
    Unsteady,
    /// Something of a cluster disk is left after a hard stop.
    Dirty,
    /// Records are not written.
    Records,
    /// The audit log is not written.
    Audit,
    /// No majority answers.
    Majority,
}

/// A majority that is missing for less than so many heartbeats is on its way: the quorum disk
/// changes its host.
const ON_ITS_WAY_BEATS: u64 = 2;

impl Trouble {
    const ALL: [Self; 7] = [
        Self::Guard,
        Self::Monitor,
        Self::Unsteady,
        Self::Dirty,
        Self::Records,
        Self::Audit,
        Self::Majority,
    ];

    /// Code and level of the record when it begins.
    const fn begins(self) -> (Level, &'static str) {
        match self {
            Self::Guard => (Level::Error, "guard-silent"),
            Self::Monitor => (Level::Warning, "monitor-silent"),
            Self::Unsteady => (Level::Warning, "monitor-unsteady"),
            Self::Dirty => (Level::Error, "node-dirty"),
            Self::Records => (Level::Warning, "records-not-written"),
            Self::Audit => (Level::Warning, "audit-not-written"),
            Self::Majority => (Level::Warning, "majority-silent"),
        }
    }

    /// Code and text of the record when it is over.
    const fn ends(self) -> (&'static str, &'static str) {
        match self {
            Self::Guard => ("guard-answers", "the guard answers again"),
            Self::Monitor => ("monitor-answers", "all resource monitors answer"),
            Self::Unsteady => ("monitor-steady", "no resource monitor ended often of late"),
            Self::Dirty => ("node-clean", "no mount of a cluster disk is left on this node"),
            Self::Records => ("records-written", "records are written to the disk again"),
            Self::Audit => ("audit-written", "the audit log is written to the disk again"),
            Self::Majority => ("majority-answers", "a majority answers again"),
        }
    }
}

impl Service {
    /// What is wrong now, one sentence each; what began or ended is recorded.
    pub(crate) fn troubles(&mut self, view: &View, now: Time) -> Vec<String> {
        if view.quorum.lacks.is_none() {
            self.lacks_since = None;
        } else if self.lacks_since.is_none() {
            self.lacks_since = Some(now);
        }
        let mut all = Vec::new();
        for trouble in Trouble::ALL {
            let said = self.trouble(trouble, view, now);
            let known = self.known_troubles.contains(&trouble);
            match &said {
                Some(text) if !known => {
                    let (level, code) = trouble.begins();
                    self.known_troubles.insert(trouble);
                    self.records.note(level, code, text);
                }
                None if known => {
                    let (code, text) = trouble.ends();
                    self.known_troubles.remove(&trouble);
                    self.records.note(Level::Info, code, text);
                }
                Some(_) | None => {}
            }
            all.extend(said);
        }
        all
    }

    /// For how long this node may run what it runs, in seconds.
    fn left(&self, now: Time) -> Option<f64> {
        self.cluster.lease_end(now).map(|end| end.since(now).0 as f64 / 1e9)
    }

    fn trouble(&self, trouble: Trouble, view: &View, now: Time) -> Option<String> {
        let node = self.node;
        match trouble {
            Trouble::Guard => self.guard.silence(now).map(|_| {
                format!(
                    "the guard of {node} does not answer: it could stop nothing at the end of \
                     the lease; look whether the process is stopped"
                )
            }),
            Trouble::Monitor => {
                let silent = self.monitors.silent(now);
                let names: Vec<String> = silent.iter().map(ToString::to_string).collect();
                (!names.is_empty()).then(|| {
                    format!(
                        "on {node} {} does not answer: what it hosts runs unwatched and orders \
                         wait; it is replaced if that goes on",
                        names.join(", ")
                    )
                })
            }
            Trouble::Unsteady => {
                let unsteady = self.monitors.unsteady(now);
                let each =
                    unsteady.iter().map(|(name, times)| format!("{name} ended {times} times"));
                let each: Vec<String> = each.collect();
                (!each.is_empty()).then(|| {
                    format!(
                        "on {node} {} within an hour: look at the records `monitor-died` and \
                         `monitor-replaced`",
                        each.join(", ")
                    )
                })
            }
            Trouble::Dirty => self.guard.dirty().map(|why| format!("{node}: {why}")),
            Trouble::Records => self.records.trouble().map(|why| {
                format!("{node} {why}; readers still see the last ones, free space there")
            }),
            Trouble::Audit => self.audit.trouble().map(|why| {
                format!("{node} {why}; readers still see the last lines, free space there")
            }),
            Trouble::Majority => {
                let beats = view.profile.timing().heartbeat * ON_ITS_WAY_BEATS;
                let lasts = self.lacks_since.is_some_and(|since| now.since(since) >= beats);
                view.quorum.lacks.as_ref().filter(|_| lasts).map(|lacks| match self.left(now) {
                    Some(left) => format!(
                        "{lacks}: {node} stops everything in {left:.1} s unless \
                         a majority answers before"
                    ),
                    None => format!("{lacks}: nothing runs on {node} until a majority answers"),
                })
            }
        }
    }
}
