//! `network-name`: the host name of a virtual server.
//!
//! It acts nowhere by itself: it keeps the file that stands for `/etc/hosts` before the programs
//! that stand on the name ([`hosts`]), and publishes the name in DNS ([`publisher`], in the
//! background). That programs see the name as their host name is done by their init, which finds
//! it among their variables (`types/program`).
//!
//! Trouble with DNS is told and shown, and fails nothing, as administrators know it: a name whose
//! server is down serves all who know its address. `require-dns` makes it a condition of coming
//! online; once it is, DNS takes no service away any more.

pub(super) mod hosts;
mod publisher;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use stead_model::order::OnlineSpec;
use stead_model::resource::Health;
use stead_model::resource_type::{PTR, REQUIRE_DNS, TSIG_KEY, TTL};
use stead_model::server::{
    DNS_SERVERS, NAME, NETBIOS_CHARACTERS_MAX, VirtualServer, ZONE, parse_servers,
};
use stead_model::wire::guard::{Claim, InstanceId, Thing};

use super::program::wrong;
use crate::dns::{Content, Marker, Pointers, Registration, Removal, Trouble};
use crate::host::node;
use crate::resource_type::{Call, Checked, Context, Fault, Leaving, Properties, ResourceType};
use publisher::{Publisher, Wanted};

/// How long a name that must be in DNS waits for a server that answers.
const REQUIRED_LIMIT: Duration = Duration::from_secs(20);

/// A network name.
#[derive(Debug)]
pub(super) struct NetworkName {
    context: Context,
    name: String,
    publisher: Arc<Publisher>,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    server: VirtualServer,
    dns: Option<Dns>,
    mark: Option<(InstanceId, Claim)>,
}

/// Where and how the name is published.
#[derive(Clone, Debug)]
struct Dns {
    zone: String,
    servers: Vec<SocketAddr>,
    key: Option<PathBuf>,
    ttl_s: u32,
    pointers: Pointers,
    required: Required,
}

/// Whether the name must be in DNS to come online.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Required {
    Yes,
    No,
}

impl Dns {
    /// `None`: it is not published.
    fn of(properties: &Properties) -> Result<Option<Self>, Fault> {
        let (Some(zone), Some(servers)) = (properties.text(ZONE), properties.text(DNS_SERVERS))
        else {
            return Ok(None);
        };
        let ttl_s = properties.time(TTL)?.as_secs().min(TTL_S_MAX);
        let ttl_s = u32::try_from(ttl_s).map_err(|_| wrong(TTL))?;
        let pointers = if properties.flag(PTR) { Pointers::Published } else { Pointers::LeftAlone };
        let required = if properties.flag(REQUIRE_DNS) { Required::Yes } else { Required::No };
        Ok(Some(Self {
            zone: zone.to_owned(),
            servers: parse_servers(servers).ok_or_else(|| wrong(DNS_SERVERS))?,
            key: properties.text(TSIG_KEY).map(PathBuf::from),
            ttl_s,
            pointers,
            required,
        }))
    }

    fn registration(self, name: &str, marker: Marker) -> Registration {
        let Self { zone, servers, key, pointers, .. } = self;
        Registration { name: name.to_owned(), zone, servers, key, pointers, marker }
    }
}

/// The longest time to live (RFC 2181, 8).
const TTL_S_MAX: u64 = i32::MAX as u64;

impl NetworkName {
    pub(super) fn open(
        spec: &OnlineSpec,
        properties: &Properties,
        context: Context,
    ) -> Result<Self, Fault> {
        let name = properties.needed(NAME)?.to_owned();
        let (server, dns) = (spec.server.clone(), Dns::of(properties)?);
        let publisher = Publisher::new(context.clone());
        let state = Mutex::new(State { server, dns, mark: None });
        Ok(Self { context, name, publisher, state })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Has the programs see the name with its present addresses, and the node's file as it is now.
    fn show(&self) -> Result<(), String> {
        let server = self.state().server.clone();
        let written = hosts::write(&self.context.root, &server);
        written.map_err(|why| format!("its view of `/etc/hosts` cannot be written: {why}"))
    }

    /// What is to be published for this owner; `None`: nothing.
    fn wanted(&self, claim: &Claim) -> Result<Option<Wanted>, Fault> {
        let state = self.state();
        let Some(dns) = state.dns.clone() else { return Ok(None) };
        let addresses = state.server.addresses.iter().copied().collect();
        drop(state);
        let content = Content { addresses, ttl_s: dns.ttl_s };
        let registration = dns.registration(&self.name, self.marker(claim)?);
        let intent = self.context.lines.intend(&registration.full_name());
        Ok(Some(Wanted { registration, content, intent }))
    }

    fn marker(&self, claim: &Claim) -> Result<Marker, Fault> {
        let config = node::config(&self.context.root).map_err(Fault::Failed)?;
        let (group, resource) = (claim.group.clone(), claim.resource.clone());
        Ok(Marker { cluster: config.cluster_id, group, resource, epoch: claim.epoch })
    }

    fn is_required(&self) -> bool {
        self.state().dns.as_ref().is_some_and(|dns| dns.required == Required::Yes)
    }

    /// Publishes it in the background.
    fn publish(&self, claim: &Claim) -> Result<(), Fault> {
        match self.wanted(claim)? {
            Some(wanted) => self.publisher.publish(wanted),
            None => self.publisher.stop(),
        }
        Ok(())
    }

    fn hold(&self, instance: InstanceId, claim: &Claim) {
        self.state().mark = Some((instance, claim.clone()));
    }
}

impl ResourceType for NetworkName {
    fn online(&self, call: &Call) -> Result<(), Fault> {
        if call.first && self.name.len() > NETBIOS_CHARACTERS_MAX {
            self.context.push.notice(format!(
                "name `{}` is longer than the {NETBIOS_CHARACTERS_MAX} characters of NetBIOS, \
                 whose clients see only its beginning",
                self.name
            ));
        }
        let instance = self.context.guard.admit(&call.claim, Thing::Mark, &call.cancel)?;
        self.hold(instance, &call.claim);
        self.show().map_err(Fault::Failed)?;
        if !self.is_required() {
            return self.publish(&call.claim);
        }
        match self.wanted(&call.claim)? {
            Some(wanted) => self.publisher.publish_now(wanted, (REQUIRED_LIMIT, &call.cancel)),
            None => Ok(()),
        }
    }

    fn adopt(&self, call: &Call, instance: InstanceId) -> Result<(), Fault> {
        self.hold(instance, &call.claim);
        self.show().map_err(Fault::Failed)?;
        self.publish(&call.claim)
    }

    fn offline(&self, _call: &Call) -> Result<(), Fault> {
        self.publisher.close();
        hosts::remove(&self.context.root, &self.name);
        if let Some((instance, _)) = self.state().mark.take() {
            self.context.guard.released(instance);
        }
        Ok(())
    }

    /// The node's own file may have changed, which nobody tells.
    fn looks_alive(&self, _call: &Call) -> Checked {
        if let Err(why) = self.show() {
            return (Health::Unknown, why);
        }
        match self.publisher.trouble() {
            Some(why) if self.is_required() => (Health::Unknown, why),
            trouble => (Health::Good, trouble.unwrap_or_default()),
        }
    }

    /// What is in DNS is looked at again in the background, and shown by the next check.
    fn is_alive(&self, call: &Call) -> Checked {
        self.publisher.look();
        self.looks_alive(call)
    }

    fn ordered_again(&self, spec: &OnlineSpec) {
        let dns = Dns::of(&Properties::of(spec));
        let mut state = self.state();
        state.server = spec.server.clone();
        let claim = state.mark.as_ref().map(|(_, claim)| claim.clone());
        let kept = dns.map(|dns| state.dns = dns);
        drop(state);
        let shown = self.show().map_err(Fault::Failed);
        let published = claim.map_or(Ok(()), |claim| self.publish(&claim));
        for fault in [kept, shown, published].into_iter().filter_map(Result::err) {
            self.context.push.notice(fault.to_string());
        }
    }

    /// What it published stays when it goes offline, for its next owner to change.
    fn leaves(&self, claim: &Claim) -> Option<Leaving> {
        let registration = self.wanted(claim).ok()??;
        Some(Box::new(move || {
            let Wanted { registration, intent, .. } = &registration;
            let name = registration.full_name();
            match intent.act(|| registration.remove()) {
                Some(Ok(Removal::Removed)) => Ok(format!("`{name}` was removed from DNS")),
                // Somebody else's by now.
                None
                | Some(Ok(Removal::Nothing) | Err(Trouble::Later(_) | Trouble::Foreign(_))) => {
                    Ok(String::new())
                }
                Some(Err(why)) => Err(format!("`{name}` stays in DNS: {why}")),
            }
        }))
    }

    fn close(&self) {
        self.publisher.close();
    }
}

impl Drop for NetworkName {
    fn drop(&mut self) {
        self.publisher.close();
    }
}
