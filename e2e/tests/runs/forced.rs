//! Two of three nodes are lost for good: quorum is forced on the one that is left, which missed
//! what the others agreed on last; those that come back take its history over (R13).

use std::fs;

use e2e::story::{About, first};
use e2e::{ONE, Site, TWO, World, tell, until, wait, witness};
use stead_lab::{Station, boot_ns};
use stead_model::NodeId;
use stead_model::config::QuorumMode;
use stead_model::record::Record;
use stead_model::request::Request;

const THREE: NodeId = NodeId(3);
/// What the administrator confirms with is the name of the cluster.
const FORCE: [&str; 4] = ["--node", "n3", "node", "force-quorum"];

/// Half a minute of it is the wait for the longest lease that there can be.
#[test]
fn forced_quorum_goes_on_and_whoever_comes_back_takes_it_over() {
    let world = World::with("forced", |options| {
        options.nodes = 3;
        options.quorum = Some(QuorumMode::NodeMajority);
    });
    let site = Site::new("web", 100);
    site.create(&world, ONE);
    let epoch = world.group(ONE, &site.group).epoch;
    world.crash(THREE);
    let value = Some("missed".to_owned());
    world.ask(&Request::SetKey { key: "agreed".into(), value });
    for node in [TWO, ONE] {
        world.crash(node);
    }
    world.start(THREE);
    let off_ns = boot_ns();
    forces(&world, off_ns);
    let seen = world.taken_over(&site.group, THREE);
    assert!(seen.epoch > epoch, "{:?} after {epoch:?}", seen.epoch);
    let mark = first(&world, THREE, off_ns, About { code: "quorum-forced", group: None });
    tell(&format!("{} s after all were off: {mark}", (mark.boot_ns - off_ns) / 1_000_000_000));
    let status = world.stead(&["--node", "n3", "status"]).out;
    assert!(status.contains("forced on n3"), "{status}");

    // Both at once: without the one that was forced they are a majority of what was.
    let back_ns = boot_ns();
    for node in [ONE, TWO] {
        world.start(node);
    }
    for node in [ONE, TWO] {
        takes_over(&world, node, back_ns);
    }
    until("all are back, and nobody speaks of force any more", || {
        [ONE, TWO, THREE].into_iter().all(|node| {
            let seen = world.cluster().view(node);
            seen.is_ok_and(|v| v.quorum.voters.len() == 3 && v.quorum.forced.is_none())
        })
    });
    world.online(&site.group, THREE);
    let stays = witness::one_at_a_time(&world, &site, 0);
    let nodes: Vec<NodeId> = stays.iter().map(|stay| stay.node).collect();
    assert_eq!(nodes, [ONE, THREE], "who came back ran what it had: {stays:?}");
    world.crash(THREE);
    until("one of those that came back serves it", || {
        let seen = world.group(ONE, &site.group);
        seen.state.word() == "online" && seen.owner.is_some_and(|owner| owner != THREE)
    });
    witness::one_at_a_time(&world, &site, 0);
}

/// Whoever does not confirm is told what would be lost, and nothing is done.
fn forces(world: &World, off_ns: u64) {
    wait("the log is read", || {
        let view = world.cluster().view(THREE).map_err(|error| error.to_string())?;
        if view.quorum.voters.len() == 3 { Ok(()) } else { Err("it is not".into()) }
    });
    for confirmed in [None, Some("another")] {
        let words: Vec<&str> = FORCE.into_iter().chain(confirmed).collect();
        let asked = world.stead(&words);
        assert_eq!(asked.code, 1, "{}{}", asked.out, asked.err);
        let lost = ["n1", "n2"].iter().all(|node| asked.err.contains(&format!("{node} ")));
        assert!(lost && asked.err.contains("given up"), "{}", asked.err);
    }
    assert!(world.view(THREE).quorum.forcing.is_none(), "it was not confirmed");
    let cluster = world.view(THREE).cluster;
    let words: Vec<&str> = FORCE.into_iter().chain([cluster.as_str()]).collect();
    let forced = world.stead(&words);
    assert_eq!(forced.code, 0, "{}{}", forced.out, forced.err);
    let _ = first(world, THREE, off_ns, About { code: "quorum-forcing", group: None });
}

/// A node that is back has the forced history, and put aside what only it had.
fn takes_over(world: &World, node: NodeId, back_ns: u64) {
    let _ = first(world, node, back_ns, About { code: "history-begins", group: None });
    let given_up = first(world, node, back_ns, About { code: "history-given-up", group: None });
    let lib = world.lab().record().dirs.station(&Station::Node(node).name()).join("lib");
    let kept = fs::read_to_string(lib.join("given-up-1.txt")).unwrap();
    assert!(kept.contains("agreed"), "{given_up}: {kept}");
    let own: Vec<Record> = world.records(node);
    let ran = own.iter().find(|r| r.boot_ns >= back_ns && r.code == "group-online");
    assert!(ran.is_none(), "{node} ran something: {ran:?}");
}
