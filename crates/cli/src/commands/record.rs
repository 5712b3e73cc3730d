//! `stead events`, `stead event …`, `stead audit` and `stead explain …`.

use serde::Serialize;
use serde::de::DeserializeOwned;
use stead_api::Client;
use stead_api::client::Follow;
use stead_api::contract::{AuditLog, Events, NodeAsked};
use stead_model::UtcMillis;

use super::Asked;
use super::write::group_id;
use crate::arguments::{AuditArguments, EventCommand, EventsArguments, ExplainCommand};
use crate::failure::{Exit, Failure};
use crate::reach::{Reached, name_of};
use crate::{render, screen};

pub(super) async fn events(asked: &Asked, arguments: EventsArguments) -> Result<Exit, Failure> {
    let EventsArguments { last, group } = arguments;
    let doing = "list the events of the cluster";
    if let Some(name) = &group {
        group_id(doing, name)?;
    }
    let client = asked.reach().await?.client;
    let told = client.cluster_events(last, group.as_deref()).await;
    let told = told.map_err(|error| Failure::of_client(doing, error))?;
    if told.left_out > 0 && !asked.json {
        talk_of_earlier(told.left_out);
    }
    talk_of_missing(&told.nodes);
    asked.show(&told, |told| render::events(&told.events, &told.nodes));
    Ok(Exit::Ok)
}

/// Whose records are not among what is shown.
fn talk_of_missing(nodes: &[NodeAsked]) {
    for NodeAsked { node, name, missing, .. } in nodes {
        let Some(why) = missing else { continue };
        screen::talk(&format!("note: without the records of {node} {name}: {why}"));
    }
}

fn talk_of_earlier(left_out: usize) {
    screen::talk(&format!("note: left out are {left_out} earlier; `--last COUNT` shows more"));
}

pub(super) async fn event(asked: &Asked, command: EventCommand) -> Result<Exit, Failure> {
    let EventCommand::List { last, follow: follows } = command;
    let reached = asked.reach().await?;
    let parts = |Events { records, next }: Events| (records, next);
    let (mut records, next) = all(&reached.client, "/v1/events", parts).await?;
    let left_out = keep_last(&mut records, last);
    if follows {
        let coming = reached.client.follow(next).await;
        return follow(asked, (&records, coming), render::record_line).await;
    }
    head(asked, &reached, ("records", left_out));
    asked.show(&Events { records, next }, |events| render::records(&events.records));
    Ok(Exit::Ok)
}

pub(super) async fn audit(asked: &Asked, arguments: AuditArguments) -> Result<Exit, Failure> {
    let AuditArguments { last, since, follow: follows } = arguments;
    let since = since.map(ago);
    let reached = asked.reach().await?;
    let parts = |AuditLog { entries, next }: AuditLog| (entries, next);
    let (mut entries, next) = all(&reached.client, "/v1/audit", parts).await?;
    entries.retain(|entry| since.is_none_or(|since| entry.at >= since));
    let left_out = keep_last(&mut entries, last);
    if follows {
        let coming = reached.client.follow_audit(next).await;
        return follow(asked, (&entries, coming), render::audited_line).await;
    }
    head(asked, &reached, ("audit log", left_out));
    asked.show(&AuditLog { entries, next }, |log| render::audited(&log.entries));
    Ok(Exit::Ok)
}

/// The moment so long ago.
fn ago(ms: u64) -> UtcMillis {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    UtcMillis(now.map_or(0, |now| now.as_millis() as u64).saturating_sub(ms))
}

/// Leaves the last ones, and says how many others there were.
fn keep_last<T>(all: &mut Vec<T>, last: usize) -> usize {
    let left_out = all.len().saturating_sub(last);
    all.drain(..left_out);
    left_out
}

fn head(asked: &Asked, reached: &Reached, (what, left_out): (&str, usize)) {
    if asked.json {
        return;
    }
    if left_out > 0 {
        talk_of_earlier(left_out);
    }
    let node = name_of(&reached.view, reached.view.node);
    screen::talk(&format!("{what} of {node}; every node keeps its own"));
}

/// All lines a node still keeps, and the number to go on with.
async fn all<B: DeserializeOwned, T>(
    client: &Client,
    of: &str,
    parts: impl Fn(B) -> (Vec<T>, u64),
) -> Result<(Vec<T>, u64), Failure> {
    let (mut all, mut next) = (Vec::new(), 0);
    loop {
        let answer: Result<B, _> = client.get(&format!("{of}?since={next}")).await;
        let batch = answer.map_err(|error| Failure::of_client("list the records", error))?;
        let (lines, after) = parts(batch);
        let over = lines.is_empty();
        all.extend(lines);
        next = next.max(after);
        if over {
            return Ok((all, next));
        }
    }
}

async fn follow<T: Serialize + DeserializeOwned>(
    asked: &Asked,
    (begun, coming): (&[T], Result<Follow<T>, stead_api::ClientError>),
    line: impl Fn(&T) -> String,
) -> Result<Exit, Failure> {
    let failed = |error| Failure::of_client("follow the records", error);
    let show = |one: &T| match asked.json {
        true => screen::json_line(one),
        false => screen::data(&line(one)),
    };
    begun.iter().for_each(show);
    let mut coming = coming.map_err(failed)?;
    while let Some(one) = coming.next().await.map_err(failed)? {
        show(&one);
    }
    Err(Failure::new(Exit::Unreachable, "cannot follow the records any longer")
        .because("the node service ended")
        .hint("`stead status` shows which nodes answer"))
}

pub(super) async fn explain(asked: &Asked, command: ExplainCommand) -> Result<Exit, Failure> {
    match command {
        ExplainCommand::Group { name } => {
            let doing = format!("explain group `{name}`");
            group_id(&doing, &name)?;
            let client = asked.reach().await?.client;
            let told = client.explain_group(&name).await;
            let told = told.map_err(|error| Failure::of_client(&doing, error))?;
            talk_of_missing(&told.nodes);
            asked.show(&told, render::explanation);
        }
        ExplainCommand::Timeouts => {
            let client = asked.reach().await?.client;
            let told = client.explain_timeouts().await;
            let told = told.map_err(|e| Failure::of_client("explain the timeouts", e))?;
            asked.show(&told, render::timeouts);
        }
    }
    Ok(Exit::Ok)
}
