//! An example comes into a lab: its group is made, prepared and brought online.

use std::ffi::OsString;
use std::process::Stdio;
use std::time::Duration;

use stead_model::NodeId;
use stead_model::group::{Desired, GroupState};
use stead_model::resource_type::split_words;
use stead_model::view::GroupView;

use super::{Example, Need, Preparation};
use crate::cabling::Station;
use crate::cluster::{Cluster, ClusterError};
use crate::control::ControlError;
use crate::lab::{ExecError, Lab};
use crate::missing::Missing;
use crate::step::Step;

/// An example did not come online; what was made of it is still there to look at.
#[derive(Debug, thiserror::Error)]
pub enum InstallError {
    /// A program is not on this machine.
    #[error("this machine has no `{}`; `apt-get install {}` brings it", .0.program, .0.package)]
    Lacks(Need),
    /// The lab cannot have what it needs.
    #[error("it needs something the lab goes without: {0}")]
    Missing(Missing),
    /// The cluster.
    #[error(transparent)]
    Cluster(#[from] ClusterError),
    /// The supervisor.
    #[error(transparent)]
    Control(#[from] ControlError),
    /// A command could not be run.
    #[error(transparent)]
    Exec(#[from] ExecError),
    /// A command failed.
    #[error("`{command}` on {node} failed: {said}")]
    Prepare {
        /// The command.
        command: String,
        /// Where.
        node: Station,
        /// The last it said.
        said: String,
    },
}

/// Makes the group of an example, prepares it, and waits until it is online; `progress` gets a
/// line per step.
pub fn install(
    lab: &Lab,
    example: &Example,
    progress: &mut dyn FnMut(&str),
) -> Result<GroupView, InstallError> {
    possible(lab, example)?;
    let cluster = Cluster::of(lab);
    let group = example.group.group.as_str();
    let first = example.prepared_first();
    if !first.is_empty() {
        cluster.request(&example.declared(|id| first.contains(id.as_str())))?;
        let seen = cluster.wait_online(group, None, ONLINE_LIMIT)?;
        prepare(lab, example, seen.owner.unwrap_or(NodeId(1)), progress)?;
        cluster.request(&example.desire(Desired::Offline))?;
        wait_offline(&cluster, lab, group)?;
    }
    cluster.request(&example.declared(|_| true))?;
    let seen = cluster.wait_online(group, None, ONLINE_LIMIT)?;
    let owner = seen.owner.map_or_else(|| "nobody".into(), |node| node.to_string());
    progress(&format!("group {group} is online on {owner}"));
    Ok(seen)
}

/// Refuses what cannot work, before anything is made.
fn possible(lab: &Lab, example: &Example) -> Result<(), InstallError> {
    if let Some(need) = example.lacks() {
        return Err(InstallError::Lacks(need.clone()));
    }
    let gone_without = lab.status()?.missing;
    let users = example.resources.iter().any(|r| r.properties.contains_key("user"));
    let needed =
        [(Missing::MountedDisks, !example.lab.disks.is_empty()), (Missing::OtherUsers, users)];
    let lacking = needed.into_iter().find(|(what, needed)| *needed && gone_without.contains(what));
    lacking.map_or(Ok(()), |(what, _)| Err(InstallError::Missing(what)))
}

fn prepare(
    lab: &Lab,
    example: &Example,
    owner: NodeId,
    progress: &mut dyn FnMut(&str),
) -> Result<(), InstallError> {
    let node = Station::Node(owner);
    for Preparation { run, .. } in &example.prepare {
        let words = split_words(run).unwrap_or_default();
        progress(&format!("{node}: {}", words.join(" ")));
        let words: Vec<OsString> = words.into_iter().map(Into::into).collect();
        let mut command = lab.command(node, &words)?;
        let output =
            command.stdin(Stdio::null()).output().step("run", run).map_err(ExecError::from)?;
        if !output.status.success() {
            let said = [output.stdout, output.stderr].concat();
            let said = String::from_utf8_lossy(&said).trim().to_owned();
            let said = said.lines().last().unwrap_or_default().to_owned();
            return Err(InstallError::Prepare { command: run.trim().to_owned(), node, said });
        }
    }
    Ok(())
}

fn wait_offline(cluster: &Cluster<'_>, lab: &Lab, group: &str) -> Result<(), ClusterError> {
    let nodes: Vec<NodeId> = lab.record().node_ids().collect();
    cluster.wait(ONLINE_LIMIT, &format!("group `{group}` not offline"), || {
        for node in &nodes {
            let view = cluster.view(*node).map_err(|error| error.to_string())?;
            let seen = view.groups.into_iter().find(|g| g.group.as_str() == group);
            let seen = seen.ok_or_else(|| format!("{node} does not know it"))?;
            if seen.state != GroupState::Offline {
                return Err(format!("{node} sees it {}", seen.state.word()));
            }
        }
        Ok(())
    })
}

/// A database is made and recovers within this on a busy machine.
const ONLINE_LIMIT: Duration = Duration::from_secs(60);
