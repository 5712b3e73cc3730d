//! How the programs that a resource runs are run: `env`, `cwd` and `user` of its properties.

use stead_model::resource_type::split_words;
use stead_model::wire::guard::{Claim, ProgramSpec, UserIds};

use crate::host::users;
use crate::resource_type::{Fault, Properties};

/// Searched for programs without a slash, and given to programs that do not set another.
pub(super) const PATH: &str = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// What all programs of a resource have in common.
#[derive(Debug)]
pub(super) struct Manner {
    pub(super) env: Vec<String>,
    pub(super) cwd: String,
    user: Option<String>,
}

impl Manner {
    pub(super) fn of(properties: &Properties) -> Result<Self, Fault> {
        let mut env = vec![PATH.to_owned()];
        env.extend(words("env", properties.text("env").unwrap_or_default())?);
        let user = properties.text("user").map(str::to_owned);
        Ok(Self { env, cwd: properties.needed("cwd")?.to_owned(), user })
    }

    /// Whom it shall run as; nobody else: as the monitor.
    pub(super) fn user(&self) -> Result<Option<UserIds>, String> {
        self.user.as_deref().map(users::find).transpose()
    }

    /// What the guard shall clone.
    pub(super) fn spec(&self, claim: &Claim, argv: &[String]) -> Result<ProgramSpec, Fault> {
        let user = self.user().map_err(Fault::Failed)?;
        Ok(ProgramSpec {
            argv: argv.to_vec(),
            env: self.env.iter().cloned().chain(told(claim)).collect(),
            cwd: self.cwd.clone(),
            user,
            name: claim.resource.as_str().to_owned(),
        })
    }
}

/// What a program is told that it runs as: its epoch is a fencing token that it may hand on.
pub(super) fn told(claim: &Claim) -> [String; 3] {
    [
        format!("STEAD_GROUP={}", claim.group),
        format!("STEAD_RESOURCE={}", claim.resource),
        format!("STEAD_EPOCH={}", claim.epoch),
    ]
}

/// The words of a property that is a list of them.
pub(super) fn words(name: &str, text: &str) -> Result<Vec<String>, Fault> {
    split_words(text).ok_or_else(|| wrong(name))
}

/// A property that passed its table and is not understood here.
pub(super) fn wrong(name: &str) -> Fault {
    Fault::Failed(format!("property `{name}` cannot be read"))
}
