//! R7: which entry a lease answer must name.

use stead_core::db::Proposed;
use stead_model::LogIndex;
use stead_model::change::Change;
use stead_model::profile::LeaseLength;

use crate::fixture::{disown, entry, grant, must, n, release, two_groups};

fn longer(node: u16) -> Change {
    Change::LeaseLength { node: n(node), length: LeaseLength::Longer }
}

#[test]
fn applied_entries_that_take_something_from_a_node_are_remembered() {
    let mut db = two_groups();
    must(&mut db, vec![grant("web", 1, 1)]);
    assert_eq!(db.taken(n(1)), LogIndex(0), "a grant takes nothing from the new owner");
    let released = must(&mut db, vec![release("web", 1)]);
    assert_eq!(db.taken(n(1)), released);
    let granted = must(&mut db, vec![grant("web", 2, 2)]);
    assert_eq!(db.taken(n(1)), granted);
    let renewed = must(&mut db, vec![grant("web", 2, 3)]);
    assert!(db.taken(n(2)) < renewed, "n2 keeps it");
    let disowned = must(&mut db, vec![disown("web", 3)]);
    assert_eq!(db.taken(n(2)), disowned);
    let length = must(&mut db, vec![longer(3)]);
    assert_eq!((db.taken(n(3)), db.taken(n(2))), (length, disowned));
}

#[test]
fn proposed_entries_count_before_they_are_applied() {
    let mut db = two_groups();
    must(&mut db, vec![grant("web", 1, 1), grant("mail", 2, 1)]);
    let mut proposed = Proposed::default();
    proposed.push(LogIndex(10), &entry(vec![grant("web", 2, 2)]));
    proposed.push(LogIndex(11), &entry(vec![longer(3)]));
    let barriers = |p: &Proposed| [1, 2, 3].map(|node| p.barrier(n(node), &db).0);
    assert_eq!(barriers(&proposed), [10, 0, 11]);
    proposed.push(LogIndex(12), &entry(vec![grant("web", 3, 3)]));
    assert_eq!(barriers(&proposed), [12, 12, 11], "n2 was granted it by a proposed entry");
    proposed.push(LogIndex(13), &entry(vec![release("mail", 1)]));
    assert_eq!(barriers(&proposed), [12, 13, 11]);
}

#[test]
fn entries_cut_from_the_log_do_not_count() {
    let mut db = two_groups();
    must(&mut db, vec![grant("web", 1, 1)]);
    let mut proposed = Proposed::default();
    proposed.push(LogIndex(10), &entry(vec![release("web", 1)]));
    proposed.push(LogIndex(11), &entry(vec![grant("web", 2, 2)]));
    proposed.push(LogIndex(10), &entry(vec![]));
    assert_eq!(proposed.barrier(n(1), &db), LogIndex(0));
    assert!(!proposed.is_empty());
    proposed.applied(LogIndex(10));
    assert!(proposed.is_empty());
}
