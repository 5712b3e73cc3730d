//! `stead cluster …`: the host on which it is typed is made a node, or stops being one.

use std::time::Duration;

use serde::Serialize;
use stead_model::NodeId;
use stead_model::reason::{Code, Reason};
use stead_node::life::{self, Creation, DiskEnd, Host, Told};

use super::Asked;
use crate::arguments::LifeCommand;
use crate::failure::{Exit, Failure};
use crate::screen;

/// What became of this host.
#[derive(Serialize)]
struct Became {
    /// Name of the cluster.
    cluster: String,
    /// Its number there.
    node: NodeId,
}

pub(super) async fn run(asked: &Asked, command: LifeCommand) -> Result<Exit, Failure> {
    let host = Host::this();
    match command {
        LifeCommand::Create(typed) => {
            let wanted = Creation {
                name: typed.name,
                addresses: typed.addresses,
                quorum_disk: typed.quorum_disk,
                profile: typed.profile.into(),
                port: typed.port,
            };
            let doing = format!("create cluster `{}`", wanted.name);
            let made = life::create(&host, &wanted, &mut step);
            let config = made.map_err(|reason| Failure::refused(&doing, reason))?;
            serves(asked, &host).await?;
            let became = Became { cluster: config.cluster, node: config.node };
            asked
                .show(&became, |b| format!("this host is {} of cluster `{}`\n", b.node, b.cluster));
            Ok(Exit::Ok)
        }
        LifeCommand::Destroy { name, force } => destroy(asked, &host, (&name, force)).await,
    }
}

/// Ends a cluster, unless it has other nodes: they would be left without one.
async fn destroy(asked: &Asked, host: &Host, (name, force): (&str, bool)) -> Result<Exit, Failure> {
    let doing = format!("destroy cluster `{name}`");
    let refused = |cause: String, hint: &str| {
        Err(Failure::refused(&doing, Reason::new(Code::Conflict, cause).hint(hint)))
    };
    let view = if host.paths().api().exists() { asked.view().await.ok() } else { None };
    let disk = match view {
        Some(view) if view.nodes.len() > 1 => {
            let cause = format!("it has {} nodes", view.nodes.len());
            return refused(cause, "a cluster is ended where it has one node left");
        }
        Some(_) => DiskEnd::Blank,
        None if force || !host.is_member() => DiskEnd::Kept,
        None => {
            let cause = "the node does not answer, so nobody can tell whether it is the only one";
            return refused(cause.into(), "start it, or, if no other node is left, add `--force`");
        }
    };
    let ended = life::destroy(host, (name, disk), &mut step);
    ended.map_err(|reason| Failure::refused(&doing, reason))?;
    Ok(Exit::Ok)
}

/// One line of the timeline.
fn step(Told { number, of, step, text }: Told) {
    screen::talk(&format!("{number}/{of} {step}: {text}"));
}

/// Where this host starts the node itself, waits until it has quorum.
async fn serves(asked: &Asked, host: &Host) -> Result<(), Failure> {
    if !host.has_systemd() {
        return Ok(());
    }
    let started = tokio::time::Instant::now();
    loop {
        let seen = asked.view().await;
        if seen.as_ref().is_ok_and(|view| view.quorum.has_quorum) {
            return Ok(());
        }
        if started.elapsed() > SERVES_WITHIN {
            let cause = match seen {
                Ok(view) => view.quorum.lacks.unwrap_or_else(|| "it has no lease".into()),
                Err(_) => "it does not answer".into(),
            };
            return Err(Failure::new(Exit::Refused, "cannot see the node serve")
                .because(cause)
                .hint("`systemctl status stead` and `journalctl -u stead` say more"));
        }
        tokio::time::sleep(BETWEEN_LOOKS).await;
    }
}

/// A node that starts has quorum after a second or two.
const SERVES_WITHIN: Duration = Duration::from_secs(60);
const BETWEEN_LOOKS: Duration = Duration::from_millis(200);
