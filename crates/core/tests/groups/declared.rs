//! Groups as they are declared: all or nothing, with the place of what does not fit, and with a
//! plan that comes true.

use std::collections::BTreeMap;

use stead_core::groups::Decision;
use stead_core::planted::Planted;
use stead_model::change::Change;
use stead_model::declaration::{Declaration, DeclaredGroup, DeclaredResource, Deed, Foreseen};
use stead_model::group::Desired;
use stead_model::reason::{Code, Reason};
use stead_model::request::Request;
use stead_model::{NodeId, ResourceId};

use crate::world::{World, n};

/// A resource with its dependencies and properties.
type Given<'a> = (&'a str, &'a [&'a str], &'a [(&'a str, &'a str)]);

const WEB: &[Given<'_>] = &[("httpd", &["ip"], &[]), ("ip", &[], &[])];

fn properties(given: &[(&str, &str)]) -> BTreeMap<String, String> {
    given.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect()
}

/// Groups with their resources, each in a line of its own from 1 on.
fn declared(groups: &[(&str, &[Given<'_>])]) -> Declaration {
    let mut declaration = Declaration::default();
    let mut line = 0;
    for (group, resources) in groups {
        line += 1;
        declaration.groups.push(DeclaredGroup {
            group: (*group).into(),
            properties: BTreeMap::new(),
            desired: None,
            line,
        });
        for (name, on, given) in *resources {
            line += 1;
            declaration.resources.push(DeclaredResource {
                group: (*group).into(),
                resource: (*name).into(),
                kind: "dummy".into(),
                properties: properties(given),
                depends_on: on.iter().map(|d| ResourceId::from(*d)).collect(),
                desired: None,
                line,
            });
        }
    }
    declaration
}

fn foreseen(world: &mut World, wanted: &Declaration) -> Foreseen {
    match world.try_ask(Request::Foresee { wanted: wanted.clone() }).unwrap() {
        Decision::Tell { foreseen, .. } => foreseen,
        other => panic!("{other:?}"),
    }
}

/// The changes of an apply, carried out to the end.
fn applied(world: &mut World, wanted: &Declaration) -> Vec<Change> {
    let decision = world.try_ask(Request::Apply { wanted: wanted.clone() }).unwrap();
    world.run();
    match decision {
        Decision::ProposeAll(changes) => changes,
        other => panic!("{other:?}"),
    }
}

/// Refused, and nothing in the log or the database.
fn refused(world: &mut World, wanted: &Declaration) -> Reason {
    let before = (world.log.len(), world.leader.clone());
    let reason = world.try_ask(Request::Apply { wanted: wanted.clone() }).unwrap_err();
    assert_eq!((before.0, &before.1), (world.log.len(), &world.leader), "half applied");
    let foreseen = world.try_ask(Request::Foresee { wanted: wanted.clone() }).unwrap_err();
    assert_eq!(foreseen, reason, "the plan says the same");
    reason
}

/// What runs where.
fn running(world: &World, names: &[&str]) -> BTreeMap<String, Vec<NodeId>> {
    names.iter().map(|name| ((*name).to_owned(), world.running(name))).collect()
}

#[test]
fn a_declaration_is_one_entry_and_comes_online_as_foreseen() {
    let mut world = World::new(2, Planted::NONE);
    let wanted = declared(&[("web", WEB), ("mail", &[("spool", &[], &[])])]);
    let plan = foreseen(&mut world, &wanted);
    let told: Vec<String> = plan.consequences.iter().map(ToString::to_string).collect();
    let why = "nobody owned it and it shall be online";
    assert_eq!(
        told,
        [
            format!("start   spool of group mail on n1: {why}"),
            format!("start   ip, httpd of group web on n2: {why}"),
        ]
    );
    let entries = world.log.len();
    let changes = applied(&mut world, &wanted);
    assert_eq!(world.log[entries].changes, changes, "one entry");
    let names = ["ip", "httpd", "spool"];
    let seen = running(&world, &names);
    assert_eq!(
        (&seen["ip"][..], &seen["httpd"][..], &seen["spool"][..]),
        (&[n(2)][..], &[n(2)][..], &[n(1)][..])
    );
}

#[test]
fn applied_again_it_changes_nothing() {
    let mut world = World::new(2, Planted::NONE);
    let mut wanted = declared(&[("web", WEB)]);
    wanted.groups[0].properties = properties(&[("preferred-owners", "n2,n1")]);
    wanted.resources[0].properties = properties(&[("is-alive", "120s"), ("possible-owners", "n2")]);
    assert!(!applied(&mut world, &wanted).is_empty());
    let entries = world.log.len();
    assert_eq!(foreseen(&mut world, &wanted), Foreseen::default());
    // The same times in other units, and what was taken offline by hand, stay.
    wanted.resources[0].properties.insert("is-alive".into(), "2min".into());
    world.ask(Request::SetResourceDesired { resource: "httpd".into(), desired: Desired::Offline });
    world.run();
    assert_eq!(applied(&mut world, &wanted), []);
    assert_eq!(world.log.len(), entries + 1, "that of the request");
}

/// what an agent advised when its resource was made is no difference to the file.
#[test]
fn what_an_agent_advised_stays() {
    let mut world = World::new(2, Planted::NONE);
    let mut wanted = declared(&[("web", WEB)]);
    wanted.resources[1].kind = "ocf:heartbeat:IPaddr2".into();
    applied(&mut world, &wanted);
    let advised = ["pending-timeout", "check-timeout"].map(|name| (name.to_owned(), "10min"));
    let properties = advised.map(|(name, value)| (name, Some(value.to_owned()))).into();
    world.ask(Request::SetResource { resource: "ip".into(), properties });
    world.run();
    assert_eq!(foreseen(&mut world, &wanted), Foreseen::default());
    assert_eq!(applied(&mut world, &wanted), []);
    // What the file gives counts.
    wanted.resources[1].properties = self::properties(&[("pending-timeout", "3min")]);
    applied(&mut world, &wanted);
    let made = world.leader.resource(&"ip".into()).unwrap().1;
    assert_eq!(made.policy.pending_timeout_ms, 180_000);
    assert_eq!(made.properties["check-timeout"], "10min");
}

#[test]
fn what_the_file_no_longer_gives_has_its_default_again() {
    let mut world = World::new(2, Planted::NONE);
    let mut wanted = declared(&[("web", WEB)]);
    wanted.groups[0].properties = properties(&[("retry-after", "2h")]);
    wanted.resources[1].properties = properties(&[("looks-alive", "1s")]);
    applied(&mut world, &wanted);
    let plain = declared(&[("web", WEB)]);
    let told: Vec<String> =
        foreseen(&mut world, &plain).differences.iter().map(ToString::to_string).collect();
    assert_eq!(
        told,
        [
            "~ group web: retry-after `2h` -> `1h`",
            "~ resource ip of group web: looks-alive `1s` -> `5s`"
        ]
    );
    applied(&mut world, &plain);
    assert_eq!(world.leader.group(&"web".into()).unwrap().policy, Default::default());
    assert_eq!(world.leader.resource(&"ip".into()).unwrap().1.policy, Default::default());
}

#[test]
fn a_changed_property_restarts_what_stands_on_it_and_nothing_moves() {
    let mut world = World::new(2, Planted::NONE);
    applied(&mut world, &declared(&[("web", WEB), ("mail", &[("spool", &[], &[])])]));
    let changed: &[Given<'_>] = &[("httpd", &["ip"], &[]), ("ip", &[], &[("online-delay", "7ms")])];
    let wanted = declared(&[("web", changed)]);
    let plan = foreseen(&mut world, &wanted);
    assert_eq!(plan.consequences.len(), 1, "{plan:?}");
    let told = &plan.consequences[0];
    assert_eq!((told.deed, told.node), (Deed::Restart, world.owner("web")));
    assert_eq!(told.resources, [ResourceId::from("ip"), "httpd".into()]);
    let orders = |world: &World| {
        let all = world.nodes.values().flat_map(|node| &node.history);
        all.filter(|line| line.contains("spool")).count()
    };
    let before = orders(&world);
    applied(&mut world, &wanted);
    assert_eq!(world.running("httpd"), [world.owner("web").unwrap()]);
    assert_eq!(orders(&world), before, "the other group is left alone");
}

#[test]
fn another_place_is_foreseen_as_a_move() {
    let mut world = World::new(3, Planted::NONE);
    applied(&mut world, &declared(&[("web", WEB)]));
    let from = world.owner("web");
    world.ask(Request::MoveGroup { group: "web".into(), to: Some(n(3)) });
    let none = foreseen(&mut world, &declared(&[("web", WEB)]));
    let moved = &none.consequences[0];
    assert_eq!((moved.deed, moved.from, moved.node), (Deed::Move, from, Some(n(3))));
    assert!(none.differences.is_empty());
    world.run();
    assert_eq!(world.owner("web"), Some(n(3)));
}

#[test]
fn what_is_not_declared_is_deleted_unless_it_runs() {
    let mut world = World::new(2, Planted::NONE);
    applied(&mut world, &declared(&[("web", WEB)]));
    let smaller = declared(&[("web", &[("ip", &[], &[])])]);
    let reason = refused(&mut world, &smaller);
    assert_eq!(reason.text, "line 1, group `web`: cannot delete resource `httpd`");
    assert_eq!(reason.hint.as_deref(), Some("take it offline first: `resource offline httpd`"));
    world.ask(Request::SetResourceDesired { resource: "httpd".into(), desired: Desired::Offline });
    world.run();
    applied(&mut world, &smaller);
    assert!(world.leader.resource(&"httpd".into()).is_none());
    assert_eq!(world.running("ip"), [world.owner("web").unwrap()]);
}

#[test]
fn bad_input_is_refused_whole_with_its_place() {
    let mut world = World::new(2, Planted::NONE);
    applied(&mut world, &declared(&[("web", WEB), ("mail", &[("spool", &[], &[])])]));
    type Spoil = fn(&mut Declaration);
    let cases: [(Spoil, Code, &str); 9] = [
        (
            |d| d.resources[1].kind = "dumy".into(),
            Code::Conflict,
            "line 3, resource `ip`: it is of type `dummy`, not `dumy`",
        ),
        (
            |d| drop(d.resources[0].properties.insert("colour".into(), "red".into())),
            Code::NotFound,
            "line 2, resource `httpd`: type `dummy` has no property `colour`",
        ),
        (
            |d| drop(d.resources[0].properties.insert("is-alive".into(), "5".into())),
            Code::Invalid,
            "line 2, resource `httpd`: property `is-alive` cannot be `5`",
        ),
        (
            |d| d.resources[1].depends_on = ["httpd".into()].into(),
            Code::Invalid,
            "line 3, resource `ip`: cannot make `ip` depend on others so",
        ),
        (
            |d| d.resources[0].depends_on = ["spool".into()].into(),
            Code::Invalid,
            "line 2, resource `httpd`: cannot make `httpd` depend on others so",
        ),
        (
            |d| drop(d.groups[0].properties.insert("preferred-owners".into(), "n9".into())),
            Code::NotFound,
            "line 1, group `web`: property `preferred-owners` names n9, which is not in the \
             cluster",
        ),
        (
            |d| d.resources[1].resource = "httpd".into(),
            Code::Exists,
            "line 3, resource `httpd`: it is declared in line 2 already",
        ),
        (
            |d| d.resources[1].group = "mail".into(),
            Code::NotFound,
            "line 3, resource `ip`: its group `mail` is not declared",
        ),
        (
            |d| d.resources[1].desired = Some(Desired::Offline),
            Code::Conflict,
            "line 2, resource `httpd`: it cannot be online",
        ),
    ];
    for (spoil, code, text) in cases {
        let mut wanted = declared(&[("web", WEB)]);
        // Something that would fit comes before it.
        wanted.groups[0].properties = properties(&[("failover-threshold", "3")]);
        wanted.resources[0].desired = Some(Desired::Online);
        spoil(&mut wanted);
        let reason = refused(&mut world, &wanted);
        assert_eq!((reason.code, reason.text.as_str()), (code, text));
        assert!(reason.hint.is_some() || reason.cause.is_some(), "{reason:?}");
    }
}

#[test]
fn a_group_without_a_node_is_foreseen() {
    let mut world = World::new(2, Planted::NONE);
    let mut wanted = declared(&[("web", WEB)]);
    wanted.resources[0].properties = properties(&[("possible-owners", "n1")]);
    wanted.resources[1].properties = properties(&[("possible-owners", "n2")]);
    let plan = foreseen(&mut world, &wanted);
    let told = &plan.consequences[0];
    assert_eq!((told.deed, plan.consequences.len()), (Deed::Nowhere, 1));
    assert!(told.why.contains("`n1` is not a possible owner of resource `ip`"), "{told}");
}
