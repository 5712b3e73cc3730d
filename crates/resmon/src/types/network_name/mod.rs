//! `network-name`: the host name of a virtual server.
//!
//! It acts nowhere by itself: it keeps the file that stands for `/etc/hosts` before the programs
//! that stand on the name ([`hosts`]). That they see the name as their host name is done by their
//! init, which finds it among their variables (`types/program`).

pub(super) mod hosts;

use std::sync::{Mutex, MutexGuard, PoisonError};

use stead_model::order::OnlineSpec;
use stead_model::resource::Health;
use stead_model::server::{NETBIOS_CHARACTERS_MAX, VirtualServer};
use stead_model::wire::guard::{InstanceId, Thing};

use crate::resource_type::{Call, Checked, Context, Fault, Properties, ResourceType};

/// A network name.
#[derive(Debug)]
pub(super) struct NetworkName {
    context: Context,
    name: String,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    server: VirtualServer,
    mark: Option<InstanceId>,
}

impl NetworkName {
    pub(super) fn open(
        spec: &OnlineSpec,
        properties: &Properties,
        context: Context,
    ) -> Result<Self, Fault> {
        let name = properties.needed(stead_model::server::NAME)?.to_owned();
        let state = Mutex::new(State { server: spec.server.clone(), mark: None });
        Ok(Self { context, name, state })
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

    fn serve(&self, instance: InstanceId) -> Result<(), Fault> {
        self.state().mark = Some(instance);
        self.show().map_err(Fault::Failed)
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
        self.serve(instance)
    }

    fn adopt(&self, _call: &Call, instance: InstanceId) -> Result<(), Fault> {
        self.serve(instance)
    }

    fn offline(&self, _call: &Call) -> Result<(), Fault> {
        hosts::remove(&self.context.root, &self.name);
        if let Some(instance) = self.state().mark.take() {
            self.context.guard.released(instance);
        }
        Ok(())
    }

    /// The node's own file may have changed, which nobody tells.
    fn looks_alive(&self, _call: &Call) -> Checked {
        match self.show() {
            Ok(()) => (Health::Good, String::new()),
            Err(why) => (Health::Unknown, why),
        }
    }

    fn is_alive(&self, call: &Call) -> Checked {
        self.looks_alive(call)
    }

    fn ordered_again(&self, spec: &OnlineSpec) {
        self.state().server = spec.server.clone();
        if let Err(why) = self.show() {
            self.context.push.notice(why);
        }
    }

    fn close(&self) {}
}
