//! Files of a node whose keys follow others.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use stead_model::NodeId;

use super::*;
use crate::Identity;

const CLUSTER: u64 = 9;

/// A node with the files that it joined with.
fn node(etc: &Path, authority: &Authority, number: u16) -> Pki {
    let pki = Pki::below(etc);
    let issued = authority.issue(NodeId(number), SystemTime::now()).unwrap();
    pki.install(authority, &issued).unwrap();
    put(&pki.cluster_key_file(), &[7; 32], SECRET).unwrap();
    pki
}

fn authority() -> Authority {
    Authority::create(CLUSTER, SystemTime::now()).unwrap()
}

fn now(pki: &Pki) -> Keys {
    pki.load().unwrap().keys
}

fn next_of(pki: &Pki) -> NewKeys {
    now(pki).new.unwrap()
}

#[test]
fn a_set_that_one_node_makes_is_kept_used_and_left_alone_by_all() {
    let (one, two) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let first = authority();
    let (one, two) = (node(one.path(), &first, 1), node(two.path(), &first, 2));
    let before = now(&one);
    assert_eq!((before.own, &before.other), (now(&two).own, &Other::None));
    assert_eq!(before.own.bytes, [7; 32]);

    one.make_next(3, SystemTime::now()).unwrap();
    let made = next_of(&one);
    one.make_next(3, SystemTime::now()).unwrap();
    assert_eq!(next_of(&one), made, "made once");
    two.keep_next(&made, SystemTime::now()).unwrap();
    for pki in [&one, &two] {
        let known = now(pki);
        let other = Key { print: made.print, bytes: made.key };
        assert_eq!((known.own, known.other), (before.own, Other::Next(3, other)));
        assert_eq!(pki.authority().unwrap().fingerprint(), first.fingerprint());
    }
    for pki in [&one, &two] {
        pki.use_next(made.print).unwrap();
        pki.use_next(made.print).unwrap();
        let used = now(pki);
        assert_eq!((used.own.print, used.own.bytes), (made.print, made.key));
        assert_eq!(used.other, Other::Former(3, before.own));
        assert_ne!(pki.authority().unwrap().fingerprint(), first.fingerprint());
        assert_eq!(pki.cluster_keys().unwrap(), [made.key, [7; 32]]);
        let why = pki.forget_next(3).unwrap_err().to_string();
        assert!(why.contains("used already"), "{why}");
    }
    for pki in [&one, &two] {
        pki.end_former(made.print).unwrap();
        pki.end_former(made.print).unwrap();
        assert_eq!(now(pki), Keys::only(Key { print: made.print, bytes: made.key }));
        assert!(!pki.following_file().exists());
        assert_eq!(fs::read(pki.cluster_key_file()).unwrap(), made.key);
        assert_eq!(pki.written_authorities().unwrap().trim(), made.authority.trim());
    }
    let identity = two.credentials().unwrap().identity();
    assert_eq!(identity, Identity { cluster_id: CLUSTER, node: NodeId(2) });
}

#[test]
fn what_was_interrupted_in_the_last_step_goes_on_wherever_it_was() {
    for done in 0..=5 {
        let etc = tempfile::tempdir().unwrap();
        let pki = node(etc.path(), &authority(), 1);
        pki.make_next(1, SystemTime::now()).unwrap();
        let made = next_of(&pki);
        pki.use_next(made.print).unwrap();
        let following = Following { stage: Stage::Own, ..pki.named(made.print).unwrap() };
        pki.write(&following).unwrap();
        let whole = [
            (pki.cluster_key_file(), made.key.to_vec(), SECRET),
            (pki.authority_key_file(), made.authority_key.clone().into_bytes(), SECRET),
            (pki.authority_file(), made.authority.clone().into_bytes(), PUBLIC),
            (pki.node_key_file(), following.node.key.reveal().as_bytes().to_vec(), SECRET),
            (pki.node_file(), following.node.certificate.clone().into_bytes(), PUBLIC),
        ];
        for (path, bytes, mode) in &whole[..done] {
            put(path, bytes, *mode).unwrap();
        }
        let only = Keys::only(Key { print: made.print, bytes: made.key });
        assert_eq!(now(&pki), only, "before it goes on, {done} files were written");
        pki.settle().unwrap();
        assert_eq!((now(&pki), pki.following_file().exists()), (only, false));
        pki.written().unwrap();
    }
}

#[test]
fn what_is_not_what_the_log_names_is_not_kept() {
    let (one, two) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let first = authority();
    let (one, two) = (node(one.path(), &first, 1), node(two.path(), &first, 2));
    one.make_next(1, SystemTime::now()).unwrap();
    let made = next_of(&one);
    let other = authority();
    let stranger = Authority::create(8, SystemTime::now()).unwrap();
    let named = |key, authority: &Authority| {
        let authority_pem = authority.certificate_pem().to_owned();
        let print = print(&key, &authority_pem).unwrap();
        let authority_key = authority.key_pem().reveal().to_owned();
        NewKeys { number: 1, print, key, authority: authority_pem, authority_key }
    };
    let wrong = [
        NewKeys { key: [1; 32], ..made.clone() },
        NewKeys { authority: other.certificate_pem().to_owned(), ..made.clone() },
        NewKeys { authority_key: other.key_pem().reveal().to_owned(), ..made.clone() },
        NewKeys { authority: "noise".into(), ..made.clone() },
        named([1; 32], &stranger),
    ];
    for wrong in wrong {
        let why = two.keep_next(&wrong, SystemTime::now()).unwrap_err().to_string();
        assert!(!why.contains("PRIVATE"), "{why}");
        assert_eq!(now(&two).other, Other::None, "{why}");
    }
    assert!(two.use_next(made.print).is_err() && two.end_former(made.print).is_err());
    two.keep_next(&made, SystemTime::now()).unwrap();
    assert!(two.end_former(made.print).is_err(), "it is not used yet");
    assert!(two.keep_next(&named([1; 32], &other), SystemTime::now()).is_ok(), "it is there");
    assert_eq!(next_of(&two), made, "and stays");
    two.forget_next(2).unwrap();
    assert_eq!(next_of(&two), made, "that of another rotation");
    two.forget_next(1).unwrap();
    two.forget_next(1).unwrap();
    assert_eq!(now(&two).other, Other::None);
}

#[test]
fn a_file_that_others_read_or_that_is_cut_is_refused_without_being_quoted() {
    let etc = tempfile::tempdir().unwrap();
    let pki = node(etc.path(), &authority(), 1);
    pki.make_next(1, SystemTime::now()).unwrap();
    let path = pki.following_file();
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    let whole = fs::read(&path).unwrap();
    for end in (0..whole.len() - 2).step_by(7) {
        fs::write(&path, &whole[..end]).unwrap();
        let why = pki.load().unwrap_err().to_string();
        assert!(why.contains("next") && !why.contains("PRIVATE"), "{end}: {why}");
    }
    fs::write(&path, &whole).unwrap();
    pki.load().unwrap();
    fs::set_permissions(&path, Permissions::from_mode(0o640)).unwrap();
    assert!(matches!(pki.load(), Err(TrustError::Mode { .. })));
    let shown = format!("{:?}", Following::read(&Secret::new("x".into())).err());
    assert!(!shown.contains("PRIVATE"));
}

#[test]
fn what_the_system_would_refuse_later_is_found_at_the_beginning() {
    let etc = tempfile::tempdir().unwrap();
    let pki = node(etc.path(), &authority(), 1);
    let mut blocked = pki.node_file().into_os_string();
    blocked.push(".new");
    fs::create_dir(&blocked).unwrap();
    let why = pki.make_next(1, SystemTime::now()).unwrap_err().to_string();
    assert!(why.contains("node.pem.new"), "{why}");
    assert_eq!(now(&pki).other, Other::None);
    fs::remove_dir(&blocked).unwrap();
    pki.make_next(1, SystemTime::now()).unwrap();
}

#[test]
fn a_host_that_joins_anew_forgets_the_set_that_followed_in_its_former_life() {
    let etc = tempfile::tempdir().unwrap();
    let former = node(etc.path(), &authority(), 1);
    former.make_next(3, SystemTime::now()).unwrap();
    assert_ne!(now(&former).other, Other::None);
    let (other, etc) = (authority(), etc.path());
    let anew = node(etc, &other, 2);
    assert_eq!((now(&anew).own.bytes, now(&anew).other), ([7; 32], Other::None));
    assert_eq!(anew.authority().unwrap().fingerprint(), other.fingerprint());
}
