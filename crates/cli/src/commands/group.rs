//! `stead group …`.

use std::collections::BTreeMap;

use stead_model::group::{Desired, GroupPolicy};
use stead_model::reason::{Code, Reason};
use stead_model::request::Request;
use stead_model::view::View;
use stead_model::{GroupId, NodeId};

use super::upkeep::{self, What};
use super::write::{self, Write};
use super::{Asked, reach, trees};
use crate::arguments::{Assignment, GroupCommand};
use crate::failure::{Exit, Failure};
use crate::reach::find_node;
use crate::render;
use crate::waiting::Goal;

pub(super) async fn run(asked: &Asked, command: GroupCommand) -> Result<Exit, Failure> {
    match command {
        GroupCommand::Create { name, properties } => create(asked, &name, properties).await,
        GroupCommand::Delete { name } => {
            let doing = format!("delete group `{name}`");
            let group = write::group_id(&doing, &name)?;
            write::ask(asked, doing, Request::DeleteGroup { group }).await
        }
        GroupCommand::Show { name } => {
            let view = asked.view().await?;
            let group = write::group(&view, &format!("show group `{name}`"), &name)?;
            asked.show(group, render::group);
            Ok(Exit::Ok)
        }
        GroupCommand::List { virtual_servers } => {
            let mut groups = asked.view().await?.groups;
            groups.retain(|group| !virtual_servers || !group.servers.is_empty());
            asked.show(&groups, |groups| render::groups(groups.as_slice()));
            Ok(Exit::Ok)
        }
        GroupCommand::Online { name, wait } => bring(asked, &name, Desired::Online, wait).await,
        GroupCommand::Offline { name, wait } => bring(asked, &name, Desired::Offline, wait).await,
        GroupCommand::Properties => {
            asked.show(&stead_model::resource_type::GROUP, |_| render::group_properties());
            Ok(Exit::Ok)
        }
        GroupCommand::ClearFailures { name } => {
            let doing = format!("forget the failures of group `{name}`");
            let group = write::group_id(&doing, &name)?;
            write::ask(asked, doing, Request::ClearFailures { group }).await
        }
        GroupCommand::Tree { name, fix: true, .. } => trees::fix(asked, &name).await,
        GroupCommand::Tree { name, format, .. } => trees::tree(asked, &name, format).await,
        GroupCommand::Pin { name, to, time } => upkeep::pin(asked, &name, (&to, &time)).await,
        GroupCommand::Unpin { name } => upkeep::unpin(asked, &name).await,
        GroupCommand::Maintain { name, term } => {
            upkeep::maintain(asked, What::Group(&name), &term).await
        }
        GroupCommand::Move { name, to, wait } => move_to(asked, &name, to, wait).await,
        GroupCommand::Set { name, properties } => {
            let doing = format!("change group `{name}`");
            let group = write::group_id(&doing, &name)?;
            let reached = reach(&asked.place()?, asked.node.as_deref()).await?;
            let set = write::properties(&reached.view, &doing, properties)?;
            let request = Request::SetGroup { group, properties: write::changes(set) };
            write::carry_out(asked, reached, Write { doing, request, goal: None }).await
        }
        GroupCommand::Unset { name, keys } => {
            let doing = format!("change group `{name}`");
            let group = write::group_id(&doing, &name)?;
            let request = Request::SetGroup { group, properties: write::resets(keys) };
            write::ask(asked, doing, request).await
        }
    }
}

async fn create(asked: &Asked, name: &str, typed: Vec<Assignment>) -> Result<Exit, Failure> {
    let doing = format!("create group `{name}`");
    let group = write::group_id(&doing, name)?;
    let reached = reach(&asked.place()?, asked.node.as_deref()).await?;
    let properties = write::properties(&reached.view, &doing, typed)?;
    let policy =
        policy(&reached.view, properties).map_err(|reason| Failure::refused(&doing, reason))?;
    let request = Request::CreateGroup { group, policy };
    write::carry_out(asked, reached, Write { doing, request, goal: None }).await
}

/// The policy these properties mean.
fn policy(view: &View, properties: BTreeMap<String, String>) -> Result<GroupPolicy, Reason> {
    let mut policy = GroupPolicy::default();
    policy.set_all(&write::changes(properties))?;
    let known = |node: &&NodeId| view.nodes.iter().any(|n| n.node == **node);
    match policy.preferred_owners.iter().find(|node| !known(node)) {
        None => Ok(policy),
        Some(node) => Err(Reason::new(Code::NotFound, format!("there is no node `{node}`"))
            .hint("`stead node list` shows all")),
    }
}

async fn bring(asked: &Asked, name: &str, desired: Desired, wait: bool) -> Result<Exit, Failure> {
    let verb = write::bring(desired);
    let doing = format!("{verb} group `{name}` {}", desired.word());
    let group = write::group_id(&doing, name)?;
    let reached = reach(&asked.place()?, asked.node.as_deref()).await?;
    let goal = wait.then(|| Goal::Group { group: group.clone(), desired });
    let request = Request::SetGroupDesired { group, desired };
    write::carry_out(asked, reached, Write { doing, request, goal }).await
}

async fn move_to(
    asked: &Asked,
    name: &str,
    to: Option<String>,
    wait: bool,
) -> Result<Exit, Failure> {
    let target = to.as_deref().unwrap_or("another node");
    let doing = format!("move group `{name}` to {target}");
    let group = write::group_id(&doing, name)?;
    let reached = reach(&asked.place()?, asked.node.as_deref()).await?;
    let to = match &to {
        Some(text) => Some(target_node(&reached.view, &doing, text)?),
        None => None,
    };
    let goal = match wait {
        true => Some(moved(&reached.view, &doing, &group, to)?),
        false => None,
    };
    let request = Request::MoveGroup { group, to };
    write::carry_out(asked, reached, Write { doing, request, goal }).await
}

fn target_node(view: &View, doing: &str, text: &str) -> Result<NodeId, Failure> {
    let found = find_node(view, text).map(|found| found.node);
    found.ok_or_else(|| write::missing(doing, "node", text))
}

fn moved(view: &View, doing: &str, id: &GroupId, to: Option<NodeId>) -> Result<Goal, Failure> {
    let epoch = write::group(view, doing, id.as_str())?.epoch;
    Ok(Goal::Moved { group: id.clone(), to, epoch })
}
