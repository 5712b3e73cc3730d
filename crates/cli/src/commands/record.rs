//! `stead event …` and `stead explain …`.

use stead_api::Client;
use stead_api::contract::Events;

use super::Asked;
use super::write::group_id;
use crate::arguments::{EventCommand, ExplainCommand};
use crate::failure::{Exit, Failure};
use crate::reach::name_of;
use crate::{render, screen};

pub(super) async fn event(asked: &Asked, command: EventCommand) -> Result<Exit, Failure> {
    let EventCommand::List { last, follow: follows } = command;
    let reached = asked.reach().await?;
    let mut events = all(&reached.client).await?;
    let left_out = events.records.len().saturating_sub(last);
    events.records.drain(..left_out);
    if follows {
        return follow(asked, &reached.client, events).await;
    }
    if left_out > 0 && !asked.json {
        screen::talk(&format!("note: left out are {left_out} earlier; `--last COUNT` shows more"));
    }
    if !asked.json {
        let node = name_of(&reached.view, reached.view.node);
        screen::talk(&format!("records of {node}; every node keeps its own"));
    }
    asked.show(&events, |events| render::records(&events.records));
    Ok(Exit::Ok)
}

/// All records a node still keeps.
async fn all(client: &Client) -> Result<Events, Failure> {
    let mut all = Events::default();
    loop {
        let path = format!("/v1/events?since={}", all.next);
        let answer: Result<Events, _> = client.get(&path).await;
        let batch = answer.map_err(|error| Failure::of_client("list the records", error))?;
        let over = batch.records.is_empty();
        all.records.extend(batch.records);
        all.next = all.next.max(batch.next);
        if over {
            return Ok(all);
        }
    }
}

async fn follow(asked: &Asked, client: &Client, begun: Events) -> Result<Exit, Failure> {
    let failed = |error| Failure::of_client("follow the records", error);
    for record in &begun.records {
        show(asked, record);
    }
    let mut records = client.follow(begun.next).await.map_err(failed)?;
    while let Some(record) = records.next().await.map_err(failed)? {
        show(asked, &record);
    }
    Err(Failure::new(Exit::Unreachable, "cannot follow the records any longer")
        .because("the node service ended")
        .hint("`stead status` shows which nodes answer"))
}

fn show(asked: &Asked, record: &stead_model::record::Record) {
    if asked.json {
        screen::json_line(record);
    } else {
        screen::data(&render::record_line(record));
    }
}

pub(super) async fn explain(asked: &Asked, command: ExplainCommand) -> Result<Exit, Failure> {
    match command {
        ExplainCommand::Group { name } => {
            let doing = format!("explain group `{name}`");
            group_id(&doing, &name)?;
            let client = asked.reach().await?.client;
            let told = client.explain_group(&name).await;
            let told = told.map_err(|error| Failure::of_client(&doing, error))?;
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
