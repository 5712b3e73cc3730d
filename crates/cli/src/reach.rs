//! Which node is asked: the named one, else one with quorum, else any that answers.

use std::time::Duration;

use stead_api::{Client, ClientError};
use stead_model::NodeId;
use stead_model::view::{NodeView, View};
use tokio::task::JoinSet;

use crate::failure::{Exit, Failure};
use crate::place::{Door, Place};
use crate::screen;

/// A node that answered, with what it said.
#[derive(Debug)]
pub(crate) struct Reached {
    pub(crate) client: Client,
    pub(crate) view: View,
}

/// What came out of one door.
struct Heard {
    door: usize,
    client: Client,
    said: Result<View, ClientError>,
}

/// Asks all nodes of a place at once and takes the first that fits.
pub(crate) async fn reach(place: &Place, node: Option<&str>) -> Result<Reached, Failure> {
    let mut asking = JoinSet::new();
    for (number, door) in place.doors.iter().enumerate() {
        asking.spawn(ask(number, door.clone()));
    }
    let mut others = Vec::new();
    while let Some(heard) = asking.join_next().await {
        let Ok(Heard { door, client, said }) = heard else { continue };
        match said {
            Ok(view) if fits(&view, node) => return Ok(Reached { client, view }),
            said => others.push(Heard { door, client, said }),
        }
    }
    others.sort_by_key(|heard| heard.door);
    match node {
        Some(node) => Err(not_among(place, node, others)),
        None => without_quorum(place, others),
    }
}

async fn ask(door: usize, at: Door) -> Heard {
    let client = at.client();
    let said = match tokio::time::timeout(QUESTION_LIMIT, client.status()).await {
        Ok(said) => said,
        Err(_) => Err(ClientError::Silent { path: client.path().to_owned() }),
    };
    Heard { door, client, said }
}

fn fits(view: &View, node: Option<&str>) -> bool {
    match node {
        Some(node) => find_node(view, node).is_some_and(|found| found.node == view.node),
        None => view.quorum.has_quorum,
    }
}

fn without_quorum(place: &Place, heard: Vec<Heard>) -> Result<Reached, Failure> {
    let mut failed = None;
    for Heard { client, said, .. } in heard {
        match said {
            Ok(view) => {
                let node = name_of(&view, view.node);
                screen::talk(&format!("note: no node with quorum answers; this is {node}"));
                return Ok(Reached { client, view });
            }
            Err(error) => failed = failed.or(Some(error)),
        }
    }
    let doing = format!("ask {}", place.name);
    let failure = Failure::new(Exit::Unreachable, format!("cannot {doing}"));
    Err(match failed {
        Some(ClientError::Refused(reason)) => return Err(Failure::refused(&doing, reason)),
        Some(error) => failure.because(error.to_string()),
        None => failure.because("it has no nodes that could be asked"),
    }
    .hint("see whether its nodes run: `stead lab status` in a lab, else `systemctl status stead`"))
}

/// The named node is not there: because it does not answer, or because it does not exist.
fn not_among(place: &Place, node: &str, heard: Vec<Heard>) -> Failure {
    let failure = |exit| Failure::new(exit, format!("cannot ask node `{node}`"));
    let view = heard.iter().find_map(|heard| heard.said.as_ref().ok());
    match view {
        Some(view) if find_node(view, node).is_none() => {
            let nodes: Vec<_> = view.nodes.iter().map(|n| name_of(view, n.node)).collect();
            failure(Exit::Refused)
                .because("there is no such node")
                .hint(format!("the nodes are {}", nodes.join(", ")))
        }
        Some(view) => failure(Exit::Unreachable)
            .because(format!("it does not answer in {}", place.name))
            .hint(format!(
                "{} answers: ask it with `--node {}`",
                name_of(view, view.node),
                view.node
            )),
        None => failure(Exit::Unreachable)
            .because(format!("no node of {} answers", place.name))
            .hint("see whether its nodes run: `stead lab status`"),
    }
}

/// The node meant by `n2`, `2` or its host name.
pub(crate) fn find_node<'a>(view: &'a View, text: &str) -> Option<&'a NodeView> {
    let number = text.strip_prefix('n').unwrap_or(text).parse::<u16>().ok().map(NodeId);
    let by_name = view.nodes.iter().find(|node| node.name == text);
    by_name.or_else(|| view.nodes.iter().find(|node| Some(node.node) == number))
}

/// A node with its host name, as in `n2 node2`.
pub(crate) fn name_of(view: &View, node: NodeId) -> String {
    match view.nodes.iter().find(|n| n.node == node) {
        Some(found) if !found.name.is_empty() => format!("{node} {}", found.name),
        Some(_) | None => node.to_string(),
    }
}

/// A node that needs longer for its state is frozen or ends; others may answer.
const QUESTION_LIMIT: Duration = Duration::from_secs(3);
