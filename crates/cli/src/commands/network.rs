//! `stead network …`.

use stead_api::contract::LinkEntry;
use stead_model::config::NetworkRole;
use stead_model::request::Request;

use super::Asked;
use super::write::{Write, carry_out, missing};
use crate::arguments::NetworkCommand;
use crate::failure::{Exit, Failure};
use crate::reach::name_of;
use crate::{render, screen};

pub(super) async fn run(asked: &Asked, command: NetworkCommand) -> Result<Exit, Failure> {
    match command {
        NetworkCommand::List => {
            asked.show(&asked.view().await?.networks, |all| render::networks(all));
        }
        NetworkCommand::Show { name } => {
            let view = asked.view().await?;
            let found = view.networks.iter().find(|network| network.name == name);
            let doing = format!("show network `{name}`");
            let network = found.ok_or_else(|| missing(&doing, "network", &name))?;
            asked.show(network, |network| render::network(&view, network));
        }
        NetworkCommand::Set { network, name, role, priority } => {
            let role = role.as_deref().and_then(NetworkRole::parse);
            let doing = format!("change network `{network}`");
            let request = Request::SetNetwork { network, name, role, priority };
            let reached = asked.reach().await?;
            return carry_out(asked, reached, Write { doing, request, goal: None }).await;
        }
        NetworkCommand::Stats => {
            let view = asked.view().await?;
            if !asked.json {
                let node = name_of(&view, view.node);
                screen::talk(&format!("links of {node}; `--node` asks another one"));
            }
            asked.show(&LinkEntry::of(&view), |all| render::links(&view, all));
        }
    }
    Ok(Exit::Ok)
}
