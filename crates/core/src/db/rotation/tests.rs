//! A rotation from its first entry to its end.

use super::*;
use stead_model::UtcMillis;
use stead_model::change::Entry;
use stead_model::token::TokenHash;

const NEW: Print = Print([9; 32]);
const OLD: Print = Print([1; 32]);

const fn seals(own: Print, other: Other<Print>, disk: Option<Print>) -> Seals {
    Seals { own, other, disk }
}

const CLEAN: Seals = seals(OLD, Other::None, None);
const KNOWS: Seals = seals(OLD, Other::Next(1, NEW), None);
const USES: Seals = seals(NEW, Other::Former(1, OLD), None);
const SEALED: Seals = seals(NEW, Other::Former(1, OLD), Some(NEW));
const DONE: Seals = seals(NEW, Other::None, Some(NEW));

/// Two nodes that answer, with what they told.
fn two<'a>(one: &'a Seals, other: &'a Seals) -> [Member<'a>; 2] {
    let member = |node, seals| Member { node: NodeId(node), heard: true, seals: Some(seals) };
    [member(1, one), member(2, other)]
}

fn commit(db: &mut Db, change: Change) {
    let entry =
        Entry { at: UtcMillis(5), request: None, why: "test".into(), changes: vec![change] };
    let outcomes = db.apply(db.applied().next(), &entry);
    assert!(outcomes.iter().all(|o| o.skipped().is_none()), "{outcomes:?}");
}

fn go_on(db: &mut Db, members: &[Member<'_>]) {
    let change = next(db, NodeId(2), true, members).expect("it goes on");
    commit(db, change);
}

fn stands(db: &Db) -> (Phase, Option<Print>) {
    let rotation = db.rotation().unwrap();
    (rotation.phase, rotation.print)
}

fn begun() -> Db {
    let mut db = Db::default();
    let change = begin(&db, true, &two(&CLEAN, &CLEAN)).unwrap();
    commit(&mut db, change);
    db
}

#[test]
fn each_phase_waits_for_every_node_and_names_who_is_missing() {
    let mut db = begun();
    assert_eq!(stands(&db), (Phase::Known, None));
    assert_eq!(next(&db, NodeId(2), true, &two(&CLEAN, &CLEAN)), None, "the maker has none yet");
    go_on(&mut db, &two(&KNOWS, &CLEAN));
    assert_eq!(stands(&db), (Phase::Known, Some(NEW)));
    let rotation = db.rotation().unwrap();
    let lacks = |rotation: &Rotation, members: &[Member<'_>]| awaited(rotation, true, members);
    assert_eq!(lacks(&rotation, &two(&KNOWS, &CLEAN)), [(NodeId(2), "has not got them")]);
    let mut silent = two(&KNOWS, &KNOWS);
    silent[1].heard = false;
    assert_eq!(lacks(&rotation, &silent), [(NodeId(2), "is silent")]);
    assert_eq!(next(&db, NodeId(2), true, &silent), None, "one that is away holds it up");

    go_on(&mut db, &two(&KNOWS, &KNOWS));
    assert_eq!(stands(&db), (Phase::Used, Some(NEW)));
    let rotation = db.rotation().unwrap();
    assert_eq!(lacks(&rotation, &two(&KNOWS, &SEALED)), [(NodeId(1), "does not use them")]);
    let unsealed = [(NodeId(2), "has not seen the whole quorum disk sealed with them")];
    assert_eq!(lacks(&rotation, &two(&SEALED, &USES)), unsealed);
    assert_eq!(awaited(&rotation, false, &two(&USES, &USES)), [], "there is no disk");
    let mut silent = two(&SEALED, &SEALED);
    silent[1].heard = false;
    assert_eq!(lacks(&rotation, &silent), [], "it has all that it needs");

    go_on(&mut db, &two(&SEALED, &SEALED));
    assert_eq!(stands(&db), (Phase::Ended, Some(NEW)));
    let rotation = db.rotation().unwrap();
    let believes = [(NodeId(1), "still believes the former ones")];
    assert_eq!(lacks(&rotation, &two(&SEALED, &DONE)), believes);
    assert_eq!(next(&db, NodeId(2), true, &two(&DONE, &DONE)), None);
    assert_eq!(begin(&db, true, &two(&SEALED, &DONE)).unwrap_err().code, Code::Conflict);
    let again = begin(&db, true, &two(&DONE, &DONE)).unwrap();
    assert!(matches!(again, Change::Rotate { to: Rotation { number: 2, print: None, .. } }));
}

#[test]
fn it_is_abandoned_before_it_is_used_and_not_later() {
    let mut db = begun();
    assert!(begin(&db, true, &two(&CLEAN, &CLEAN)).is_err(), "one at a time");
    let back = abandon(&db).unwrap();
    commit(&mut db, back);
    assert_eq!((db.rotation(), db.rotations()), (None, 1));
    assert!(abandon(&db).is_err());
    // Keys of a rotation that was abandoned are forgotten before others are made.
    let forgotten = begin(&db, true, &two(&KNOWS, &CLEAN)).unwrap();
    let Change::Rotate { to } = forgotten else { panic!("{forgotten:?}") };
    assert_eq!((to.number, to.maker), (2, NodeId(2)));
    assert!(begin(&db, true, &two(&KNOWS, &KNOWS)).is_err());

    let mut db = begun();
    go_on(&mut db, &two(&KNOWS, &CLEAN));
    go_on(&mut db, &two(&KNOWS, &KNOWS));
    assert!(abandon(&db).unwrap_err().to_string().contains("used already"));
    let late = db.abandon_rotation(1);
    assert_eq!(late, Err(Skip::Rotation(1)));
}

#[test]
fn a_maker_that_is_no_member_any_more_is_followed_by_the_leader() {
    let mut db = begun();
    let left = [Member { node: NodeId(2), heard: true, seals: Some(&CLEAN) }];
    go_on(&mut db, &left);
    assert_eq!(db.rotation().unwrap().maker, NodeId(2));
    let own = seals(OLD, Other::Next(1, NEW), None);
    go_on(&mut db, &[Member { node: NodeId(2), heard: true, seals: Some(&own) }]);
    assert_eq!(stands(&db), (Phase::Known, Some(NEW)));
}

#[test]
fn entries_that_come_twice_or_too_late_change_nothing() {
    let mut db = begun();
    let first = db.rotation().unwrap();
    let named = Rotation { print: Some(NEW), ..first };
    db.rotate(named).unwrap();
    for old in
        [first, named, Rotation { print: Some(OLD), ..first }, Rotation { number: 3, ..first }]
    {
        assert_eq!(db.rotate(old), Err(Skip::Rotation(old.number)), "{old}");
    }
    assert_eq!(db.rotation(), Some(named));
}

#[test]
fn tokens_end_when_it_begins_and_admins_when_it_ends() {
    let mut db = Db::default();
    let admin = format!("{ADMIN_KEYS}ops");
    db.set_key(&admin, Some("admin 00"));
    db.set_key("other", Some("value"));
    db.make_token(TokenHash([1; 32]), UtcMillis(99));
    let change = begin(&db, false, &two(&CLEAN, &CLEAN)).unwrap();
    commit(&mut db, change);
    assert!(db.tokens().is_empty());
    let refused = none_under_way(&db, || "cannot".into()).unwrap_err();
    assert!(refused.to_string().contains("are being rotated"), "{refused}");
    go_on(&mut db, &two(&KNOWS, &KNOWS));
    go_on(&mut db, &two(&KNOWS, &KNOWS));
    assert!(db.keys().contains_key(&admin), "until it ends");
    let change = next(&db, NodeId(1), false, &two(&USES, &USES)).unwrap();
    commit(&mut db, change);
    assert_eq!(db.keys().keys().collect::<Vec<_>>(), ["other"]);
    assert!(none_under_way(&db, || "cannot".into()).is_ok());
}
