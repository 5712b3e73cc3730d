//! Machines: on, off, without power, frozen, and restarted by their PID 1.

use std::io::{BufRead, BufReader};
use std::process::Stdio;
use std::time::Duration;

use stead_lab::{ExecError, Lab, Power, Station};
use stead_model::NodeId;

use crate::Case;
use crate::world::{ONE, PATIENCE, Probe, TWO, World, until};

pub(crate) const CASES: &[Case] = &[
    ("a_machine_has_places_of_its_own", a_machine_has_places_of_its_own),
    ("a_crash_says_nothing_and_keeps_the_disk", a_crash_says_nothing_and_keeps_the_disk),
    ("a_clean_stop_ends_by_itself", a_clean_stop_ends_by_itself),
    ("a_frozen_machine_does_nothing", a_frozen_machine_does_nothing),
    ("a_hung_machine_answers_nothing", a_hung_machine_answers_nothing),
    (
        "a_hung_machine_gets_its_frames_when_it_goes_on",
        a_hung_machine_gets_its_frames_when_it_goes_on,
    ),
    ("pid_1_restarts_what_it_runs_but_not_for_ever", pid_1_restarts_what_it_runs_but_not_for_ever),
    ("commands_keep_their_exit_codes", commands_keep_their_exit_codes),
];

fn a_machine_has_places_of_its_own(world: &World) {
    let lab = world.up("own");
    let look = |node, path: &str| {
        let output = lab.run(Station::Node(node), &["look", path]);
        assert!(output.status.success(), "no {path} in {node}");
        String::from_utf8(output.stdout).unwrap()
    };
    let own = ["/run", "/tmp", "/dev/shm", "/proc", "/etc/stead/cluster.json", "/var/lib/stead"];
    for path in own {
        assert_ne!(look(ONE, path), look(TWO, path), "{path}");
    }
    for shared in ["/usr/bin/env", "/etc/passwd"] {
        assert_eq!(look(ONE, shared), look(TWO, shared), "{shared}");
    }
    if lab.record().quorum_served {
        assert_ne!(look(ONE, "/dev/stead/quorum"), look(TWO, "/dev/stead/quorum"));
    } else {
        let file = "/var/lib/stead-quorum/disk";
        assert_eq!(look(ONE, file), look(TWO, file));
    }
    let key = look(ONE, "/etc/stead/cluster.key");
    assert!(key.ends_with(" 600 32\n"), "{key}");
    let config = std::fs::read(lab.disk(TWO).join("etc/cluster.json")).unwrap();
    let config: stead_model::config::NodeConfig = serde_json::from_slice(&config).unwrap();
    assert_eq!((config.node, config.nodes.len()), (TWO, 2));
    let name = lab.command(Station::Node(TWO), &["hostname"]).unwrap().output().unwrap();
    assert_eq!(String::from_utf8_lossy(&name.stdout).trim(), "node2");
    assert!(!lab.in_node(ONE, &["look", "/run/lab/bin/../../../.host/run/stead-lab/none"]));
}

fn lives(lab: &Lab, node: NodeId) -> usize {
    std::fs::read_to_string(lab.disk(node).join("lib/lives")).unwrap().lines().count()
}

fn a_crash_says_nothing_and_keeps_the_disk(world: &World) {
    let lab = world.up("crash");
    let words = ["stead", crate::stand_in::SUBCOMMAND, "hold", "10.77.1.1"];
    let mut holder = lab.command(Station::Node(TWO), &words).unwrap();
    let mut holder = holder.stdout(Stdio::piped()).spawn().unwrap();
    let mut said = BufReader::new(holder.stdout.take().unwrap()).lines();
    assert_eq!(said.next().unwrap().unwrap(), "connected");

    let cut_ns = lab.crash(ONE).unwrap();
    let done_ns = stead_lab::boot_ns();
    assert_eq!(said.next().unwrap().unwrap(), "silent", "the connection was closed");
    holder.wait().unwrap();
    let last = lab.stamps(ONE).last().unwrap().boot_ns;
    assert!(last < done_ns, "stamped {} ns after the crash", last - done_ns);
    println!("  power cut took {:.1} ms", (done_ns - cut_ns) as f64 / 1e6);
    assert!(!lab.reaches(TWO, "10.77.1.1"));
    assert!(matches!(lab.exec(Station::Node(ONE), &["true".into()]), Err(ExecError::Off(_))));
    assert!(lab.crash(ONE).unwrap_err().to_string().contains("it is off"));

    lab.start(ONE).unwrap();
    until("node1 is back", || lab.reaches(TWO, "10.77.1.1"));
    assert_eq!(lives(&lab, ONE), 2);
    let status = lab.status().unwrap();
    assert_eq!((status.nodes[0].boots, status.nodes[1].boots), (2, 1));
    assert_eq!(status.nodes[0].power, Power::On);
}

fn a_clean_stop_ends_by_itself(world: &World) {
    let lab = world.up("stop");
    lab.stop(TWO).unwrap();
    let status = lab.status().unwrap();
    assert_eq!((status.nodes[1].power, status.nodes[1].pid), (Power::Off, None));
    assert_eq!(status.nodes[1].trouble, None);
    assert!(!lab.reaches(ONE, "10.77.2.2"));
    lab.start(TWO).unwrap();
    until("node2 is back", || lab.reaches(ONE, "10.77.2.2"));
    assert_eq!(lives(&lab, TWO), 2);
}

fn a_frozen_machine_does_nothing(world: &World) {
    let lab = world.up("freeze");
    lab.freeze(ONE).unwrap();
    let frozen_ns = stead_lab::boot_ns();
    assert!(!lab.reaches(TWO, "10.77.1.1"));
    let last = lab.stamps(ONE).last().unwrap().boot_ns;
    assert!(last < frozen_ns, "stamped {} ns after the freeze", last - frozen_ns);
    assert_eq!(lab.status().unwrap().nodes[0].power, Power::Frozen);
    // Its kernel still completes connections.
    let held = lab.run(Station::Node(TWO), &["hold", "10.77.1.1"]);
    assert!(String::from_utf8_lossy(&held.stdout).starts_with("connected"));

    lab.thaw(ONE).unwrap();
    until("node1 answers again", || lab.reaches(TWO, "10.77.1.1"));
    until("node1 stamps again", || lab.stamps(ONE).last().unwrap().boot_ns > frozen_ns);
    assert_eq!(lives(&lab, ONE), 1, "it was restarted instead of thawed");
    lab.freeze(ONE).unwrap();
    lab.crash(ONE).unwrap();
    lab.start(ONE).unwrap();
    until("node1 is back after a crash while frozen", || lab.reaches(TWO, "10.77.1.1"));
}

fn a_hung_machine_answers_nothing(world: &World) {
    let lab = world.up("hang");
    lab.hang(TWO).unwrap();
    assert_eq!(lab.status().unwrap().nodes[1].power, Power::Hung);
    let ping = ["sh", "-c", "exec 3<>/dev/tcp/10.77.1.2/80"];
    let words = ["timeout", "1", "bash", "-c", ping[2]];
    let connected = lab.command(Station::Node(ONE), &words).unwrap();
    let mut connected = connected;
    assert!(!connected.stderr(Stdio::null()).status().unwrap().success());
    lab.heal().unwrap();
    assert!(!lab.reaches(ONE, "10.77.1.2"), "heal is for cables");
    lab.thaw(TWO).unwrap();
    until("node2 answers again", || lab.reaches(ONE, "10.77.1.2"));
    lab.hang(TWO).unwrap();
    lab.crash(TWO).unwrap();
    lab.start(TWO).unwrap();
    until("node2 is back after a crash while hung", || lab.reaches(ONE, "10.77.1.2"));
}

/// What was meant for a hung machine reaches it when it goes on, in its order; what a cut keeps
/// away is not kept either.
fn a_hung_machine_gets_its_frames_when_it_goes_on(world: &World) {
    let lab = world.up("held");
    let heard = || std::fs::read_to_string(lab.disk(TWO).join("witness/heard")).unwrap_or_default();
    until("node1 knows node2", || lab.reaches(ONE, "10.77.1.2"));
    lab.hang(TWO).unwrap();
    for word in ["one", "two", "three"] {
        assert!(lab.in_node(ONE, &["say", "10.77.1.2", word]));
    }
    let (from, to) = (Station::Node(ONE), Station::Node(TWO));
    let direction = stead_lab::Direction::OneWay;
    lab.cut(stead_lab::CutSpec::Pair { from, to, direction, network: None }).unwrap();
    assert!(lab.in_node(ONE, &["say", "10.77.1.2", "cut"]));
    lab.heal().unwrap();
    assert!(lab.in_node(ONE, &["say", "10.77.1.2", "four"]));
    assert!(!heard().contains("one"), "it heard while it hung");
    lab.thaw(TWO).unwrap();
    until("node2 heard all", || heard().contains("four"));
    let words = heard();
    let words: Vec<&str> = words.lines().filter(|word| *word != "?").collect();
    assert_eq!(words, ["one", "two", "three", "four"]);
    until("node2 answers again", || lab.reaches(ONE, "10.77.1.2"));
}

fn pid_1_restarts_what_it_runs_but_not_for_ever(world: &World) {
    let lab = world.up("restart");
    let before = lab.pid(ONE);
    for ends in 1..=4 {
        kill_stand_in(&lab, ends);
        until("it is started again", || lives(&lab, ONE) == ends + 1);
        assert_eq!(lab.status().unwrap().nodes[0].guard_restarts as usize, ends);
    }
    kill_stand_in(&lab, 5);
    lab.wait_power(ONE, Power::Failed, PATIENCE).unwrap();
    let status = lab.status().unwrap();
    let trouble = status.nodes[0].trouble.clone().unwrap();
    assert!(trouble.contains("stand-in node") && trouble.contains("SIGKILL"), "{trouble}");
    assert_eq!(lab.pid(ONE), before, "PID 1 stays");
    assert_eq!(status.nodes[1].guard_restarts, 0);
    lab.stop(ONE).unwrap();
    lab.start(ONE).unwrap();
    until("node1 is back", || lab.reaches(TWO, "10.77.1.1"));
}

/// Kills the stand-in, found by the port it listens on being answered by it alone.
fn kill_stand_in(lab: &Lab, time: usize) {
    until("the stand-in runs", || {
        std::thread::sleep(Duration::from_millis(time as u64));
        let pid1 = lab.pid(ONE);
        let children = std::fs::read_to_string(format!("/proc/{pid1}/task/{pid1}/children"));
        let children = children.unwrap_or_default();
        let mut children = children.split_whitespace().filter_map(|pid| pid.parse::<i32>().ok());
        let child = children.next().and_then(rustix::process::Pid::from_raw);
        child.is_some_and(|pid| {
            rustix::process::kill_process(pid, rustix::process::Signal::KILL).is_ok()
        })
    });
}

fn commands_keep_their_exit_codes(world: &World) {
    let lab = world.up("exec");
    for station in [Station::Node(ONE), Station::Client] {
        let exit = |code: &str| {
            let words = ["stead", crate::stand_in::SUBCOMMAND, "exit", code];
            lab.exec(station, &words.map(Into::into)).unwrap()
        };
        assert_eq!((exit("0"), exit("7")), (0, 7));
        let killed = ["sh", "-c", "kill -9 $$"].map(Into::into);
        assert_eq!(lab.exec(station, &killed).unwrap(), 128 + 9);
    }
    let stranger = lab.exec(Station::Node(NodeId(3)), &["true".into()]);
    assert!(matches!(stranger, Err(ExecError::Off(_))));
}
