//! A declaration of the whole cluster: what was changed since is as it was, or nothing is.

use std::collections::BTreeMap;

use stead_core::groups::Decision;
use stead_core::planted::Planted;
use stead_model::amounts::Amounts;
use stead_model::declaration::{
    Declaration, DeclaredAlert, DeclaredGroup, DeclaredResource, DeclaredRoom, Whole,
};
use stead_model::group::Desired;
use stead_model::reason::Code;
use stead_model::remote::RemoteAdmin;
use stead_model::request::Request;
use stead_model::role::Role;
use stead_model::room::Room;

use crate::world::{World, n};

fn admin(name: &str) -> RemoteAdmin {
    RemoteAdmin { admin: name.into(), role: Role::Operator, certificate: "5a".repeat(32) }
}

fn amounts(text: &str) -> Amounts {
    Amounts::parse(text).unwrap()
}

/// Group `web` with one resource, an alert, a capacity and an admin.
fn wanted() -> Declaration {
    let hook = BTreeMap::from([("webhook".to_owned(), "http://10.0.0.9/".to_owned())]);
    Declaration {
        groups: vec![DeclaredGroup {
            group: "web".into(),
            properties: BTreeMap::from([("preferred-owners".to_owned(), "n2".to_owned())]),
            desired: Some(Desired::Online),
            line: 0,
        }],
        resources: vec![DeclaredResource {
            group: "web".into(),
            resource: "httpd".into(),
            kind: "dummy".into(),
            properties: BTreeMap::new(),
            depends_on: [].into(),
            desired: None,
            line: 0,
        }],
        alerts: vec![DeclaredAlert { alert: "ops".into(), properties: hook, line: 0 }],
        whole: Some(Whole {
            rooms: vec![DeclaredRoom {
                node: n(2),
                room: Room { capacity: amounts("cpu=4"), local: BTreeMap::new() },
            }],
            admins: vec![admin("ops")],
        }),
    }
}

fn differences(world: &mut World) -> Vec<String> {
    match world.try_ask(Request::Foresee { wanted: wanted() }).unwrap() {
        Decision::Tell { foreseen, .. } => {
            foreseen.differences.iter().map(ToString::to_string).collect()
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn an_empty_cluster_is_as_it_was_after_one_entry() {
    let mut world = World::new(2, Planted::NONE);
    let told = differences(&mut world);
    for line in ["+ group web", "+ alert ops", "+ node n2: capacity `cpu=4`", "+ admin ops"] {
        assert!(told.iter().any(|one| one == line), "{line}: {told:?}");
    }
    world.ask(Request::Apply { wanted: wanted() });
    world.run();
    assert_eq!(world.running("httpd"), [n(2)]);
    assert_eq!(world.leader.admins(), [admin("ops")]);
    assert_eq!(world.leader.rooms()[&n(2)].capacity, amounts("cpu=4"));
    assert_eq!(differences(&mut world), [""; 0]);
}

#[test]
fn what_was_taken_offline_since_is_online_again() {
    let mut world = World::new(2, Planted::NONE);
    world.ask(Request::Apply { wanted: wanted() });
    world.run();
    let desired = Desired::Offline;
    world.ask(Request::SetResourceDesired { resource: "httpd".into(), desired });
    world.run();
    assert_eq!(world.running("httpd"), []);
    let told = differences(&mut world);
    assert_eq!(told, ["~ resource httpd of group web: desired `offline` -> `online`"]);
    world.ask(Request::Apply { wanted: wanted() });
    world.run();
    assert_eq!(world.running("httpd"), [n(2)]);
    // A declaration of some groups leaves it as it is.
    world.ask(Request::SetResourceDesired { resource: "httpd".into(), desired });
    world.ask(Request::Apply { wanted: Declaration { whole: None, ..wanted() } });
    world.run();
    assert_eq!(world.running("httpd"), []);
}

#[test]
fn what_came_since_goes_and_what_went_is_back() {
    let mut world = World::new(2, Planted::NONE);
    world.ask(Request::Apply { wanted: wanted() });
    world.run();
    // A group that names another one, an admin, an alert; the capacity is said of another node.
    world.group("db", &[("disk", &[]), ("postgres", &["disk"])]);
    world.group("mail", &[]);
    let properties = [("start-after".to_owned(), Some("mail".to_owned()))].into();
    world.ask(Request::SetGroup { group: "db".into(), properties });
    let (key, value) = admin("eve").entry();
    world.ask(Request::SetKey { key, value: Some(value) });
    world.ask(Request::SetKey { key: "other".into(), value: Some("stays".into()) });
    world.ask(Request::RemoveAlert { alert: "ops".into() });
    world.ask(Request::SetCapacity { node: n(1), capacity: amounts("cpu=1") });
    world.run();
    assert!(!world.running("postgres").is_empty());
    let before = world.leader.clone();
    let refused = world.try_ask(Request::Apply { wanted: wanted() }).unwrap_err();
    assert_eq!(refused.code, Code::Conflict, "{refused}");
    assert!(refused.text.starts_with("group `db` is not declared, so it would go"), "{refused}");
    assert_eq!(world.leader, before, "nothing is half restored");
    world.ask(Request::SetGroupDesired { group: "db".into(), desired: Desired::Offline });
    world.run();
    let told = differences(&mut world);
    for line in ["- group db", "- group mail", "- admin eve", "- node n1", "+ alert ops"] {
        assert!(told.iter().any(|one| one == line), "{line}: {told:?}");
    }
    world.ask(Request::Apply { wanted: wanted() });
    world.run();
    let groups: Vec<_> = world.leader.groups().keys().map(ToString::to_string).collect();
    assert_eq!(groups, ["web"]);
    assert_eq!(world.running("httpd"), [n(2)], "what runs as it was runs on");
    assert_eq!(world.leader.admins(), [admin("ops")]);
    assert_eq!(world.leader.keys().get("other").map(String::as_str), Some("stays"));
    assert_eq!(differences(&mut world), [""; 0]);
}

#[test]
fn a_node_that_is_not_there_and_an_admin_that_is_none_refuse_all_of_it() {
    let mut world = World::new(1, Planted::NONE);
    let mut declared = wanted();
    declared.groups[0].properties.clear();
    let refused = world.try_ask(Request::Apply { wanted: declared.clone() }).unwrap_err();
    assert_eq!(refused.text, "n2 cannot have a capacity: it is not in the cluster");
    let mut world = World::new(2, Planted::NONE);
    declared.whole.as_mut().unwrap().admins[0].certificate = "none".into();
    let refused = world.try_ask(Request::Apply { wanted: declared }).unwrap_err();
    assert_eq!(refused.text, "admin `ops` is declared with what is none");
    assert!(world.leader.groups().is_empty());
}
