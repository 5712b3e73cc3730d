//! What a network name leaves in DNS when it goes: who removes it, and when.

use std::collections::BTreeMap;

use stead_model::change::Change;
use stead_model::group::Desired;
use stead_model::order::{Action, Outcome};
use stead_model::record::Level;
use stead_model::resource::{ResourceConfig, ResourcePolicy};
use stead_model::{GroupId, NodeId, ResourceId};

use crate::bench::{Bench, GROUP, config};

/// A name that is published, on an address.
fn named(more: &[(&str, &str)]) -> Bench {
    let address = ResourceConfig {
        kind: "ip-address".into(),
        properties: properties(&[("address", "10.0.0.25/24")]),
        ..config("ip", &[])
    };
    let name = ResourceConfig {
        kind: "network-name".into(),
        properties: given("web", more),
        ..config("name", &["ip"])
    };
    let mut bench = Bench::new(vec![address, name, config("app", &["name"])]);
    bench.run();
    bench
}

fn properties(given: &[(&str, &str)]) -> BTreeMap<String, String> {
    given.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

fn given(name: &str, more: &[(&str, &str)]) -> BTreeMap<String, String> {
    let own = [("host-name", name), ("zone", "example.org"), ("dns-servers", "10.0.0.53")];
    properties(&[&own, more].concat())
}

fn set(bench: &mut Bench, properties: BTreeMap<String, String>) {
    let (resource, policy) = ("name".into(), ResourcePolicy::default());
    let change = Change::SetResource { resource, properties, policy, possible_owners: None };
    bench.apply(vec![change]);
}

fn delete(bench: &mut Bench) {
    let none = |id: &str| Change::SetDependencies { resource: id.into(), depends_on: [].into() };
    let gone = |id: &str| Change::DeleteResource { resource: id.into() };
    bench.apply(vec![none("app"), gone("name")]);
}

/// The name that the waiting order to forget is about.
fn forgets(bench: &mut Bench) -> Option<String> {
    let at = bench.orders.iter().position(|o| matches!(o.action, Action::Forget(_)))?;
    let order = bench.orders.remove(at);
    let Action::Forget(spec) = &order.action else { unreachable!() };
    let name = spec.properties["host-name"].clone();
    bench.answer(&order, Outcome::Forgotten(format!("`{name}` was removed")));
    Some(name)
}

#[test]
fn a_name_that_goes_offline_stays_for_its_next_owner() {
    let mut bench = named(&[]);
    bench.desire(Desired::Offline);
    bench.run();
    assert_eq!(forgets(&mut bench), None);
    let mut bench = named(&[("remove-offline", "true")]);
    bench.desire(Desired::Offline);
    bench.answers("app", Outcome::Offline);
    bench.answers("name", Outcome::Offline);
    assert_eq!(bench.waiting(), ["forget name", "offline ip"]);
    assert_eq!(forgets(&mut bench).as_deref(), Some("web"));
    let note = bench.notes.last().unwrap();
    assert_eq!((note.level, note.code), (Level::Info, "resource-notice"));
    assert_eq!(note.text, "resource name of group web: `web` was removed");
}

#[test]
fn a_name_that_is_deleted_or_renamed_is_removed_by_its_owner() {
    let mut bench = named(&[]);
    bench.desire(Desired::Offline);
    bench.run();
    delete(&mut bench);
    assert_eq!(forgets(&mut bench).as_deref(), Some("web"));
    assert_eq!(forgets(&mut bench), None, "once");

    let mut bench = named(&[]);
    set(&mut bench, given("other", &[]));
    assert_eq!(forgets(&mut bench).as_deref(), Some("web"));
    bench.run();
    // No longer published at all.
    set(&mut bench, properties(&[("host-name", "other"), ("zone", "example.org")]));
    assert_eq!(forgets(&mut bench).as_deref(), Some("other"));
}

/// What only DNS is about restarts nothing that stands on the name.
#[test]
fn other_properties_of_dns_are_changed_while_it_runs() {
    let mut bench = named(&[]);
    set(&mut bench, given("web", &[("ttl", "60s"), ("dns-servers", "10.0.0.54")]));
    assert_eq!(bench.waiting(), ["adopt name"]);
    assert_eq!(forgets(&mut bench), None);
}

#[test]
fn without_an_owner_every_node_removes_it_and_with_one_only_that() {
    let mut bench = named(&[]);
    bench.desire(Desired::Offline);
    bench.run();
    bench.grant_to(NodeId(2), 2);
    bench.run();
    delete(&mut bench);
    assert_eq!(forgets(&mut bench), None, "its owner does");

    let mut bench = named(&[]);
    bench.desire(Desired::Offline);
    bench.release(1);
    bench.run();
    let (group, epoch) = (GroupId::from(GROUP), stead_model::Epoch(1));
    bench.apply(vec![Change::Disown { group, epoch, why: String::new() }]);
    delete(&mut bench);
    assert_eq!(forgets(&mut bench).as_deref(), Some("web"));
}

/// A name with a monitor of its own is forgotten by that one; others have lost nothing then.
#[test]
fn an_order_that_dies_with_the_own_monitor_is_given_again() {
    let mut bench = named(&[("remove-offline", "true")]);
    bench.desire(Desired::Offline);
    bench.answers("app", Outcome::Offline);
    bench.answers("name", Outcome::Offline);
    let forget = |bench: &Bench| {
        let order = bench.orders.iter().find(|o| matches!(o.action, Action::Forget(_)));
        order.unwrap().order
    };
    let first = forget(&bench);
    bench.own_monitor_died("ip");
    assert_eq!(forget(&bench), first, "that was another one's");
    bench.orders.retain(|order| order.order != first);
    bench.own_monitor_died("name");
    assert!(forget(&bench) > first);
    assert_eq!(forgets(&mut bench).as_deref(), Some("web"));
}

#[test]
fn an_order_that_dies_with_its_monitor_is_given_again_and_trouble_is_told() {
    let mut bench = named(&[]);
    bench.desire(Desired::Offline);
    bench.run();
    delete(&mut bench);
    assert_eq!(bench.waiting(), ["forget name"]);
    bench.monitor_died();
    assert!(bench.waiting().is_empty());
    bench.monitor_ready();
    assert_eq!(bench.waiting(), ["forget name"]);
    let order = bench.order("name");
    bench.answer(&order, Outcome::Remains("`web` stays in DNS: refused".into()));
    let note = bench.notes.last().unwrap();
    assert_eq!(note.level, Level::Warning);
    assert!(note.text.ends_with("refused; remove it by hand"), "{}", note.text);
    assert_eq!(note.resource, Some(ResourceId::from("name")));
    bench.monitor_died();
    bench.monitor_ready();
    assert!(bench.waiting().is_empty(), "it is not tried for ever");
}
