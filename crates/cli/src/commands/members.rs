//! `stead node …`, `stead quorum …` and `stead resource-type …`.

use std::time::Duration;

use super::Asked;
use super::forced;
use super::life;
use super::upkeep::pause;
use super::write::{Write, carry_out, insisted, missing};
use crate::arguments::{Assignment, NodeCommand, OnNetwork, QuorumCommand, ResourceTypeCommand};
use crate::failure::{Exit, Failure};
use crate::reach::find_node;
use crate::render::{self, TypeEntry};
use stead_model::NodeId;
use stead_model::amounts::Amounts;
use stead_model::config::{NodeAddress, NodeWish};
use stead_model::ocf;
use stead_model::reason::{Code, Reason};
use stead_model::request::Request;
use stead_model::upkeep::Drain;
use stead_model::view::View;
use stead_resmon::kit::{self, Trials};

pub(super) async fn node(asked: &Asked, command: NodeCommand) -> Result<Exit, Failure> {
    let (name, absent) = match command {
        NodeCommand::Pause { name } => return pause(asked, &name, Some(Drain::No)).await,
        NodeCommand::Resume { name } => return pause(asked, &name, None).await,
        NodeCommand::Drain { name, force_offline } => {
            let drain = if force_offline { Drain::ForceOffline } else { Drain::Yes };
            return pause(asked, &name, Some(drain)).await;
        }
        NodeCommand::Stop => return life::stop(asked),
        NodeCommand::Start => return life::start(asked).await,
        NodeCommand::Add { name, addresses, number } => {
            return add(asked, name, addresses, number).await;
        }
        NodeCommand::Set { node, name, addresses } => {
            return set(asked, &node, (name, addresses)).await;
        }
        NodeCommand::Evict { name, force_offline } => {
            return evict(asked, &name, force_offline).await;
        }
        NodeCommand::ForceQuorum { cluster, without_disk } => {
            return forced::force(asked, cluster.as_deref(), without_disk).await;
        }
        NodeCommand::Capacity { name, measured: true, .. } => {
            return measured(asked, &name).await;
        }
        NodeCommand::Capacity { name, amounts, .. } => {
            return capacity(asked, &name, amounts).await;
        }
        NodeCommand::Local { name, service, amounts, remove } => {
            let needs = (!remove).then_some(amounts);
            return local(asked, &name, (&service, needs)).await;
        }
        NodeCommand::Absent { name } => (name, true),
        NodeCommand::Present { name } => (name, false),
        NodeCommand::List | NodeCommand::Show { .. } => return look(asked, command).await,
    };
    let doing = match absent {
        true => format!("announce an absence of node `{name}`"),
        false => format!("end the absence of node `{name}`"),
    };
    change(asked, doing, &name, |node| Request::SetAbsence { node, absent }).await
}

/// Asks for a change of the node of that name.
async fn change(
    asked: &Asked,
    doing: String,
    name: &str,
    request: impl FnOnce(NodeId) -> Request,
) -> Result<Exit, Failure> {
    let reached = asked.reach().await?;
    let node = find_node(&reached.view, name).ok_or_else(|| missing(&doing, "node", name))?.node;
    carry_out(asked, reached, Write { doing, request: request(node), goal: None }).await
}

/// Asks for it and waits until the node is gone.
async fn evict(asked: &Asked, name: &str, force_offline: bool) -> Result<Exit, Failure> {
    let doing = format!("evict node `{name}`");
    let reached = asked.reach().await?;
    let found = find_node(&reached.view, name).map(|found| found.node);
    let node = found.ok_or_else(|| missing(&doing, "node", name))?;
    let request = insisted(force_offline, Request::Evict { node });
    let answer = reached.client.request(&request).await;
    let done = answer.map_err(|error| Failure::of_client(&doing, error))?;
    let asked_at = tokio::time::Instant::now();
    while asked_at.elapsed() < GONE_WITHIN {
        let view = asked.view().await?;
        if view.nodes.iter().all(|known| known.node != node) {
            let gone = format!("{node} is no member any more\n");
            asked.show(&done, |_| gone);
            return Ok(Exit::Ok);
        }
        tokio::time::sleep(BETWEEN_LOOKS).await;
    }
    Err(Failure::new(Exit::Refused, format!("cannot see {node} go"))
        .because("its groups are still there, or those that stay are no majority without it")
        .hint("it goes on by itself: `stead node list` and `stead group list` show how far it is"))
}

/// A group that is moved takes as long as its resources do.
const GONE_WITHIN: Duration = Duration::from_secs(60);
const BETWEEN_LOOKS: Duration = Duration::from_millis(200);

async fn add(
    asked: &Asked,
    name: String,
    given: Vec<OnNetwork>,
    number: Option<u16>,
) -> Result<Exit, Failure> {
    let doing = format!("add node `{name}`");
    let reached = asked.reach().await?;
    let addresses = on_networks(&reached.view, &doing, given)?;
    let request = Request::AddNode { number: number.map(NodeId), name, addresses, token: None };
    carry_out(asked, reached, Write { doing, request, goal: None }).await
}

/// Addresses on networks that are named.
fn on_networks(
    view: &View,
    doing: &str,
    given: Vec<OnNetwork>,
) -> Result<Vec<NodeAddress>, Failure> {
    let networks = &view.networks;
    let mut addresses = Vec::new();
    for OnNetwork { network, address } in given {
        let Some(found) = networks.iter().find(|n| n.name == network) else {
            let names: Vec<&str> = networks.iter().map(|n| n.name.as_str()).collect();
            let reason = Reason::new(Code::NotFound, format!("there is no network `{network}`"))
                .hint(format!("the networks are {}", names.join(", ")));
            return Err(Failure::refused(doing, reason));
        };
        addresses.push(NodeAddress { network: found.id, address });
    }
    Ok(addresses)
}

async fn set(
    asked: &Asked,
    node: &str,
    (name, given): (Option<String>, Vec<OnNetwork>),
) -> Result<Exit, Failure> {
    let doing = format!("change node `{node}`");
    let reached = asked.reach().await?;
    let found = find_node(&reached.view, node).map(|found| found.node);
    let found = found.ok_or_else(|| missing(&doing, "node", node))?;
    let addresses = on_networks(&reached.view, &doing, given)?;
    let request = Request::SetNode { node: found, wish: NodeWish { name, addresses } };
    carry_out(asked, reached, Write { doing, request, goal: None }).await
}

async fn capacity(asked: &Asked, name: &str, typed: Vec<Assignment>) -> Result<Exit, Failure> {
    let doing = format!("say what node `{name}` has");
    let capacity = amounts(&doing, typed)?;
    change(asked, doing, name, |node| Request::SetCapacity { node, capacity }).await
}

async fn measured(asked: &Asked, name: &str) -> Result<Exit, Failure> {
    let doing = format!("say that node `{name}` has what its machine has");
    change(asked, doing, name, |node| Request::MeasureCapacity { node }).await
}

async fn local(
    asked: &Asked,
    name: &str,
    (service, typed): (&str, Option<Vec<Assignment>>),
) -> Result<Exit, Failure> {
    let doing = match typed {
        Some(_) => format!("list service `{service}` of node `{name}`"),
        None => format!("list service `{service}` of node `{name}` no more"),
    };
    let needs = typed.map(|typed| amounts(&doing, typed)).transpose()?;
    change(asked, doing, name, |node| Request::SetLocal {
        node,
        service: service.to_owned(),
        needs,
    })
    .await
}

fn amounts(doing: &str, typed: Vec<Assignment>) -> Result<Amounts, Failure> {
    let mut amounts = Amounts::default();
    for Assignment { key, value } in typed {
        amounts.set(&key, &value).map_err(|reason| Failure::refused(doing, reason))?;
    }
    Ok(amounts)
}

async fn look(asked: &Asked, command: NodeCommand) -> Result<Exit, Failure> {
    let view = asked.view().await?;
    match command {
        NodeCommand::Add { .. }
        | NodeCommand::Set { .. }
        | NodeCommand::Absent { .. }
        | NodeCommand::Present { .. }
        | NodeCommand::Pause { .. }
        | NodeCommand::Stop
        | NodeCommand::Start
        | NodeCommand::Drain { .. }
        | NodeCommand::Capacity { .. }
        | NodeCommand::Local { .. }
        | NodeCommand::Evict { .. }
        | NodeCommand::ForceQuorum { .. }
        | NodeCommand::Resume { .. } => {}
        NodeCommand::List => asked.show(&view.nodes, |_| render::nodes(&view)),
        NodeCommand::Show { name } => {
            let found = find_node(&view, &name);
            let doing = format!("show node `{name}`");
            let node = found.ok_or_else(|| missing(&doing, "node", &name))?;
            asked.show(node, |node| render::node(&view, node));
        }
    }
    Ok(Exit::Ok)
}

pub(super) async fn quorum(asked: &Asked, command: QuorumCommand) -> Result<Exit, Failure> {
    let QuorumCommand::Show = command;
    let quorum = asked.view().await?.quorum;
    asked.show(&quorum, render::quorum);
    Ok(if quorum.has_quorum { Exit::Ok } else { Exit::Refused })
}

pub(super) async fn resource_type(
    asked: &Asked,
    command: ResourceTypeCommand,
) -> Result<Exit, Failure> {
    if let ResourceTypeCommand::Test { program, properties, probe, only, limit } = command {
        let properties = properties.into_iter().map(|given| (given.key, given.value)).collect();
        let call_limit = Duration::from_millis(limit);
        let patience = Duration::from_secs(10);
        return test(asked, Trials { program, properties, probe, only, call_limit, patience });
    }
    let reached = asked.reach().await?;
    // Agents are asked one by one: there may be hundreds.
    if let ResourceTypeCommand::Show { name } = &command
        && ocf::agent(name).is_some()
        && *name != ocf::TABLE
    {
        let agent = reached.client.get::<TypeEntry>(&format!("/v1/resource-types/{name}")).await;
        let doing = format!("show resource type `{name}`");
        let agent = agent.map_err(|error| Failure::of_client(&doing, error))?;
        asked.show(&agent, render::resource_type);
        return Ok(Exit::Ok);
    }
    let types: Result<Vec<TypeEntry>, _> = reached.client.get("/v1/resource-types").await;
    let types = types.map_err(|error| Failure::of_client("list the resource types", error))?;
    match command {
        ResourceTypeCommand::List => asked.show(&types, |types| render::resource_types(types)),
        ResourceTypeCommand::Test { .. } => {}
        ResourceTypeCommand::Show { name } => {
            let found = types.iter().find(|entry| entry.name == name);
            let doing = format!("show resource type `{name}`");
            let entry = found.ok_or_else(|| missing(&doing, "resource type", &name))?;
            asked.show(entry, render::resource_type);
        }
    }
    Ok(Exit::Ok)
}

/// Tests a program on this machine; no node is asked.
fn test(asked: &Asked, mut trials: Trials) -> Result<Exit, Failure> {
    let doing = format!("cannot test `{}`", trials.program.display());
    let failed = |why: String| Failure::new(Exit::Refused, doing.clone()).because(why);
    trials.program =
        std::path::absolute(&trials.program).map_err(|error| failed(error.to_string()))?;
    let report = kit::test(&trials).map_err(|why| {
        failed(why).hint("`docs/reference/external-types.md` says what a program must do")
    })?;
    asked.show(&report, render::tested);
    Ok(if report.passed() { Exit::Ok } else { Exit::Refused })
}
