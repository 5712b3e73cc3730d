//! Virtual servers: who is told what it stands on.

use std::collections::BTreeMap;

use stead_model::change::Change;
use stead_model::order::{Action, Outcome, ResourceOrder};
use stead_model::resource::{ResourceConfig, ResourcePolicy, ResourceState};
use stead_model::server::VirtualServer;

use crate::bench::{Bench, config};

fn of_kind(kind: &str, given: (&str, &str), config: ResourceConfig) -> ResourceConfig {
    let properties = BTreeMap::from([(given.0.to_owned(), given.1.to_owned())]);
    ResourceConfig { kind: kind.to_owned(), properties, ..config }
}

fn address(id: &str, address: &str) -> ResourceConfig {
    of_kind("ip-address", ("address", address), config(id, &[]))
}

/// An address, a name on it, a program on the name, and one beside it.
fn files() -> Bench {
    let name = of_kind("network-name", ("host-name", "files"), config("name", &["ip"]));
    let others = [config("app", &["name"]), config("beside", &["ip"])];
    let mut all = vec![address("ip", "10.0.0.25/24"), name];
    all.extend(others);
    Bench::new(all)
}

fn server(order: &ResourceOrder) -> VirtualServer {
    match &order.action {
        Action::Online(spec) | Action::Adopt(spec) => spec.server.clone(),
        other => panic!("{other:?}"),
    }
}

fn shown(server: &VirtualServer) -> String {
    server.to_string()
}

#[test]
fn all_that_stands_on_a_name_is_told_name_and_addresses() {
    let mut bench = files();
    let mut told = BTreeMap::new();
    while let Some(order) = bench.orders.first().cloned() {
        bench.orders.remove(0);
        told.insert(order.resource.to_string(), shown(&server(&order)));
        bench.answer(&order, Outcome::Online);
    }
    assert_eq!(told["name"], "files (10.0.0.25)");
    assert_eq!(told["app"], "files (10.0.0.25)");
    assert_eq!(told["beside"], " (10.0.0.25)", "it does not stand on the name");
}

#[test]
fn a_name_that_stands_on_another_address_is_told_while_it_runs() {
    let mut bench = files();
    bench.run();
    let more = address("more", "10.0.0.26/24");
    bench.apply(vec![Change::CreateResource { group: "web".into(), resource: more }]);
    bench.run();
    let depends_on = ["ip".into(), "more".into()].into();
    bench.apply(vec![Change::SetDependencies { resource: "name".into(), depends_on }]);
    assert_eq!(bench.waiting(), ["adopt app", "adopt name"], "nothing is restarted");
    let order = bench.order("name");
    assert_eq!(shown(&server(&order)), "files (10.0.0.25, 10.0.0.26)");
    bench.answer(&order, Outcome::Online);
    bench.run();
    assert!(bench.waiting().is_empty());
}

/// with another address all that stands on it begins anew, and is told.
#[test]
fn an_address_that_changes_restarts_what_stands_on_it() {
    let mut bench = files();
    bench.run();
    let properties = BTreeMap::from([("address".to_owned(), "10.0.0.99/24".to_owned())]);
    bench.apply(vec![Change::SetResource {
        resource: "ip".into(),
        properties,
        policy: ResourcePolicy::default(),
        possible_owners: None,
    }]);
    for resource in ["app", "beside", "name", "ip"] {
        bench.answers(resource, Outcome::Offline);
    }
    bench.answers("ip", Outcome::Online);
    let order = bench.order("name");
    assert_eq!(shown(&server(&order)), "files (10.0.0.99)");
    bench.answer(&order, Outcome::Online);
    bench.run();
    assert_eq!(bench.state("app"), ResourceState::Online);
}
