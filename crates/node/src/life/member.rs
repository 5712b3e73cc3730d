//! The last steps by which a host becomes a node, whether it makes a cluster or joins one.

use stead_model::config::NodeConfig;
use stead_model::reason::{Code, Reason};

use super::Host;
use super::files::{self, Readers};
use super::host::Plan;

/// The node makes itself a log at its first start, and never again.
pub(super) fn allow_log(host: &Host) -> Result<String, Reason> {
    let paths = &host.paths;
    if paths.node_log().exists() {
        return Ok("was made before".into());
    }
    files::put(&paths.first_start(), b"", Readers::All)?;
    Ok("is made at the first start".into())
}

pub(super) fn make_config(host: &Host, config: &NodeConfig) -> Result<String, Reason> {
    let path = host.paths.config();
    files::put_json(&path, config)?;
    Ok(format!("made `{}`", path.display()))
}

pub(super) fn forget_plan(host: &Host) -> Result<(), Reason> {
    let path = host.paths.plan();
    files::remove(&path)?;
    files::sync_folder(&path)
}

/// The refusal of a command while another one is not complete.
pub(super) fn begun(doing: &str, plan: &Plan) -> Reason {
    let (what, again, name) = match plan {
        Plan::Create(config) => ("begun", "repeat that command", &config.cluster),
        Plan::Destroy { config, .. } => ("being destroyed", "go on with it", &config.cluster),
        Plan::Join(joining) => ("being joined", "repeat that command", &joining.cluster),
    };
    Reason::new(Code::Conflict, format!("cannot {doing}"))
        .because(format!("cluster `{name}` is {what} on this host"))
        .hint(format!("{again}, or end it: `stead cluster destroy {name}`"))
}

/// The refusal of a host that keeps what is left of a former node.
pub(super) fn left_behind(doing: &str, host: &Host) -> Result<(), Reason> {
    let log = host.paths.node_log();
    if !log.exists() {
        return Ok(());
    }
    Err(Reason::new(Code::Conflict, format!("cannot {doing}"))
        .because(format!("`{}` is the log of a node that was in a cluster", log.display()))
        .hint("`stead cluster destroy NAME` removes what is left of that node"))
}
