//! How the programs that a resource runs are run: `env`, `cwd` and `user` of its properties.

use std::sync::Arc;

use stead_model::resource_type::split_words;
use stead_model::server::{
    ADDRESSES_VARIABLE, FULL_NAME_VARIABLE, HOSTS_VARIABLE, NAME_VARIABLE, VirtualServer,
};
use stead_model::wire::guard::{Claim, ProgramSpec, UserIds};

use super::network_name::hosts;
use crate::host::users;
use crate::resource_type::{Context, Fault, Properties};

/// Searched for programs without a slash, and given to programs that do not set another.
pub(crate) const PATH: &str = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// What all programs of a resource have in common.
#[derive(Debug)]
pub(super) struct Manner {
    pub(super) env: Vec<String>,
    pub(super) cwd: String,
    user: Option<String>,
    told: Told,
}

/// What programs are told of where they run: their group and, if they stand on a network name,
/// their virtual server. By these variables the init shows them its name, too.
#[derive(Debug)]
pub(super) struct Told {
    server: Arc<VirtualServer>,
    hosts: String,
}

impl Manner {
    pub(super) fn of(properties: &Properties, context: &Context) -> Result<Self, Fault> {
        let mut env = vec![PATH.to_owned()];
        env.extend(words("env", properties.text("env").unwrap_or_default())?);
        let user = properties.text("user").map(str::to_owned);
        let cwd = properties.needed("cwd")?.to_owned();
        Ok(Self { env, cwd, user, told: Told::of(context) })
    }

    /// Whom it shall run as; nobody else: as the monitor.
    pub(super) fn user(&self) -> Result<Option<UserIds>, String> {
        self.user.as_deref().map(users::find).transpose()
    }

    /// The folders in which a program without a slash is looked for.
    pub(super) fn search(&self) -> impl Iterator<Item = &str> {
        let path = self.env.iter().rev().find_map(|pair| pair.strip_prefix("PATH="));
        path.unwrap_or_default().split(':').filter(|folder| !folder.is_empty())
    }

    /// What the guard shall clone.
    pub(super) fn spec(&self, claim: &Claim, argv: &[String]) -> Result<ProgramSpec, Fault> {
        let user = self.user().map_err(Fault::Failed)?;
        Ok(ProgramSpec {
            argv: argv.to_vec(),
            env: self.env.iter().cloned().chain(self.told.variables(claim)).collect(),
            cwd: self.cwd.clone(),
            user,
            name: claim.resource.as_str().to_owned(),
        })
    }
}

impl Told {
    pub(super) fn of(context: &Context) -> Self {
        let name = context.server.name.as_deref().unwrap_or_default();
        let hosts = hosts::path(&context.root, name).to_string_lossy().into_owned();
        Self { server: Arc::clone(&context.server), hosts }
    }

    /// As variables. The epoch is a fencing token that a program may hand on.
    pub(super) fn variables(&self, claim: &Claim) -> Vec<String> {
        let mut all = vec![
            format!("STEAD_GROUP={}", claim.group),
            format!("STEAD_RESOURCE={}", claim.resource),
            format!("STEAD_EPOCH={}", claim.epoch),
        ];
        let (Some(name), Some(full)) = (&self.server.name, self.server.full_name()) else {
            return all;
        };
        let addresses: Vec<String> =
            self.server.addresses.iter().map(ToString::to_string).collect();
        all.extend([
            format!("{NAME_VARIABLE}={name}"),
            format!("{FULL_NAME_VARIABLE}={full}"),
            format!("{ADDRESSES_VARIABLE}={}", addresses.join(" ")),
            format!("{HOSTS_VARIABLE}={}", self.hosts),
        ]);
        all
    }
}

/// The words of a property that is a list of them.
pub(super) fn words(name: &str, text: &str) -> Result<Vec<String>, Fault> {
    split_words(text).ok_or_else(|| wrong(name))
}

/// A property that passed its table and is not understood here.
pub(super) fn wrong(name: &str) -> Fault {
    Fault::Failed(format!("property `{name}` cannot be read"))
}
