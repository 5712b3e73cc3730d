//! The interfaces of a machine, from inside.

use std::net::IpAddr;

use stead_netlink::{AddressSpec, Mac, Route};

use super::order::Interface;
use crate::step::{Step, StepError};

/// Switches on loopback and every interface, each with its MAC and address.
pub(crate) fn configure(interfaces: &[Interface]) -> Result<(), StepError> {
    let route = Route::open().step("open", "netlink")?;
    route.set_up("lo").step("switch on", "lo")?;
    for interface in interfaces {
        let name = interface.name.as_str();
        let link = route.link(name).step("find", name)?;
        route.set_mac(&link, Mac(interface.mac)).step("set the MAC of", name)?;
        let address = IpAddr::V4(interface.address);
        let spec = AddressSpec::node(link.index, address, interface.prefix_len);
        route.add_address(&spec).step("add an address to", name)?;
        route.set_up(&link).step("switch on", name)?;
    }
    Ok(())
}
