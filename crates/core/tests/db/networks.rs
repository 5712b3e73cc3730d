//! Networks: an address for clients is not on a network that they do not reach, and what
//! may be made of a network.

use std::collections::BTreeMap;

use stead_core::db::Db;
use stead_model::change::Change;
use stead_model::config::NetworkRole;
use stead_model::network::{Interface, InterfaceReport, InterfaceState, Port, Stand, Subnet};
use stead_model::reason::{Code, Reason};
use stead_model::request::Request;
use stead_model::resource::ResourceConfig;
use stead_model::rules::Priority;
use stead_model::wire::peer::Report;
use stead_model::{NetworkId, NodeId};

use crate::fixture::{ask_with, empty_report, must, n, networks, resource, two_groups};

/// What a node tells of the networks `private`, `public` and `mixed`.
pub(crate) fn report(node: NodeId) -> Report {
    let interface = |number: u8| InterfaceReport {
        interface: Interface {
            network: NetworkId(number),
            port: Some(Port {
                name: format!("eth{number}"),
                subnet: Subnet::of([10, number, 0, 0].into(), 24),
            }),
            state: InterfaceState::Up,
        },
        stand: Stand::Works,
    };
    Report { interfaces: (1..=3).map(interface).collect(), ..empty_report(node) }
}

fn asked(db: &Db, reports: &[Report], kind: &str, given: &[(&str, &str)]) -> Result<(), Reason> {
    let properties = given.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
    let (group, resource, kind) = ("web".into(), "new".into(), kind.to_owned());
    let request = Request::CreateResource { group, resource, kind, properties };
    let reports: BTreeMap<_, _> = reports.iter().map(|r| (r.node, r.clone())).collect();
    ask_with(db, &reports, &request).map(drop)
}

#[test]
fn an_address_on_a_private_network_is_refused_with_those_that_clients_reach() {
    let db = two_groups();
    let reports = [report(n(2))];
    let address = |given: &[(&str, &str)]| asked(&db, &reports, "ip-address", given);
    let refused = address(&[("address", "10.1.0.9/24")]).unwrap_err();
    assert_eq!(refused.code, Code::Invalid);
    let text = refused.to_string();
    assert!(text.contains("`private` (10.1.0.0/24) is private"), "{text}");
    let hint = refused.hint.unwrap();
    assert_eq!(hint, "choose an address of `public` (10.2.0.0/24) or `mixed` (10.3.0.0/24)");
    for open in ["10.2.0.9/24", "10.3.0.9/24", "192.0.2.9/24"] {
        assert_eq!(address(&[("address", open)]), Ok(()), "{open}");
    }
}

#[test]
fn an_interface_that_is_named_says_which_network_is_meant() {
    let db = two_groups();
    let reports = [report(n(1)), report(n(3))];
    let address = |given: &[(&str, &str)]| asked(&db, &reports, "ip-address", given);
    let named = |address, interface| [("address", address), ("interface", interface)];
    assert!(address(&named("192.0.2.9/24", "eth1")).is_err());
    assert_eq!(address(&named("10.1.0.9/24", "eth2")), Ok(()));
    assert_eq!(address(&named("192.0.2.9/24", "eth7")), Ok(()), "no network of the cluster");
}

#[test]
fn agents_that_are_addresses_are_judged_alike_and_silence_refuses_nothing() {
    let db = two_groups();
    let agent = [("ip", "10.1.0.9")];
    let reports = [report(n(1))];
    assert!(asked(&db, &reports, "ocf:heartbeat:IPaddr2", &agent).is_err());
    assert_eq!(asked(&db, &[], "ip-address", &[("address", "10.1.0.9/24")]), Ok(()));
}

/// What a request leaves of the networks, or why it is refused.
fn set(
    db: &mut Db,
    reports: &[Report],
    network: &str,
    (name, role, priority): (Option<&str>, Option<NetworkRole>, Option<u16>),
) -> Result<String, Reason> {
    let (network, name) = (network.to_owned(), name.map(str::to_owned));
    let request = Request::SetNetwork { network, name, role, priority: priority.map(Priority) };
    let reports: BTreeMap<_, _> = reports.iter().map(|r| (r.node, r.clone())).collect();
    let decision = ask_with(db, &reports, &request)?;
    if !decision.changes().is_empty() {
        must(db, decision.changes().to_vec());
    }
    let now = db.networks_of(&networks());
    Ok(now.iter().map(ToString::to_string).collect::<Vec<_>>().join(" "))
}

#[test]
fn name_role_and_priority_of_a_network_are_changed_one_by_one() {
    let mut db = two_groups();
    let mut set = |network, to| set(&mut db, &[], network, to);
    let rest = "`public` (public, priority medium) `mixed` (mixed, priority medium)";
    let named = set("private", (Some("backbone"), None, None)).unwrap();
    assert_eq!(named, format!("`backbone` (private, priority medium) {rest}"));
    let preferred = set("backbone", (None, None, Some(3_000))).unwrap();
    assert_eq!(preferred, format!("`backbone` (private, priority high) {rest}"));
    let open = set("backbone", (None, Some(NetworkRole::Mixed), None)).unwrap();
    assert_eq!(open, format!("`backbone` (mixed, priority high) {rest}"));
    assert_eq!(set("backbone", (Some("backbone"), None, None)).unwrap(), open, "as it is");
    let missing = set("private", (None, None, Some(1))).unwrap_err();
    assert_eq!(missing.code, Code::NotFound);
    assert_eq!(missing.hint.unwrap(), "the networks are `backbone`, `public`, `mixed`");
    assert_eq!(set("backbone", (Some("mixed"), None, None)).unwrap_err().code, Code::Exists);
    assert_eq!(set("backbone", (Some("a b"), None, None)).unwrap_err().code, Code::Invalid);
}

#[test]
fn the_last_network_of_the_nodes_stays_theirs() {
    let mut db = two_groups();
    let public = (None, Some(NetworkRole::Public), None);
    set(&mut db, &[], "private", public).unwrap();
    let refused = set(&mut db, &[], "mixed", public).unwrap_err();
    assert_eq!(refused.code, Code::Conflict);
    let text = refused.to_string();
    assert!(text.contains("network `mixed` cannot become public"), "{text}");
    assert!(text.contains("the last network that carries"), "{text}");
    set(&mut db, &[], "private", (None, Some(NetworkRole::Private), None)).unwrap();
    assert!(set(&mut db, &[], "mixed", public).is_ok());
}

#[test]
fn a_network_with_addresses_of_resources_does_not_become_private() {
    let mut db = two_groups();
    let address = |id: &str, address: &str| {
        let properties = [("address".to_owned(), address.to_owned())].into();
        let resource = ResourceConfig { properties, kind: "ip-address".into(), ..resource(id) };
        Change::CreateResource { group: "web".into(), resource }
    };
    let addresses = [("one", "10.2.0.9/24"), ("two", "10.3.0.9/24"), ("other", "192.0.2.9/24")];
    must(&mut db, addresses.map(|(id, at)| address(id, at)).to_vec());
    let reports = [report(n(2))];
    let mut private =
        |network| set(&mut db, &reports, network, (None, Some(NetworkRole::Private), None));
    for (network, resource) in [("public", "one"), ("mixed", "two")] {
        let refused = private(network).unwrap_err();
        assert_eq!(refused.code, Code::Conflict);
        let text = refused.to_string();
        assert!(text.contains(&format!("the addresses of `{resource}` are on it")), "{text}");
    }
    must(&mut db, vec![Change::DeleteResource { resource: "one".into() }]);
    let reports = [report(n(2))];
    assert!(set(&mut db, &reports, "public", (None, Some(NetworkRole::Private), None)).is_ok());
    let refused = asked(&db, &reports, "ip-address", &[("address", "10.2.0.9/24")]);
    let text = refused.unwrap_err().to_string();
    assert!(text.contains("`public` (10.2.0.0/24) is private"), "{text}");
}
