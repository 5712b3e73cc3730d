//! `stead cluster …`: the host on which it is typed is made a node, or stops being one.

use std::time::Duration;

use serde::Serialize;
use stead_api::ClientError;
use stead_model::NodeId;
use stead_model::config::NodeConfig;
use stead_model::reason::{Code, Reason};
use stead_model::request::Request;
use stead_model::view::View;
use stead_node::life::{self, Creation, DiskEnd, Finding, Host, Joining, Told, Verdict};

use super::{Asked, backup, cluster_ip, keys, level};
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
            create(asked, &host, (&wanted, typed.cluster_ip)).await
        }
        LifeCommand::Token { minutes } => token(asked, &host, minutes).await,
        LifeCommand::Join(typed) => {
            let wanted = Joining { token: typed.token, addresses: typed.addresses };
            let joined = life::join(&host, &wanted, &mut step);
            let config = joined.map_err(|reason| Failure::refused("join the cluster", reason))?;
            serves(asked, &host).await?;
            became(asked, config);
            Ok(Exit::Ok)
        }
        LifeCommand::Check { token, addresses, port } => {
            let found = life::check(&host, token.as_deref(), (&addresses, port));
            let found = found.map_err(|reason| Failure::refused("check this host", reason))?;
            asked.show(&found, |found| found.iter().map(|f| format!("{f}\n")).collect());
            let is_bad = |f: &Finding| matches!(f.verdict, Verdict::Bad { .. });
            Ok(if found.iter().any(is_bad) { Exit::Refused } else { Exit::Ok })
        }
        LifeCommand::Ip(typed) => cluster_ip::run(asked, typed).await,
        LifeCommand::Backup { file } => backup::backup(asked, &file).await,
        LifeCommand::Level { raise } => level::run(asked, raise).await,
        LifeCommand::RotateKeys(typed) => keys::rotate(asked, &typed).await,
        LifeCommand::Restore(typed) => backup::restore(asked, typed).await,
        LifeCommand::Leave { force } => leave(asked, &host, force).await,
        LifeCommand::Destroy { name, force } => destroy(asked, &host, (&name, force)).await,
    }
}

/// Makes a cluster. Its address is the first thing that it is asked for: where that was what was
/// interrupted, the same command goes on with it.
async fn create(
    asked: &Asked,
    host: &Host,
    (wanted, cluster_ip): (&Creation, Option<String>),
) -> Result<Exit, Failure> {
    let doing = format!("create cluster `{}`", wanted.name);
    let refused = |reason| Failure::refused(&doing, reason);
    let there = host.member().filter(|config| config.cluster == wanted.name);
    let config = match there.filter(|_| cluster_ip.is_some()) {
        Some(config) => {
            screen::talk(&format!("cluster `{}` is made already", wanted.name));
            config
        }
        None => {
            if let Some(address) = &cluster_ip {
                life::check_cluster_ip(host, wanted, address).map_err(refused)?;
            }
            if let Some(note) = life::check_name(wanted, cluster_ip.as_deref()).map_err(refused)? {
                screen::talk(&format!("note: {note}"));
            }
            if let Some(note) = life::check_profile(wanted.profile) {
                screen::talk(&format!("note: {note}; `standard` does without"));
            }
            life::create(host, wanted, &mut step).map_err(refused)?
        }
    };
    serves(asked, host).await?;
    if let Some(address) = cluster_ip {
        let answers = host.has_systemd() || asked.view().await.is_ok();
        if answers {
            cluster_ip::give(asked, address).await?;
        } else {
            screen::talk(&format!(
                "note: once the node runs, the cluster takes its address by `stead cluster ip \
                 {address}`"
            ));
        }
    }
    became(asked, config);
    Ok(Exit::Ok)
}

fn became(asked: &Asked, config: NodeConfig) {
    let became = Became { cluster: config.cluster, node: config.node };
    asked.show(&became, |b| format!("this host is {} of cluster `{}`\n", b.node, b.cluster));
}

/// A token, once the cluster knows it.
#[derive(Serialize)]
struct Made {
    token: String,
    /// For how long it is good.
    minutes: u32,
}

/// Makes a token: only its hash leaves this process before it is shown.
async fn token(asked: &Asked, host: &Host, minutes: u32) -> Result<Exit, Failure> {
    let doing = "make a join token";
    let reached = asked.reach().await?;
    let made = life::token(host, &reached.view);
    let token = made.map_err(|reason| Failure::refused(doing, reason))?;
    let request = Request::MakeToken { token: token.hash(), minutes };
    let asked_for = reached.client.request(&request).await;
    asked_for.map_err(|error| Failure::of_client(doing, error))?;
    screen::talk(&format!(
        "good for {minutes} minutes and one host; type there: stead cluster join 'TOKEN'"
    ));
    asked.show(&Made { token: token.to_string(), minutes }, |made| format!("{}\n", made.token));
    Ok(Exit::Ok)
}

/// Has the cluster take this node out, waits until nothing runs here, and removes the node.
async fn leave(asked: &Asked, host: &Host, force: bool) -> Result<Exit, Failure> {
    let doing = "leave the cluster";
    let failed = |reason| Failure::refused(doing, reason);
    let (cluster, member) = host.cluster().map_err(failed)?;
    if let Some(node) = member.filter(|_| !force) {
        goes(asked, doing, (&cluster, node)).await?;
    }
    let left = life::destroy(host, (&cluster, DiskEnd::Kept), &mut step);
    left.map_err(failed)?;
    if force {
        screen::talk("note: unless it was evicted already: `stead node evict` on another node");
    }
    Ok(Exit::Ok)
}

/// Until this host's node owns no group.
async fn goes(asked: &Asked, doing: &str, (cluster, node): (&str, NodeId)) -> Result<(), Failure> {
    let refused = |cause: &str, hint: &str| {
        Failure::refused(doing, Reason::new(Code::Conflict, cause).hint(hint))
    };
    let silent = "with `--force` it is removed here, and evicted by another node";
    let reached = asked.reach().await;
    let reached = reached.map_err(|_| refused("the node does not answer", silent))?;
    let answers = (reached.view.cluster.as_str(), reached.view.node);
    if answers != (cluster, node) {
        let cause = format!(
            "{} of cluster `{}` answers, and this host is {node} of cluster `{cluster}`",
            answers.1, answers.0
        );
        return Err(refused(
            &cause,
            "type it on the host that is to leave, and name no other node",
        ));
    }
    if !is_listed(&reached.view, node) {
        screen::talk(&format!("{node} is no member any more"));
        return Ok(());
    }
    let answer = reached.client.request(&Request::Evict { node }).await;
    answer.map_err(|error| unasked(doing, error))?;
    screen::talk(&format!("{node} leaves for good: its groups go elsewhere"));
    let started = tokio::time::Instant::now();
    while started.elapsed() < SERVES_WITHIN {
        let view = asked.view().await?;
        let owns_none = view.groups.iter().all(|group| group.owner != Some(node));
        if owns_none || !is_listed(&view, node) {
            return Ok(());
        }
        tokio::time::sleep(BETWEEN_LOOKS).await;
    }
    Err(refused("it still owns groups", "`stead group list` shows them; repeat the command"))
}

/// Why the cluster was not asked. A node that it took out meanwhile hears nobody any more, and
/// cannot tell that from a cut.
fn unasked(doing: &str, error: ClientError) -> Failure {
    match error {
        ClientError::Refused(reason) if reason.code == Code::NoQuorum => {
            let hint = "if `stead node list` on another node does not show this one any more: \
                        `stead cluster leave --force`";
            Failure::refused(doing, reason.hint(hint))
        }
        error => Failure::of_client(doing, error),
    }
}

/// Whether a node is a member, as far as the one that was asked knows.
fn is_listed(view: &View, node: NodeId) -> bool {
    view.nodes.iter().any(|known| known.node == node)
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

/// What the node of this host does now.
#[derive(Serialize)]
struct Stands {
    node: NodeId,
    runs: bool,
}

/// Ends the node of this host in order.
pub(super) fn stop(asked: &Asked) -> Result<Exit, Failure> {
    let stopped = life::stop_node(&Host::this());
    let node = stopped.map_err(|reason| Failure::refused("stop this node", reason))?;
    asked.show(&Stands { node, runs: false }, |stands| {
        format!("{} is stopped; `stead node start` and the next boot start it\n", stands.node)
    });
    Ok(Exit::Ok)
}

/// Starts the node of this host.
pub(super) async fn start(asked: &Asked) -> Result<Exit, Failure> {
    let host = Host::this();
    let started = life::start_node(&host);
    let node = started.map_err(|reason| Failure::refused("start this node", reason))?;
    serves(asked, &host).await?;
    asked.show(&Stands { node, runs: true }, |stands| {
        format!("{} runs and has quorum\n", stands.node)
    });
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
