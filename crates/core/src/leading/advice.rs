//! What types advise: the time that an agent wants at least is taken when a resource is made and
//! nobody gave one.
//!
//! Its possible owners are asked before a resource is made ([`super::fitting`]), so what they say
//! is in the entry that makes it: one value for all nodes, the longest where their agents differ,
//! and one that does not change when an agent does. From then on it is a property like any other.
//! Where a value was given, it stands, and whoever asked is told.

use std::collections::BTreeMap;

use stead_model::change::Change;
use stead_model::order::Advice;
use stead_model::request::Request;
use stead_model::resource::ResourceConfig;
use stead_model::resource_type::builtin;
use stead_model::{NodeId, ResourceId, ocf};

use crate::db::properties::{self, Settings};
use crate::groups::Decision;

/// The longest time wanted, by resource and property.
#[derive(Default, Debug)]
pub(super) struct Advised(BTreeMap<(ResourceId, String), Advice>);

impl Advised {
    /// A possible owner says it.
    pub(super) fn hear(&mut self, resource: &ResourceId, all: Vec<Advice>) {
        for advice in all {
            let key = (resource.clone(), advice.property.clone());
            let known = self.0.entry(key).or_insert_with(|| advice.clone());
            if known.wanted_ms < advice.wanted_ms {
                *known = advice;
            }
        }
    }

    /// Takes what nobody gave otherwise; says of each whether it was taken.
    pub(super) fn take(
        &self,
        request: &Request,
        decision: &mut Decision,
        nodes: &[NodeId],
    ) -> Vec<String> {
        let mut told = Vec::new();
        for ((resource, property), advice) in &self.0 {
            let new = decision.changes_mut().iter_mut().find_map(|change| {
                let Change::CreateResource { resource: new, .. } = change else { return None };
                (new.id == *resource).then_some(new)
            });
            let free = new.filter(|_| !gives(request, resource, property));
            let wanted = written(advice.wanted_ms);
            let taken = free.is_some_and(|new| set(new, (property, &wanted), nodes));
            let (given, action) = (written(advice.given_ms), &advice.action);
            told.push(match taken {
                true => format!(
                    "`{resource}`: `{property}` is {wanted}, as the agent wants it for `{action}`"
                ),
                false => format!(
                    "`{resource}`: `{property}` is {given}; the agent wants {wanted} for `{action}`"
                ),
            });
        }
        told
    }
}

/// Whether it was set: what an agent wants may be no time that a property can have.
fn set(new: &mut ResourceConfig, (name, value): (&str, &str), nodes: &[NodeId]) -> bool {
    let Some(kind) = builtin(&new.kind).filter(|_| ocf::is_advised(&new.kind, name)) else {
        return false;
    };
    let settings = Settings::from([(name.to_owned(), Some(value.to_owned()))]);
    let mut with = new.clone();
    let fits = properties::set_resource(&mut with, kind, &settings, nodes).is_ok();
    if fits {
        *new = with;
    }
    fits
}

/// Whether whoever asked gave a value.
fn gives(request: &Request, resource: &ResourceId, property: &str) -> bool {
    if let Request::CreateResource { properties, .. } = request {
        return properties.contains_key(property);
    }
    let (Request::Apply { wanted } | Request::Foresee { wanted }) = request else { return true };
    let mut all = wanted.resources.iter();
    all.any(|r| r.resource == *resource && r.properties.contains_key(property))
}

fn written(ms: u64) -> String {
    if ms.is_multiple_of(1_000) { format!("{}s", ms / 1_000) } else { format!("{ms}ms") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::db::validate::tests::resource;

    fn advice(property: &str, seconds: u64) -> Advice {
        Advice {
            property: property.into(),
            action: "start".into(),
            given_ms: 180_000,
            wanted_ms: seconds * 1_000,
        }
    }

    fn create(given: &[(&str, &str)]) -> (Request, Decision) {
        let kind = "ocf:heartbeat:db2";
        let properties = given.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect();
        let request = Request::CreateResource {
            group: "web".into(),
            resource: "db".into(),
            kind: kind.into(),
            properties,
        };
        let new = ResourceConfig { kind: kind.into(), ..resource("db", &[]) };
        let change = Change::CreateResource { group: "web".into(), resource: new };
        (request, Decision::Propose(change))
    }

    fn made(decision: &Decision) -> (u64, Option<&str>) {
        let [Change::CreateResource { resource, .. }] = decision.changes() else { unreachable!() };
        let check = resource.properties.get(ocf::CHECK_TIMEOUT).map(String::as_str);
        (resource.policy.pending_timeout_ms, check)
    }

    /// the longest of what the possible owners say, in the entry itself.
    #[test]
    fn what_nobody_gave_is_as_the_agent_advises() {
        let mut advised = Advised::default();
        let db = ResourceId::from("db");
        advised.hear(&db, vec![advice(ocf::PENDING_TIMEOUT, 240), advice(ocf::CHECK_TIMEOUT, 90)]);
        advised.hear(&db, vec![advice(ocf::PENDING_TIMEOUT, 600)]);
        advised.hear(&db, vec![advice(ocf::PENDING_TIMEOUT, 300)]);
        let (request, mut decision) = create(&[]);
        let told = advised.take(&request, &mut decision, &[]);
        assert_eq!(made(&decision), (600_000, Some("90s")));
        assert_eq!(told[1], "`db`: `pending-timeout` is 600s, as the agent wants it for `start`");
    }

    #[test]
    fn what_was_given_or_makes_no_sense_stands_and_is_told() {
        let mut advised = Advised::default();
        advised.hear(&"db".into(), vec![advice(ocf::PENDING_TIMEOUT, 240)]);
        let (request, mut decision) = create(&[(ocf::PENDING_TIMEOUT, "180s")]);
        let told = advised.take(&request, &mut decision, &[]);
        assert_eq!(made(&decision).0, 180_000);
        assert_eq!(told, ["`db`: `pending-timeout` is 180s; the agent wants 240s for `start`"]);
        advised.hear(&"db".into(), vec![advice(ocf::PENDING_TIMEOUT, u64::MAX / 1_000)]);
        let (request, mut decision) = create(&[]);
        assert!(advised.take(&request, &mut decision, &[])[0].contains("the agent wants"));
        assert_eq!(made(&decision).0, 180_000);
        // A change of something else is no moment to change it.
        let request = Request::SetKey { key: "k".into(), value: None };
        let (_, mut decision) = create(&[]);
        advised.take(&request, &mut decision, &[]);
        assert_eq!(made(&decision).0, 180_000);
    }
}
