//! Nodes that are paused and drained, groups that are pinned, groups and resources in maintenance.

use stead_core::groups::explain;
use stead_core::planted::Planted;
use stead_model::reason::{Code, Reason};
use stead_model::request::Request;
use stead_model::resource::ResourceState;
use stead_model::upkeep::{Drain, Upkeep};
use stead_model::{NodeId, Span, UtcMillis};

use crate::world::{World, n};

const WEB: &[(&str, &[&str])] = &[("ip", &[]), ("httpd", &["ip"])];

/// `web` runs on n1, `mail` on n2.
fn world(nodes: u16) -> World {
    let mut world = World::new(nodes, Planted::NONE);
    world.group("web", WEB);
    world.run();
    world.group("mail", &[("spool", &[])]);
    world.run();
    assert_eq!((world.owner("web"), world.owner("mail")), (Some(n(1)), Some(n(2))));
    world
}

fn ask(world: &mut World, upkeep: Upkeep) {
    world.ask(Request::Upkeep { upkeep });
    world.run();
}

fn refused(world: &mut World, upkeep: Upkeep) -> Reason {
    world.try_ask(Request::Upkeep { upkeep }).unwrap_err()
}

fn pause(node: u16, drain: Drain) -> Upkeep {
    Upkeep::Pause { node: n(node), drain }
}

fn soon(world: &World) -> UtcMillis {
    UtcMillis(world.at.0 + 3_600_000)
}

fn maintain(world: &World, resource: Option<&str>) -> Upkeep {
    let resource = resource.map(Into::into);
    Upkeep::Maintain { group: "web".into(), resource, until: soon(world) }
}

fn power_off(world: &mut World, node: u16) {
    world.crash(n(node));
    world.declare_stopped(n(node));
    world.run();
}

fn owners(world: &World) -> [Option<NodeId>; 2] {
    [world.owner("web"), world.owner("mail")]
}

#[test]
fn a_paused_node_keeps_its_groups_and_is_given_none() {
    let mut world = world(2);
    ask(&mut world, pause(1, Drain::No));
    assert_eq!(owners(&world), [Some(n(1)), Some(n(2))]);
    let to = Request::MoveGroup { group: "mail".into(), to: Some(n(1)) };
    let reason = world.try_ask(to).unwrap_err();
    assert_eq!(reason.cause.as_deref(), Some("n1 is paused: it is given no groups"));
    power_off(&mut world, 2);
    assert_eq!(world.running("spool"), [], "not even a failover goes there");
    ask(&mut world, Upkeep::Resume { node: n(1) });
    assert_eq!(world.running("spool"), [n(1)]);
    let again = refused(&mut world, Upkeep::Resume { node: n(1) });
    assert_eq!(
        (again.code, again.cause.as_deref()),
        (Code::Conflict, Some("it is neither paused nor in quarantine"))
    );
}

#[test]
fn a_drained_node_gives_its_groups_away_and_gets_none_back_until_it_is_resumed() {
    let mut world = world(3);
    ask(&mut world, pause(1, Drain::Yes));
    assert_eq!(world.owner("web"), Some(n(3)));
    assert_eq!(world.running("httpd"), [n(3)]);
    let why = explain(&world.input(), &"web".into()).unwrap().why;
    assert_eq!(why, "n3 owns it because n1 is drained; n1 reported it stopped");
    power_off(&mut world, 3);
    assert_eq!(world.owner("web"), Some(n(2)));
    ask(&mut world, Upkeep::Resume { node: n(1) });
    assert_eq!(world.owner("web"), Some(n(2)), "nothing moves back by itself");
}

#[test]
fn nothing_fails_back_to_a_drained_node() {
    let mut world = world(2);
    let back = [("preferred-owners", "n1"), ("failback", "immediate")];
    let back = back.map(|(k, v)| (k.to_owned(), Some(v.to_owned())));
    world.ask(Request::SetGroup { group: "web".into(), properties: back.into() });
    ask(&mut world, pause(1, Drain::Yes));
    let entries = world.log.len();
    assert_eq!((world.owner("web"), world.plan().changes), (Some(n(2)), vec![]));
    world.run();
    assert_eq!(world.log.len(), entries, "it does not go to and fro");
    ask(&mut world, Upkeep::Resume { node: n(1) });
    assert_eq!(world.owner("web"), Some(n(1)), "as its policy says");
}

#[test]
fn a_drain_that_leaves_a_group_without_a_node_is_refused_unless_it_is_forced() {
    let mut world = world(2);
    let only = [("possible-owners".to_owned(), Some("n1".to_owned()))].into();
    world.ask(Request::SetResource { resource: "ip".into(), properties: only });
    world.run();
    let reason = refused(&mut world, pause(1, Drain::Yes));
    assert_eq!(reason.to_string(), "cannot drain n1: no other node may take `web` now");
    assert!(reason.hint.unwrap().contains("`node drain n1 --force-offline`"));
    ask(&mut world, pause(1, Drain::ForceOffline));
    assert_eq!((world.running("ip"), world.owner("web")), (vec![], None));
    ask(&mut world, Upkeep::Resume { node: n(1) });
    assert_eq!(world.running("httpd"), [n(1)], "it comes back when a node may take it");
}

#[test]
fn an_eviction_that_leaves_a_group_without_a_node_is_refused_unless_it_is_forced_or_too_late() {
    let only = [("possible-owners".to_owned(), Some("n1".to_owned()))];
    let bound = || {
        let mut world = world(2);
        let properties = only.clone().into();
        world.ask(Request::SetResource { resource: "ip".into(), properties });
        world.run();
        world
    };
    let (mut world, mut dead) = (bound(), bound());
    let evict = Request::Evict { node: n(1) };
    let reason = world.try_ask(evict.clone()).unwrap_err();
    assert_eq!(reason.to_string(), "cannot evict `n1`: no other node may take `web` now");
    assert!(reason.hint.unwrap().contains("`node evict n1 --force-offline`"));
    assert_eq!(world.running("ip"), [n(1)], "it goes on");
    power_off(&mut dead, 1);
    dead.ask(evict.clone());
    world.ask(Request::Force { request: Box::new(evict) });
    world.run();
    assert_eq!((world.running("ip"), world.owner("web")), (vec![], None));
    let back = world.try_ask(Request::Return { node: n(1) }).unwrap_err();
    assert_eq!(back.to_string(), "`n1` cannot come back: it is being evicted");
}

#[test]
fn a_drain_is_judged_by_who_is_up_now() {
    let mut world = world(2);
    ask(&mut world, pause(1, Drain::Yes));
    assert_eq!(owners(&world), [Some(n(2)), Some(n(2))]);
    // The pause is lifted for a moment, and the other node is lost.
    ask(&mut world, Upkeep::Resume { node: n(1) });
    power_off(&mut world, 2);
    assert_eq!(owners(&world), [Some(n(1)), Some(n(1))]);
    let reason = refused(&mut world, pause(1, Drain::Yes));
    assert_eq!(reason.cause.as_deref(), Some("no other node may take `mail`, `web` now"));
}

#[test]
fn a_pin_comes_before_all_else_and_forbids_nothing() {
    let mut world = world(3);
    let until = soon(&world);
    let pin = |node| Upkeep::Pin { group: "web".into(), node: n(node), until };
    ask(&mut world, pin(3));
    assert_eq!(world.owner("web"), Some(n(3)), "it goes there");
    let away = Request::MoveGroup { group: "web".into(), to: Some(n(1)) };
    let reason = world.try_ask(away.clone()).unwrap_err();
    assert_eq!(reason.to_string(), "cannot move group `web`: it is pinned to n3");
    assert_eq!(reason.hint.as_deref(), Some("end that first: `group unpin web`"));
    power_off(&mut world, 3);
    let elsewhere = world.owner("web").unwrap();
    assert_ne!(elsewhere, n(3), "a node that is lost holds nothing");
    world.boot(n(3));
    world.lease(n(3));
    world.run();
    assert_eq!(world.running("httpd"), [n(3)], "and it comes back");
    world.pass_time(Span::from_secs(3_601));
    world.run();
    assert!(world.leader.upkeep().list().is_empty(), "a pin ends by itself");
    assert_eq!(world.owner("web"), Some(n(3)), "and nothing moves for it");
    world.ask(away);
    world.run();
    assert_eq!(world.owner("web"), Some(n(1)));
}

#[test]
fn a_pin_or_maintenance_must_end_and_must_fit() {
    let mut world = world(2);
    let at = world.at.0;
    let pin =
        |node, until| Upkeep::Pin { group: "web".into(), node: n(node), until: UtcMillis(until) };
    assert_eq!(refused(&mut world, pin(2, at)).code, Code::Invalid);
    assert_eq!(refused(&mut world, pin(2, at + 32 * 24 * 3_600_000)).code, Code::Invalid);
    assert_eq!(refused(&mut world, pin(9, at + 1)).code, Code::NotFound);
    let only = [("possible-owners".to_owned(), Some("n1".to_owned()))].into();
    world.ask(Request::SetResource { resource: "ip".into(), properties: only });
    let reason = refused(&mut world, pin(2, at + 1));
    assert_eq!(reason.cause.as_deref(), Some("n2 is not a possible owner of resource `ip`"));
    let end = Upkeep::EndMaintenance { group: "web".into(), resource: None };
    assert_eq!(refused(&mut world, end).cause.as_deref(), Some("it is not in maintenance"));
}

#[test]
fn a_group_in_maintenance_is_watched_and_not_acted_upon() {
    let mut world = world(2);
    let begins = maintain(&world, None);
    ask(&mut world, begins);
    world.die(n(1), "httpd");
    world.run();
    assert_eq!(world.running("httpd"), [], "it is not restarted");
    assert_eq!(world.running("ip"), [n(1)], "and nothing else is touched");
    let noted = world.nodes[&n(1)].notes.iter().any(|note| {
        note.code == "resource-failed" && note.text.ends_with("nothing is done about it")
    });
    assert!(noted, "it is told");
    let next = explain(&world.input(), &"web".into()).unwrap().next;
    assert_eq!(next, ["it is in maintenance: it is watched, and nothing is done about it"]);
    let rehearsal = world.try_ask(Request::FailResource { resource: "ip".into() }).unwrap_err();
    assert!(rehearsal.cause.unwrap().starts_with("it is in maintenance"));
    let moved = Request::MoveGroup { group: "web".into(), to: Some(n(2)) };
    assert_eq!(world.try_ask(moved).unwrap_err().cause.as_deref(), Some("it is in maintenance"));
    world.pass_time(Span::from_secs(3_601));
    world.run();
    assert_eq!(world.running("httpd"), [n(1)], "forgotten maintenance ends by itself");
}

#[test]
fn a_group_in_maintenance_stays_with_its_node_even_if_that_is_lost() {
    let mut world = world(2);
    let begins = maintain(&world, None);
    ask(&mut world, begins);
    power_off(&mut world, 1);
    assert_eq!((world.owner("web"), world.running("ip")), (Some(n(1)), vec![]));
    ask(&mut world, Upkeep::EndMaintenance { group: "web".into(), resource: None });
    assert_eq!(world.running("httpd"), [n(2)]);
}

#[test]
fn maintenance_of_a_resource_covers_what_stands_on_it_and_nothing_else() {
    let mut world = World::new(2, Planted::NONE);
    world.group("web", &[("ip", &[]), ("httpd", &["ip"]), ("disk", &[])]);
    world.run();
    let begins = maintain(&world, Some("ip"));
    ask(&mut world, begins);
    world.die(n(1), "ip");
    world.die(n(1), "disk");
    world.run();
    assert_eq!(world.running("ip"), []);
    assert_eq!(world.running("httpd"), [n(1)], "what stands on it is left alone with it");
    assert_eq!(world.running("disk"), [n(1)], "the others are restarted");
    ask(&mut world, Upkeep::EndMaintenance { group: "web".into(), resource: Some("ip".into()) });
    assert_eq!((world.running("ip"), world.running("httpd")), (vec![n(1)], vec![n(1)]));
    assert_eq!(world.nodes[&n(1)].state("web", "ip"), ResourceState::Online);
}
