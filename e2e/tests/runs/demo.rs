//! A node loses power without a word; every role once. The other serves, in the right order, and
//! has all that was acknowledged.

use e2e::{Roles, other, program, rounds, story, tell, witness};
use stead_lab::boot_ns;
use stead_model::NodeId;

use crate::stage::{Place, Stage, failed};

#[test]
fn demo_owner_leads_and_hosts_the_disk() {
    let stage = Stage::set("demo-owner");
    for round in 0..rounds() {
        let roles = stage.arrange(Place::Leader);
        let from_ns = boot_ns();
        if round % 2 == 1 {
            ahead(&stage, roles);
        }
        takeover(&stage, roles.leads, from_ns);
    }
    witness::one_at_a_time(&stage.world, &stage.site, 0);
}

#[test]
fn demo_owner_is_neither() {
    let stage = Stage::set("demo-follower");
    for _ in 0..rounds() {
        let roles = stage.arrange(Place::Follower);
        takeover(&stage, other(roles.leads), boot_ns());
    }
    witness::one_at_a_time(&stage.world, &stage.site, 0);
}

#[test]
fn demo_leader_is_not_owner() {
    let stage = Stage::set("demo-leader");
    for _ in 0..rounds() {
        let roles = stage.arrange(Place::Follower);
        let owner = other(roles.leads);
        let epoch = stage.epoch(owner);
        let cut_ns = stage.world.crash(roles.leads);
        stage.writer.wait_more(50);
        stage.writer.served_by(&stage.world, owner);
        assert_eq!(stage.epoch(owner), epoch, "the group of a healthy node moved");
        stage.world.start(roles.leads);
        let missed = failed(&stage.prober.attempts(), cut_ns);
        assert!(missed.is_empty(), "{} answers missed: {:?}", missed.len(), missed.first());
    }
    let stays = witness::one_at_a_time(&stage.world, &stage.site, 0);
    tell(&format!("{} stays of the witness", stays.len()));
}

/// The command itself, with a web server of this host if there is one.
#[test]
fn demo_by_command() {
    let home = tempfile::tempdir().unwrap();
    let said = program::stead(home.path(), &["lab", "demo", "--json"]);
    assert_eq!(said.code, 0, "{}", said.err);
    let report: serde_json::Value = serde_json::from_str(&said.out).unwrap();
    let run = &report["runs"][0];
    let ms = |name: &str| run[name].as_f64().unwrap_or_else(|| panic!("{name} in {run}"));
    assert!(ms("detect_ms") < ms("decide_ms") && ms("decide_ms") < ms("online_ms"), "{run}");
    assert_ne!(run["owner_before"], run["owner_after"], "{run}");
    tell(&format!("{}: outage {} ms", report["web_server"], run["outage_ms"]));
}

/// Power cut of the owner, takeover by the other, power on. The trouble begins at `from_ns`.
fn takeover(stage: &Stage, crashed: NodeId, from_ns: u64) {
    let (world, survivor) = (&stage.world, other(crashed));
    let before = stage.epoch(crashed);
    let cut_ns = world.crash(crashed);
    world.heal();
    let group = world.taken_over(&stage.site.group, survivor);
    assert!(group.epoch.0 > before, "epoch {} after {before}", group.epoch);
    let answer = stage.answers(survivor, cut_ns);
    story::in_order(world, survivor, from_ns, &stage.site.group);
    story::chain(world, (survivor, crashed), &stage.site.group);
    stage.writer.served_by(world, survivor);
    stage.writer.wait_more(10);
    world.start(crashed);
    let ms = (answer.done_ns - cut_ns) / 1_000_000;
    tell(&format!("{crashed} lost power, {survivor} answered {ms} ms later"));
}

/// Forces the disk ahead of the survivor: what is acknowledged while it hears nothing is known to
/// the disk and to the node that will lose power, to nobody else.
fn ahead(stage: &Stage, roles: Roles) {
    let survivor = other(roles.leads);
    stage.world.split(roles.leads, survivor);
    let applied = stage.world.view(survivor).applied;
    stage.writer.wait_more(20);
    let acknowledged = stage.writer.acknowledged();
    let knows = stage.world.view(survivor).applied;
    assert!(knows.0 < acknowledged.index, "{survivor} is not behind: {applied}, {knows}");
}
