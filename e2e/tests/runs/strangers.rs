//! Somebody else answers for a cluster address: a stranger on the client's network before a
//! planned move, and a former owner whose kernel still answers.

use e2e::{has_ip, other, rounds, until, witness};
use stead_lab::{Network, Station, boot_ns};
use stead_model::NodeId;
use stead_model::record::Record;

use crate::stage::{Place, Stage};

/// The client takes an address or gives it back, with the host's `ip`.
fn client(stage: &Stage, verb: &str) {
    let address = format!("{}/32", stage.site.address());
    let ip = ["lab", "exec", "client", "--", "ip", "address", verb, &address, "dev", "eth1"];
    let said = stage.world.stead(&ip);
    assert_eq!(said.code, 0, "{}{}", said.out, said.err);
}

#[test]
fn stranger_with_the_address_stops_a_planned_move() {
    if !has_ip("a stranger could take an address") {
        return;
    }
    let stage = Stage::set("stranger");
    for round in 0..rounds() {
        let place = if round % 2 == 0 { Place::Leader } else { Place::Follower };
        let owner = place.of(stage.arrange(place));
        let (epoch, target) = (stage.epoch(owner), other(owner).to_string());
        let from_ns = boot_ns();
        client(&stage, "add");
        let said = stage.world.stead(&["group", "move", "web", "--to", &target, "--wait"]);
        client(&stage, "delete");
        assert_eq!(said.code, 1, "{}{}", said.out, said.err);
        let address = stage.site.address().to_string();
        let names = said.err.contains(&address) && said.err.contains("stranger with MAC");
        assert!(names && said.err.contains("hint:"), "{}", said.err);
        stage.world.online(&stage.site.group, owner);
        assert_eq!(stage.epoch(owner), epoch, "it was stopped");
        stage.answers(owner, boot_ns());
        let stays = witness::stays(&stage.world, &stage.site, from_ns);
        assert!(stays.iter().all(|stay| stay.node == owner), "{stays:?}");
        // With the stranger gone the same move is made, whoever else answers in the cluster.
        stage.world.place(&stage.site.group, other(owner));
    }
    witness::one_at_a_time(&stage.world, &stage.site, 0);
}

fn notices(stage: &Stage, node: NodeId) -> Vec<Record> {
    let records = stage.world.records(node).into_iter();
    let stale = |r: &Record| r.code == "resource-notice" && r.text.contains("stale owner");
    records.filter(stale).collect()
}

/// The kernel of a former owner still answers: there the address is on another interface, too,
/// where stead does not look after it.
#[test]
fn stale_owner_that_answers_is_told_and_the_address_stays() {
    if !has_ip("a former owner could keep an address") {
        return;
    }
    let stage = Stage::set("stale-owner");
    let owner = other(stage.arrange(Place::Follower).leads);
    let heir = other(owner);
    let before = notices(&stage, heir).len();
    let (name, address) = (owner.to_string(), format!("{}/32", stage.site.address()));
    let ip = ["lab", "exec", &name, "--", "ip", "address", "add", &address, "dev", "lo"];
    let said = stage.world.stead(&ip);
    assert_eq!(said.code, 0, "{}{}", said.out, said.err);
    stage.world.place(&stage.site.group, heir);
    until("the heir notices", || notices(&stage, heir).len() > before);
    let said = notices(&stage, heir).pop().map(|r| r.text).unwrap();
    let mac = Station::Node(owner).mac(Network::Public).to_string();
    assert!(said.contains(&mac), "{said}, and {owner} has {mac}");
    let epoch = stage.epoch(heir);
    let _ = e2e::Roles::settled(&stage.world);
    assert_eq!(stage.epoch(heir), epoch, "the address did not stay");
}
