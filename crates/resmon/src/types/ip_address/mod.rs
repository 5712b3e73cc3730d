//! `ip-address`: a virtual address that clients use.
//!
//! It is added as a host address without a route of its own and never chosen as source, so the
//! node's own traffic does not change when it comes and goes; the configured prefix only chooses
//! the interface. In a failover nobody is asked before it is added: the old owner is known to be
//! stopped and every millisecond counts. The wire is asked before a first start and, while the old
//! owner still serves, before a planned move.

mod keeper;
mod tickle;

use std::net::IpAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};

use stead_model::order::Fitness;
use stead_model::resource::Health;
use stead_model::resource_type::parse_address;
use stead_model::wire::guard::{AddressUndo, InstanceId, Thing};
use stead_netlink::{
    AddressSpec, Claim, ClaimError, Destroyed, Mac, PROBE_WAIT, Route, destroy_sockets,
    encode_delete_address,
};

use crate::host::interface;
use crate::resource_type::{Apart, Call, Checked, Context, Fault, Properties, ResourceType};
use keeper::{Clients, Keeper, Whose};
use tickle::{Sharing, Waiting};

/// A virtual address.
#[derive(Debug)]
pub(super) struct IpAddress {
    address: IpAddr,
    prefix: u8,
    interface: Option<String>,
    tickle: bool,
    context: Context,
    acting: Mutex<Acting>,
}

/// Who else says that the address is his.
struct Claimants {
    nodes: Vec<Mac>,
    stranger: Option<Mac>,
}

/// What it does on the wire. Adding the address and closing exclude each other by this lock: after
/// a close nothing is added any more.
#[derive(Debug)]
enum Acting {
    No,
    Yes { spec: AddressSpec, instance: InstanceId, keeper: Keeper },
    Closed,
}

impl IpAddress {
    pub(super) fn open(properties: &Properties, context: Context) -> Result<Self, Fault> {
        let text = properties.needed("address")?;
        let (address, prefix) = parse_address(text)
            .ok_or_else(|| Fault::Failed(format!("`{text}` is no address with prefix length")))?;
        let interface = properties.text("interface").map(str::to_owned);
        let tickle = properties.flag("tickle");
        let acting = Mutex::new(Acting::No);
        Ok(Self { address, prefix, interface, tickle, context, acting })
    }

    fn choose(&self, route: &Route) -> Result<Claim, Fault> {
        let name = self.interface.as_deref();
        interface::choose(route, self.address, self.prefix, name).map_err(Fault::Failed)
    }

    /// Whether somebody has the address before it is started for the first time.
    fn look(&self, route: &Route, wire: &Claim) -> Result<(), Fault> {
        let found = self.claimants(route, wire).map_err(failed)?;
        if let Some(mac) = found.stranger {
            return Err(Fault::Failed(self.taken_by(mac)));
        }
        for mac in found.nodes {
            self.context.push.notice(format!("stale owner {mac} still answers"));
        }
        Ok(())
    }

    fn claimants(&self, route: &Route, wire: &Claim) -> Result<Claimants, ClaimError> {
        let mut found = Claimants { nodes: Vec::new(), stranger: None };
        for mac in wire.claimants(PROBE_WAIT)? {
            match keeper::whose(&self.context, route, mac) {
                Whose::Ours => {}
                Whose::Node => found.nodes.push(mac),
                Whose::Stranger => found.stranger = Some(mac),
            }
        }
        Ok(found)
    }

    fn taken_by(&self, mac: Mac) -> String {
        format!("{} is in use by a stranger with MAC {mac}", self.address)
    }

    fn bring_up(&self, wire: Claim, instance: InstanceId, waiting: Waiting) -> Result<(), Fault> {
        let spec = AddressSpec::cluster(wire.ifindex, wire.address);
        let mut acting = self.acting();
        match *acting {
            Acting::No => {}
            Acting::Yes { .. } => return Ok(()),
            Acting::Closed => return Err(Fault::Failed("it was cancelled".into())),
        }
        match Route::open().and_then(|route| route.add_address(&spec)) {
            Ok(()) => {}
            Err(error) if error.already_exists() => {}
            Err(error) => return Err(failed(error)),
        }
        let sharing = self.tickle.then(|| Sharing::new(wire.address, self.context.clone()));
        let clients = Clients { waiting, sharing };
        let keeper = Keeper::start(wire, self.context.clone(), clients).map_err(failed)?;
        *acting = Acting::Yes { spec, instance, keeper };
        Ok(())
    }

    fn acting(&self) -> MutexGuard<'_, Acting> {
        self.acting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ends the connections of the address: their peers must find the new owner at once.
    fn destroy_sockets(&self) {
        match destroy_sockets(self.address) {
            Ok(Destroyed::Sockets { .. }) => {}
            Ok(Destroyed::Unsupported) => self.context.push.notice(
                "this kernel cannot end connections: those of the address end by themselves",
            ),
            Err(error) => self.context.push.notice(format!("connections left: {error}")),
        }
    }

    fn check(&self) -> Checked {
        let (address, ifindex) = match &*self.acting() {
            Acting::Yes { spec, .. } => (spec.address, spec.ifindex),
            Acting::No | Acting::Closed => return (Health::Bad, "it is not in service".into()),
        };
        let looked = Route::open().and_then(|route| {
            let there = route.addresses()?;
            Ok((there.iter().any(|a| a.address == address), route.link(ifindex)?))
        });
        match looked {
            Ok((true, link)) if link.up && link.carrier => (Health::Good, String::new()),
            Ok((true, link)) => (Health::Bad, format!("interface `{}` has no carrier", link.name)),
            Ok((false, _)) => (Health::Bad, format!("{address} is not on the interface")),
            Err(error) if error.not_found() => (Health::Bad, "its interface is gone".into()),
            Err(error) => (Health::Unknown, error.to_string()),
        }
    }
}

impl ResourceType for IpAddress {
    fn online(&self, call: &Call) -> Result<(), Fault> {
        let route = Route::open().map_err(failed)?;
        let wire = self.choose(&route)?;
        if call.first {
            self.look(&route, &wire)?;
        }
        let undo = AddressUndo {
            what: format!("address {} on interface {}", wire.address, wire.ifindex),
            address: wire.address,
            request: encode_delete_address(&AddressSpec::cluster(wire.ifindex, wire.address)),
        };
        let thing = Thing::Address(undo);
        let instance = self.context.guard.admit(&call.claim, thing, &call.cancel)?;
        let waiting = if self.tickle {
            Waiting::of(wire.address, &self.context.notes, &call.claim)
        } else {
            Waiting::nobody()
        };
        self.bring_up(wire, instance, waiting)
    }

    fn adopt(&self, _call: &Call, instance: InstanceId) -> Result<(), Fault> {
        let route = Route::open().map_err(failed)?;
        let wire = self.choose(&route)?;
        self.bring_up(wire, instance, Waiting::nobody())
    }

    fn offline(&self, _call: &Call) -> Result<(), Fault> {
        let mut acting = self.acting();
        let (spec, instance) = match std::mem::replace(&mut *acting, Acting::No) {
            Acting::Yes { spec, instance, keeper } => {
                drop(keeper);
                (spec, instance)
            }
            Acting::No => return Ok(()),
            Acting::Closed => {
                *acting = Acting::Closed;
                return Ok(());
            }
        };
        match Route::open().and_then(|route| route.delete_address(&spec)) {
            Ok(()) => {}
            Err(error) if error.not_found() => {}
            Err(error) => return Err(failed(error)),
        }
        self.destroy_sockets();
        self.context.guard.released(instance);
        Ok(())
    }

    fn looks_alive(&self, _call: &Call) -> Checked {
        self.check()
    }

    fn is_alive(&self, _call: &Call) -> Checked {
        self.check()
    }

    /// The owner that is to leave answers, too: it is a node of the cluster.
    fn fitness(&self, _apart: &Apart) -> Fitness {
        let route = match Route::open() {
            Ok(route) => route,
            Err(error) => return Fitness::Unsure(error.to_string()),
        };
        let property = if self.interface.is_some() { "interface" } else { "address" };
        let chosen =
            interface::choose(&route, self.address, self.prefix, self.interface.as_deref());
        let missing = chosen.err().map(|why| format!("`{property}`: {why}"));
        Fitness::lacking(missing.into_iter().collect())
    }

    fn probe(&self) -> Option<String> {
        let route = Route::open().ok()?;
        let wire = self.choose(&route).ok()?;
        let found = self.claimants(&route, &wire).ok()?;
        found.stranger.map(|mac| self.taken_by(mac))
    }

    fn close(&self) {
        if let Acting::Yes { .. } = std::mem::replace(&mut *self.acting(), Acting::Closed) {
            self.destroy_sockets();
        }
    }
}

/// A cause with all that is behind it, in one sentence.
fn failed(error: impl std::error::Error) -> Fault {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text += &format!(": {cause}");
        source = cause.source();
    }
    Fault::Failed(text)
}
