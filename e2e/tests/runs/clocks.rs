//! Somebody sets the wall clock of a node, and nothing happens: the scenario `network/clock-jump`
//! with real processes.

use e2e::processes::{self, Role};
use e2e::{other, tell, until, wait, wall_clock, witness};
use rustix::process::Signal;
use stead_lab::boot_ns;
use stead_model::NodeId;

use crate::stage::{Place, Stage, failed};

const HOUR_S: i64 = 3600;
/// Between the writing of a record and the look at it.
const LATE_S: i64 = 10;

/// an hour ahead, then two hours back, on the node that leads, hosts the quorum disk and
/// owns the group. The core of a node hears of its clock once a minute and when it starts: each
/// time its node service is started anew.
#[test]
fn clock_of_the_leader_is_set_and_nothing_happens() {
    let stage = Stage::on(wall_clock::world("clocks"));
    let owner = stage.arrange(Place::Leader).leads;
    let heir = other(owner);
    let (epoch, begun_ns) = (stage.epoch(owner), boot_ns());
    for ahead_s in [HOUR_S, -HOUR_S] {
        wall_clock::set(&stage.world, owner, ahead_s);
        stage.writer.wait_more(10);
        restart_service(&stage, owner);
        tells_by(&stage, owner, ahead_s);
        tells_by(&stage, heir, 0);
        stage.writer.wait_more(10);
    }
    stage.adopted(owner);
    assert_eq!(stage.epoch(owner), epoch, "the group moved");
    let nor = ["stalled", "guard-stalled", "peer-not-trusted"];
    stage.world.assert_unharmed(&[owner, heir], begun_ns, &nor);
    let missed = failed(&stage.prober.attempts(), begun_ns);
    assert!(missed.is_empty(), "{} answers missed: {:?}", missed.len(), missed.first());
    let crashed_ns = stage.world.crash(owner);
    stage.world.taken_over(&stage.site.group, heir);
    stage.answers(heir, crashed_ns);
    stage.writer.wait_more(10);
    stage.world.start(owner);
    stage.arrange(Place::Leader);
    tells_by(&stage, owner, -HOUR_S);
    never_backward(&stage, heir);
    witness::one_at_a_time(&stage.world, &stage.site, 0);
}

/// Waits until a node's newest record is told by a clock that is ahead by so much.
fn tells_by(stage: &Stage, node: NodeId, ahead_s: i64) {
    wait(&format!("{node} tells the time of a clock {ahead_s} s ahead"), || {
        let records = stage.world.cluster().records(node, 0).map_err(|error| error.to_string())?;
        let newest = records.last().ok_or("it tells nothing")?;
        let told = wall_clock::ahead_s(newest.at);
        let late = ahead_s - told;
        if (0..LATE_S).contains(&late) { Ok(()) } else { Err(format!("{told} s: {newest}")) }
    });
}

/// Cluster time, as the changes of the log have it.
fn never_backward(stage: &Stage, seen_by: NodeId) {
    let records = stage.world.records(seen_by);
    let mut entries: Vec<_> = records.iter().filter_map(|record| record.entry).collect();
    entries.sort_by_key(|entry| (entry.index, entry.change));
    let times: Vec<_> = entries.iter().map(|entry| entry.at).collect();
    assert!(times.is_sorted(), "cluster time ran backward: {entries:?}");
    let newest = times.last().expect("changes");
    tell(&format!("cluster time is {} s ahead in the end", wall_clock::ahead_s(*newest)));
}

fn restart_service(stage: &Stage, node: NodeId) {
    let former = processes::find(&stage.world, node, Role::Service);
    processes::signal(former, Signal::TERM);
    until("another node service", || {
        let found = processes::all(&stage.world, node, Role::Service);
        found.first().is_some_and(|pid| *pid != former)
    });
}
