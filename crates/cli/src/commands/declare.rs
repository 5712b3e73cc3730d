//! `stead apply` and `stead export`: groups as a file.

use std::io::Read;
use std::path::Path;

use serde::Serialize;
use stead_api::file;
use stead_model::LogIndex;
use stead_model::declaration::{Declaration, Foreseen, NODE_LISTS};
use stead_model::group::Desired;
use stead_model::reason::{Code, Reason};
use stead_model::request::Request;
use stead_model::view::View;

use super::write::{insisted, noted, numbered};
use super::{Asked, trees};
use crate::arguments::{ApplyArguments, ExportArguments, Manner};
use crate::failure::{Exit, Failure};
use crate::reach::Reached;
use crate::waiting::{self, Goal};
use crate::{render, screen};

/// What `apply --json` prints.
#[derive(Serialize)]
struct Applied<'a> {
    /// The entry; absent when there was nothing to change.
    index: Option<LogIndex>,
    #[serde(flatten)]
    foreseen: &'a Foreseen,
}

pub(super) async fn apply(asked: &Asked, arguments: ApplyArguments) -> Result<Exit, Failure> {
    let ApplyArguments { file: path, manner } = arguments;
    let doing = match manner.plan {
        true => format!("plan `{}`", path.display()),
        false => format!("apply `{}`", path.display()),
    };
    let read = text(&path).and_then(|text| file::read(&text));
    let wanted = read.map_err(|reason| Failure::refused(&doing, reason))?;
    let reached = asked.reach().await?;
    let wanted = with_numbers(&reached.view, wanted);
    carry_out(asked, reached, (&doing, wanted), manner).await
}

/// Shows what a declaration changes and causes, and makes it so.
pub(super) async fn carry_out(
    asked: &Asked,
    reached: Reached,
    (doing, wanted): (&str, Declaration),
    Manner { plan, wait, force }: Manner,
) -> Result<Exit, Failure> {
    let insist = |request| insisted(force, request);
    let foresee = insist(Request::Foresee { wanted: wanted.clone() });
    let foreseen = reached.client.foresee(&foresee).await;
    let foreseen = foreseen.map_err(|error| Failure::of_client(doing, error))?;
    trees::tell_forks(asked, &wanted, &foreseen);
    if plan {
        asked.show(&foreseen, render::foreseen);
        if !asked.json {
            noted(&foreseen.notices);
        }
        return Ok(Exit::Ok);
    }
    if !asked.json {
        screen::data(&render::foreseen(&foreseen));
        noted(&foreseen.notices);
    }
    let nothing = foreseen.differences.is_empty();
    let apply = insist(Request::Apply { wanted: wanted.clone() });
    let index = if nothing { None } else { Some(commit(doing, &reached, &apply).await?) };
    if asked.json {
        screen::json(&Applied { index, foreseen: &foreseen });
    } else if let Some(index) = index {
        screen::talk(&format!("committed as entry {index}"));
    }
    if wait {
        follow(asked, reached, (&wanted, index)).await?;
    }
    Ok(Exit::Ok)
}

async fn commit(doing: &str, reached: &Reached, request: &Request) -> Result<LogIndex, Failure> {
    let answer = reached.client.request(request).await;
    Ok(answer.map_err(|error| Failure::of_client(doing, error))?.index)
}

/// Waits for each of the groups.
async fn follow(
    asked: &Asked,
    reached: Reached,
    (wanted, index): (&Declaration, Option<LogIndex>),
) -> Result<(), Failure> {
    let index = index.unwrap_or(reached.view.applied);
    for group in &wanted.groups {
        let reached = asked.reach().await?;
        let known = reached.view.groups.iter().find(|g| g.group == group.group);
        let desired = group.desired.or_else(|| known.map(|g| g.desired));
        let desired = desired.unwrap_or(Desired::Online);
        let goal = Goal::Group { group: group.group.clone(), desired };
        waiting::wait(&asked.place()?, reached, &goal, index).await?;
    }
    Ok(())
}

/// The text of a file.
pub(super) fn text(path: &Path) -> Result<String, Reason> {
    let mut text = String::new();
    let read = if path.as_os_str() == "-" {
        std::io::stdin().lock().read_to_string(&mut text).map(drop)
    } else {
        std::fs::read_to_string(path).map(|found| text = found)
    };
    read.map_err(|error| {
        Reason::new(Code::NotFound, "it cannot be read").because(error.to_string())
    })?;
    Ok(text)
}

/// Nodes may be given by host name and are sent as `n1`.
fn with_numbers(view: &View, mut wanted: Declaration) -> Declaration {
    let groups = wanted.groups.iter_mut().map(|group| &mut group.properties);
    let resources = wanted.resources.iter_mut().map(|resource| &mut resource.properties);
    for properties in groups.chain(resources) {
        for (_, list) in properties.iter_mut().filter(|p| NODE_LISTS.contains(&p.0.as_str())) {
            *list = numbered(view, list);
        }
    }
    wanted
}

pub(super) async fn export(asked: &Asked, arguments: ExportArguments) -> Result<Exit, Failure> {
    let doing = "export the groups";
    let reached = asked.reach().await?;
    let declared = reached.client.export(&arguments.groups).await;
    let declared = declared.map_err(|error| Failure::of_client(doing, error))?;
    asked.show(&declared, file::write);
    Ok(Exit::Ok)
}
