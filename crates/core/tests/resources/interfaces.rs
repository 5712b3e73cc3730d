//! Addresses on an interface of this node that does not work.

use stead_model::network::InterfaceState;
use stead_model::order::{Outcome, ResourceOrder};
use stead_model::resource::{Health, ResourceConfig, ResourceState};
use stead_model::wire::peer::Standing;

use crate::bench::{Bench, broke, config, done, verb};

/// An address with a program on it, both online, and the order that the address is watched under.
fn bench() -> (Bench, ResourceOrder) {
    let mut ip = ResourceConfig { kind: "ip-address".into(), ..config("ip", &[]) };
    ip.properties.insert("address".into(), "10.2.0.99/24".into());
    let mut bench = Bench::new(vec![ip, config("httpd", &["ip"])]);
    bench.interface(InterfaceState::Up);
    let watch = bench.order("ip");
    bench.answer(&watch, Outcome::Online);
    bench.run();
    assert_eq!(bench.online().len(), 2);
    (bench, watch)
}

fn bad() -> Outcome {
    Outcome::Health(Health::Bad, "interface `eth2` has no carrier".into())
}

#[test]
fn what_stands_on_an_address_is_not_stopped_because_its_interface_is_dead() {
    let (mut bench, watch) = bench();
    bench.interface(InterfaceState::NoCarrier);
    bench.answer(&watch, bad());
    assert!(bench.waiting().is_empty(), "no restart in place helps: {:?}", bench.waiting());
    assert_eq!((bench.online().len(), bench.standing()), (2, Standing::Held));
    let report = bench.report();
    let ip = report.resources.iter().find(|r| r.resource.as_str() == "ip").unwrap();
    assert_eq!(ip.health, Health::Unknown);
    assert_eq!(ip.detail.as_deref(), Some("interface `eth2` has no carrier"));
    bench.interface(InterfaceState::Up);
    bench.answer(&watch, bad());
    assert_eq!(bench.waiting(), ["offline httpd"], "now it is its own fault");
}

#[test]
fn an_address_that_failed_for_want_of_an_interface_is_tried_again_when_that_is_back() {
    let (mut bench, watch) = bench();
    bench.interface(InterfaceState::Down);
    bench.answer(&watch, broke());
    for _ in 0..50 {
        let Some(order) = bench.orders.first().cloned() else { break };
        bench.orders.remove(0);
        let starts = verb(&order.action) == "online";
        let outcome = if starts { broke() } else { done(&order.action) };
        bench.answer(&order, outcome);
    }
    assert_eq!(bench.state("ip"), ResourceState::Failed);
    bench.interface(InterfaceState::Up);
    bench.run();
    assert_eq!((bench.online().len(), bench.standing()), (2, Standing::Held));
}
