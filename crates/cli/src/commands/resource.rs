//! `stead resource …`.

use std::collections::BTreeSet;

use stead_api::contract::{Control, Logs, ResourceEntry};
use stead_api::tree::Tree;
use stead_model::group::Desired;
use stead_model::request::Request;
use stead_model::view::{GroupView, ResourceView, View};

use super::upkeep::{self, What};
use super::write::{self, Write};
use super::{Asked, reach, trees};
use crate::arguments::{Assignment, ResourceCommand};
use crate::failure::{Exit, Failure};
use crate::reach::Reached;
use crate::waiting::Goal;
use crate::{render, screen};

pub(super) async fn run(asked: &Asked, command: ResourceCommand) -> Result<Exit, Failure> {
    match command {
        ResourceCommand::Create { name, kind, group, properties, force } => {
            create(asked, New { name, kind, group, properties, force }).await
        }
        ResourceCommand::Delete { name } => {
            let doing = format!("delete resource `{name}`");
            let resource = write::resource_id(&doing, &name)?;
            write::ask(asked, doing, Request::DeleteResource { resource }).await
        }
        ResourceCommand::Show { name } => {
            let view = asked.view().await?;
            let doing = format!("show resource `{name}`");
            let (group, resource) = write::resource(&view, &doing, &name)?;
            asked.show(&entry(group, resource), render::resource);
            Ok(Exit::Ok)
        }
        ResourceCommand::List => {
            let view = asked.view().await?;
            asked.show(&entries(&view), |_| render::resources(&view));
            Ok(Exit::Ok)
        }
        ResourceCommand::Online { name, wait } => bring(asked, &name, Desired::Online, wait).await,
        ResourceCommand::Offline { name, wait } => {
            bring(asked, &name, Desired::Offline, wait).await
        }
        ResourceCommand::Impact { name } => trees::impact(asked, &name).await,
        ResourceCommand::Fail { name } => {
            let doing = format!("rehearse a failure of resource `{name}`");
            let resource = write::resource_id(&doing, &name)?;
            write::ask(asked, doing, Request::FailResource { resource }).await
        }
        ResourceCommand::Maintain { name, term } => {
            upkeep::maintain(asked, What::Resource(&name), &term).await
        }
        ResourceCommand::Set { name, properties, force } => {
            set(asked, &name, (properties, force)).await
        }
        ResourceCommand::Unset { name, keys } => {
            let doing = format!("change resource `{name}`");
            let resource = write::resource_id(&doing, &name)?;
            let request = Request::SetResource { resource, properties: write::resets(keys) };
            write::ask(asked, doing, request).await
        }
        ResourceCommand::Logs { name, lines } => logs(asked, &name, lines).await,
        ResourceCommand::Control { name, code, text } => {
            control(asked, &name, Control { code, text }).await
        }
        ResourceCommand::Depend { name, on } => depend(asked, &name, &on, Dependency::Begins).await,
        ResourceCommand::Undepend { name, on } => depend(asked, &name, &on, Dependency::Ends).await,
    }
}

/// A resource to create, as typed.
struct New {
    name: String,
    kind: String,
    group: String,
    properties: Vec<Assignment>,
    force: bool,
}

async fn create(asked: &Asked, new: New) -> Result<Exit, Failure> {
    let doing = format!("create resource `{}`", new.name);
    let resource = write::resource_id(&doing, &new.name)?;
    let group = write::group_id(&doing, &new.group)?;
    let reached = reach(&asked.place()?, asked.node.as_deref()).await?;
    let properties = write::properties(&reached.view, &doing, new.properties)?;
    let request = Request::CreateResource { group, resource, kind: new.kind, properties };
    let request = write::insisted(new.force, request);
    write::carry_out(asked, reached, Write { doing, request, goal: None }).await
}

fn entry(group: &GroupView, resource: &ResourceView) -> ResourceEntry {
    let (id, owner) = (group.group.clone(), group.owner);
    ResourceEntry { group: id, owner, resource: resource.clone() }
}

fn entries(view: &View) -> Vec<ResourceEntry> {
    let of_group = |group| move |resource| entry(group, resource);
    view.groups.iter().flat_map(|group| group.resources.iter().map(of_group(group))).collect()
}

async fn bring(asked: &Asked, name: &str, desired: Desired, wait: bool) -> Result<Exit, Failure> {
    let verb = write::bring(desired);
    let doing = format!("{verb} resource `{name}` {}", desired.word());
    let resource = write::resource_id(&doing, name)?;
    let reached = reach(&asked.place()?, asked.node.as_deref()).await?;
    let goal = wait.then(|| Goal::Resource { resource: resource.clone(), desired });
    let request = Request::SetResourceDesired { resource, desired };
    write::carry_out(asked, reached, Write { doing, request, goal }).await
}

async fn set(
    asked: &Asked,
    name: &str,
    (typed, force): (Vec<Assignment>, bool),
) -> Result<Exit, Failure> {
    let doing = format!("change resource `{name}`");
    let resource = write::resource_id(&doing, name)?;
    let reached = reach(&asked.place()?, asked.node.as_deref()).await?;
    let set = write::properties(&reached.view, &doing, typed)?;
    let request = Request::SetResource { resource, properties: write::changes(set) };
    let request = write::insisted(force, request);
    write::carry_out(asked, reached, Write { doing, request, goal: None }).await
}

/// The outputs are where the resource runs: without `--node` that node is asked.
async fn logs(asked: &Asked, name: &str, lines: usize) -> Result<Exit, Failure> {
    let doing = format!("show what resource `{name}` wrote");
    let reached = reach_owner(asked, &doing, name).await?;
    let path = format!("/v1/resources/{name}/logs?lines={lines}");
    let logs: Logs = reached.client.get(&path).await.map_err(|e| Failure::of_client(&doing, e))?;
    asked.show(&logs, |logs| logs.lines.iter().map(|line| format!("{line}\n")).collect());
    Ok(Exit::Ok)
}

/// Control codes go where the resource runs, too.
async fn control(asked: &Asked, name: &str, control: Control) -> Result<Exit, Failure> {
    let doing = format!("ask `{}` of resource `{name}`", control.code);
    let reached = reach_owner(asked, &doing, name).await?;
    let told = reached.client.control(name, &control).await;
    let told = told.map_err(|e| Failure::of_client(&doing, e))?;
    asked.show(&told, |told| match told.text.is_empty() {
        true => String::new(),
        false => format!("{}\n", told.text),
    });
    Ok(Exit::Ok)
}

/// The node that owns a resource, unless another one is meant.
async fn reach_owner(asked: &Asked, doing: &str, name: &str) -> Result<Reached, Failure> {
    let reached = asked.reach().await?;
    let (group, _) = write::resource(&reached.view, doing, name)?;
    match (&asked.node, group.owner) {
        (None, Some(owner)) if owner != reached.view.node => {
            reach(&asked.place()?, Some(&owner.to_string())).await
        }
        (Some(_) | None, _) => Ok(reached),
    }
}

/// What becomes of a dependency.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Dependency {
    Begins,
    Ends,
}

async fn depend(
    asked: &Asked,
    name: &str,
    on: &str,
    dependency: Dependency,
) -> Result<Exit, Failure> {
    let doing = match dependency {
        Dependency::Begins => format!("make resource `{name}` depend on `{on}`"),
        Dependency::Ends => format!("end the dependency of resource `{name}` on `{on}`"),
    };
    let other = write::resource_id(&doing, on)?;
    let reached = asked.reach().await?;
    let (group, resource) = write::resource(&reached.view, &doing, name)?;
    let (id, tree) = (resource.resource.clone(), Tree::of_group(group));
    let mut depends_on: BTreeSet<_> = resource.depends_on.iter().cloned().collect();
    let changed = match dependency {
        Dependency::Begins => depends_on.insert(other.clone()),
        Dependency::Ends => depends_on.remove(&other),
    };
    if !changed && dependency == Dependency::Ends {
        return Err(Failure::new(Exit::Refused, format!("cannot {doing}"))
            .because(format!("`{name}` does not depend on `{on}`"))
            .hint(format!("`stead resource show {name}` shows what it depends on")));
    }
    if !changed {
        screen::talk(&format!("`{name}` depends on `{on}` already"));
    }
    let tree = tree.with(&id, &depends_on);
    let forks = dependency == Dependency::Begins && tree.forks_at(&id, &other);
    let request = Request::SetDependencies { resource: id, depends_on };
    let exit = write::carry_out(asked, reached, Write { doing, request, goal: None }).await?;
    if forks {
        trees::tell_fork(asked, &tree);
    }
    Ok(exit)
}
