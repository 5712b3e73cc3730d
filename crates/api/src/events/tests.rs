//! One list of what several nodes recorded: order, causes, and what is missing.

use super::*;
use stead_model::ResourceId;
use stead_model::record::Level;

/// A node and what it recorded, one record a line: number, wall clock in ms, code and, as they
/// are, `web` (the group), `<-N` (its cause), `@N` (an entry), `@N!` (the same where this node
/// led). An entry's cluster time is ten times its number.
fn told(node: u16, lines: &[&str]) -> NodeRecords {
    let records = Ok(lines.iter().map(|line| record(NodeId(node), line)).collect());
    NodeRecords { node: NodeId(node), name: format!("node{node}"), records }
}

fn record(node: NodeId, line: &str) -> Record {
    let mut words = line.split(' ');
    let number = words.next().unwrap().parse().unwrap();
    let mut record = Record {
        number,
        at: UtcMillis(words.next().unwrap().parse().unwrap()),
        boot_ns: 0,
        node,
        level: Level::Info,
        code: words.next().unwrap().into(),
        group: None,
        resource: None::<ResourceId>,
        text: String::new(),
        id: CauseId(number),
        cause: None,
        entry: None,
    };
    for word in words {
        if let Some(cause) = word.strip_prefix("<-") {
            record.cause = Some(CauseId(cause.parse().unwrap()));
        } else if let Some(entry) = word.strip_prefix('@') {
            let index: u64 = entry.trim_end_matches('!').parse().unwrap();
            let (index, at) = (LogIndex(index), UtcMillis(index * 10));
            record.entry = Some(OfEntry { index, change: 0, at, decided: entry.ends_with('!') });
        } else {
            record.group = Some(word.into());
        }
    }
    record
}

/// A list as lines: who tells what, and what caused it.
fn shown(all: &ClusterEvents) -> Vec<String> {
    let name = |name: &RecordName| name.to_string();
    let line = |event: &ClusterEvent| {
        let told: Vec<_> = event.told.iter().map(name).collect();
        let cause = event.cause.as_ref().map(|cause| format!(" <- {}", name(cause)));
        format!("{} {}{}", told.join(" "), event.record.code, cause.unwrap_or_default())
    };
    all.events.iter().map(line).collect()
}

/// n1 led and sees n3 die, n2 takes over.
fn failover(skew_ms: u64) -> Vec<NodeRecords> {
    let at = |ms: u64, rest: &str| {
        let (number, rest) = rest.split_once(' ').unwrap();
        format!("{number} {} {rest}", ms + skew_ms)
    };
    let two = [
        at(95, "4 changed @9"),
        at(108, "5 group-granted web <-4 @10"),
        at(130, "6 resource-online web <-5"),
        at(131, "7 group-online web <-5"),
    ];
    let two: Vec<&str> = two.iter().map(String::as_str).collect();
    let one = [
        "20 92 changed @9!",
        "21 98 suspected",
        "22 101 group-granted web <-21 @10!",
        "23 140 answers",
    ];
    vec![told(1, &one), told(2, &two)]
}

#[test]
fn what_a_node_ran_is_joined_with_what_the_leader_saw_whatever_the_clocks_say() {
    let expected = [
        "n1/20 n2/4 changed",
        "n1/21 suspected",
        "n1/22 n2/5 group-granted <- n1/21",
        "n2/6 resource-online <- n1/22",
        "n2/7 group-online <- n1/22",
        "n1/23 answers",
    ];
    assert_eq!(shown(&joined(failover(0))), expected);
    // A clock that is an hour ahead moves only what nothing but clocks orders.
    let mut ahead = expected.to_vec();
    ahead[3..].rotate_right(1);
    assert_eq!(shown(&joined(failover(3_600_000))), ahead);
    let names = |all: ClusterEvents| all.nodes.into_iter().map(|n| (n.node.0, n.kept));
    assert_eq!(names(joined(failover(0))).collect::<Vec<_>>(), [(1, 4), (2, 4)]);
}

#[test]
fn a_clock_behind_moves_nothing_before_the_change_that_it_follows() {
    let one = told(1, &["1 100 a @10!", "2 110 b @11!"]);
    let two = told(2, &["1 5 a @10", "2 6 x", "3 7 b @11", "4 8 y"]);
    let all = joined(vec![one, two]);
    assert_eq!(shown(&all), ["n1/1 n2/1 a", "n2/2 x", "n1/2 n2/3 b", "n2/4 y"]);
}

#[test]
fn a_node_that_catches_up_does_not_pull_what_it_saw_before_what_it_missed() {
    // n2 starts long after the change, reads it from the log, and names a cause of its own.
    let one = told(1, &["1 95 suspected", "2 101 group-granted web <-1 @10!"]);
    let two = told(2, &["7 500 interface-down", "8 501 group-granted web <-7 @10"]);
    let expected = ["n1/1 suspected", "n1/2 n2/8 group-granted <- n1/1", "n2/7 interface-down"];
    assert_eq!(shown(&joined(vec![two, one])), expected);
}

#[test]
fn the_failure_of_the_group_itself_explains_more_than_what_the_leader_saw_last() {
    let one = told(1, &["1 50 changed @5!", "2 101 group-released web <-1 @10!"]);
    let two = told(
        2,
        &["1 52 changed @5", "2 99 resource-gave-up web", "3 102 group-released web <-2 @10"],
    );
    let all = joined(vec![one, two]);
    assert_eq!(shown(&all)[2], "n2/3 n1/2 group-released <- n2/2");
}

#[test]
fn a_missing_node_and_a_forgotten_cause_are_told_and_the_rest_is_joined() {
    let mut all = failover(0);
    all[0].records = Err("it is silent".into());
    let all = joined(all);
    let expected = [
        "n2/4 changed",
        "n2/5 group-granted <- n2/4",
        "n2/6 resource-online <- n2/5",
        "n2/7 group-online <- n2/5",
    ];
    assert_eq!(shown(&all), expected);
    assert_eq!(all.nodes[0].missing.as_deref(), Some("it is silent"));
    // What the leader saw is not kept any more: that there was a cause is.
    let mut truncated = failover(0);
    truncated[0].records.as_mut().unwrap().drain(..2);
    let all = joined(truncated);
    let granted = all.events.iter().find(|e| e.record.code == "group-granted").unwrap();
    assert_eq!(granted.cause, Some(RecordName { node: NodeId(2), number: 4 }));
}

#[test]
fn changes_told_again_after_a_restart_are_told_once() {
    let one = told(1, &["1 101 a @10!", "2 300 started", "3 301 a @10", "4 302 b <-3 web"]);
    let two = told(2, &["1 101 a @10"]);
    let all = joined(vec![one, two]);
    assert_eq!(shown(&all), ["n1/1 n2/1 a", "n1/2 started", "n1/4 b <- n1/1"]);
}

#[test]
fn nodes_that_contradict_each_other_lose_nothing() {
    // As a change that only one of them kept, told again and with a later cause.
    let one = told(1, &["1 95 x", "2 120 b @12", "3 130 y", "4 140 a <-3 @10!"]);
    let two = told(2, &["1 96 a @10", "2 97 z", "3 98 b <-2 @12!"]);
    let all = joined(vec![one, two]);
    let mut names: Vec<_> = all.events.iter().flat_map(|event| &event.told).collect();
    names.sort();
    assert_eq!(names.len(), 7);
}

#[test]
fn a_chain_holds_what_is_about_a_group_and_what_caused_it_on_any_node() {
    let other = told(3, &["1 99 link-up", "2 150 db-thing db"]);
    let mut nodes = failover(0);
    nodes.push(other);
    let all = joined(nodes);
    let chain = about(all.clone(), &"web".into());
    let expected = [
        "n1/21 suspected",
        "n1/22 n2/5 group-granted <- n1/21",
        "n2/6 resource-online <- n1/22",
        "n2/7 group-online <- n1/22",
    ];
    assert_eq!(shown(&chain), expected);
    let few = last(all, 2);
    assert_eq!((few.events.len(), few.left_out), (2, 6));
}
