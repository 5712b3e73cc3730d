//! What an administrator may ask for, and how refusals read.

use std::collections::{BTreeMap, BTreeSet};

use stead_core::db::Db;
use stead_core::groups::Decision;
use stead_model::change::Change;
use stead_model::group::{Desired, GroupPolicy};
use stead_model::reason::{Code, Reason};
use stead_model::request::Request;
use stead_model::resource::{Health, ResourceConfig, ResourceState};
use stead_model::wire::peer::{GroupReport, Report, ResourceStatus, Standing};
use stead_model::{Epoch, NodeId, ResourceId};

use crate::fixture::{ask, ask_with, empty_report, grant, must, n, two_groups};

/// Property names with their values.
type Given = &'static [(&'static str, &'static str)];

fn properties(given: &[(&str, &str)]) -> BTreeMap<String, String> {
    given.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect()
}

fn settings(given: &[(&str, Option<&str>)]) -> BTreeMap<String, Option<String>> {
    given.iter().map(|(k, v)| ((*k).to_owned(), v.map(str::to_owned))).collect()
}

fn new(kind: &str, given: &[(&str, &str)]) -> Request {
    let (group, resource, kind) = ("web".into(), "new".into(), kind.to_owned());
    Request::CreateResource { group, resource, kind, properties: properties(given) }
}

fn created(db: &Db, request: &Request) -> ResourceConfig {
    match ask(db, request).unwrap() {
        Decision::Propose(Change::CreateResource { resource, .. }) => resource,
        other => panic!("{other:?}"),
    }
}

fn refused(db: &Db, request: &Request) -> Reason {
    ask(db, request).unwrap_err()
}

/// Code, text with cause, and hint of a refusal.
fn words(reason: &Reason) -> (Code, String, &str) {
    (reason.code, reason.to_string(), reason.hint.as_deref().unwrap_or_default())
}

#[test]
fn defaults_are_filled_in_and_policy_properties_become_policy() {
    let db = two_groups();
    let given = [
        ("command", "httpd -f"),
        ("restart-threshold", "5"),
        ("restart-period", "2min"),
        ("looks-alive", "250ms"),
        ("possible-owners", "n3, n1"),
    ];
    let made = created(&db, &new("generic-application", &given));
    assert_eq!(made.properties["stop-signal"], "TERM");
    assert_eq!(made.properties["command"], "httpd -f");
    assert!(!made.properties.contains_key("user"), "no default, not given");
    assert!(!made.properties.contains_key("restart-threshold"));
    assert_eq!((made.policy.restart_threshold, made.policy.restart_period_s), (5, 120));
    assert_eq!((made.policy.looks_alive_ms, made.policy.is_alive_ms), (250, 60_000));
    assert_eq!(made.possible_owners, Some(BTreeSet::from([n(1), n(3)])));
}

#[test]
fn wrong_resources_are_refused_with_what_is_right() {
    let db = two_groups();
    let cases: &[(&str, Given, Code, &str)] = &[
        ("teapot", &[], Code::NotFound, "there is no resource type `teapot`"),
        ("ip-address", &[], Code::Invalid, "property `address` of resource `new` is missing"),
        ("dummy", &[("colour", "red")], Code::NotFound, "type `dummy` has no property `colour`"),
        ("dummy", &[("hang", "maybe")], Code::Invalid, "property `hang` cannot be `maybe`"),
        ("dummy", &[("online-delay", "5")], Code::Invalid, "cannot be `5`: it must be a time"),
        ("dummy", &[("is-alive", "1ms")], Code::Invalid, "property `is-alive` is out of range"),
        ("dummy", &[("restart-period", "10ms")], Code::Invalid, "`restart-period` is out of range"),
        ("dummy", &[("restart-threshold", "-1")], Code::Invalid, "it must be a whole number"),
        ("dummy", &[("possible-owners", "n9")], Code::NotFound, "names n9, which is not in"),
        ("dummy", &[("possible-owners", "n1,n1")], Code::Invalid, "names n1 twice"),
        ("dummy", &[("probe", "udp:53")], Code::Invalid, "cannot be `udp:53`: it must be `tcp:"),
        ("dummy", &[("probe-timeout", "1s")], Code::Invalid, "the resource has no probe"),
        ("dummy", &[("possible-owners", "bob")], Code::Invalid, "`bob` is no node"),
        ("ocf:heartbeat", &[], Code::NotFound, "there is no resource type `ocf:heartbeat`"),
        ("ocf:heartbeat:x", &[("not-one", "1")], Code::NotFound, "has no property `not-one`"),
        ("ocf:heartbeat:x", &[("check-level", "x")], Code::Invalid, "must be a whole number"),
        ("ext:../x", &[], Code::NotFound, "there is no resource type `ext:../x`"),
        ("ext:x", &[("a_b", "1")], Code::NotFound, "has no property `a_b`"),
        ("ext:x", &[("check-timeout", "1")], Code::Invalid, "must be a time"),
        ("generic-script", &[], Code::Invalid, "neither property `script` nor `online-command`"),
        ("generic-script", &[("script", "x")], Code::Invalid, "it must be an absolute path"),
        ("generic-service", &[], Code::Invalid, "property `unit` of resource `new` is missing"),
        ("generic-service", &[("unit", "a.socket")], Code::Invalid, "only services are resources"),
        ("generic-service", &[("unit", "a@.service")], Code::Invalid, "name an instance"),
        ("generic-service", &[("unit", "dbus.service")], Code::Invalid, "the node itself needs it"),
    ];
    for (kind, given, code, text) in cases {
        let reason = refused(&db, &new(kind, given));
        assert_eq!(reason.code, *code, "{reason}");
        assert!(reason.to_string().contains(text), "{reason}");
    }
}

/// Which parameters an agent has only the agent knows.
#[test]
fn parameters_of_an_agent_are_kept_beside_the_properties_of_its_type() {
    let db = two_groups();
    let given = [("configfile", "/srv/nginx.conf"), ("options", ""), ("check-level", "10")];
    let made = created(&db, &new("ocf:heartbeat:nginx", &given));
    assert_eq!(made.kind, "ocf:heartbeat:nginx");
    assert_eq!(made.properties["configfile"], "/srv/nginx.conf");
    assert_eq!(made.properties["options"], "", "an empty parameter is a parameter");
    assert_eq!(made.properties["check-level"], "10");
    assert_eq!(made.properties["check-timeout"], "60s", "the default of the table");
}

/// Only what was given is kept: a resource without a probe is what it was.
#[test]
fn a_probe_is_kept_as_given_and_can_be_taken_away() {
    let db = two_groups();
    let made = created(&db, &new("dummy", &[("probe", "tcp:80"), ("probe-failures", "1")]));
    let of_probe = made.properties.iter().filter(|(name, _)| name.starts_with("probe"));
    assert_eq!(of_probe.count(), 2);
    let properties = settings(&[("probe", None)]);
    let request = Request::SetResource { resource: "httpd".into(), properties };
    let Decision::Propose(Change::SetResource { properties, .. }) = ask(&db, &request).unwrap()
    else {
        panic!("it was not proposed");
    };
    assert!(properties.keys().all(|name| !name.starts_with("probe")));
}

#[test]
fn a_refusal_reads_as_what_why_and_what_to_do() {
    let db = two_groups();
    let reason = refused(&db, &Request::DeleteResource { resource: "ip".into() });
    let (text, hint) = (
        "cannot delete resource `ip`: resource `httpd` depends on it",
        "`resource undepend httpd --on ip` first",
    );
    assert_eq!(words(&reason), (Code::Conflict, text.to_owned(), hint));
}

#[test]
fn names_must_be_names_and_free() {
    let db = two_groups();
    let group =
        |name: &str| Request::CreateGroup { group: name.into(), policy: GroupPolicy::default() };
    for bad in ["", "-x", "a b", "a/b", "x\n", &"x".repeat(64)] {
        assert_eq!(refused(&db, &group(bad)).code, Code::Invalid, "{bad:?}");
    }
    assert_eq!(refused(&db, &group("web")).code, Code::Exists);
    let taken = Request::CreateResource {
        group: "mail".into(),
        resource: "ip".into(),
        kind: "dummy".into(),
        properties: BTreeMap::new(),
    };
    let reason = refused(&db, &taken);
    assert_eq!(reason.code, Code::Exists);
    assert!(reason.to_string().contains("it is in group `web`"));
}

/// dependents live in the same group; rule 1 of A-115.
#[test]
fn a_dependency_into_another_group_is_refused_with_the_reason() {
    let db = two_groups();
    let depend = |on: &str| Request::SetDependencies {
        resource: "httpd".into(),
        depends_on: BTreeSet::from([ResourceId::from(on)]),
    };
    let reason = refused(&db, &depend("spool"));
    assert!(reason.to_string().contains("`spool` is in group `mail`, `httpd` in group `web`"));
    assert!(reason.to_string().contains("wholly in one group"));
    assert!(refused(&db, &depend("httpd")).to_string().contains("in a circle"));
    assert_eq!(refused(&db, &depend("nothing")).code, Code::NotFound);
    assert!(ask(&db, &depend("ip")).is_ok());
}

#[test]
fn settings_change_what_they_name_and_reset_to_the_default() {
    let mut db = two_groups();
    let set = |given: &[(&str, Option<&str>)]| Request::SetResource {
        resource: "ip".into(),
        properties: settings(given),
    };
    let apply = |db: &mut Db, request: &Request| match ask(db, request).unwrap() {
        Decision::Propose(change) => must(db, vec![change]),
        other => panic!("{other:?}"),
    };
    apply(&mut db, &set(&[("pending-timeout", Some("3s")), ("hang", Some("true"))]));
    let ip = db.resource(&"ip".into()).unwrap().1;
    assert_eq!((ip.policy.pending_timeout_ms, ip.properties["hang"].as_str()), (3_000, "true"));
    apply(&mut db, &set(&[("pending-timeout", None), ("hang", None)]));
    let ip = db.resource(&"ip".into()).unwrap().1;
    assert_eq!((ip.policy.pending_timeout_ms, ip.properties["hang"].as_str()), (180_000, "false"));
}

#[test]
fn settings_of_a_group() {
    let mut db = two_groups();
    let set = |given: &[(&str, Option<&str>)]| Request::SetGroup {
        group: "web".into(),
        properties: settings(given),
    };
    let request = set(&[
        ("preferred-owners", Some("n2,n1")),
        ("failover-threshold", Some("2")),
        ("failover-period", Some("1h")),
    ]);
    let Decision::Propose(change) = ask(&db, &request).unwrap() else { panic!() };
    must(&mut db, vec![change]);
    let policy = &db.group(&"web".into()).unwrap().policy;
    assert_eq!(policy.preferred_owners, [n(2), n(1)]);
    assert_eq!((policy.failover_threshold, policy.failover_period_s), (2, 3_600));
    for (bad, text) in [
        (("preferred-owners", Some("n7")), "n7, which is not in the cluster"),
        (("failover-threshold", Some("5000")), "at most 1000"),
        (("failover-period", Some("0s")), "out of range"),
        (("failover-period", Some("1500ms")), "whole seconds"),
        (("failover-preset", Some("custom")), "cannot be `custom`"),
        (("failback", Some("22-4@Europe/Bielefeld")), "no such zone"),
        (("failback", Some("4-4@UTC")), "cannot be `4-4@UTC`"),
        (("retry-after", Some("9000h")), "at most 8760h"),
        (("colour", Some("red")), "groups have no property `colour`"),
    ] {
        let reason = refused(&db, &set(&[bad]));
        assert!(reason.to_string().contains(text), "{reason}");
    }
}

/// No two resources may bring up the same address.
#[test]
fn an_address_belongs_to_one_resource() {
    let mut db = two_groups();
    let request = new("ip-address", &[("address", "10.0.0.5/24")]);
    let Decision::Propose(change) = ask(&db, &request).unwrap() else { panic!() };
    must(&mut db, vec![change]);
    let second = Request::CreateResource {
        group: "mail".into(),
        resource: "second".into(),
        kind: "ip-address".into(),
        properties: properties(&[("address", "10.0.0.5/16")]),
    };
    let reason = refused(&db, &second);
    assert_eq!(
        reason.to_string(),
        "resource `second` cannot have address 10.0.0.5: resource `new` has it"
    );
}

#[test]
fn a_new_resource_waits_for_its_dependencies_in_a_group_that_is_online() {
    let mut db = two_groups();
    assert_eq!(created(&db, &new("dummy", &[])).desired, Desired::Online);
    let desired = Desired::Online;
    must(&mut db, vec![Change::SetGroupDesired { group: "web".into(), desired }]);
    assert_eq!(created(&db, &new("dummy", &[])).desired, Desired::Offline);
}

#[test]
fn bringing_a_resource_online_needs_its_group_and_what_it_stands_on() {
    let mut db = two_groups();
    let online = Request::SetResourceDesired { resource: "httpd".into(), desired: Desired::Online };
    assert!(refused(&db, &online).hint.unwrap().contains("group online web"));
    let desired = Desired::Online;
    must(&mut db, vec![Change::SetGroupDesired { group: "web".into(), desired }]);
    let desired = Desired::Offline;
    must(&mut db, vec![Change::SetResourceDesired { resource: "ip".into(), desired }]);
    let reason = refused(&db, &online);
    assert!(reason.to_string().ends_with("it depends on `ip`, which shall be offline"));
    assert_eq!(reason.hint.as_deref(), Some("bring that online first: `resource online ip`"));
}

fn report(
    node: NodeId,
    epoch: u64,
    resource: &str,
    state: ResourceState,
) -> BTreeMap<NodeId, Report> {
    let resource = ResourceId::from(resource);
    let health = Health::Unknown;
    let status = ResourceStatus { resource, state, health, detail: None, restarts: 0, used: None };
    let (epoch, standing) = (Epoch(epoch), Standing::Held);
    let groups =
        vec![GroupReport { group: "web".into(), epoch, standing, resources: vec![status] }];
    BTreeMap::from([(node, Report { groups, ..empty_report(node) })])
}

#[test]
fn a_resource_is_deleted_only_when_nothing_of_it_can_run() {
    let mut db = two_groups();
    let delete = Request::DeleteResource { resource: "httpd".into() };
    assert!(ask(&db, &delete).is_ok(), "nobody owns the group");
    let desired = Desired::Online;
    let online = Change::SetGroupDesired { group: "web".into(), desired };
    must(&mut db, vec![grant("web", 1, 2), online]);
    assert!(refused(&db, &delete).hint.unwrap().contains("resource offline httpd"));
    let desired = Desired::Offline;
    must(&mut db, vec![Change::SetResourceDesired { resource: "httpd".into(), desired }]);
    assert!(refused(&db, &delete).to_string().contains("n1 does not say"));
    let with = |epoch, state| ask_with(&db, &report(n(1), epoch, "httpd", state), &delete);
    let stopping = with(2, ResourceState::OfflinePending).unwrap_err();
    assert!(stopping.to_string().contains("it is offline pending on n1"));
    assert!(with(1, ResourceState::Offline).is_err(), "a report of another epoch says nothing");
    assert!(with(2, ResourceState::Offline).is_ok());
}

#[test]
fn a_failure_is_rehearsed_where_the_resource_is_online() {
    let mut db = two_groups();
    must(&mut db, vec![grant("web", 2, 1)]);
    let fail = Request::FailResource { resource: "ip".into() };
    assert_eq!(refused(&db, &fail).code, Code::Conflict);
    let reports = report(n(2), 1, "ip", ResourceState::Online);
    let (node, group, resource) = (n(2), "web".into(), "ip".into());
    let expected = Decision::Rehearse { node, group, resource, epoch: Epoch(1) };
    assert_eq!(ask_with(&db, &reports, &fail), Ok(expected));
}

#[test]
fn the_database_has_a_limit_and_can_be_emptied_when_it_is_full() {
    let mut db = two_groups();
    let set = |value: Option<String>| Request::SetKey { key: "big".into(), value };
    let big = set(Some("x".repeat(8_000)));
    let Decision::Propose(change) = ask(&db, &big).unwrap() else { panic!() };
    must(&mut db, vec![change]);
    let other = Request::SetKey { key: "other".into(), value: Some("x".repeat(4_000)) };
    assert_eq!(refused(&db, &other).code, Code::TooMuch);
    assert!(ask(&db, &set(None)).is_ok());
    let long = Request::SetKey { key: "k".into(), value: Some("x".repeat((1 << 20) + 1)) };
    assert!(refused(&db, &long).to_string().contains("at most 1048576 bytes"));
    assert_eq!(
        refused(&db, &Request::SetKey { key: "\n".into(), value: None }).code,
        Code::Invalid
    );
}

#[test]
fn votes_are_for_nodes_of_the_cluster() {
    let db = two_groups();
    let vote = |node| ask(&db, &Request::SetVote { node, votes: false });
    assert_eq!(vote(n(2)), Ok(Decision::Vote { node: n(2), votes: false }));
    assert_eq!(vote(n(9)).unwrap_err().code, Code::NotFound);
}

#[test]
fn a_disk_belongs_to_one_group_with_all_its_partitions() {
    let mut db = two_groups();
    let disk = |group: &str, id: &str, disk: &str, point: &str| Request::CreateResource {
        group: group.into(),
        resource: id.into(),
        kind: "physical-disk".into(),
        properties: properties(&[("disk", disk), ("mount-point", point)]),
    };
    let make = |db: &mut Db, request: &Request| match ask(db, request).unwrap() {
        Decision::Propose(change) => must(db, vec![change]),
        other => panic!("{other:?}"),
    };
    make(&mut db, &disk("web", "data", "/dev/disk/by-id/wwn-0x5", "/srv/data"));
    let (code, text, hint) = {
        let reason = refused(&db, &disk("mail", "other", "/dev/disk/by-id/wwn-0x5", "/srv/other"));
        (reason.code, reason.to_string(), reason.hint.unwrap())
    };
    assert_eq!(code, Code::Conflict);
    assert_eq!(
        text,
        "resource `other` cannot have disk `/dev/disk/by-id/wwn-0x5`: resource `data` of group \
         `web` has it; all partitions of a disk belong to one group, for a node owns it whole"
    );
    assert_eq!(hint, "use another disk, or put what needs it into that group");
    let part = "/dev/disk/by-id/wwn-0x5-part1";
    let reason = refused(&db, &disk("mail", "other", part, "/srv/other"));
    let (_, text, hint) = words(&reason);
    assert!(text.ends_with("it names a partition; a resource owns the whole disk"), "{text}");
    assert_eq!(hint, "give `disk=/dev/disk/by-id/wwn-0x5` and `partition=1`");
    let reason = refused(&db, &disk("mail", "other", "/dev/sdb", "/srv/data/"));
    assert!(reason.to_string().ends_with("resource `data` has its mount point already"));
    let reason = refused(&db, &disk("web", "again", "/dev/disk/by-id/wwn-0x5", "/srv/again"));
    assert!(reason.to_string().ends_with("one resource stands for a whole disk"), "{reason}");
    let other = disk("mail", "other", "/dev/sdb", "/srv/other");
    make(&mut db, &other);
    let moved = Request::SetResource {
        resource: "other".into(),
        properties: settings(&[("disk", Some("/dev/disk/by-id/wwn-0x5"))]),
    };
    assert_eq!(refused(&db, &moved).code, Code::Conflict);
}

#[test]
fn a_unit_is_one_resource() {
    let mut db = two_groups();
    let unit = |group: &str, id: &str, unit: &str| Request::CreateResource {
        group: group.into(),
        resource: id.into(),
        kind: "generic-service".into(),
        properties: properties(&[("unit", unit)]),
    };
    let Ok(Decision::Propose(made)) = ask(&db, &unit("web", "www", "nginx.service")) else {
        panic!("it was not proposed");
    };
    must(&mut db, vec![made]);
    let reason = refused(&db, &unit("mail", "other", "nginx.service"));
    let text = "resource `other` cannot have unit `nginx.service`: resource `www` of group `web` \
                has it";
    let hint = "for a second one make an instance of a template, as in `web@two.service`";
    assert_eq!(words(&reason), (Code::Conflict, text.to_owned(), hint));
    assert!(ask(&db, &unit("mail", "other", "web@two.service")).is_ok());
    let properties = settings(&[("stop-timeout", Some("5s"))]);
    assert!(ask(&db, &Request::SetResource { resource: "www".into(), properties }).is_ok());
}
