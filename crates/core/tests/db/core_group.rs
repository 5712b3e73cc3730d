//! What is refused for the cluster's own group: what, why, and what to do instead.

use std::collections::{BTreeMap, BTreeSet};

use stead_core::db::Db;
use stead_core::groups::Decision;
use stead_model::core_group::ClusterIp;
use stead_model::declaration::{Declaration, DeclaredGroup, DeclaredResource, Whole};
use stead_model::group::{Desired, GroupPolicy};
use stead_model::reason::{Code, Reason};
use stead_model::request::Request;
use stead_model::wire::peer::Report;
use stead_model::{NodeId, ResourceId};

use crate::fixture::{ask, ask_with, must, n, two_groups};
use crate::networks::report;

fn reports() -> BTreeMap<NodeId, Report> {
    [1, 2, 3].map(|number| (n(number), report(n(number)))).into()
}

fn cluster_ip(address: &str, name: Option<&[(&str, &str)]>) -> Request {
    let name = name.map(|all| {
        all.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    });
    Request::SetClusterIp { wanted: ClusterIp { address: Some(address.to_owned()), name } }
}

/// Groups `web` and `mail`, and the cluster's own.
fn with_core() -> Db {
    let mut db = two_groups();
    let dns = [("zone", "example.org"), ("dns-servers", "10.2.0.53")];
    let made = ask_with(&db, &reports(), &cluster_ip("10.2.0.100", Some(&dns))).unwrap();
    must(&mut db, made.changes().to_vec());
    db
}

fn set(properties: &[(&str, &str)]) -> BTreeMap<String, Option<String>> {
    properties.iter().map(|(k, v)| ((*k).to_owned(), Some((*v).to_owned()))).collect()
}

fn create(group: &str, resource: &str) -> Request {
    let (group, resource, kind) = (group.into(), resource.into(), "dummy".to_owned());
    Request::CreateResource { group, resource, kind, properties: BTreeMap::new() }
}

fn depend(resource: &str, on: &[&str]) -> Request {
    let depends_on = on.iter().map(|on| ResourceId::from(*on)).collect::<BTreeSet<_>>();
    Request::SetDependencies { resource: resource.into(), depends_on }
}

/// Refused, also when it is forced, with a cause and a hint.
fn refused(db: &Db, request: &Request) -> String {
    let reason = ask(db, request).unwrap_err();
    assert!(reason.cause.is_some() && reason.hint.is_some(), "{reason:?}");
    let forced = Request::Force { request: Box::new(request.clone()) };
    assert_eq!(ask(db, &forced).unwrap_err(), reason);
    reason.text
}

#[test]
fn a106_the_group_and_its_resources_are_kept_and_nothing_else_is_in_it() {
    let db = with_core();
    let group = |name: &str| name.into();
    let desired = Desired::Offline;
    let policy = GroupPolicy::default();
    for (request, text) in [
        (Request::DeleteGroup { group: group("cluster") }, "cannot delete group `cluster`"),
        (
            Request::SetGroupDesired { group: group("cluster"), desired },
            "cannot take group `cluster` offline",
        ),
        (
            Request::CreateGroup { group: group("cluster"), policy },
            "no group can be called `cluster`",
        ),
        (
            Request::DeleteResource { resource: "cluster-ip".into() },
            "cannot delete resource `cluster-ip`",
        ),
        (
            Request::SetResourceDesired { resource: "cluster-name".into(), desired },
            "cannot take resource `cluster-name` offline",
        ),
        (
            Request::SetResource {
                resource: "cluster-name".into(),
                properties: set(&[("host-name", "other")]),
            },
            "cannot set property `host-name` of resource `cluster-name`",
        ),
        (
            Request::SetResource {
                resource: "cluster-ip".into(),
                properties: set(&[("address", "10.2.0.7/24")]),
            },
            "cannot set property `address` of resource `cluster-ip`",
        ),
        (create("cluster", "mine"), "cannot create resource `mine` in group `cluster`"),
        (create("web", "cluster-ip"), "no resource can be called `cluster-ip`"),
        (depend("httpd", &["cluster-ip"]), "cannot change what depends on `cluster-ip`"),
        (depend("cluster-name", &[]), "cannot change what depends on `cluster-name`"),
    ] {
        assert_eq!(refused(&db, &request), text);
    }
}

#[test]
fn a106_no_rule_names_the_group_and_it_names_none() {
    let db = with_core();
    for property in ["start-after", "affinity", "anti-affinity-required"] {
        for (group, other) in [("web", "cluster"), ("cluster", "web")] {
            let properties = set(&[(property, other)]);
            let text = refused(&db, &Request::SetGroup { group: group.into(), properties });
            assert!(text.ends_with(&format!("of group `{group}` cannot name group `{other}`")));
        }
    }
    // Not even before there is one: it would be kept apart from what nobody thought of.
    let properties = set(&[("start-after", "cluster")]);
    refused(&two_groups(), &Request::SetGroup { group: "web".into(), properties });
}

#[test]
fn a106_what_does_not_change_what_it_is_may_be_set() {
    let db = with_core();
    let group = [("failback", "immediate"), ("preferred-owners", "n2"), ("priority", "high")];
    let properties = set(&group);
    assert!(ask(&db, &Request::SetGroup { group: "cluster".into(), properties }).is_ok());
    for (resource, given) in
        [("cluster-ip", ("tickle", "false")), ("cluster-name", ("ttl", "1min"))]
    {
        let properties = set(&[given]);
        let request = Request::SetResource { resource: resource.into(), properties };
        assert!(ask(&db, &request).is_ok(), "{request:?}");
    }
    let (group, desired) = ("cluster".into(), Desired::Online);
    assert!(ask(&db, &Request::SetGroupDesired { group, desired }).is_ok());
}

fn address(db: &Db, text: &str) -> Result<String, Reason> {
    let decision = ask_with(db, &reports(), &cluster_ip(text, None))?;
    let Decision::ProposeAll(changes) = &decision else { panic!("{decision:?}") };
    let mut after = db.clone();
    must(&mut after, changes.clone());
    let (_, ip) = after.resource(&"cluster-ip".into()).unwrap();
    Ok(ip.properties["address"].clone())
}

#[test]
fn a106_the_address_is_one_that_clients_reach_and_has_the_prefix_of_its_network() {
    let db = two_groups();
    assert_eq!(address(&db, "10.2.0.100").unwrap(), "10.2.0.100/24");
    assert_eq!(address(&db, "10.3.0.100/16").unwrap(), "10.3.0.100/16");
    assert_eq!(address(&db, "fd00::100/64").unwrap(), "fd00::100/64");
    for (text, cause) in [
        ("10.1.0.100", "network `private` (10.1.0.0/24) is private"),
        ("192.0.2.9", "it is in none of the cluster's networks: `private` (10.1.0.0/24) and "),
        ("10.2.0.1", "it is the address of n1 `alpha`"),
        ("10.3.0.2/24", "it is the address of n2 `beta.example.org`"),
        ("127.0.0.1/8", "it does not leave the host or its link"),
        ("fe80::1/64", "it does not leave the host or its link"),
        ("10.2.0.100/33", "it is no address that clients could use"),
        ("office", "it is no address that clients could use"),
    ] {
        let reason = address(&db, text).unwrap_err();
        assert!(reason.cause.as_ref().unwrap().starts_with(cause), "{text}: {reason:?}");
        assert!(reason.hint.is_some(), "{reason:?}");
    }
    let nobody = ask(&db, &cluster_ip("10.2.0.100", None)).unwrap_err();
    assert_eq!(nobody.cause.unwrap(), "no node has told yet which networks it is in");
    let wanted = ClusterIp::default();
    let nothing = ask(&db, &Request::SetClusterIp { wanted }).unwrap_err();
    assert_eq!(nothing.cause.as_deref(), Some("no address is given"));
}

#[test]
fn a106_an_address_that_a_group_has_is_taken() {
    let mut db = two_groups();
    let properties = BTreeMap::from([("address".to_owned(), "10.2.0.100/24".to_owned())]);
    let (group, resource, kind) = ("web".into(), "web-ip".into(), "ip-address".to_owned());
    let made = ask(&db, &Request::CreateResource { group, resource, kind, properties }).unwrap();
    must(&mut db, made.changes().to_vec());
    let reason = address(&db, "10.2.0.100").unwrap_err();
    assert_eq!(reason.cause.as_deref(), Some("resource `web-ip` has it"));
}

#[test]
fn a106_the_name_is_that_of_the_cluster_and_needs_a_server() {
    let db = two_groups();
    let name = |given: &[(&str, &str)]| {
        let request = cluster_ip("10.2.0.100", Some(given));
        ask_with(&db, &reports(), &request).unwrap_err()
    };
    let other = name(&[("host-name", "other"), ("dns-servers", "10.2.0.53")]);
    assert!(other.cause.unwrap().contains("is the name of the cluster, which stays"));
    let no_server = name(&[("zone", "example.org")]);
    assert!(no_server.cause.unwrap().starts_with("`dns-servers` is missing"));
    let no_zone = name(&[("dns-servers", "10.2.0.53")]);
    assert_eq!(no_zone.text, "property `zone` of resource `cluster-name` is missing");
    // No virtual server can take the name of the cluster, whether that is published or not.
    for db in [&two_groups(), &with_core()] {
        let properties = BTreeMap::from([("host-name".to_owned(), "lab".to_owned())]);
        let (group, resource, kind) = ("web".into(), "n".into(), "network-name".to_owned());
        let request = Request::CreateResource { group, resource, kind, properties };
        assert_eq!(ask(db, &request).unwrap_err().code, Code::Conflict);
    }
}

fn declared(group: &str, resources: &[(&str, &str, &str, &[&str])]) -> Declaration {
    let group = group.into();
    let resource = |(home, id, kind, on): &(&str, &str, &str, &[&str])| DeclaredResource {
        group: (*home).into(),
        resource: (*id).into(),
        kind: (*kind).into(),
        properties: BTreeMap::new(),
        depends_on: on.iter().map(|on| ResourceId::from(*on)).collect(),
        desired: None,
        line: 0,
    };
    let group = DeclaredGroup { group, properties: BTreeMap::new(), desired: None, line: 0 };
    let resources = resources.iter().map(resource).collect();
    Declaration { groups: vec![group], resources, ..Declaration::default() }
}

#[test]
fn a106_declarations_have_nothing_of_it_and_backups_have_it_as_it_is_made() {
    let db = with_core();
    let apply = |wanted: Declaration| refused(&db, &Request::Apply { wanted });
    assert_eq!(apply(declared("cluster", &[])), "no group can be called `cluster`");
    let stray = declared("web", &[("web", "cluster-ip", "ip-address", &[])]);
    assert_eq!(apply(stray), "no resource can be called `cluster-ip`");
    let whole = |resources: &[(&str, &str, &str, &[&str])]| Declaration {
        whole: Some(Whole::default()),
        ..declared("cluster", resources)
    };
    let wrong = "group `cluster` cannot be as it is declared";
    assert_eq!(apply(whole(&[])), wrong, "without its address");
    let ip: (&str, &str, &str, &[&str]) = ("cluster", "cluster-ip", "ip-address", &[]);
    for more in [
        ("cluster", "cluster-name", "network-name", &[][..]),
        ("cluster", "cluster-name", "dummy", &["cluster-ip"][..]),
        ("cluster", "mine", "dummy", &[][..]),
    ] {
        assert_eq!(apply(whole(&[ip, more])), wrong, "{more:?}");
    }
}
