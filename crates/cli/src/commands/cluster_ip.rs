//! `stead cluster ip`: the address and the name by which the cluster is administered.

use std::collections::BTreeMap;

use stead_model::core_group::{CORE_GROUP, ClusterIp};
use stead_model::group::Desired;
use stead_model::request::Request;
use stead_model::resource_type::TSIG_KEY;
use stead_model::server::{DNS_SERVERS, ZONE};

use super::Asked;
use super::write::{Write, carry_out, insisted, noted};
use crate::arguments::IpArguments;
use crate::failure::{Exit, Failure};
use crate::render;
use crate::waiting::{self, Goal};

pub(super) async fn run(asked: &Asked, typed: IpArguments) -> Result<Exit, Failure> {
    let (wait, force) = (typed.wait, typed.force);
    let (doing, request, desired) = match (typed.remove, wanted(typed)) {
        (true, _) => ("remove the cluster IP", Request::RemoveClusterIp, Desired::Offline),
        (false, Some(wanted)) => {
            ("set the cluster IP", Request::SetClusterIp { wanted }, Desired::Online)
        }
        (false, None) => return show(asked).await,
    };
    let goal = wait.then(|| Goal::Group { group: CORE_GROUP.into(), desired });
    let (doing, request) = (doing.to_owned(), insisted(force, request));
    carry_out(asked, asked.reach().await?, Write { doing, request, goal }).await
}

/// Gives the cluster that was just made its address, and waits until it has it.
pub(super) async fn give(asked: &Asked, address: String) -> Result<(), Failure> {
    let doing = format!("give the cluster the IP address {address}");
    let wanted = ClusterIp { address: Some(address), name: None };
    let reached = asked.reach().await?;
    let answer = reached.client.request(&Request::SetClusterIp { wanted }).await;
    let done = answer.map_err(|error| Failure::of_client(&doing, error))?;
    noted(&done.notices);
    let goal = Goal::Group { group: CORE_GROUP.into(), desired: Desired::Online };
    waiting::wait(&asked.place()?, reached, &goal, done.index).await
}

async fn show(asked: &Asked) -> Result<Exit, Failure> {
    let view = asked.view().await?;
    asked.show(&view.core_group(), |_| render::cluster_ip(&view));
    Ok(Exit::Ok)
}

/// What was typed; `None`: nothing.
fn wanted(typed: IpArguments) -> Option<ClusterIp> {
    let published =
        [(ZONE, typed.zone), (DNS_SERVERS, typed.dns_servers), (TSIG_KEY, typed.tsig_key)];
    let published: BTreeMap<String, String> =
        published.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))).collect();
    let name = (typed.no_name || !published.is_empty()).then_some(published);
    let wanted = ClusterIp { address: typed.address, name };
    (wanted != ClusterIp::default()).then_some(wanted)
}
