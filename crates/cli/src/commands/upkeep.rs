//! What is put aside for a while: `stead node pause`, `group pin`, `group maintain` and their ends.

use stead_model::UtcMillis;
use stead_model::request::Request;
use stead_model::resource_type::parse_time_ms;
use stead_model::upkeep::{Drain, Upkeep};
use stead_model::view::View;

use super::Asked;
use super::write::{self, Write, carry_out};
use crate::arguments::TermArguments;
use crate::failure::{Exit, Failure};
use crate::reach::find_node;

/// Pauses a node, or with `None` resumes it.
pub(super) async fn pause(
    asked: &Asked,
    name: &str,
    drain: Option<Drain>,
) -> Result<Exit, Failure> {
    let doing = match drain {
        None => format!("resume node `{name}`"),
        Some(Drain::No) => format!("pause node `{name}`"),
        Some(Drain::Yes | Drain::ForceOffline) => format!("drain node `{name}`"),
    };
    let reached = asked.reach().await?;
    let found = find_node(&reached.view, name).map(|found| found.node);
    let node = found.ok_or_else(|| write::missing(&doing, "node", name))?;
    let upkeep = match drain {
        None => Upkeep::Resume { node },
        Some(drain) => Upkeep::Pause { node, drain },
    };
    carry_out(asked, reached, Write { doing, request: Request::Upkeep { upkeep }, goal: None })
        .await
}

/// Pins a group.
pub(super) async fn pin(
    asked: &Asked,
    name: &str,
    (to, time): (&str, &str),
) -> Result<Exit, Failure> {
    let doing = format!("pin group `{name}` to {to}");
    let reached = asked.reach().await?;
    let group = write::group(&reached.view, &doing, name)?.group.clone();
    let node = find_node(&reached.view, to).map(|found| found.node);
    let node = node.ok_or_else(|| write::missing(&doing, "node", to))?;
    let until = end(&reached.view, &doing, time)?;
    let request = Request::Upkeep { upkeep: Upkeep::Pin { group, node, until } };
    carry_out(asked, reached, Write { doing, request, goal: None }).await
}

/// Ends a pin.
pub(super) async fn unpin(asked: &Asked, name: &str) -> Result<Exit, Failure> {
    let doing = format!("unpin group `{name}`");
    let group = write::group_id(&doing, name)?;
    write::ask(asked, doing, Request::Upkeep { upkeep: Upkeep::Unpin { group } }).await
}

/// What is in maintenance.
#[derive(Clone, Copy)]
pub(super) enum What<'a> {
    Group(&'a str),
    Resource(&'a str),
}

/// Puts a group or resource in maintenance, or ends that.
pub(super) async fn maintain(
    asked: &Asked,
    what: What<'_>,
    term: &TermArguments,
) -> Result<Exit, Failure> {
    let noun = match what {
        What::Group(name) => format!("group `{name}`"),
        What::Resource(name) => format!("resource `{name}`"),
    };
    let doing = match &term.time {
        Some(_) => format!("put {noun} in maintenance"),
        None => format!("end maintenance of {noun}"),
    };
    let reached = asked.reach().await?;
    let (group, resource) = match what {
        What::Group(name) => (write::group(&reached.view, &doing, name)?.group.clone(), None),
        What::Resource(name) => {
            let (group, resource) = write::resource(&reached.view, &doing, name)?;
            (group.group.clone(), Some(resource.resource.clone()))
        }
    };
    let upkeep = match &term.time {
        Some(time) => {
            Upkeep::Maintain { group, resource, until: end(&reached.view, &doing, time)? }
        }
        None => Upkeep::EndMaintenance { group, resource },
    };
    carry_out(asked, reached, Write { doing, request: Request::Upkeep { upkeep }, goal: None })
        .await
}

/// When a time that begins now ends, by the clock of the asked node.
fn end(view: &View, doing: &str, time: &str) -> Result<UtcMillis, Failure> {
    let ms = parse_time_ms(time).map_err(|reason| Failure::refused(doing, reason))?;
    Ok(UtcMillis(view.at.0.saturating_add(ms)))
}
