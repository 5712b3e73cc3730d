//! The unit `stead.service`: started where systemd runs this host, else left to whoever does.

use std::path::Path;
use std::process::Command;

use stead_model::NodeId;
use stead_model::reason::{Code, Reason};

use super::Host;

const UNIT: &str = "stead.service";

impl Host {
    /// Whether systemd runs this host and its files are in their usual places.
    #[must_use]
    pub fn has_systemd(&self) -> bool {
        let usual = self.paths.etc() == Path::new("/etc/stead");
        usual && Path::new("/run/systemd/system").is_dir()
    }
}

/// Starts the node now and with every boot; says what was done or is to be done.
pub(super) fn start(host: &Host) -> Result<String, Reason> {
    if !host.has_systemd() {
        return Ok("systemd does not run this host: start `stead guard` with every boot".into());
    }
    systemctl(&["enable", "--now", UNIT])?;
    Ok(format!("`systemctl enable --now {UNIT}`"))
}

/// Ends the node, which takes everything offline first; says what was done.
pub(super) fn stop(host: &Host) -> Result<String, Reason> {
    if !host.has_systemd() {
        return Ok("systemd does not run this host".into());
    }
    systemctl(&["disable", "--now", UNIT])?;
    Ok(format!("`systemctl disable --now {UNIT}`"))
}

/// Ends this host's node until it is started again or the host boots: its groups go elsewhere, and
/// the others know that it left. Gives its number.
///
/// # Errors
/// The host is no node, or systemd does not run it, or the node does not end.
pub fn stop_node(host: &Host) -> Result<NodeId, Reason> {
    control(host, "stop")
}

/// Starts this host's node. Gives its number.
///
/// # Errors
/// The host is no node, or systemd does not run it, or the node does not start.
pub fn start_node(host: &Host) -> Result<NodeId, Reason> {
    control(host, "start")
}

fn control(host: &Host, verb: &str) -> Result<NodeId, Reason> {
    let refused = |cause: String, hint: &str| {
        Reason::new(Code::Conflict, format!("cannot {verb} the node of this host"))
            .because(cause)
            .hint(hint)
    };
    let Some(config) = host.member() else {
        let hint = "`stead cluster create` or `join` makes it one";
        return Err(refused("this host is in no cluster".into(), hint));
    };
    if !host.has_systemd() {
        let hint = "SIGTERM ends `stead guard` in order, and `stead guard` starts the node";
        return Err(refused("systemd does not run this host".into(), hint));
    }
    systemctl(&[verb, UNIT])?;
    Ok(config.node)
}

fn systemctl(words: &[&str]) -> Result<(), Reason> {
    let doing = format!("`systemctl {}`", words.join(" "));
    let failed = |cause: String| {
        Reason::new(Code::Conflict, format!("{doing} failed"))
            .because(cause)
            .hint(format!("`journalctl -u {UNIT}` says more; repeat the command afterwards"))
    };
    let output = Command::new("systemctl").args(words).output();
    let output = output.map_err(|error| failed(error.to_string()))?;
    if output.status.success() {
        return Ok(());
    }
    Err(failed(String::from_utf8_lossy(&output.stderr).trim().to_owned()))
}
