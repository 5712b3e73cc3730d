//! One systemd service is one resource: two would start and stop it under each other's hands on a
//! node that owns both.

use stead_model::reason::{Code, Reason};
use stead_model::resource::ResourceConfig;
use stead_model::resource_type::{GENERIC_SERVICE, UNIT};

use super::Db;

/// Refuses a unit that another resource has.
pub(super) fn check(db: &Db, resource: &ResourceConfig) -> Result<(), Reason> {
    let Some(unit) = unit(resource) else { return Ok(()) };
    let all = db.groups().values();
    let mut all = all.flat_map(|group| group.resources.values().map(move |r| (&group.id, r)));
    let same = |other: &ResourceConfig| other.id != resource.id && self::unit(other) == Some(unit);
    let Some((home, other)) = all.find(|(_, other)| same(other)) else { return Ok(()) };
    let text = format!("resource `{}` cannot have unit `{unit}`", resource.id);
    Err(Reason::new(Code::Conflict, text)
        .because(format!("resource `{}` of group `{home}` has it", other.id))
        .hint("for a second one make an instance of a template, as in `web@two.service`"))
}

fn unit(resource: &ResourceConfig) -> Option<&str> {
    let value = resource.properties.get(UNIT).filter(|_| resource.kind == GENERIC_SERVICE)?;
    Some(value)
}
