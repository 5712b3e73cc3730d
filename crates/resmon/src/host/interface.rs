//! Which interface a cluster address lives on, and which neighbours are nodes of the cluster.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::path::Path;

use stead_model::network::Subnet;
use stead_netlink::{AddressEntry, Claim, Link, Mac, Route};

/// Finds the interface: by name, or the one whose own address lies in the configured prefix.
///
/// # Errors
/// One sentence that names what was looked for and what there is.
pub(crate) fn choose(
    route: &Route,
    address: IpAddr,
    prefix: u8,
    name: Option<&str>,
) -> Result<Claim, String> {
    let link = match name {
        Some(name) => route.link(name).map_err(|e| format!("no interface `{name}`: {e}"))?,
        None => by_prefix(route, address, prefix)?,
    };
    let Some(mac) = link.mac else {
        return Err(format!("interface `{}` has no MAC address", link.name));
    };
    Ok(Claim { address, ifindex: link.index, mac })
}

fn by_prefix(route: &Route, address: IpAddr, prefix: u8) -> Result<Link, String> {
    let addresses = route.addresses().map_err(|e| e.to_string())?;
    let own = addresses.iter().find(|entry| is_home(entry, address, prefix));
    let Some(own) = own else {
        let there: Vec<String> = addresses
            .iter()
            .filter(|entry| !entry.address.is_loopback() && entry.prefix_len < 128)
            .map(|entry| format!("{}/{}", entry.address, entry.prefix_len))
            .collect();
        return Err(format!(
            "no interface of this node has an address in {address}/{prefix} (there are: {})",
            there.join(", ")
        ));
    };
    route.link(own.ifindex).map_err(|e| e.to_string())
}

/// Whether this is a node's own address in the network of the cluster address.
fn is_home(entry: &AddressEntry, address: IpAddr, prefix: u8) -> bool {
    entry.address != address
        && !entry.without_prefix_route
        && Subnet::of(address, prefix).contains(entry.address)
}

/// The MAC addresses that this node's neighbour table knows for the nodes of the cluster.
pub(crate) fn node_macs(route: &Route, root: &Path) -> BTreeSet<Mac> {
    let Ok(config) = super::node::config(root) else { return BTreeSet::new() };
    let nodes: BTreeSet<IpAddr> =
        config.nodes.iter().flat_map(|n| n.addresses.iter().map(|a| a.address)).collect();
    let neighbours = route.neighbours().unwrap_or_default();
    neighbours.into_iter().filter(|n| nodes.contains(&n.address)).filter_map(|n| n.mac).collect()
}
