//! Virtual servers: what of a network name is refused at once.

use std::collections::{BTreeMap, BTreeSet};

use stead_core::db::Db;
use stead_core::groups::Decision;
use stead_model::ResourceId;
use stead_model::change::Change;
use stead_model::declaration::{Declaration, DeclaredGroup, DeclaredResource};
use stead_model::group::Desired;
use stead_model::reason::{Code, Reason};
use stead_model::request::Request;

use crate::fixture::{ask, create, depend, must, two_groups};

/// Asks and applies what comes of it.
fn done(db: &mut Db, request: &Request) {
    match ask(db, request).unwrap() {
        Decision::Propose(change) => drop(must(db, vec![change])),
        other => panic!("{other:?}"),
    }
}

fn new(group: &str, id: &str, kind: &str, (property, value): (&str, &str)) -> Request {
    let properties = BTreeMap::from([(property.to_owned(), value.to_owned())]);
    let (group, resource, kind) = (group.into(), id.into(), kind.to_owned());
    Request::CreateResource { group, resource, kind, properties }
}

fn name(group: &str, id: &str, name: &str) -> Request {
    new(group, id, "network-name", ("host-name", name))
}

fn depends(id: &str, on: &[&str]) -> Request {
    let depends_on: BTreeSet<ResourceId> = on.iter().map(|d| ResourceId::from(*d)).collect();
    Request::SetDependencies { resource: id.into(), depends_on }
}

fn refused(db: &Db, request: &Request) -> Reason {
    ask(db, request).unwrap_err()
}

/// Group `files` with an address, a name that does not stand on it, and a program on the name.
fn files() -> Db {
    let mut db = two_groups();
    must(&mut db, vec![create("files")]);
    done(&mut db, &new("files", "files-ip", "ip-address", ("address", "10.0.0.25/24")));
    done(&mut db, &name("files", "files-name", "Files"));
    done(&mut db, &new("files", "smbd", "generic-application", ("command", "smbd -F")));
    must(&mut db, vec![depend("smbd", &["files-name"])]);
    db
}

#[test]
fn names_that_are_none_or_taken_are_refused() {
    let mut db = files();
    for bad in ["", "-web", "web-", "web_1", "web.example.org", &"a".repeat(64)] {
        let reason = refused(&db, &name("web", "n", bad));
        assert_eq!(reason.code, Code::Invalid, "{reason}");
        assert!(reason.to_string().contains("up to 63 letters, digits"), "{reason}");
    }
    let reason = refused(&db, &name("web", "n", "FILES"));
    assert_eq!(reason.code, Code::Conflict);
    assert!(reason.to_string().contains("resource `files-name` of group `files` has it"));
    // The nodes are alpha and beta.example.org, the cluster is lab.
    for host in ["alpha", "Beta", "lab"] {
        let reason = refused(&db, &name("web", "n", host));
        assert_eq!(reason.code, Code::Conflict);
        assert!(reason.to_string().contains("a node or the cluster is called"), "{reason}");
        assert!(reason.hint.is_some());
    }
    // A name that is changed is judged like a new one, and one may keep its own.
    done(&mut db, &name("web", "n", &"a".repeat(63)));
    let set = |value: &str| Request::SetResource {
        resource: "n".into(),
        properties: BTreeMap::from([("host-name".to_owned(), Some(value.to_owned()))]),
    };
    assert_eq!(refused(&db, &set("files")).code, Code::Conflict);
    assert_eq!(refused(&db, &set("alpha")).code, Code::Conflict);
    done(&mut db, &set("web"));
    done(&mut db, &set("WEB"));
}

#[test]
fn a_name_needs_an_address_of_its_group() {
    let mut db = files();
    let online =
        |group: &str| Request::SetGroupDesired { group: group.into(), desired: Desired::Online };
    let reason = refused(&db, &online("files"));
    assert_eq!(reason.code, Code::Invalid);
    assert!(reason.to_string().contains("depends on no `ip-address` of its group"), "{reason}");
    assert_eq!(reason.hint.as_deref(), Some("`resource depend files-name --on ADDRESS`"));
    done(&mut db, &depends("files-name", &["files-ip"]));
    done(&mut db, &online("files"));
    // In service it keeps one.
    let reason = refused(&db, &depends("files-name", &[]));
    assert!(reason.to_string().contains("cannot be without an address"), "{reason}");
    // Another one in a group that is online: not before it stands on something.
    done(&mut db, &name("files", "second", "second"));
    let second =
        Request::SetResourceDesired { resource: "second".into(), desired: Desired::Online };
    assert_eq!(refused(&db, &second).code, Code::Invalid);
    done(&mut db, &depends("second", &["files-ip"]));
    done(&mut db, &second);
    // What stands on both could see only one.
    done(&mut db, &new("files", "both", "generic-application", ("command", "x")));
    done(&mut db, &depends("both", &["files-name", "second"]));
    let both = Request::SetResourceDesired { resource: "both".into(), desired: Desired::Online };
    let reason = refused(&db, &both);
    assert!(reason.to_string().contains("`files-name` and `second`"), "{reason}");
}

/// A file is judged by the same rules, also where its group is online already.
#[test]
fn a_declared_name_is_judged_like_a_requested_one() {
    let mut db = files();
    done(&mut db, &depends("files-name", &["files-ip"]));
    let online = Request::SetGroupDesired { group: "files".into(), desired: Desired::Online };
    done(&mut db, &online);
    let declared = |id: &str, kind: &str, given: (&str, &str), on: &[&str]| DeclaredResource {
        group: "files".into(),
        resource: id.into(),
        kind: kind.into(),
        properties: BTreeMap::from([(given.0.to_owned(), given.1.to_owned())]),
        depends_on: on.iter().map(|d| ResourceId::from(*d)).collect(),
        desired: None,
        line: 0,
    };
    let wanted = |name: &str, on: &[&str]| Request::Apply {
        wanted: Declaration {
            alerts: Vec::new(),
            whole: None,
            groups: vec![DeclaredGroup {
                group: "files".into(),
                properties: BTreeMap::new(),
                desired: None,
                line: 0,
            }],
            resources: vec![
                declared("files-ip", "ip-address", ("address", "10.0.0.25/24"), &[]),
                declared("more", "network-name", ("host-name", name), on),
            ],
        },
    };
    assert!(refused(&db, &wanted("more", &[])).to_string().contains("no `ip-address`"));
    assert!(refused(&db, &wanted("alpha", &["files-ip"])).to_string().contains("is called"));
    let Decision::ProposeAll(changes) = ask(&db, &wanted("more", &["files-ip"])).unwrap() else {
        panic!("no changes")
    };
    assert!(changes.iter().any(|c| matches!(c, Change::DeleteResource { .. })), "{changes:?}");
}
