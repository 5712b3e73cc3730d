//! What the demo found out, as JSON and in words.

use std::fmt;

use serde::{Deserialize, Serialize};
use stead_model::config::QuorumMode;
use stead_model::profile::Profile;
use stead_model::{NodeId, VoterId};

use super::{DemoOptions, Victim};
use crate::record::LabRecord;

/// All runs of a demo.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct DemoReport {
    /// Version of stead.
    pub version: String,
    /// Version of the running kernel.
    pub kernel: String,
    /// The timing profile.
    pub profile: Profile,
    /// Number of nodes.
    pub nodes: u16,
    /// How quorum was formed.
    pub quorum: QuorumMode,
    /// Which node lost power.
    pub crash: Victim,
    /// The web server.
    pub web_server: String,
    /// The runs.
    pub runs: Vec<DemoRun>,
    /// Over all runs.
    pub medians: DemoMedians,
}

/// One power cut and what became of it. Milliseconds count from the power cut, except the outage.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct DemoRun {
    /// Number of the run, from 1.
    pub run: u32,
    /// Who lost power.
    pub crashed: NodeId,
    /// The voter that led before.
    pub leader: Option<VoterId>,
    /// The node that hosted the quorum disk before.
    pub disk_host: Option<NodeId>,
    /// Owner of the group before.
    pub owner_before: Option<NodeId>,
    /// Owner of the group after.
    pub owner_after: Option<NodeId>,
    /// From the last good answer to the first good answer the client got; 0: none was missed.
    pub outage_ms: f64,
    /// First suspicion of the node that decided.
    pub detect_ms: Option<f64>,
    /// The ownership entry was committed; `None` when the group did not move.
    pub decide_ms: Option<f64>,
    /// The last resource was reported online; `None` when the group did not move.
    pub online_ms: Option<f64>,
    /// Client attempts that got no good answer, and all.
    pub attempts_failed: u64,
    /// All client attempts from the power cut to the end of the run.
    pub attempts: u64,
}

/// Medians over the runs that have the figure.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct DemoMedians {
    /// See [`DemoRun::outage_ms`].
    pub outage_ms: Option<f64>,
    /// See [`DemoRun::detect_ms`].
    pub detect_ms: Option<f64>,
    /// See [`DemoRun::decide_ms`].
    pub decide_ms: Option<f64>,
    /// See [`DemoRun::online_ms`].
    pub online_ms: Option<f64>,
}

impl DemoReport {
    pub(super) fn new(
        options: &DemoOptions,
        record: &LabRecord,
        web_server: String,
        runs: Vec<DemoRun>,
    ) -> Self {
        let kernel = rustix::system::uname().release().to_string_lossy().into_owned();
        Self {
            version: record.version.clone(),
            kernel,
            profile: record.profile,
            nodes: record.nodes,
            quorum: record.quorum,
            crash: options.crash,
            web_server,
            medians: DemoMedians::of(&runs),
            runs,
        }
    }
}

impl DemoMedians {
    fn of(runs: &[DemoRun]) -> Self {
        let over = |figure: fn(&DemoRun) -> Option<f64>| median(runs.iter().filter_map(figure));
        Self {
            outage_ms: over(|run| Some(run.outage_ms)),
            detect_ms: over(|run| run.detect_ms),
            decide_ms: over(|run| run.decide_ms),
            online_ms: over(|run| run.online_ms),
        }
    }
}

fn median(figures: impl Iterator<Item = f64>) -> Option<f64> {
    let mut sorted: Vec<f64> = figures.collect();
    sorted.sort_by(f64::total_cmp);
    let upper = *sorted.get(sorted.len() / 2)?;
    let even = sorted.len().is_multiple_of(2);
    Some(if even { f64::midpoint(sorted[sorted.len() / 2 - 1], upper) } else { upper })
}

fn ms(figure: Option<f64>) -> String {
    figure.map_or_else(|| "-".into(), |ms| format!("{ms:.0} ms"))
}

impl fmt::Display for DemoRun {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let owner = self.owner_after.map_or_else(|| "nobody".into(), |node| node.to_string());
        write!(
            f,
            "run {}: {} lost power, {owner} serves; outage {:.0} ms \
             (detect {}, decide {}, online {})",
            self.run,
            self.crashed,
            self.outage_ms,
            ms(self.detect_ms),
            ms(self.decide_ms),
            ms(self.online_ms),
        )
    }
}

impl fmt::Display for DemoMedians {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "median: outage {}, detect {}, decide {}, online {}",
            ms(self.outage_ms),
            ms(self.detect_ms),
            ms(self.decide_ms),
            ms(self.online_ms),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_of_an_even_number_lies_between() {
        assert_eq!(median([].into_iter()), None);
        assert_eq!(median([3.0, 1.0, 2.0].into_iter()), Some(2.0));
        assert_eq!(median([4.0, 1.0, 2.0, 3.0].into_iter()), Some(2.5));
    }
}
