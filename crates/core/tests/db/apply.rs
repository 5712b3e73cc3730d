//! Stories of applied entries.

use stead_core::db::snapshot::RestoreError;
use stead_core::db::{Applied, Db, Skip};
use stead_model::change::{Change, Entry};
use stead_model::group::Desired;
use stead_model::profile::LeaseLength;
use stead_model::program::Levels;
use stead_model::reason::Code;
use stead_model::request::Answer;
use stead_model::{Epoch, LogIndex, RequestId, UtcMillis};

use crate::fixture::{
    add, apply, create, depend, disown, entry, grant, must, n, release, skipped, two_groups,
};

const OWN: Levels = Levels::OWN;

#[test]
fn an_epoch_only_grows() {
    let mut db = two_groups();
    must(&mut db, vec![grant("web", 1, 4)]);
    let stale = "group `web` already had e4, e4 is not newer";
    assert_eq!(skipped(&mut db, grant("web", 2, 4)), stale);
    assert_eq!(skipped(&mut db, release("web", 3)), "group `web` is not owned in e3");
    assert_eq!(skipped(&mut db, disown("web", 5)), "group `web` is not owned in e5");
    must(&mut db, vec![disown("web", 4)]);
    assert_eq!(db.group(&"web".into()).unwrap().epoch_last, Epoch(4));
}

#[test]
fn a_group_created_again_does_not_repeat_an_epoch_of_its_former_life() {
    let mut db = Db::default();
    must(&mut db, vec![create("web"), grant("web", 1, 7)]);
    let deleted = must(&mut db, vec![Change::DeleteGroup { group: "web".into() }]);
    assert_eq!(db.taken(n(1)), deleted, "the former owner must know before it gets a lease");
    must(&mut db, vec![create("web")]);
    assert_eq!(db.epoch_last(&"web".into()), Epoch(7));
    skipped(&mut db, grant("web", 1, 7));
    must(&mut db, vec![grant("web", 1, 8)]);
}

#[test]
fn a_group_with_resources_cannot_be_deleted_nor_a_resource_with_dependents() {
    let mut db = two_groups();
    let delete = |r: &str| Change::DeleteResource { resource: r.into() };
    let group = Change::DeleteGroup { group: "web".into() };
    assert_eq!(skipped(&mut db, group.clone()), "group `web` still has resources");
    assert_eq!(skipped(&mut db, delete("ip")), "resource `httpd` depends on `ip`");
    must(&mut db, vec![delete("httpd"), delete("ip"), group]);
    assert!(db.resource(&"ip".into()).is_none());
    assert_eq!(skipped(&mut db, delete("ip")), "there is no resource `ip`");
}

#[test]
fn names_are_unique_in_the_cluster() {
    let mut db = two_groups();
    assert_eq!(skipped(&mut db, add("mail", "ip")), "the name `ip` is taken");
    assert_eq!(skipped(&mut db, create("web")), "the name `web` is taken");
    assert_eq!(db.resource(&"ip".into()).unwrap().0.id, "web".into());
}

#[test]
fn dependencies_neither_leave_the_group_nor_go_in_a_circle() {
    let mut db = two_groups();
    let words = "leave its group or go in a circle";
    assert!(skipped(&mut db, depend("ip", &["httpd"])).contains(words));
    assert!(skipped(&mut db, depend("ip", &["ip"])).contains(words));
    assert!(skipped(&mut db, depend("httpd", &["spool"])).contains(words));
}

#[test]
fn changes_of_an_entry_stand_alone_and_see_each_other() {
    let mut db = Db::default();
    let outcomes = apply(&mut db, vec![grant("web", 1, 1), create("web"), grant("web", 1, 1)]);
    let skip = Applied::Skipped(Skip::NoGroup("web".into()));
    assert_eq!(outcomes, [skip, Applied::Done, Applied::Done]);
}

#[test]
fn cluster_time_never_runs_backward() {
    let mut db = Db::default();
    for (at, expected) in [(50, 50), (40, 50), (60, 60)] {
        let entry = Entry { at: UtcMillis(at), ..entry(vec![]) };
        db.apply(db.applied().next(), &entry);
        assert_eq!(db.at(), UtcMillis(expected));
    }
}

#[test]
fn failovers_are_counted_in_a_sliding_window_with_the_node_where_it_failed() {
    let mut db = two_groups();
    let count = |db: &mut Db, at_s: u64| {
        let change = Change::CountFailover { group: "web".into() };
        let entry = Entry { at: UtcMillis(at_s * 1_000), ..entry(vec![change]) };
        assert_eq!(db.apply(db.applied().next(), &entry), [Applied::Done]);
        db.group(&"web".into()).unwrap().failovers.len()
    };
    must(&mut db, vec![grant("web", 1, 1)]);
    assert_eq!((count(&mut db, 0), count(&mut db, 36_000)), (1, 2));
    must(&mut db, vec![grant("web", 2, 2)]);
    assert_eq!(count(&mut db, 36_001), 2, "the first left the window");
    assert_eq!(db.trail(&"web".into()).unwrap().failed_on, [Some(n(1)), Some(n(2))]);
    let desired = Desired::Online;
    must(&mut db, vec![Change::SetGroupDesired { group: "web".into(), desired }]);
    let group = db.group(&"web".into()).unwrap();
    assert!(group.failovers.is_empty() && db.trail(&group.id).unwrap().failed_on.is_empty());
}

#[test]
fn a_repeated_request_gets_the_first_answer_and_changes_nothing() {
    let mut db = Db::default();
    let id = RequestId { client: 1, number: 1 };
    let first = Entry { request: Some(id), ..entry(vec![create("web")]) };
    assert_eq!(db.answer(id), None);
    db.apply(LogIndex(1), &first);
    let again = Entry { request: Some(id), ..entry(vec![create("other")]) };
    assert_eq!(db.apply(LogIndex(2), &again), [Applied::Skipped(Skip::Repeated(id))]);
    assert_eq!(db.answer(id), Some(Answer::Done { index: LogIndex(1) }));
    assert!(db.group(&"other".into()).is_none());
}

#[test]
fn a_request_that_was_overtaken_is_answered_as_refused() {
    let mut db = two_groups();
    let id = RequestId { client: 1, number: 2 };
    db.apply(db.applied().next(), &Entry { request: Some(id), ..entry(vec![create("web")]) });
    let Some(Answer::Refused(reason)) = db.answer(id) else { panic!("it did not take effect") };
    assert_eq!(reason.code, Code::Conflict);
    assert_eq!(reason.cause.as_deref(), Some("the name `web` is taken"));
}

#[test]
fn an_index_is_applied_once() {
    let mut db = two_groups();
    let (applied, digest) = (db.applied(), db.digest());
    assert!(db.apply(applied, &entry(vec![create("late")])).is_empty());
    assert_eq!((db.applied(), db.digest()), (applied, digest));
    db.pass(LogIndex(applied.0 + 3));
    assert_eq!((db.applied().0, db.digest()), (applied.0 + 3, digest));
}

#[test]
fn a_snapshot_is_the_whole_database() {
    let mut db = two_groups();
    must(
        &mut db,
        vec![grant("web", 1, 1), Change::LeaseLength { node: n(1), length: LeaseLength::Longer }],
    );
    must(&mut db, vec![Change::SetKey { key: "k".into(), value: Some("v".into()) }]);
    let bytes = db.snapshot();
    let mut restored = Db::restore(&bytes, OWN).unwrap();
    assert_eq!(restored, db);
    must(&mut db, vec![release("web", 1)]);
    must(&mut restored, vec![release("web", 1)]);
    assert_eq!((restored.digest(), &restored), (db.digest(), &db));
    assert_eq!(Db::restore(&[], OWN), Err(RestoreError::Empty));
    assert_eq!(Db::restore(&[9, 0], OWN), Err(RestoreError::Version(9)));
    let damaged = |bytes: &[u8]| matches!(Db::restore(bytes, OWN), Err(RestoreError::Decode(_)));
    assert!(damaged(&bytes[..bytes.len() - 1]));
    assert!(damaged(&[&bytes[..], &[0]].concat()), "what the level does not have");
}
