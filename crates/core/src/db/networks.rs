//! The networks of the cluster: which one an address lives on, by what the nodes tell of their
//! interfaces, and what may be made of one.
//!
//! The configuration names networks and their roles as they were at first, the database those that
//! were changed since; what belongs to them only the nodes know.

use std::collections::BTreeSet;
use std::net::IpAddr;

use stead_model::change::Change;
use stead_model::config::{NetworkEntry, NetworkRole};
use stead_model::network::{Interface, Port, Stand};
use stead_model::ocf::{self, Reach};
use stead_model::reason::{Code, Reason};
use stead_model::resource::ResourceConfig;
use stead_model::resource_type::{IP_ADDRESS, parse_address};
use stead_model::rules::Priority;
use stead_model::{LogIndex, NodeId};

use super::{Db, validate};

/// The networks, and what the nodes tell of them.
#[derive(Clone, Default, Debug)]
pub struct Networks<'a> {
    entries: Vec<NetworkEntry>,
    interfaces: Vec<(NodeId, &'a Interface)>,
}

impl<'a> Networks<'a> {
    /// From what they are ([`Db::networks_of`]) and from what was told.
    #[must_use]
    pub fn new(
        entries: Vec<NetworkEntry>,
        told: impl Iterator<Item = (NodeId, &'a Interface)>,
    ) -> Self {
        Self { entries, interfaces: told.collect() }
    }

    /// Networks that an address of a resource would be on: by the interface that it names, else
    /// by its subnet.
    fn homes<'b>(
        &'b self,
        resource: &'b ResourceConfig,
        address: IpAddr,
    ) -> impl Iterator<Item = &'b NetworkEntry> + use<'a, 'b> {
        let is_home = move |port: &Port| is_home(port, resource, address);
        self.entries.iter().filter(move |network| self.ports(network).any(is_home))
    }

    fn ports(&self, network: &NetworkEntry) -> impl Iterator<Item = &'a Port> + use<'_, 'a> {
        let id = network.id;
        let of = self.interfaces.iter().filter(move |(_, interface)| interface.network == id);
        of.filter_map(|(_, interface)| interface.port.as_ref())
    }

    /// A network with its subnets, for people.
    fn describe(&self, network: &NetworkEntry) -> String {
        let subnets: BTreeSet<_> = self.ports(network).map(|port| port.subnet).collect();
        let subnets: Vec<String> = subnets.iter().map(ToString::to_string).collect();
        format!("`{}` ({})", network.name, subnets.join(", "))
    }

    /// The prefix length of the network that an address is in, by what the nodes tell.
    pub(crate) fn prefix(&self, address: IpAddr) -> Option<u8> {
        let mut ports = self.entries.iter().flat_map(|network| self.ports(network));
        ports.find(|port| port.subnet.contains(address)).map(|port| port.subnet.prefix())
    }

    /// All networks with their subnets, for people; `None`: no node has told any.
    pub(crate) fn described(&self) -> Option<String> {
        let told = |network: &&NetworkEntry| self.ports(network).next().is_some();
        let all = self.entries.iter().filter(told).map(|network| self.describe(network));
        let all = all.collect::<Vec<_>>().join(" and ");
        (!all.is_empty()).then_some(all)
    }

    /// Refuses an address where no client comes.
    pub(super) fn check(&self, resource: &ResourceConfig) -> Result<(), Reason> {
        let Some(address) = address(resource) else { return Ok(()) };
        let homes: Vec<_> = self.homes(resource, address).collect();
        let Some(home) = homes.first().filter(|_| homes.iter().all(|n| !n.role.carries_clients()))
        else {
            return Ok(());
        };
        let open = self.entries.iter().filter(|n| n.role.carries_clients());
        let open: Vec<String> = open.map(|network| self.describe(network)).collect();
        let hint = match open.is_empty() {
            true => "the cluster has no network for clients".to_owned(),
            false => format!("choose an address of {}", open.join(" or ")),
        };
        let text = format!("resource `{}` cannot have address {address}", resource.id);
        Err(Reason::new(Code::Invalid, text)
            .because(format!(
                "network {} is private: it is for the nodes alone, and no client comes there",
                self.describe(home)
            ))
            .hint(hint))
    }
}

/// What somebody wants of a network.
#[derive(Clone, Copy, Debug)]
pub(crate) struct NetworkWish<'a> {
    pub(crate) name: Option<&'a str>,
    pub(crate) role: Option<NetworkRole>,
    pub(crate) priority: Option<Priority>,
}

impl Networks<'_> {
    /// The change that makes a network what somebody wants of it; none if it is that.
    ///
    /// # Errors
    /// There is no such network, its name is another one's or no name, addresses of resources
    /// would be on a network without clients, or none would be left for the nodes.
    pub(crate) fn set(
        &self,
        db: &Db,
        network: &str,
        wish: NetworkWish<'_>,
    ) -> Result<Vec<Change>, Reason> {
        let found = self.entries.iter().find(|entry| entry.name == network);
        let present = found.ok_or_else(|| {
            let names: Vec<String> = self.entries.iter().map(|n| format!("`{}`", n.name)).collect();
            Reason::new(Code::NotFound, format!("there is no network `{}`", network.escape_debug()))
                .hint(format!("the networks are {}", names.join(", ")))
        })?;
        let wanted = NetworkEntry {
            id: present.id,
            name: wish.name.unwrap_or(&present.name).to_owned(),
            role: wish.role.unwrap_or(present.role),
            priority: wish.priority.unwrap_or(present.priority),
        };
        if wanted == *present {
            return Ok(Vec::new());
        }
        self.check_name(&wanted)?;
        self.check_carriers(&wanted)?;
        self.check_addresses(db, &wanted)?;
        Ok(vec![Change::SetNetwork { network: wanted }])
    }

    fn check_name(&self, wanted: &NetworkEntry) -> Result<(), Reason> {
        validate::check_name("a network", &wanted.name)?;
        match self.entries.iter().find(|n| n.id != wanted.id && n.name == wanted.name) {
            None => Ok(()),
            Some(_) => {
                Err(Reason::new(Code::Exists, format!("network `{}` exists already", wanted.name))
                    .hint("choose another name: `network list` shows those that there are"))
            }
        }
    }

    fn check_carriers(&self, wanted: &NetworkEntry) -> Result<(), Reason> {
        let others = self.entries.iter().filter(|n| n.id != wanted.id);
        if wanted.role.carries_cluster() || others.clone().any(|n| n.role.carries_cluster()) {
            return Ok(());
        }
        Err(cannot_become(wanted)
            .because("it is the last network that carries what the nodes say to each other")
            .hint("give another one the role `private` or `mixed` first"))
    }

    /// No address of a resource may be left where no client comes.
    fn check_addresses(&self, db: &Db, wanted: &NetworkEntry) -> Result<(), Reason> {
        let mut after = self.clone();
        for entry in after.entries.iter_mut().filter(|entry| entry.id == wanted.id) {
            *entry = wanted.clone();
        }
        let all = db.groups().values().flat_map(|group| group.resources.values());
        let cut_off = all.filter(|one| self.check(one).is_ok() && after.check(one).is_err());
        let cut_off: Vec<String> = cut_off.map(|one| format!("`{}`", one.id)).collect();
        if cut_off.is_empty() {
            return Ok(());
        }
        Err(cannot_become(wanted)
            .because(format!(
                "no client comes to a network of that role, and the addresses of {} are on it",
                cut_off.join(", ")
            ))
            .hint("give them addresses of another network, or delete them first"))
    }
}

/// A refusal to give a network its role.
pub(crate) fn cannot_become(wanted: &NetworkEntry) -> Reason {
    let NetworkEntry { name, role, .. } = wanted;
    Reason::new(Code::Conflict, format!("network `{name}` cannot become {}", role.word()))
}

impl Db {
    /// Networks of the configuration as they are now.
    #[must_use]
    pub fn networks_of(&self, configured: &[NetworkEntry]) -> Vec<NetworkEntry> {
        let now = |entry: &NetworkEntry| self.networks.get(&entry.id).unwrap_or(entry).clone();
        configured.iter().map(now).collect()
    }

    /// The last entry that changed a network.
    #[must_use]
    pub fn networks_changed(&self) -> LogIndex {
        self.networks_changed
    }

    /// Gives what was said of it before.
    pub(super) fn set_network(
        &mut self,
        index: LogIndex,
        network: &NetworkEntry,
    ) -> Option<NetworkEntry> {
        self.networks_changed = index;
        self.networks.insert(network.id, network.clone())
    }
}

/// Whether an address of a resource is on the interface: the one that it names, else the one with
/// its subnet.
fn is_home(port: &Port, resource: &ResourceConfig, address: IpAddr) -> bool {
    match resource.properties.get(INTERFACE) {
        Some(name) => port.name == *name,
        None => port.subnet.contains(address),
    }
}

/// The interface of a node that the address of a resource is on, with what it is worth, if none
/// works that it could be on.
pub(crate) fn lost_on<'a>(
    resource: &ResourceConfig,
    all: impl Iterator<Item = (&'a Interface, Stand)>,
) -> Option<(&'a Interface, Stand)> {
    let address = address(resource)?;
    let has = |interface: &Interface| {
        interface.port.as_ref().is_some_and(|port| is_home(port, resource, address))
    };
    let mut lost = None;
    for (interface, stand) in all.filter(|(interface, _)| has(interface)) {
        match (stand, &lost) {
            (Stand::Works, _) => return None,
            (Stand::Wavers, _) | (Stand::Dead, None) => lost = Some((interface, stand)),
            (Stand::Dead, Some(_)) => {}
        }
    }
    lost
}

/// The virtual address that a resource is.
pub(crate) fn address(resource: &ResourceConfig) -> Option<IpAddr> {
    if let Some(agent) = ocf::agent(&resource.kind) {
        let Reach::Address(address) = ocf::reach(agent, &resource.properties) else { return None };
        return Some(address);
    }
    let value = resource.properties.get("address").filter(|_| resource.kind == IP_ADDRESS)?;
    parse_address(value).map(|(address, _)| address)
}

/// The property of an address that names its interface.
const INTERFACE: &str = "interface";
