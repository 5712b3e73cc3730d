//! Labs beside each other, and what is left of them: nothing.

use std::collections::BTreeSet;
use std::fs;

use stead_lab::{Lab, LabState, NodeCommand, OpenError, UpError};

use crate::Case;
use crate::world::{self, ONE, Probe, TWO, World, until};

pub(crate) const CASES: &[Case] = &[
    ("down_leaves_nothing", down_leaves_nothing),
    ("labs_do_not_see_each_other", labs_do_not_see_each_other),
    ("a_killed_supervisor_takes_its_lab_along", a_killed_supervisor_takes_its_lab_along),
    ("a_lab_that_cannot_boot_is_taken_down", a_lab_that_cannot_boot_is_taken_down),
    ("wrong_names_are_refused", wrong_names_are_refused),
];

/// All namespaces of a lab's machines.
fn spaces(lab: &Lab) -> BTreeSet<std::path::PathBuf> {
    let status = lab.status().unwrap();
    let pids = status.nodes.iter().filter_map(|node| node.pid).chain(status.client_pid);
    pids.flat_map(world::namespaces).collect()
}

fn cgroup_of(lab: &Lab) -> Option<std::path::PathBuf> {
    lab.status().unwrap().nodes[0].cgroup.clone().map(|dir| dir.parent().unwrap().to_owned())
}

fn mounts() -> usize {
    fs::read_to_string("/proc/self/mountinfo").unwrap().lines().count()
}

fn interfaces() -> BTreeSet<String> {
    let devices = fs::read_to_string("/proc/net/dev").unwrap();
    devices.lines().filter_map(|line| line.split_once(':')).map(|(n, _)| n.trim().into()).collect()
}

fn down_leaves_nothing(world: &World) {
    let before = (mounts(), interfaces());
    let lab = world.up("nothing");
    assert_eq!((mounts(), interfaces()), before, "the host's own changed");
    let status = lab.status().unwrap();
    let spaces = spaces(&lab);
    let own = world::namespaces(std::process::id());
    assert_eq!(spaces.len(), 15, "three machines with five namespaces each: {spaces:?}");
    assert!(spaces.is_disjoint(&own));
    assert!(world::processes_in(&spaces).len() >= 5);
    let cgroup = cgroup_of(&lab);
    if rustix::process::geteuid().is_root() {
        println!("  cgroup {cgroup:?}, missing {:?}", status.missing);
    } else {
        assert_eq!(cgroup, None);
        assert!(!status.missing.is_empty(), "an ordinary user misses something");
    }

    world.down("nothing");
    assert_eq!(world::processes_in(&spaces), [] as [u32; 0]);
    assert!(!fs::exists(format!("/proc/{}", status.supervisor_pid)).unwrap() || zombie(&status));
    assert_eq!((mounts(), interfaces()), before);
    assert!(cgroup.is_none_or(|dir| !dir.exists()));
    for part in ["run", "state"] {
        let left: Vec<_> = fs::read_dir(world.path().join(part)).unwrap().flatten().collect();
        assert!(left.is_empty(), "{left:?}");
    }
    assert!(matches!(stead_lab::open(&world.home(), None), Err(OpenError::None(None))));
}

/// The test itself started it and has not collected it yet.
fn zombie(status: &stead_lab::LabStatus) -> bool {
    let stat = fs::read_to_string(format!("/proc/{}/stat", status.supervisor_pid));
    stat.is_ok_and(|stat| stat.contains(") Z "))
}

fn labs_do_not_see_each_other(world: &World) {
    let (one, two) = (world.up("one"), world.up("two"));
    assert!(spaces(&one).is_disjoint(&spaces(&two)));
    one.crash(TWO).unwrap();
    assert!(!one.reaches(ONE, "10.77.1.2"), "the other lab answered");
    assert!(two.reaches(ONE, "10.77.1.2"));
    let names: Vec<_> = stead_lab::list(&world.home()).unwrap();
    let names: Vec<_> = names.iter().map(|lab| (lab.name.as_str(), lab.state)).collect();
    assert_eq!(names, [("one", LabState::Running), ("two", LabState::Running)]);
    match stead_lab::open(&world.home(), None) {
        Err(OpenError::Several(names)) => assert_eq!(names, ["one", "two"]),
        other => panic!("{other:?}"),
    }
    world.down("one");
    assert_eq!(stead_lab::open(&world.home(), None).unwrap().name(), "two");
    assert!(two.reaches(TWO, "10.77.2.1"));
}

fn a_killed_supervisor_takes_its_lab_along(world: &World) {
    let lab = world.up("dead");
    let spaces = spaces(&lab);
    let cgroup = cgroup_of(&lab);
    lab.freeze(TWO).unwrap();
    let pid = lab.status().unwrap().supervisor_pid.cast_signed();
    let pid = rustix::process::Pid::from_raw(pid).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
    until("all its processes are gone", || world::processes_in(&spaces).is_empty());
    let listed = stead_lab::list(&world.home()).unwrap();
    assert_eq!((listed[0].name.as_str(), listed[0].state), ("dead", LabState::Dead));
    assert!(matches!(stead_lab::open(&world.home(), Some("dead")), Err(OpenError::Dead(_))));
    let again = stead_lab::up(&world.options("dead"), &mut |_| {});
    assert!(matches!(again, Err(UpError::Taken(_))));
    world.down("dead");
    assert!(stead_lab::list(&world.home()).unwrap().is_empty());
    assert!(cgroup.is_none_or(|dir| !dir.exists()));
    world.up("dead");
}

fn a_lab_that_cannot_boot_is_taken_down(world: &World) {
    let mut options = world.options("broken");
    options.node_command = NodeCommand::Other(vec!["/no/such/program".into()]);
    let error = stead_lab::up(&options, &mut |_| {}).unwrap_err();
    let mut text = error.to_string();
    if let Some(source) = std::error::Error::source(&error) {
        text.push_str(&source.to_string());
    }
    assert!(text.contains("/no/such/program"), "{text}");
    assert!(stead_lab::list(&world.home()).unwrap().is_empty());
}

fn wrong_names_are_refused(world: &World) {
    for name in ["", "UP", "a/b", "..", "a-very-long-name-indeed"] {
        let refused = stead_lab::up(&world.options(name), &mut |_| {});
        assert!(matches!(refused, Err(UpError::Name(_))), "{name}");
    }
    let mut options = world.options("many");
    options.nodes = 17;
    assert!(matches!(stead_lab::up(&options, &mut |_| {}), Err(UpError::Nodes(17))));
    let unknown = stead_lab::down(&world.home(), Some("unknown")).unwrap_err();
    assert!(unknown.to_string().contains("no lab `unknown`"), "{unknown}");
}
