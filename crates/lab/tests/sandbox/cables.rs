//! Cables: cut one way, both ways, in one network, for one node, and mended.

use stead_lab::{CutSpec, Direction, Fault, Jitter, Lab, Network, Station, Swallows};
use stead_model::NodeId;

use crate::Case;
use crate::world::{ONE, Probe, TWO, World, until};

pub(crate) const CASES: &[Case] = &[
    ("both_ways_in_both_networks", both_ways_in_both_networks),
    ("one_way_leaves_the_other", one_way_leaves_the_other),
    ("a_node_is_cut_off_in_one_network", a_node_is_cut_off_in_one_network),
    ("a_cut_outlives_a_power_cut", a_cut_outlives_a_power_cut),
    ("large_packets_vanish_and_small_ones_pass", large_packets_vanish_and_small_ones_pass),
    ("frames_of_a_slow_cable_overtake_each_other", frames_of_a_slow_cable_overtake_each_other),
];

const A: Station = Station::Node(ONE);
const B: Station = Station::Node(TWO);

fn reached(lab: &Lab) -> [bool; 4] {
    let pairs = [(ONE, "10.77.1.2"), (ONE, "10.77.2.2"), (TWO, "10.77.1.1"), (TWO, "10.77.2.1")];
    pairs.map(|(from, address)| lab.reaches(from, address))
}

fn both_ways_in_both_networks(world: &World) {
    let lab = world.up("both");
    until("all are wired", || reached(&lab) == [true; 4]);
    let direction = Direction::BothWays;
    lab.cut(CutSpec::Pair { from: A, to: B, direction, network: None }).unwrap();
    assert_eq!(reached(&lab), [false; 4]);
    let client = |address| lab.run(Station::Client, &["ask", address]).status.success();
    assert!(client("10.77.2.1") && client("10.77.2.2"), "the client lost a node");
    assert_eq!(lab.status().unwrap().cuts, ["node1 and node2 from each other"]);
    lab.heal().unwrap();
    until("healed", || reached(&lab) == [true; 4]);
    assert!(lab.status().unwrap().cuts.is_empty());
}

fn one_way_leaves_the_other(world: &World) {
    let lab = world.up("oneway");
    // Both know each other's MAC.
    until("all are wired", || reached(&lab) == [true; 4]);
    let network = Some(Network::Private);
    let direction = Direction::OneWay;
    lab.cut(CutSpec::Pair { from: A, to: B, direction, network }).unwrap();
    assert!(lab.in_node(ONE, &["say", "10.77.1.2", "from-1"]));
    assert!(lab.in_node(TWO, &["say", "10.77.1.1", "from-2"]));
    until("node1 hears node2", || lab.heard(ONE, "from-2"));
    assert!(lab.in_node(ONE, &["say", "10.77.2.2", "public-from-1"]));
    until("node2 hears node1 in the other network", || lab.heard(TWO, "public-from-1"));
    assert!(!lab.heard(TWO, "from-1"), "node2 heard node1");
    let same = lab.cut(CutSpec::Pair { from: A, to: A, direction, network }).unwrap_err();
    assert!(same.to_string().contains("no cable to itself"), "{same}");
}

fn a_node_is_cut_off_in_one_network(world: &World) {
    let lab = world.up("station");
    until("all are wired", || reached(&lab) == [true; 4]);
    lab.cut(CutSpec::Station { station: B, network: Some(Network::Public) }).unwrap();
    assert_eq!(reached(&lab), [true, false, true, false]);
    assert!(!lab.run(Station::Client, &["ask", "10.77.2.2"]).status.success());
    assert!(lab.run(Station::Client, &["ask", "10.77.2.1"]).status.success());
    let stranger = CutSpec::Station { station: Station::Node(NodeId(3)), network: None };
    let refused = lab.cut(stranger).unwrap_err().to_string();
    assert!(refused.contains("node3") && refused.contains("no such node"), "{refused}");
}

fn large_packets_vanish_and_small_ones_pass(world: &World) {
    let lab = world.up("narrow");
    until("all are wired", || reached(&lab) == [true; 4]);
    let cut = CutSpec::Station { station: B, network: Some(Network::Private) };
    lab.fault(Fault { cut, swallows: Swallows::Above(600) }).unwrap();
    assert_eq!(reached(&lab), [true; 4]);
    let (large, small) = ("l".repeat(1000), "small");
    assert!(lab.in_node(ONE, &["say", "10.77.1.2", &large]));
    assert!(lab.in_node(ONE, &["say", "10.77.1.2", small]));
    until("node2 hears the small one", || lab.heard(TWO, small));
    assert!(!lab.heard(TWO, &large), "node2 heard the large one");
    let told = ["node2 from everybody in network private, packets above 600 bytes"];
    assert_eq!(lab.status().unwrap().cuts, told);
}

fn frames_of_a_slow_cable_overtake_each_other(world: &World) {
    let lab = world.up("slow");
    until("all are wired", || reached(&lab) == [true; 4]);
    assert!(in_order(&lab, "sound"));
    let slow = |up_to_ms| {
        let network = Some(Network::Private);
        lab.jitter(Jitter { station: B, network, up_to_ms }).unwrap();
    };
    slow(1);
    slow(250);
    let told = "node2 late by up to 250 ms in network private";
    assert_eq!(lab.status().unwrap().cuts.last().unwrap(), told);
    assert!(!in_order(&lab, "slow"), "nothing is overtaken");
    lab.hang(TWO).unwrap();
    assert!(lab.in_node(ONE, &["say", "10.77.1.2", "to-the-hung"]));
    lab.thaw(TWO).unwrap();
    until("what came meanwhile is delivered", || lab.heard(TWO, "to-the-hung"));
    assert!(!in_order(&lab, "thawed"), "nothing is overtaken after the thaw");
    lab.crash(TWO).unwrap();
    lab.start(TWO).unwrap();
    until("node2 is back", || lab.reaches(ONE, "10.77.2.2") && lab.reaches(ONE, "10.77.1.2"));
    assert!(!in_order(&lab, "anew"), "nothing is overtaken after a power cut");
    let cut = CutSpec::Station { station: B, network: Some(Network::Private) };
    lab.cut(cut).unwrap();
    assert_eq!(reached(&lab), [false, true, false, true], "a cut does not hold for a slow cable");
    lab.heal().unwrap();
    assert_eq!(reached(&lab), [true; 4]);
    assert!(in_order(&lab, "healed"));
    assert!(lab.status().unwrap().cuts.is_empty());
    let network = Some(Network::Private);
    let refused = lab.jitter(Jitter { station: Station::Client, network, up_to_ms: 1 });
    assert!(refused.unwrap_err().to_string().contains("slow down"));
}

/// Whether node2 hears what node1 says in the order in which it is said; all of it is heard.
fn in_order(lab: &Lab, word: &str) -> bool {
    let said: Vec<String> = (10..30).map(|number| format!("{word}-{number}")).collect();
    assert!(said.iter().all(|text| lab.in_node(ONE, &["say", "10.77.1.2", text])));
    let heard = || {
        let heard = std::fs::read_to_string(lab.witness_dir(TWO).join("heard")).unwrap();
        heard.lines().filter(|line| line.starts_with(word)).map(str::to_owned).collect::<Vec<_>>()
    };
    until("all is heard", || heard().len() == said.len());
    heard() == said
}

fn a_cut_outlives_a_power_cut(world: &World) {
    let lab = world.up("outlive");
    let direction = Direction::BothWays;
    let network = Some(Network::Private);
    lab.cut(CutSpec::Pair { from: A, to: B, direction, network }).unwrap();
    lab.crash(ONE).unwrap();
    lab.start(ONE).unwrap();
    until("node1 is back", || lab.reaches(TWO, "10.77.2.1") && lab.reaches(ONE, "10.77.2.2"));
    assert_eq!(reached(&lab), [false, true, false, true]);
}
