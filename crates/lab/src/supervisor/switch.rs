//! The switch of a lab: a bridge per network, in a namespace of its own, and the cables into it.

use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::thread;

use rustix::thread::{LinkNameSpaceType, UnshareFlags};
use stead_netlink::{BridgeCuts, Cut, IfIndex, Route};

use crate::cabling::{Network, Station};
use crate::step::{Step, StepError};

/// The switch. Its sockets belong to its namespace, wherever the thread that uses them is.
#[derive(Debug)]
pub(crate) struct Switch {
    route: Route,
    cuts: BridgeCuts,
    bridges: Vec<(Network, IfIndex)>,
}

impl Switch {
    /// Makes namespace and bridges.
    pub(crate) fn create() -> Result<Self, StepError> {
        let made = thread::scope(|scope| scope.spawn(Self::create_here).join());
        match made {
            Ok(switch) => switch,
            Err(panic) => std::panic::resume_unwind(panic),
        }
    }

    fn create_here() -> Result<Self, StepError> {
        unshare_network().step("make", "a network namespace")?;
        let route = Route::open().step("open netlink in", "the switch")?;
        let cuts = BridgeCuts::open().step("open netfilter in", "the switch")?;
        let mut bridges = Vec::new();
        for network in Network::ALL {
            let name = network.name();
            route.add_bridge(name).step("make the bridge", name)?;
            route.set_up(name).step("switch on the bridge", name)?;
            bridges.push((network, route.link(name).step("find the bridge", name)?.index));
        }
        Ok(Self { route, cuts, bridges })
    }

    /// Lays the station's cables to the machine whose network namespace this is.
    pub(crate) fn plug(&self, station: Station, netns: &File) -> Result<(), StepError> {
        for network in station.networks() {
            let port = station.port(*network);
            let bridge = self.bridges.iter().find(|(n, _)| n == network).map(|(_, index)| *index);
            self.route
                .add_veth(&port, network.interface(), Some(netns.as_fd()))
                .step("lay the cable", &port)?;
            self.route.set_master(&port, bridge).step("plug in", &port)?;
            self.route.set_up(&port).step("switch on", &port)?;
        }
        Ok(())
    }

    /// Switches the station's ports off, at once as far as it can: the private one first, so that
    /// nobody hears of a client's loss before the peers can.
    pub(crate) fn ports_down(&self, station: Station) -> Result<(), StepError> {
        for network in station.networks() {
            let port = station.port(*network);
            self.route.set_down(&port).step("switch off", &port)?;
        }
        Ok(())
    }

    /// Takes the station's cables away; they may be gone with its machine.
    pub(crate) fn unplug(&self, station: Station) -> Result<(), StepError> {
        for network in station.networks() {
            let port = station.port(*network);
            match self.route.delete_link(&port) {
                Ok(()) => {}
                Err(error) if error.not_found() => {}
                Err(error) => return Err(StepError::new("take away the cable", &port, error)),
            }
        }
        Ok(())
    }

    /// Replaces all cuts.
    pub(crate) fn set_cuts(&self, cuts: &[Cut]) -> Result<(), StepError> {
        if cuts.is_empty() {
            return self.cuts.clear().step("heal", "the cables");
        }
        self.cuts.set(cuts).step("cut", "the cables")
    }
}

/// Moves the calling thread into another network namespace.
pub(crate) fn enter_network(netns: &File) -> io::Result<()> {
    let kind = Some(LinkNameSpaceType::Network);
    Ok(rustix::thread::move_into_link_name_space(netns.as_fd(), kind)?)
}

#[expect(unsafe_code, reason = "rustix marks every unshare unsafe")]
fn unshare_network() -> io::Result<()> {
    // SAFETY: only the net namespace of this thread changes; no memory or descriptor is unshared.
    unsafe { rustix::thread::unshare_unsafe(UnshareFlags::NEWNET)? };
    Ok(())
}
