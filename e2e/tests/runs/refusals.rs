//! Bad input is refused at once, with its cause and what to do, and nothing is half applied
//! (A-171, B5); a failure can be rehearsed.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use e2e::{ONE, Roles, Site, TWO, World, tell, until};
use stead_lab::cluster::ClusterError;
use stead_model::GroupId;
use stead_model::group::GroupPolicy;
use stead_model::reason::Code;
use stead_model::request::Request;
use stead_model::view::GroupView;

/// A program that n1 has and n2 has not.
const HERE: &str = "/var/lib/stead/only-here";

/// What is typed, and what must be in the answer. The group `web` is `web-address`, and `web-web`,
/// which depends on it.
const TYPED: &[(&str, &[&str])] = &[
    (
        "resource create new --group web --type nonsense",
        &["there is no resource type `nonsense`", "hint: "],
    ),
    (
        "resource create new --group nowhere --type dummy",
        &["there is no group `nowhere`", "hint: "],
    ),
    (
        "resource create new --group web --type dummy colour=red",
        &["type `dummy` has no property `colour`", "hint: known are `online-delay`"],
    ),
    (
        "resource create new --group web --type dummy online-delay=5parsec",
        &["`online-delay`", "`5parsec`", "it must be", "hint: "],
    ),
    (
        "resource set web-web restart-threshold=often",
        &["`restart-threshold`", "`often`", "it must be"],
    ),
    (
        "resource create new --group web --type dummy possible-owners=n7",
        &["`possible-owners` names n7", "hint: the nodes are n1, n2"],
    ),
    ("group create new preferred-owners=n7", &["there is no node `n7`", "hint: "]),
    ("group move web --to n7", &["n7", "hint: "]),
    (
        "resource depend web-address --on web-web",
        &["`web-address`", "circle", "hint: ", "group tree web"],
    ),
    ("resource depend web-web --on web-web", &["`web-web`"]),
    ("resource depend web-web --on nobody", &["there is no resource `nobody`", "hint: "]),
    (
        "resource delete web-address",
        &["`web-address`", "resource `web-web` depends on it", "hint: ", "resource undepend"],
    ),
    ("group delete web", &["`web`", "hint: "]),
    (
        "resource create new --group web --type generic-application command=HERE",
        &[
            "resource `new` cannot run on n2",
            "`command`: there is no program HERE",
            "hint: put that right on n2, or leave n2 out of `possible-owners`",
        ],
    ),
    ("resource set web-web command=HERE", &["resource `web-web` cannot run on n2", "hint: "]),
    ("resource fail nobody", &["there is no resource `nobody`", "hint: "]),
];

#[test]
fn refusals_of_bad_input_change_nothing() {
    let world = World::up("refusals");
    let _ = Roles::settled(&world);
    let site = Site::new("web", 120);
    site.create(&world, ONE);
    only_on_one(&world);
    let before = known(&world);
    let starts = || world.records(ONE).iter().filter(|r| r.code == "resource-online").count();
    let started = starts();
    for (typed, told) in TYPED {
        let typed = typed.replace("HERE", HERE);
        let words: Vec<&str> = typed.split(' ').collect();
        let said = world.stead(&words);
        assert_eq!(said.code, 1, "{typed}: {}{}", said.out, said.err);
        for part in told.iter().map(|part| part.replace("HERE", HERE)) {
            assert!(said.err.contains(&part), "{typed} does not say `{part}`: {}", said.err);
        }
    }
    for (code, request) in asked() {
        match world.cluster().request(&request) {
            Err(ClusterError::Refused(why)) => {
                assert_eq!(why.code, code, "{request:?}: {why}");
                assert!(why.cause.is_some() || why.hint.is_some(), "{request:?}: only {why}");
            }
            other => panic!("{request:?}: {other:?}"),
        }
    }
    assert_eq!(known(&world), before, "a refusal changed something");
    assert_eq!(starts(), started, "something was started");
    a_file_is_all_or_nothing(&world, &before);
}

/// What programs ask over the API.
fn asked() -> Vec<(Code, Request)> {
    let group = || GroupId::from("web");
    let create = |kind: &str, name: &str, value: &str| Request::CreateResource {
        group: group(),
        resource: "new".into(),
        kind: kind.into(),
        properties: BTreeMap::from([(name.to_owned(), value.to_owned())]),
    };
    let depend = |on: &str| Request::SetDependencies {
        resource: "web-address".into(),
        depends_on: BTreeSet::from([on.into()]),
    };
    vec![
        (Code::Exists, Request::CreateGroup { group: group(), policy: GroupPolicy::default() }),
        (Code::NotFound, create("nonsense", "a", "b")),
        (Code::NotFound, create("dummy", "colour", "red")),
        (Code::Invalid, create("dummy", "online-delay", "5parsec")),
        (Code::NotFound, create("dummy", "possible-owners", "n7")),
        (Code::Conflict, create("generic-application", "command", HERE)),
        (Code::Invalid, depend("web-web")),
        (Code::NotFound, depend("nobody")),
        (Code::Conflict, Request::DeleteResource { resource: "web-address".into() }),
    ]
}

/// Its plan is judged likewise; by force it is made.
fn a_file_is_all_or_nothing(world: &World, before: &[String]) {
    let file = world.home().join("new.toml");
    let text = format!(
        "[group]\nname = \"new\"\n\n[[resource]]\nname = \"fine\"\ntype = \"dummy\"\n\n\
         [[resource]]\nname = \"app\"\ntype = \"generic-application\"\ncommand = \"{HERE}\"\n"
    );
    fs::write(&file, text).unwrap();
    let file = file.to_str().unwrap();
    for typed in [&["apply", file, "--plan"][..], &["apply", file]] {
        let said = world.stead(typed);
        assert_eq!(said.code, 1, "{typed:?}: {}{}", said.out, said.err);
        assert!(said.err.contains("resource `app` cannot run on n2"), "{}", said.err);
    }
    assert_eq!(known(world), before, "a refused file changed something");
    let said = world.stead(&["apply", file, "--force"]);
    assert_eq!(said.code, 0, "{}", said.err);
    // Where only that node may own it, nothing is missing.
    let command = format!("command={HERE}");
    let said = world.stead(&["resource", "set", "app", "possible-owners=n1", &command]);
    assert_eq!(said.code, 0, "{}", said.err);
}

/// Debian's agent wants half an hour, more than what is given without a word.
#[test]
fn refusals_are_none_where_an_agent_advises() {
    const AGENT: &str = "ocf:heartbeat:SAPDatabase";
    if !Path::new("/usr/lib/ocf/resource.d/heartbeat/SAPDatabase").exists() {
        return tell("  not tried: no agent heartbeat/SAPDatabase (Debian's resource-agents)");
    }
    let world = World::up("advice");
    let _ = Roles::settled(&world);
    let stead = |typed: &str| {
        let said = world.stead(&typed.split(' ').collect::<Vec<_>>());
        assert_eq!(said.code, 0, "{typed}: {}{}", said.out, said.err);
        said
    };
    let shown = stead(&format!("resource-type show {AGENT}")).out;
    assert!(shown.contains("SID") && shown.contains("30min"), "{shown}");
    assert!(stead("resource-type list").out.contains(AGENT));
    stead("group create sap");
    stead("group offline sap");
    let create = format!("--group sap --type {AGENT} SID=ABC DBTYPE=ADA");
    let said = stead(&format!("resource create free {create}"));
    let taken = "`free`: `pending-timeout` is 1800s, as the agent wants it for `start`";
    assert!(said.err.contains(taken) || said.out.contains(taken), "{}{}", said.out, said.err);
    let said = stead(&format!("resource create bound {create} pending-timeout=180s"));
    let told = "`bound`: `pending-timeout` is 180s; the agent wants 1800s for `start`";
    assert!(said.err.contains(told) || said.out.contains(told), "{}{}", said.out, said.err);
    for (resource, ms) in [("free", 1_800_000), ("bound", 180_000)] {
        for node in [ONE, TWO] {
            until(&format!("{node} knows {resource} with {ms} ms"), || {
                let group = world.group(node, "sap");
                let mut found = group.resources.iter().filter(|r| r.resource.as_str() == resource);
                found.any(|r| r.policy.pending_timeout_ms == ms)
            });
        }
    }
}

#[test]
fn refusals_rehearse_a_failure() {
    let world = World::up("rehearsal");
    let _ = Roles::settled(&world);
    let site = Site::new("web", 121);
    site.create(&world, ONE);
    let web = site.web();
    let said = world.stead(&["resource", "fail", web.as_str()]);
    assert_eq!(said.code, 0, "{}", said.err);
    let seen = |code: &str| {
        let records = world.records(ONE);
        records.iter().filter(|r| r.code == code && r.resource.as_ref() == Some(&web)).count()
    };
    until("the rehearsal is told", || seen("resource-rehearsal") == 1);
    until("it has failed", || seen("resource-failed") == 1);
    until("it was restarted in place", || seen("resource-online") == 2);
    drop(world.online("web", ONE));
}

fn only_on_one(world: &World) {
    let path = world.lab().record().dirs.station("node1").join("lib/only-here");
    fs::write(&path, "#!/bin/sh\nexec sleep 600\n").unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
}

/// All groups, as n2 knows them, without what changes by itself.
fn known(world: &World) -> Vec<String> {
    let of = |group: GroupView| {
        let resources: Vec<String> = group
            .resources
            .iter()
            .map(|r| format!("{} {} {:?} {:?}", r.resource, r.kind, r.properties, r.depends_on))
            .collect();
        format!("{} {:?} {:?} {resources:?}", group.group, group.desired, group.policy)
    };
    world.view(TWO).groups.into_iter().map(of).collect()
}
