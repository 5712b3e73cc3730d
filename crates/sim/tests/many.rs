//! Many nodes: what happens to one of them hurts nobody else (D1).

#![expect(clippy::unwrap_used, reason = "a test fails by a panic")]

use stead_sim::run::run;
use stead_sim::script::parse;
use stead_sim::trace::Detail;
use stead_sim::world::Setup;

/// Many nodes, a group on each of six, and a victim.
const SCRIPT: &str = "\
cluster NODES majority standard
group a on n1
resource one dummy in a
group b on n5
resource two dummy in b
group c on n9
resource three dummy in c
group d on n14
resource four dummy in d
group e on n21
resource five dummy in e
group f on n28
resource six dummy in f
at 6s expect b on n5
at 7s call victim WHO
at 7s crash victim
at 13s power victim
at 20s expect victim has-lease
end 21s
";

/// Where the groups of the others are after the victim, which had one of n5, died.
const OTHERS: &str = "\
at 12s expect a on n1
at 12s expect c on n9
at 12s expect d on n14
at 12s expect e on n21
at 12s expect f on n28
";

/// One of so many nodes dies; gives the groups that others got for that reason.
fn one_dies(nodes: u16, (who, others): (&str, &str), seed: u64) -> usize {
    let end = SCRIPT.find("at 13s").unwrap();
    let script = [&SCRIPT[..end], others, &SCRIPT[end..]].concat();
    let script = script.replace("NODES", &nodes.to_string()).replace("WHO", who);
    let script = parse(&script).unwrap();
    let plan = script.plan();
    let detail = Detail::Story;
    let outcome = run(Setup { seed, plan, planted: None, detail, script: Some(script) });
    assert!(outcome.violation.is_none(), "{who}, {seed}: {:?}", outcome.violation);
    let called = outcome.story.iter().find(|line| line.ends_with("is called victim")).unwrap();
    let victim = called.split_whitespace().nth(1).unwrap();
    let of_others = |line: &&String| line.split_whitespace().nth(1) != Some(victim);
    let hurt = ["lease-lost", "hard-stop", "self-fence", "group-stopped"];
    let hurt = outcome.story.iter().filter(|line| hurt.iter().any(|code| line.contains(code)));
    let hurt: Vec<&String> = hurt.filter(of_others).collect();
    assert_eq!(hurt, Vec::<&String>::new(), "{who}, {seed}: somebody else was hurt");
    let later = outcome.story.iter().skip_while(|line| *line != called).filter(of_others);
    let granted: Vec<&String> = later.filter(|line| line.contains("group-granted: ")).collect();
    let (back, why) = (format!("owner {victim},"), format!("lease of {victim} ended"));
    let fine = |line: &&String| !line.contains(&back) && line.contains(&why);
    assert!(granted.iter().all(fine), "{who}, {seed}: {granted:?}");
    granted.len()
}

#[test]
fn d1_one_of_28_nodes_dies_and_nobody_else_is_hurt() {
    for seed in 1..=3 {
        assert_eq!(one_dies(28, ("owner:b", OTHERS), seed), 1, "seed {seed}");
        assert!(one_dies(28, ("leader", ""), seed) <= 1, "seed {seed}");
    }
}

/// As many as a cluster can have.
#[test]
fn a033_one_of_64_nodes_dies_and_nobody_else_is_hurt() {
    assert_eq!(one_dies(64, ("owner:b", OTHERS), 1), 1);
}

/// What the busiest node, the leader, sends in three idle seconds to each of the others. The
/// nodes were switched on at odd moments: left alone, each would ask for its lease at its own.
fn sent_to_each(nodes: usize) -> usize {
    let mut text = format!("cluster {nodes} majority standard\n");
    for node in 2..=nodes {
        let at = 5000 + node * 400;
        text += &format!("at {at}ms crash n{node}\n");
        text += &format!("at {}ms power n{node}\n", at + 300 + node * 37 % 200);
    }
    text += "end 16s\n";
    let script = parse(&text).unwrap();
    let plan = script.plan();
    let detail = Detail::Full;
    let outcome = run(Setup { seed: 1, plan, planted: None, detail, script: Some(script) });
    assert!(outcome.violation.is_none(), "{:?}", outcome.violation);
    let mut sent = vec![0; nodes + 1];
    for line in &outcome.lines {
        let mut words = line.split_whitespace();
        let (Some(at), Some(node)) = (words.next(), words.next()) else { continue };
        let sends = words.next() == Some("->") && words.next() == Some("to");
        if sends && at.parse::<f64>().is_ok_and(|at| at >= 13.0) {
            sent[node[1..].parse::<usize>().unwrap()] += 1;
        }
    }
    sent.into_iter().max().unwrap() / (nodes - 1)
}

#[test]
fn a_leader_sends_each_of_many_nodes_about_as_much_as_each_of_few() {
    let (few, many) = (sent_to_each(3), sent_to_each(16));
    assert!(few > 0 && many <= few * 3 / 2, "{few} to each of 2, {many} to each of 15");
}
