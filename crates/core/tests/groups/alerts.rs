//! Alerts as part of the database: added, removed, declared.

use std::collections::BTreeMap;

use stead_core::Planted;
use stead_core::db::Db;
use stead_core::groups::Decision;
use stead_model::alert::ALERTS_MAX;
use stead_model::declaration::{Declaration, DeclaredAlert};
use stead_model::group::GroupPolicy;
use stead_model::program::Levels;
use stead_model::reason::{Code, Reason};
use stead_model::request::Request;

use crate::world::World;

fn properties(given: &[(&str, &str)]) -> BTreeMap<String, String> {
    given.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

fn add(world: &mut World, name: &str, given: &[(&str, &str)]) -> Result<Decision, Reason> {
    world.try_ask(Request::AddAlert { alert: name.into(), properties: properties(given) })
}

const HOOK: (&str, &str) = ("webhook", "http://10.0.0.9/");

#[test]
fn alerts_are_added_and_removed_and_survive_a_snapshot() {
    let mut world = World::new(2, Planted::NONE);
    add(&mut world, "ops", &[HOOK, ("codes", "group-*")]).unwrap();
    world.run();
    let alerts = world.leader.alerts();
    assert_eq!(alerts[&"ops".into()].codes, ["group-*"]);
    let restored = Db::restore(&world.leader.snapshot(), Levels::OWN).unwrap();
    assert_eq!(restored.alerts(), alerts);
    let again = add(&mut world, "ops", &[HOOK]).unwrap_err();
    assert_eq!((again.code, again.text.as_str()), (Code::Exists, "alert `ops` exists already"));
    world.ask(Request::RemoveAlert { alert: "ops".into() });
    world.run();
    assert!(world.leader.alerts().is_empty());
    let gone = world.try_ask(Request::RemoveAlert { alert: "ops".into() }).unwrap_err();
    assert_eq!(gone.code, Code::NotFound);
}

#[test]
fn what_makes_no_sense_is_refused_at_once() {
    let mut world = World::new(2, Planted::NONE);
    let mut refused = |name: &str, given: &[(&str, &str)]| {
        let reason = add(&mut world, name, given).unwrap_err();
        assert!(world.leader.alerts().is_empty());
        reason.text
    };
    assert_eq!(refused("no name", &[HOOK]), "`no name` cannot be the name of an alert");
    assert_eq!(refused("ops", &[HOOK, ("groups", "web")]), "there is no group `web`");
    assert_eq!(refused("ops", &[("command", "page")]), "`command` of an alert cannot be `page`");
    assert_eq!(
        refused("ops", &[("webhook", "https://a/")]),
        "`webhook` of an alert cannot be `https://a/`"
    );
    for number in 0..ALERTS_MAX {
        add(&mut world, &format!("a{number}"), &[HOOK]).unwrap();
    }
    assert_eq!(add(&mut world, "more", &[HOOK]).unwrap_err().code, Code::TooMuch);
}

/// alerts of a declaration are set with it, or nothing is.
#[test]
fn a_declaration_sets_the_alerts_it_names() {
    let mut world = World::new(2, Planted::NONE);
    world.ask(Request::CreateGroup { group: "web".into(), policy: GroupPolicy::default() });
    add(&mut world, "other", &[HOOK]).unwrap();
    let alert = |given: &[(&str, &str)]| DeclaredAlert {
        alert: "ops".into(),
        properties: properties(given),
        line: 3,
    };
    let wanted = |given| Declaration { alerts: vec![alert(given)], ..Declaration::default() };
    let told = |world: &mut World, wanted: &Declaration| {
        let asked = Request::Foresee { wanted: wanted.clone() };
        let Decision::Tell { foreseen, .. } = world.try_ask(asked).unwrap() else { panic!() };
        foreseen.differences.iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    let first = wanted(&[HOOK, ("groups", "web")]);
    let new = [
        "+ alert ops",
        "+ alert ops: groups `web`",
        "+ alert ops: level `warning`",
        "+ alert ops: timeout `10s`",
        "+ alert ops: webhook `http://10.0.0.9/`",
    ];
    assert_eq!(told(&mut world, &first), new);
    world.ask(Request::Apply { wanted: first.clone() });
    assert_eq!(told(&mut world, &first), [""; 0], "what is there changes nothing");
    let second = wanted(&[HOOK, ("level", "error")]);
    let changed =
        ["~ alert ops: groups `web` -> nothing", "~ alert ops: level `warning` -> `error`"];
    assert_eq!(told(&mut world, &second), changed);
    world.ask(Request::Apply { wanted: second.clone() });
    let names: Vec<_> = world.leader.alerts().keys().map(ToString::to_string).collect();
    assert_eq!(names, ["ops", "other"], "what it does not name stays");
    let before = world.leader.clone();
    let mut bad = second;
    bad.alerts.push(DeclaredAlert { line: 9, ..alert(&[HOOK]) });
    let reason = world.try_ask(Request::Apply { wanted: bad.clone() }).unwrap_err();
    assert_eq!(reason.text, "line 9, alert `ops`: it is declared in line 3 already");
    bad.alerts[1] = DeclaredAlert { alert: "second".into(), ..alert(&[]) };
    let reason = world.try_ask(Request::Apply { wanted: bad }).unwrap_err();
    assert!(reason.text.starts_with("line 3, alert `second`: an alert calls one"), "{reason}");
    assert_eq!(world.leader, before, "nothing is half applied");
}
