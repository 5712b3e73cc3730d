//! Alerts of the database, and what may be asked about them.

use std::collections::BTreeMap;

use stead_model::AlertId;
use stead_model::alert::{ALERTS_MAX, Alert};
use stead_model::change::Change;
use stead_model::reason::{Code, Reason};

use super::Db;
use super::validate::{check_name, group};

/// Adds an alert under a name that is not in use.
pub(crate) fn add(
    db: &Db,
    id: &AlertId,
    properties: &BTreeMap<String, String>,
) -> Result<Change, Reason> {
    if db.alerts().contains_key(id) {
        return Err(Reason::new(Code::Exists, format!("alert `{id}` exists already"))
            .hint(format!("remove it first: `stead alert remove {id}`")));
    }
    set(db, id, properties)
}

/// Sets an alert, whether there is one of that name or not.
pub(crate) fn set(
    db: &Db,
    id: &AlertId,
    properties: &BTreeMap<String, String>,
) -> Result<Change, Reason> {
    check_name("an alert", id.as_str())?;
    let to = Alert::parse(properties)?;
    to.groups.iter().try_for_each(|name| group(db, name).map(drop))?;
    if !db.alerts().contains_key(id) && db.alerts().len() >= ALERTS_MAX {
        return Err(Reason::new(Code::TooMuch, format!("cannot add alert `{id}`"))
            .because(format!("there are {ALERTS_MAX} already"))
            .hint("let one call a command that tells several"));
    }
    Ok(Change::SetAlert { alert: id.clone(), to })
}

/// Removes an alert.
pub(crate) fn remove(db: &Db, id: &AlertId) -> Result<Change, Reason> {
    if !db.alerts().contains_key(id) {
        return Err(Reason::new(Code::NotFound, format!("there is no alert `{id}`"))
            .hint("`stead alert list` shows all alerts"));
    }
    Ok(Change::RemoveAlert { alert: id.clone() })
}
