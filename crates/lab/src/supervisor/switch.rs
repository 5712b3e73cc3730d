//! The switch of a lab: a bridge per network, in a namespace of its own, and the cables into it.

use std::collections::BTreeSet;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::thread;
use std::time::Duration;

use rustix::thread::{LinkNameSpaceType, UnshareFlags};
use stead_netlink::{BridgeCuts, Cut, IfIndex, Port, Route};

use super::held::HeldCable;
use super::slow::SlowCable;
use crate::cabling::{Network, Station};
use crate::clock;
use crate::fault::Slowness;
use crate::step::{Step, StepError};

/// The switch. Its sockets belong to its namespace, wherever the thread that uses them is.
#[derive(Debug)]
pub(crate) struct Switch {
    route: Route,
    cuts: BridgeCuts,
    bridges: Vec<(Network, IfIndex)>,
    netns: File,
    held: Vec<(Station, HeldCable)>,
    slow: Vec<(Station, SlowCable)>,
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
        let own = "/proc/thread-self/ns/net";
        let netns = File::open(own).step("open", own)?;
        Ok(Self { route, cuts, bridges, netns, held: Vec::new(), slow: Vec::new() })
    }

    fn bridge(&self, network: Network) -> Option<IfIndex> {
        self.bridges.iter().find(|(n, _)| *n == network).map(|(_, index)| *index)
    }

    /// Keeps all frames to and from a station from now on: its ports leave the bridges, and
    /// stand-ins take their places.
    pub(crate) fn hold(&mut self, station: Station) -> Result<(), StepError> {
        for network in station.networks() {
            let cable = match self.take_slow(&station.port(*network)) {
                Some(slow) => slow.end(),
                None => self.hold_cable(station, *network)?,
            };
            self.held.push((station, cable));
        }
        Ok(())
    }

    /// Makes exactly these cables slow. They belong to machines with power that do not hang.
    pub(crate) fn set_slow(&mut self, wanted: &[Slowness]) -> Result<(), StepError> {
        let as_wanted = |slow: &SlowCable| {
            wanted.iter().any(|w| w.station.port(w.network) == slow.port && w.up_to == slow.up_to)
        };
        let (same, other) = self.slow.drain(..).partition(|(_, slow)| as_wanted(slow));
        self.slow = same;
        let other: Vec<(Station, SlowCable)> = other;
        for (station, slow) in other {
            let network = station.networks().iter().find(|n| station.port(**n) == slow.port);
            let cable = slow.end();
            network.map_or(Ok(()), |network| self.let_go(station, *network, cable))?;
        }
        for Slowness { station, network, up_to } in wanted {
            let port = station.port(*network);
            if self.slow.iter().any(|(_, slow)| slow.port == port) {
                continue;
            }
            let cable = self.hold_cable(*station, *network)?;
            let slow = SlowCable::begin(cable, *up_to).step("slow down", &port)?;
            self.slow.push((*station, slow));
        }
        Ok(())
    }

    fn take_slow(&mut self, port: &str) -> Option<SlowCable> {
        let at = self.slow.iter().position(|(_, slow)| slow.port == port)?;
        Some(self.slow.remove(at).1)
    }

    fn hold_cable(&self, station: Station, network: Network) -> Result<HeldCable, StepError> {
        let port = station.port(network);
        let (stand_in, far) = (station.stand_in(network), station.far_end(network));
        self.route.add_veth(&stand_in, &far, None).step("lay the cable", &stand_in)?;
        for end in [&stand_in, &far] {
            self.route.set_up(end).step("switch on", end)?;
        }
        self.running(&stand_in)?;
        let index = |name: &str| self.route.link(name).map(|link| link.index).step("find", name);
        let (machine, switch) = (index(&port)?, index(&far)?);
        let (ends, ours) = ((port.clone(), machine), (stand_in.clone(), switch));
        let held = within(&self.netns, || HeldCable::begin(ends, ours))
            .step("keep the frames of", &port)?;
        self.route.set_master(&port, None).step("unplug", &port)?;
        self.route.set_master(&stand_in, self.bridge(network)).step("plug in", &stand_in)?;
        Ok(held)
    }

    /// Waits until the kernel has taken note that a new cable is there: as a port it would lose
    /// what comes before.
    fn running(&self, end: &str) -> Result<(), StepError> {
        let look = || match self.route.link(end) {
            Ok(link) => link.running.then_some(Ok(())),
            Err(error) => Some(Err(error)),
        };
        match clock::wait_for(NOTICED_LIMIT, look) {
            Some(known) => known.step("find", end),
            None => Err(StepError::new(
                "see the carrier of",
                end,
                io::Error::from(io::ErrorKind::TimedOut),
            )),
        }
    }

    /// Delivers what was kept, each way, and plugs the station in again.
    pub(crate) fn release(&mut self, station: Station) -> Result<(), StepError> {
        for network in station.networks() {
            let port = station.port(*network);
            let at = self.held.iter().position(|(_, cable)| cable.port == port);
            let Some(at) = at else { continue };
            let (_, cable) = self.held.remove(at);
            self.let_go(station, *network, cable)?;
        }
        Ok(())
    }

    fn let_go(
        &self,
        station: Station,
        network: Network,
        mut cable: HeldCable,
    ) -> Result<(), StepError> {
        let port = station.port(network);
        cable.speak();
        self.route.set_master(&cable.stand_in, None).step("unplug", &cable.stand_in)?;
        self.route.set_master(&port, self.bridge(network)).step("plug in", &port)?;
        cable.deliver();
        self.route.delete_link(&cable.stand_in).step("take away", &cable.stand_in)
    }

    /// Readable when frames wait to be kept.
    pub(crate) fn watched(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        self.held.iter().flat_map(|(_, cable)| cable.watched())
    }

    /// Keeps the frames that came.
    pub(crate) fn collect(&mut self) {
        self.held.iter_mut().for_each(|(_, cable)| cable.collect());
    }

    /// Lays the station's cables to the machine whose network namespace this is.
    pub(crate) fn plug(&self, station: Station, netns: &File) -> Result<(), StepError> {
        for network in station.networks() {
            let port = station.port(*network);
            let bridge = self.bridge(*network);
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

    /// Takes the station's cables away, and what was kept of them; they may be gone with its
    /// machine.
    pub(crate) fn unplug(&mut self, station: Station) -> Result<(), StepError> {
        self.held.retain(|(held, _)| *held != station);
        self.slow.retain(|(slow, _)| *slow != station);
        for network in station.networks() {
            for end in [station.port(*network), station.stand_in(*network)] {
                match self.route.delete_link(&end) {
                    Ok(()) => {}
                    Err(error) if error.not_found() => {}
                    Err(error) => return Err(StepError::new("take away the cable", &end, error)),
                }
            }
        }
        Ok(())
    }

    /// Replaces all cuts. They hold for a stand-in as for the port it stands for.
    pub(crate) fn set_cuts(&self, cuts: &[Cut]) -> Result<(), StepError> {
        if cuts.is_empty() {
            return self.cuts.clear().step("heal", "the cables");
        }
        let plugged = |port: &Port| match port {
            Port::Named(name) => {
                let held = self.held.iter().map(|(_, cable)| (&cable.port, &cable.stand_in));
                let slow = self.slow.iter().map(|(_, cable)| (&cable.port, &cable.stand_in));
                let mut all = held.chain(slow);
                let stand_in = all.find(|(port, _)| *port == name).map(|(_, stand_in)| stand_in);
                Port::Named(stand_in.unwrap_or(name).clone())
            }
            Port::Any => Port::Any,
        };
        let mut all: BTreeSet<Cut> = cuts.iter().cloned().collect();
        for Cut { from_port, to_port, frames } in cuts {
            let (from_port, to_port) = (plugged(from_port), plugged(to_port));
            all.insert(Cut { from_port, to_port, frames: *frames });
        }
        let all: Vec<Cut> = all.into_iter().collect();
        self.cuts.set(&all).step("cut", "the cables")
    }
}

/// The kernel notices a carrier within milliseconds, on a busy machine a little later.
const NOTICED_LIMIT: Duration = Duration::from_secs(5);

/// Does something on a thread in another network namespace.
fn within<T: Send>(netns: &File, work: impl FnOnce() -> io::Result<T> + Send) -> io::Result<T> {
    let there = || enter_network(netns).and_then(|()| work());
    let done = thread::scope(|scope| scope.spawn(there).join());
    done.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
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
