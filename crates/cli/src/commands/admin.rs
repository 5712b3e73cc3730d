//! `stead admin …`: who may ask nodes from other machines.

use std::fs;
use std::path::Path;
use std::time::SystemTime;

use stead_model::AdminId;
use stead_model::remote::RemoteAdmin;
use stead_model::request::Request;
use stead_model::role::Role;
use stead_trust::{AdminCredentials, Pki, Secret, TrustError};

use super::write::{Write, carry_out, missing};
use super::{Asked, bundle, put_new};
use crate::arguments::AdminCommand;
use crate::failure::{Exit, Failure};
use crate::reach::Reached;
use crate::{render, screen};

pub(super) async fn run(asked: &Asked, command: AdminCommand) -> Result<Exit, Failure> {
    match command {
        AdminCommand::List => {
            let view = asked.view().await?;
            asked.show(&view.admins, |admins| render::admins(admins));
            Ok(Exit::Ok)
        }
        AdminCommand::Add { name, role, out } => add(asked, &name, (&role, &out)).await,
        AdminCommand::Remove { name } => {
            let doing = format!("remove admin `{name}`");
            let reached = asked.reach().await?;
            let found = reached.view.admins.iter().find(|admin| admin.admin.as_str() == name);
            let (key, _) = found.ok_or_else(|| missing(&doing, "admin", &name))?.entry();
            let request = Request::SetKey { key, value: None };
            carry_out(asked, reached, Write { doing, request, goal: None }).await
        }
    }
}

async fn add(asked: &Asked, name: &str, (role, out): (&str, &Path)) -> Result<Exit, Failure> {
    let doing = format!("add admin `{name}`");
    let failed = |why: String| Failure::new(Exit::Refused, format!("cannot {doing}")).because(why);
    let role = Role::parse(role).ok_or_else(|| {
        Failure::new(Exit::Usage, format!("there is no role `{}`", role.escape_debug()))
            .hint("the roles are `viewer`, `operator` and `admin`")
    })?;
    if !AdminId::is_valid(name) {
        return Err(failed("a name has 1 to 63 of `a-z A-Z 0-9 . _ -`".into()));
    }
    let reached = asked.reach().await?;
    if reached.view.admins.iter().any(|admin| admin.admin.as_str() == name) {
        let hint = format!("take the right away first: `stead admin remove {name}`");
        return Err(failed(format!("`{name}` may ask already")).hint(hint));
    }
    let (admin, file) = issued(name, role).map_err(|error| {
        let hint = error.hint().unwrap_or_default();
        failed(error.to_string()).hint(format!("this takes root on a node of the cluster; {hint}"))
    })?;
    put_new(out, file.reveal()).map_err(|error| failed(format!("`{}`: {error}", out.display())))?;
    let done = ask(asked, reached, (doing, &admin)).await;
    if done.is_err() {
        // A file that counts for nothing stays nowhere.
        let _ = fs::remove_file(out);
    } else if !asked.json {
        let file = out.display();
        screen::talk(&format!(
            "on any machine: `stead --host ADDRESS --identity {file} status`; whoever has the file \
             may what `{name}` may"
        ));
    }
    done
}

async fn ask(
    asked: &Asked,
    reached: Reached,
    (doing, admin): (String, &RemoteAdmin),
) -> Result<Exit, Failure> {
    let (key, value) = admin.entry();
    let request = Request::SetKey { key, value: Some(value) };
    carry_out(asked, reached, Write { doing, request, goal: None }).await
}

/// A new certificate of the authority of this node's cluster, and the file that proves it.
fn issued(name: &str, role: Role) -> Result<(RemoteAdmin, Secret), TrustError> {
    let pki = Pki::below(&bundle::root().join("etc/stead"));
    let admin = AdminId::from(name);
    let issued = pki.authority()?.issue_admin(role, &admin, SystemTime::now())?;
    let file = AdminCredentials::file(&issued, &pki.authorities()?);
    let certificate = issued.fingerprint()?.to_string();
    Ok((RemoteAdmin { admin, role, certificate }, file))
}
