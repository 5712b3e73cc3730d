//! Conversations with monitors that the tests play, and who hosts what.

use std::collections::BTreeMap;
use std::os::unix::net::UnixListener;

use stead_model::order::Admitted;
use stead_model::server::VirtualServer;
use stead_model::wire::monitor::{MonitorToNode, VERSION};
use stead_model::{Epoch, LeaseNumber, OrderId};
use tempfile::TempDir;
use tokio::sync::oneshot;

use super::*;
use crate::frames::FrameLink;

fn at(s: u64) -> Time {
    Time(1) + Span::from_secs(s)
}

fn status(running: &[&str], own: &[(&str, Slot)]) -> GuardStatus {
    let admitted = running.iter().map(|resource| Admitted {
        group: "web".into(),
        resource: (*resource).into(),
        epoch: Epoch(1),
    });
    let own =
        own.iter().map(|(resource, slot)| OwnMonitor { resource: (*resource).into(), slot: *slot });
    GuardStatus {
        incarnation: Incarnation(1),
        lease: None,
        lease_last: LeaseNumber(0),
        stopping: false,
        admitted: admitted.collect(),
        own_monitors: own.collect(),
    }
}

fn monitors(folder: &TempDir) -> Monitors {
    monitors_of(folder, &status(&[], &[]))
}

fn monitors_of(folder: &TempDir, status: &GuardStatus) -> Monitors {
    Monitors::new(folder.path().into(), Incarnation(5), status, Time(1))
}

/// A monitor that listens with that number.
fn listens(folder: &TempDir, slot: Option<Slot>) -> UnixListener {
    UnixListener::bind(folder.path().join(socket_name(slot))).unwrap()
}

fn order(number: u64) -> ResourceOrder {
    order_to(number, "ip", Action::Offline)
}

fn order_to(number: u64, resource: &str, action: Action) -> ResourceOrder {
    ResourceOrder {
        order: OrderId(number),
        group: "web".into(),
        resource: resource.into(),
        epoch: Epoch(1),
        lease: LeaseNumber(1),
        action,
    }
}

fn spec(separate: bool) -> OnlineSpec {
    OnlineSpec {
        kind: "dummy".into(),
        properties: BTreeMap::new(),
        looks_alive_ms: 5_000,
        is_alive_ms: 60_000,
        pending_timeout_ms: 180_000,
        server: VirtualServer::default(),
        first: false,
        separate,
    }
}

fn report(number: u64) -> ResourceReport {
    report_of(&order(number), Outcome::Offline)
}

fn report_of(order: &ResourceOrder, outcome: Outcome) -> ResourceReport {
    ResourceReport {
        order: order.order,
        group: order.group.clone(),
        resource: order.resource.clone(),
        epoch: order.epoch,
        outcome,
    }
}

fn accept(listener: &UnixListener) -> FrameLink {
    let mut link = FrameLink::new(listener.accept().unwrap().0).unwrap();
    let hello: NodeToMonitor = link.receive().unwrap().unwrap();
    assert!(matches!(hello, NodeToMonitor::Hello { service: Incarnation(5), .. }));
    link.send(&MonitorToNode::Hello { version: VERSION }).unwrap();
    link
}

#[test]
fn open_orders_survive_a_connection_and_die_with_the_monitor() {
    let folder = tempfile::tempdir().unwrap();
    let mut all = monitors(&folder);
    assert!(all.due(Time(0)).is_empty(), "nobody listens");
    assert_eq!(all.next_deadline(), Some(Time(0) + line::PAUSE));
    let listener = listens(&folder, None);
    all.is_ready();
    assert_eq!(all.due(Time(1)), [SHARED]);
    let mut first = accept(&listener);
    assert_eq!(all.receive(SHARED, Time(1)), FromMonitor::Ready);
    all.order(order(1), Time(1));
    all.order(order(2), Time(1));
    assert_eq!(first.receive().unwrap(), Some(NodeToMonitor::Order(order(1))));
    first.send(&MonitorToNode::Report(report(1))).unwrap();
    assert_eq!(all.receive(SHARED, Time(1)), FromMonitor::Report(report(1)));

    drop(first);
    assert_eq!(all.receive(SHARED, Time(1)), FromMonitor::Nothing);
    assert!(all.due(Time(2)).is_empty());
    assert_eq!(all.due(Time(1) + line::PAUSE), [SHARED]);
    let mut second = accept(&listener);
    assert_eq!(all.receive(SHARED, Time(1)), FromMonitor::Nothing, "the core knows it");
    assert_eq!(second.receive().unwrap(), Some(NodeToMonitor::Order(order(2))));

    all.has_died(Time(3));
    assert_eq!(all.due(Time(3)), [SHARED]);
    let mut third = accept(&listener);
    assert_eq!(all.receive(SHARED, Time(3)), FromMonitor::Ready);
    assert_eq!(third.receive::<NodeToMonitor>().unwrap(), None);

    // After a hard stop the next monitor is told of, like the first one.
    all.are_killed(Time(4));
    assert!(all.due(Time(5)).is_empty());
    all.may_come_back();
    all.is_ready();
    assert_eq!(all.due(Time(5)), [SHARED]);
    let _fourth = accept(&listener);
    assert_eq!(all.receive(SHARED, Time(5)), FromMonitor::Ready);
}

/// A-092, B2 SeparateMonitor.
#[test]
fn a_resource_with_its_own_monitor_is_ordered_there() {
    let folder = tempfile::tempdir().unwrap();
    let mut all = monitors(&folder);
    let listener = listens(&folder, Some(3));
    let online = order_to(1, "db", Action::Online(spec(true)));
    assert_eq!(all.order(online.clone(), at(0)), None, "the guard has not said where");
    assert_eq!(all.for_guard(), [NodeToGuard::OwnMonitor("db".into())]);
    all.own_is_ready(OwnMonitor { resource: "db".into(), slot: 3 });
    assert_eq!(all.due(at(0)), [3]);
    let mut own = accept(&listener);
    assert_eq!(all.receive(3, at(0)), FromMonitor::Nothing, "no news for the core");
    assert_eq!(own.receive().unwrap(), Some(NodeToMonitor::Order(online.clone())));
    own.send(&MonitorToNode::Report(report_of(&online, Outcome::Online))).unwrap();
    assert!(matches!(all.receive(3, at(0)), FromMonitor::Report(_)));

    // It dies: what it was told is told again by the core, and brings the next one.
    all.own_has_died(&"db".into(), at(1));
    let adopt = order_to(2, "db", Action::Adopt(spec(true)));
    all.order(adopt.clone(), at(1));
    assert_eq!(all.for_guard(), [NodeToGuard::OwnMonitor("db".into())]);
    all.own_is_ready(OwnMonitor { resource: "db".into(), slot: 3 });
    assert_eq!(all.due(at(1)), [3]);
    let mut own = accept(&listener);
    all.receive(3, at(1));
    assert_eq!(own.receive().unwrap(), Some(NodeToMonitor::Order(adopt)));
    assert_eq!(own.receive::<NodeToMonitor>().unwrap(), None, "the first order died with it");

    // It is ended a while after its resource is known stopped, and not before.
    let offline = order_to(3, "db", Action::Offline);
    assert_eq!(all.order(offline.clone(), at(2)), Some(3));
    own.receive::<NodeToMonitor>().unwrap();
    own.send(&MonitorToNode::Report(report_of(&offline, Outcome::Offline))).unwrap();
    // The adoption was not answered: it still may be.
    all.receive(3, at(2));
    all.due(at(60));
    assert_eq!(
        all.for_guard(),
        [NodeToGuard::Replace { monitor: MonitorName::Shared, silent: Span::from_secs(60) }]
    );
}

#[test]
fn an_own_monitor_is_ended_when_its_resource_is_known_stopped() {
    let folder = tempfile::tempdir().unwrap();
    let mut all = monitors(&folder);
    all.are_killed(at(0));
    all.may_come_back();
    let listener = listens(&folder, Some(1));
    let online = order_to(1, "db", Action::Online(spec(true)));
    all.order(online.clone(), at(0));
    all.own_is_ready(OwnMonitor { resource: "db".into(), slot: 1 });
    all.due(at(0));
    let mut own = accept(&listener);
    all.receive(1, at(0));
    all.for_guard();
    own.send(&MonitorToNode::Report(report_of(&online, Outcome::Failed("x".into())))).unwrap();
    all.receive(1, at(1));
    // A restart in place keeps it.
    let again = order_to(2, "db", Action::Online(spec(true)));
    assert_eq!(all.order(again.clone(), at(1)), Some(1));
    all.due(at(7));
    assert_eq!(all.for_guard(), []);
    own.send(&MonitorToNode::Report(report_of(&again, Outcome::Failed("x".into())))).unwrap();
    all.receive(1, at(8));
    all.due(at(12));
    assert_eq!(all.for_guard(), []);
    all.due(at(13));
    assert_eq!(all.for_guard(), [NodeToGuard::EndOwnMonitor("db".into())]);
    // Stopped, it is stopped whoever is asked.
    assert_eq!(all.order(order_to(3, "db", Action::Offline), at(14)), Some(SHARED));
}

/// I-STOP-START: a monitor that never had a resource would say "offline" of what runs.
#[test]
fn a_resource_changes_its_host_only_while_nothing_of_it_runs() {
    let folder = tempfile::tempdir().unwrap();
    let found = status(&["shared", "own"], &[("own", 4), ("idle", 5)]);
    let mut all = monitors_of(&folder, &found);
    let ask = |all: &mut Monitors, number, resource: &str, action| {
        all.order(order_to(number, resource, action), at(0))
    };
    // Found by a service that starts: whatever the setting says now.
    assert_eq!(ask(&mut all, 1, "shared", Action::Adopt(spec(true))), Some(SHARED));
    assert_eq!(ask(&mut all, 2, "own", Action::Adopt(spec(false))), Some(4));
    assert_eq!(ask(&mut all, 3, "own", Action::Offline), Some(4));
    assert_eq!(ask(&mut all, 4, "shared", Action::Terminate), Some(SHARED));
    // A monitor that dies changes nothing about that.
    all.has_died(at(0));
    assert_eq!(ask(&mut all, 5, "shared", Action::Adopt(spec(true))), Some(SHARED));
    let listener = listens(&folder, None);
    all.is_ready();
    all.due(at(1));
    let mut shared = accept(&listener);
    all.receive(SHARED, at(1));
    let stopped =
        report_of(&order_to(5, "shared", Action::Offline), Outcome::StopFailed("x".into()));
    shared.send(&MonitorToNode::Report(stopped.clone())).unwrap();
    all.receive(SHARED, at(1));
    assert_eq!(ask(&mut all, 6, "shared", Action::Online(spec(true))), Some(SHARED));
    shared
        .send(&MonitorToNode::Report(ResourceReport { outcome: Outcome::Offline, ..stopped }))
        .unwrap();
    all.receive(SHARED, at(1));
    all.for_guard();
    assert_eq!(ask(&mut all, 7, "shared", Action::Online(spec(true))), None);
    assert_eq!(all.for_guard(), [NodeToGuard::OwnMonitor("shared".into())]);
    // A look before a move is nobody's in particular, and a seat of nothing is given back.
    assert_eq!(ask(&mut all, 8, "new", Action::Probe(spec(true))), Some(SHARED));
    all.due(at(6));
    assert!(all.for_guard().contains(&NodeToGuard::EndOwnMonitor("idle".into())));
}

/// The program of a type runs where the resource is.
#[test]
fn a_resource_is_asked_where_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let mut all = monitors_of(&folder, &status(&["own"], &[("own", 4)]));
    let ask = |all: &mut Monitors, question| {
        let (answer, _) = oneshot::channel();
        all.question(QuestionWish { question, answer }, at(0))
    };
    let control = |resource: &str| {
        let (code, text) = ("size".to_owned(), String::new());
        Question::Control { resource: resource.into(), code, text }
    };
    assert_eq!(ask(&mut all, Question::Types), SHARED);
    assert_eq!(ask(&mut all, control("shared")), SHARED);
    assert_eq!(ask(&mut all, control("own")), 4);
}

/// What a name left in DNS is removed where it was published, so that one process knows which of
/// two that are about the name comes later; the monitor stays until that is done.
#[test]
fn what_a_resource_left_is_removed_by_its_own_monitor() {
    let folder = tempfile::tempdir().unwrap();
    let mut all = monitors_of(&folder, &status(&["name"], &[("name", 2)]));
    let listener = listens(&folder, Some(2));
    all.due(at(0));
    let mut own = accept(&listener);
    assert_eq!(all.receive(2, at(0)), FromMonitor::Nothing);
    let offline = order_to(1, "name", Action::Offline);
    let forget = |number| order_to(number, "name", Action::Forget(spec(true)));
    assert_eq!(all.order(offline.clone(), at(0)), Some(2));
    own.send(&MonitorToNode::Report(report_of(&offline, Outcome::Offline))).unwrap();
    assert!(matches!(all.receive(2, at(0)), FromMonitor::Report(_)));
    assert_eq!(all.order(forget(2), at(1)), Some(2));
    let ended = [NodeToGuard::EndOwnMonitor("name".into())];
    all.due(at(8));
    assert_eq!(all.for_guard(), [], "it is not done");
    let done = report_of(&forget(2), Outcome::Forgotten(String::new()));
    own.send(&MonitorToNode::Report(done)).unwrap();
    assert!(matches!(all.receive(2, at(9)), FromMonitor::Report(_)));
    all.due(at(9));
    assert_eq!(all.for_guard(), ended);
    // Later it gets one for that alone, and one that hosts something is not ended by it.
    assert_eq!(all.order(forget(3), at(20)), None);
    assert_eq!(all.for_guard(), [NodeToGuard::OwnMonitor("name".into())]);
    let remains = Outcome::Remains("it gets no monitor of its own: 32 have one".into());
    let told = all.own_is_refused(&"name".into(), "32 have one");
    assert_eq!(told, [report_of(&forget(3), remains)]);
    all.order(order_to(4, "name", Action::Online(spec(true))), at(30));
    all.order(forget(5), at(30));
    all.for_guard();
    all.due(at(40));
    assert!(!all.for_guard().contains(&ended[0]), "it runs");
}

#[test]
fn a_refused_monitor_fails_the_start_and_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let mut all = monitors(&folder);
    let online = order_to(1, "db", Action::Online(spec(true)));
    all.order(online.clone(), at(0));
    let reports = all.own_is_refused(&"db".into(), "32 have one");
    let why = "it gets no monitor of its own: 32 have one".to_owned();
    assert_eq!(reports, [report_of(&online, Outcome::Failed(why))]);
    assert_eq!(all.own_is_refused(&"db".into(), "again"), []);
    all.for_guard();
    all.order(online, at(1));
    assert_eq!(all.for_guard(), [NodeToGuard::OwnMonitor("db".into())], "it is asked anew");
}

#[test]
fn notes_of_other_nodes_reach_every_life_of_the_monitor() {
    let folder = tempfile::tempdir().unwrap();
    let mut all = monitors(&folder);
    let note = |epoch, byte| Note {
        resource: "ip".into(),
        epoch: Epoch(epoch),
        bytes: vec![byte; usize::from(byte)],
    };
    all.note(note(3, 1), Time(1));
    let listener = listens(&folder, None);
    all.due(Time(1));
    let mut first = accept(&listener);
    assert_eq!(all.receive(SHARED, Time(1)), FromMonitor::Ready);
    assert_eq!(first.receive().unwrap(), Some(NodeToMonitor::Note(note(3, 1))));
    all.note(note(4, 2), Time(1));
    assert_eq!(first.receive().unwrap(), Some(NodeToMonitor::Note(note(4, 2))));
    all.note(note(4, 2), Time(1));
    all.note(note(3, 3), Time(1));
    all.note(Note { bytes: vec![0; NOTE_BYTES_MAX + 1], ..note(9, 0) }, Time(1));
    assert_eq!(first.receive::<NodeToMonitor>().unwrap(), None, "known, older, too long");
    first.send(&MonitorToNode::Note(note(5, 4))).unwrap();
    assert_eq!(all.receive(SHARED, Time(1)), FromMonitor::Note(note(5, 4)));
    all.has_died(Time(2));
    all.due(Time(2));
    let mut second = accept(&listener);
    assert_eq!(all.receive(SHARED, Time(2)), FromMonitor::Ready);
    assert_eq!(second.receive().unwrap(), Some(NodeToMonitor::Note(note(4, 2))));
}

#[test]
fn a_monitor_that_does_not_answer_is_noticed_until_it_does() {
    let folder = tempfile::tempdir().unwrap();
    let mut all = monitors(&folder);
    let listener = listens(&folder, None);
    all.due(at(0));
    let mut other = accept(&listener);
    assert_eq!(all.receive(SHARED, at(0)), FromMonitor::Ready);
    all.due(at(0));
    assert_eq!(other.receive::<NodeToMonitor>().unwrap(), None, "it has just answered");
    all.due(at(5));
    assert_eq!(other.receive().unwrap(), Some(NodeToMonitor::Ping));
    assert_eq!(all.silent(at(5)), []);
    all.due(at(10));
    assert_eq!(other.receive::<NodeToMonitor>().unwrap(), None, "one question at a time");
    assert_eq!(all.silent(at(10)), [MonitorName::Shared]);
    other.send(&MonitorToNode::Pong).unwrap();
    assert_eq!(all.receive(SHARED, at(10)), FromMonitor::Nothing);
    assert_eq!(all.silent(at(10)), []);
    assert_eq!(all.for_guard(), []);
}

/// whatever it owes: an answer, a hello, or to come at all.
#[test]
fn a_silent_monitor_is_replaced() {
    let folder = tempfile::tempdir().unwrap();
    let mut all = monitors(&folder);
    let replace = |silent| {
        let silent = Span::from_secs(silent);
        vec![NodeToGuard::Replace { monitor: MonitorName::Shared, silent }]
    };
    all.due(at(0));
    all.due(at(14));
    assert_eq!(all.for_guard(), []);
    all.due(at(15));
    assert_eq!(all.for_guard(), replace(15), "it never came");
    all.has_died(at(16));
    let listener = listens(&folder, None);
    all.due(at(16));
    let mut other = accept(&listener);
    assert_eq!(all.receive(SHARED, at(16)), FromMonitor::Ready);
    all.due(at(21));
    all.due(at(21 + 29));
    assert_eq!(all.for_guard(), [], "the second time it is waited for longer");
    assert_eq!(all.silent(at(50)), [MonitorName::Shared]);
    all.due(at(21 + 30));
    assert_eq!(all.for_guard(), replace(30));
    assert_eq!(other.receive().unwrap(), Some(NodeToMonitor::Ping));
    all.has_died(at(52));
    assert_eq!(all.silent(at(52)), []);
    assert_eq!(all.unsteady(at(52)), []);
    all.has_died(at(53));
    assert_eq!(all.unsteady(at(53)), [(MonitorName::Shared, 3)]);
    // While everything is being stopped there is none, and none is missed.
    all.are_killed(at(60));
    all.due(at(60));
    all.due(at(1_000));
    assert_eq!((all.for_guard(), all.silent(at(1_000))), (vec![], vec![]));
}

#[test]
fn what_is_known_of_the_nodes_interfaces_is_told_to_every_life_of_the_monitor() {
    let folder = tempfile::tempdir().unwrap();
    let mut all = monitors(&folder);
    all.macs(NodeId(1), vec![[1; 6]], Time(1));
    let listener = listens(&folder, None);
    for now in [Time(1), Time(2)] {
        assert_eq!(all.due(now), [SHARED]);
        let mut other = accept(&listener);
        assert_eq!(all.receive(SHARED, now), FromMonitor::Ready);
        let told = |macs: &[[u8; 6]]| Some(NodeToMonitor::ClusterMacs(macs.to_vec()));
        let before: &[[u8; 6]] = if now == Time(1) { &[[1; 6]] } else { &[[1; 6], [3; 6]] };
        assert_eq!(other.receive().unwrap(), told(before));
        all.macs(NodeId(2), vec![[2; 6]], now);
        assert_eq!(other.receive().unwrap(), told(&[[1; 6], [2; 6]]));
        all.macs(NodeId(2), vec![[2; 6]], now);
        assert_eq!(other.receive::<NodeToMonitor>().unwrap(), None, "nothing new");
        all.link_up(now);
        assert_eq!(other.receive().unwrap(), told(&[[1; 6], [2; 6]]), "said again");
        all.macs(NodeId(2), vec![[3; 6]], now);
        assert_eq!(other.receive().unwrap(), told(&[[1; 6], [3; 6]]), "it has other ones");
        all.has_died(now);
    }
}

#[test]
fn logs_are_answered_or_refused() {
    let folder = tempfile::tempdir().unwrap();
    let mut all = monitors(&folder);
    let wish = |all: &mut Monitors| {
        let (answer, receiver) = oneshot::channel();
        all.logs(LogWish { resource: "ip".into(), bytes_max: 9, answer }, Time(1));
        receiver
    };
    assert!(wish(&mut all).try_recv().unwrap().is_err());
    let listener = listens(&folder, None);
    all.due(Time(1));
    let mut other = accept(&listener);
    assert_eq!(all.receive(SHARED, Time(1)), FromMonitor::Ready);
    let mut asked = wish(&mut all);
    let Some(NodeToMonitor::Logs { request, .. }) = other.receive().unwrap() else {
        panic!("nothing was asked")
    };
    other.send(&MonitorToNode::Logs { request, output: Ok(b"line".to_vec()) }).unwrap();
    assert_eq!(all.receive(SHARED, Time(1)), FromMonitor::Nothing);
    assert_eq!(asked.try_recv().unwrap(), Ok(b"line".to_vec()));
    let mut lost = wish(&mut all);
    all.has_died(Time(2));
    assert!(lost.try_recv().unwrap().is_err());
}
