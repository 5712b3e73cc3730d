//! `stead alert …`.

use stead_model::AlertId;
use stead_model::request::Request;

use super::Asked;
use super::write::{alert_id, ask, missing};
use crate::arguments::AlertCommand;
use crate::failure::{Exit, Failure};
use crate::{render, screen};

pub(super) async fn run(asked: &Asked, command: AlertCommand) -> Result<Exit, Failure> {
    match command {
        AlertCommand::List => {
            let view = asked.view().await?;
            asked.show(&view.alerts, |alerts| render::alerts(alerts));
            Ok(Exit::Ok)
        }
        AlertCommand::Show { name } => {
            let view = asked.view().await?;
            let found = view.alerts.iter().find(|alert| alert.alert.as_str() == name);
            let doing = format!("show alert `{name}`");
            let alert = found.ok_or_else(|| missing(&doing, "alert", &name))?;
            asked.show(alert, |alert| render::alert(&view, alert));
            Ok(Exit::Ok)
        }
        AlertCommand::Add { name, wanted } => {
            let doing = format!("add alert `{name}`");
            let alert = alert_id(&doing, &name)?;
            ask(asked, doing, Request::AddAlert { alert, properties: wanted.properties() }).await
        }
        AlertCommand::Remove { name } => {
            let doing = format!("remove alert `{name}`");
            let alert = alert_id(&doing, &name)?;
            ask(asked, doing, Request::RemoveAlert { alert }).await
        }
        AlertCommand::Test { name } => test(asked, &name).await,
    }
}

async fn test(asked: &Asked, name: &str) -> Result<Exit, Failure> {
    let doing = format!("test alert `{name}`");
    let alert: AlertId = alert_id(&doing, name)?;
    let reached = asked.reach().await?;
    let told = reached.client.test_alert(alert.as_str()).await;
    let told = told.map_err(|error| Failure::of_client(&doing, error))?;
    if asked.json {
        screen::json(&told);
    } else {
        screen::talk(&format!("told from {}: {}", reached.view.node, told.text));
    }
    Ok(Exit::Ok)
}
