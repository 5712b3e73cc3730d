//! `stead status`.

use std::io::IsTerminal;
use std::time::Duration;

use stead_api::{attention, availability};
use stead_model::UtcMillis;
use stead_model::view::View;

use super::Asked;
use crate::arguments::{ReportCommand, StatusArguments};
use crate::failure::{Exit, Failure};
use crate::{render, screen};

pub(super) async fn status(asked: &Asked, arguments: &StatusArguments) -> Result<Exit, Failure> {
    if arguments.watch {
        return watch(asked).await;
    }
    let view = asked.view().await?;
    asked.show(&view, render::status);
    Ok(exit(&view))
}

pub(super) async fn attention(asked: &Asked) -> Result<Exit, Failure> {
    let view = asked.view().await?;
    let all = attention::list(&view);
    asked.show(&all, |all| render::attention(all));
    Ok(exit(&view))
}

pub(super) async fn report(asked: &Asked, command: ReportCommand) -> Result<Exit, Failure> {
    let ReportCommand::Availability = command;
    let statements = availability::report(&asked.view().await?);
    asked.show(&statements, |all| render::availability(all));
    Ok(Exit::Ok)
}

fn exit(view: &View) -> Exit {
    if attention::list(view).iter().any(|item| item.urgent) { Exit::Refused } else { Exit::Ok }
}

/// Shows the state whenever it changes, until interrupted. Nodes that do not answer are a state
/// too; a command line that names none is not.
async fn watch(asked: &Asked) -> Result<Exit, Failure> {
    let place = asked.place()?;
    let mut shown = None;
    loop {
        match crate::reach::reach(&place, asked.node.as_deref()).await {
            Ok(reached) => {
                let view = reached.view;
                let state = Some(without_counters(&view));
                if state != shown {
                    show(asked, &view);
                    shown = state;
                }
            }
            Err(failure) if failure.exit == Exit::Unreachable => {
                if shown.is_some() {
                    failure.tell(asked.json);
                    shown = None;
                }
            }
            Err(failure) => return Err(failure),
        }
        tokio::time::sleep(BETWEEN_LOOKS).await;
    }
}

/// Figures of the asked node, as its API tells them to Prometheus.
pub(super) async fn metrics(asked: &Asked) -> Result<Exit, Failure> {
    asked.show(&asked.view().await?, stead_api::metrics::text);
    Ok(Exit::Ok)
}

fn show(asked: &Asked, view: &View) {
    if asked.json {
        screen::json_line(view);
        return;
    }
    let clear = if std::io::stdout().is_terminal() { "\x1b[2J\x1b[H" } else { "" };
    screen::data(&format!("{clear}{}\n", render::status(view)));
}

/// The view without what changes all the time.
fn without_counters(view: &View) -> View {
    let mut view = view.clone();
    view.at = UtcMillis(0);
    for link in view.nodes.iter_mut().flat_map(|node| &mut node.links) {
        (link.received, link.lost) = (0, 0);
    }
    view
}

const BETWEEN_LOOKS: Duration = Duration::from_millis(250);
