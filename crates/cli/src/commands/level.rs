//! `stead cluster level`: what the programs of the nodes know, and the level that they all use.

use serde::Serialize;
use stead_model::program::{ClusterLevel, Program};
use stead_model::reason::Reason;
use stead_model::request::Request;
use stead_model::view::{NodeState, View};

use super::Asked;
use crate::failure::{Exit, Failure};
use crate::reach::name_of;
use crate::render::Table;
use crate::screen;

/// The level, and who knows what.
#[derive(Serialize)]
struct Shown {
    level: ClusterLevel,
    nodes: Vec<Knows>,
    /// The next level that the program of some node knows.
    next: Option<ClusterLevel>,
    /// Why the cluster cannot be raised to that.
    refused: Option<Reason>,
}

/// What a node runs.
#[derive(Serialize)]
struct Knows {
    /// The node, by name.
    node: String,
    state: NodeState,
    /// Nothing: it was not heard yet.
    program: Option<Program>,
}

pub(super) async fn run(asked: &Asked, raises: bool) -> Result<Exit, Failure> {
    let reached = asked.reach().await?;
    if !raises {
        asked.show(&shown(&reached.view), told);
        return Ok(Exit::Ok);
    }
    let (doing, to) = ("raise the level of the cluster", reached.view.level.next());
    let done = reached.client.request(&Request::RaiseLevel { to }).await;
    let done = done.map_err(|error| Failure::of_client(doing, error))?;
    screen::talk(&format!("committed as entry {}", done.index));
    let shown = Shown { level: to, next: None, refused: None, ..shown(&reached.view) };
    asked.show(&shown, |shown| format!("the cluster is at {}\n", shown.level));
    Ok(Exit::Ok)
}

fn shown(view: &View) -> Shown {
    let next = view.level.next();
    let knows = |program: Option<Program>| program.is_some_and(|p| p.levels.contain(next));
    let next = view.nodes.iter().any(|node| knows(node.program)).then_some(next);
    Shown {
        level: view.level,
        nodes: view
            .nodes
            .iter()
            .map(|node| Knows {
                node: name_of(view, node.node),
                state: node.state,
                program: node.program,
            })
            .collect(),
        refused: next.and_then(|_| view.may_raise().err()),
        next,
    }
}

fn told(shown: &Shown) -> String {
    let mut text = format!("the cluster is at {}\n\n", shown.level);
    let mut table = Table::new(&["NODE", "PROGRAM", "KNOWS"]);
    for Knows { node, program, .. } in &shown.nodes {
        let unknown = || "unknown".to_owned();
        table.row(vec![
            node.clone(),
            program.map_or_else(unknown, |p| format!("stead {}", p.version)),
            program.map_or_else(unknown, |p| p.levels.to_string()),
        ]);
    }
    text.push_str(&table.text());
    text.push('\n');
    text.push_str(&match (shown.next, &shown.refused) {
        (None, _) => "no node's program knows a higher one\n".to_owned(),
        (Some(next), None) => format!("`stead cluster level --raise` raises it to {next}\n"),
        (Some(next), Some(reason)) => {
            let cause = reason.cause.as_deref().unwrap_or(&reason.text);
            format!("it cannot be raised to {next}: {cause}\n")
        }
    });
    text
}
