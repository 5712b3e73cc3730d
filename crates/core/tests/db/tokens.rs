//! Join tokens: one host each, until a cluster time, and the same host again.

use std::collections::BTreeMap;

use stead_core::db::Db;
use stead_core::groups::{Decision, NodeLive, PlanInput, decide};
use stead_core::planted::Planted;
use stead_model::change::{Change, Entry, JoinedVote};
use stead_model::config::NodeEntry;
use stead_model::reason::{Code, Reason};
use stead_model::request::Request;
use stead_model::token::{Applicant, Shown, TokenHash, TokenUse};
use stead_model::{NodeId, UtcMillis};

use crate::fixture::n;

const TOKEN: TokenHash = TokenHash([7; 32]);
const ONE: Shown = Shown { token: TOKEN, by: Applicant(1) };
const MINUTE: u64 = 60_000;

fn ask(db: &Db, at: u64, request: &Request) -> Result<Decision, Reason> {
    let live = NodeLive { eligible: true, stopped: false, report: None };
    let nodes = BTreeMap::from([(n(1), live)]);
    let (at, planted) = (UtcMillis(at), Planted::NONE);
    let (cluster, entries, host_names, networks) = ("lab", &[][..], &[][..], &[][..]);
    let input = PlanInput { db, at, nodes, cluster, entries, host_names, networks, planted };
    decide(request, &input, 10_000)
}

fn commit(db: &mut Db, at: u64, changes: Vec<Change>) {
    let entry = Entry { at: UtcMillis(at), request: None, why: "test".into(), changes };
    let outcomes = db.apply(db.applied().next(), &entry);
    assert!(outcomes.iter().all(|o| o.skipped().is_none()), "{outcomes:?}");
}

fn make(db: &mut Db, at: u64, token: TokenHash) -> Result<(), Reason> {
    match ask(db, at, &Request::MakeToken { token, minutes: 30 })? {
        Decision::Propose(change) => commit(db, at, vec![change]),
        other => panic!("{other:?}"),
    }
    Ok(())
}

fn made() -> Db {
    let mut db = Db::default();
    make(&mut db, 0, TOKEN).unwrap();
    db
}

fn show(db: &Db, at: u64, token: Shown) -> Result<Decision, Reason> {
    let (number, name, addresses) = (None, "beta".to_owned(), Vec::new());
    ask(db, at, &Request::AddNode { number, name, addresses, token: Some(token) })
}

/// What the leader proposes for [`show`].
fn let_in(db: &mut Db, at: u64, shown: Shown, node: NodeId) {
    assert!(matches!(show(db, at, shown), Ok(Decision::Join { token: Some(_), .. })));
    let entry = NodeEntry { id: node, name: "beta".into(), addresses: Vec::new() };
    let joined = Change::NodeJoined { entry, vote: JoinedVote::WhenComplete };
    let used = TokenUse { by: shown.by, node };
    commit(db, at, vec![joined, Change::TokenUsed { token: shown.token, used }]);
}

fn refused(db: &Db, at: u64, shown: Shown) -> String {
    let reason = show(db, at, shown).unwrap_err();
    assert_eq!(reason.code, Code::Conflict);
    assert!(reason.hint.as_ref().unwrap().contains("stead cluster token"));
    reason.to_string()
}

#[test]
fn a_token_lets_one_host_in_and_the_same_host_goes_on() {
    let mut db = made();
    let_in(&mut db, 1, ONE, n(2));
    let other = Shown { by: Applicant(2), ..ONE };
    let why = refused(&db, 2, other);
    assert_eq!(
        why,
        "the join token is refused: it was used: it let n2 in, and is good for one host"
    );
    assert_eq!(show(&db, 2, ONE), Ok(Decision::ProposeAll(Vec::new())), "interrupted: once more");
    let late = 31 * MINUTE;
    assert_eq!(show(&db, late, ONE), Ok(Decision::ProposeAll(Vec::new())), "it is a member");
}

#[test]
fn cluster_time_ends_a_token_and_what_ran_out_is_forgotten() {
    let mut db = made();
    assert!(show(&db, 30 * MINUTE - 1, ONE).is_ok());
    assert!(refused(&db, 32 * MINUTE, ONE).contains("it ran out 2 minutes ago"));
    let strange = Shown { token: TokenHash([8; 32]), ..ONE };
    assert!(refused(&db, 0, strange).contains("it is none of this cluster"));
    make(&mut db, 32 * MINUTE, TokenHash([9; 32])).unwrap();
    assert_eq!(db.tokens().keys().collect::<Vec<_>>(), [&TokenHash([9; 32])]);
    assert!(refused(&db, 32 * MINUTE, ONE).contains("ran out long ago"));
}

#[test]
fn only_so_many_are_good_at_once_and_none_for_ever() {
    let mut db = Db::default();
    for number in 0..16 {
        make(&mut db, 0, TokenHash([number; 32])).unwrap();
    }
    assert_eq!(make(&mut db, 0, TokenHash([16; 32])).unwrap_err().code, Code::TooMuch);
    make(&mut db, 30 * MINUTE, TokenHash([16; 32])).unwrap();
    assert_eq!(db.tokens().len(), 1);
    let again = make(&mut db, 30 * MINUTE, TokenHash([16; 32])).unwrap_err();
    assert_eq!(again.code, Code::Exists, "its life cannot be made longer by making it again");
    for minutes in [0, 1441] {
        let token = TokenHash([99; 32]);
        let wrong = ask(&db, 0, &Request::MakeToken { token, minutes }).unwrap_err();
        assert_eq!(wrong.code, Code::Invalid);
    }
}

#[test]
fn the_token_of_a_node_that_was_evicted_is_none_of_its_successor() {
    let mut db = made();
    let_in(&mut db, 1, ONE, n(2));
    assert!(matches!(
        ask(&db, 2, &Request::Evict { node: n(1) }),
        Err(reason) if reason.to_string().contains("it is the only node")
    ));
    commit(&mut db, 2, vec![Change::NodeGoes { node: n(2) }]);
    assert!(db.left().contains(&n(2)) && db.going().contains(&n(2)));
    let back = ask(&db, 3, &Request::Return { node: n(2) }).unwrap_err();
    assert!(back.to_string().contains("it is being evicted"), "{back}");
    let again = ask(&db, 3, &Request::Evict { node: n(2) });
    assert_eq!(again, Ok(Decision::ProposeAll(Vec::new())), "asked twice");
    commit(&mut db, 4, vec![Change::NodeEvicted { node: n(2) }]);
    assert!(db.joined().is_empty() && db.left().is_empty() && db.going().is_empty());
    assert!(db.lent().is_empty() && db.evicted().contains(&n(2)));
    assert!(refused(&db, 5, ONE).contains("it is none of this cluster"));
    make(&mut db, 6, TokenHash([8; 32])).unwrap();
    let_in(&mut db, 7, Shown { token: TokenHash([8; 32]), by: Applicant(9) }, n(2));
    assert!(!db.evicted().contains(&n(2)) && db.joined().contains_key(&n(2)));
}
