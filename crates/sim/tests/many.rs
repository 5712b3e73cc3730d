//! Many nodes: what happens to one of them hurts nobody else (D1).

use stead_sim::run::run;
use stead_sim::script::parse;
use stead_sim::trace::Detail;
use stead_sim::world::Setup;

/// 28 nodes, a group on each of six.
const SCRIPT: &str = "\
cluster 28 majority standard
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
at 7s call victim owner:b
at 7s crash victim
at 12s expect a on n1
at 12s expect c on n9
at 12s expect d on n14
at 12s expect e on n21
at 12s expect f on n28
at 13s power victim
at 20s expect victim has-lease
end 21s
";

#[test]
fn d1_one_of_28_nodes_dies_and_nobody_else_is_hurt() {
    let script = parse(SCRIPT).unwrap();
    let plan = script.plan();
    let detail = Detail::Story;
    let outcome = run(Setup { seed: 1, plan, planted: None, detail, script: Some(script) });
    assert!(outcome.violation.is_none(), "{:?}", outcome.violation);
    let hurt = ["lease-lost", "hard-stop", "self-fence", "group-stopped"];
    let hurt = outcome.story.iter().filter(|line| hurt.iter().any(|code| line.contains(code)));
    let hurt: Vec<&String> = hurt.filter(|line| !line.contains(" n5 ")).collect();
    assert_eq!(hurt, Vec::<&String>::new(), "somebody else was hurt");
    let mut granted = outcome.story.iter();
    let last = granted.rfind(|line| line.contains("group-granted: group b: owner")).unwrap();
    assert!(!last.contains("owner n5,") && last.contains("lease of n5 ended"), "{last}");
}
