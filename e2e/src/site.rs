//! A virtual server of a run: an address, a web server behind it, and the witness beside them.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{Ipv4Addr, SocketAddrV4};

use stead_lab::Network;
use stead_lab::prober::Prober;
use stead_model::group::{Desired, GroupPolicy};
use stead_model::request::Request;
use stead_model::{NodeId, ResourceId};

use crate::World;

/// A group with everything a run needs to judge it from outside.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Site {
    /// Its group.
    pub group: String,
    host: u8,
}

impl Site {
    /// The server of that name; `host` makes its address and port its own.
    #[must_use]
    pub fn new(group: &str, host: u8) -> Self {
        Self { group: group.to_owned(), host }
    }

    /// Its address.
    #[must_use]
    pub fn address(&self) -> Ipv4Addr {
        Network::Public.address(self.host)
    }

    /// Where clients ask.
    #[must_use]
    pub fn target(&self) -> SocketAddrV4 {
        SocketAddrV4::new(self.address(), 8000 + u16::from(self.host))
    }

    /// The file of its witness within a node's witness directory.
    #[must_use]
    pub fn stamps(&self) -> String {
        format!("{}-stamps", self.group)
    }

    /// The resource that is the witness.
    #[must_use]
    pub fn witness(&self) -> ResourceId {
        format!("{}-witness", self.group).as_str().into()
    }

    /// The resource that is the web server.
    #[must_use]
    pub fn web(&self) -> ResourceId {
        format!("{}-web", self.group).as_str().into()
    }

    /// Creates it and brings it online on a node.
    pub fn create(&self, world: &World, on: NodeId) {
        let group = self.group.as_str().into();
        let policy = GroupPolicy { failover_threshold: 1000, ..GroupPolicy::default() };
        world.ask(&Request::CreateGroup { group, policy });
        self.desire(world, Desired::Offline);
        let address: ResourceId = format!("{}-address", self.group).as_str().into();
        let port = self.target().port();
        let program = "/run/lab/bin/stead";
        let stamps = self.stamps();
        let resources = [
            (&address, "ip-address", "address", format!("{}/24", self.address())),
            (&self.web(), "generic-application", "command", format!("{program} demo-web {port}")),
            (
                &self.witness(),
                "generic-application",
                "command",
                format!("{program} lab-stamp /var/lib/stead-witness/{stamps}"),
            ),
        ];
        for (resource, kind, name, value) in resources {
            let threshold = ("restart-threshold".to_owned(), "1000".to_owned());
            world.ask(&Request::CreateResource {
                group: self.group.as_str().into(),
                resource: resource.clone(),
                kind: kind.into(),
                properties: BTreeMap::from([(name.to_owned(), value), threshold]),
            });
        }
        world.ask(&Request::SetDependencies {
            resource: self.web(),
            depends_on: BTreeSet::from([address]),
        });
        self.desire(world, Desired::Online);
        world.place(&self.group, on);
    }

    /// Brings it online or offline.
    pub fn desire(&self, world: &World, desired: Desired) {
        let group = self.group.as_str().into();
        world.ask(&Request::SetGroupDesired { group, desired });
    }

    /// A client that asks it every 5 ms.
    #[must_use]
    pub fn probe(&self, world: &World) -> Prober {
        Prober::start(world.lab(), self.target()).unwrap_or_else(|error| panic!("{error}"))
    }
}
