//! Keys that follow others whatever dies meanwhile (decision 0037): no promise is broken, and in
//! the end every node has the new ones.

use stead_sim::run::{self, run};
use stead_sim::script::parse;
use stead_sim::trace::Detail;
use stead_sim::world::Setup;

/// A rotation takes 3 to 10 ms with nodes alone, and up to half a second with a quorum disk.
fn script(head: &str, nodes: u16, death: &str, at_ms: u64) -> String {
    let end = |node| format!("at 14s expect n{node} seals 1\nat 14s expect n{node} has-lease\n");
    let ends: String = (1..=nodes).map(end).collect();
    let back = match death.strip_prefix("crash ") {
        Some(node) => format!("at 6s power {node}\n"),
        None => String::new(),
    };
    format!(
        "{head}\ngroup web on n1\nresource app generic-application in web\nat 3s rotate-keys\n\
         at {at_ms}ms {death}\n{back}{ends}end 15s\n"
    )
}

fn keeps_its_promises(text: &str, seed: u64) {
    let script = parse(text).expect("the script reads");
    let (plan, detail) = (script.plan(), Detail::Story);
    let outcome = run(Setup { seed, plan, planted: None, detail, script: Some(script) });
    let story = outcome.story.join("\n");
    assert!(outcome.violation.is_none(), "seed {seed}\n{text}\n{:?}\n{story}", outcome.violation);
}

#[test]
fn whoever_dies_in_whatever_phase_all_nodes_end_with_the_new_keys() {
    run::silence_panics();
    let clusters = [
        ("cluster 3 majority standard", 3, &[3000, 3001, 3002, 3003, 3005, 3008][..]),
        ("cluster 2 disk standard", 2, &[3001, 3003, 3006, 3012, 3030, 3100, 3300][..]),
        ("cluster 3 disk standard", 3, &[3002, 3004, 3008, 3020, 3200][..]),
        ("cluster 2 disk-only standard", 2, &[3002, 3005, 3010, 3040, 3200][..]),
    ];
    let mut seed = 0;
    for (head, nodes, moments) in clusters {
        for at_ms in moments {
            for node in 1..=nodes {
                for death in ["service-dies", "crash"] {
                    seed += 1;
                    let text = script(head, nodes, &format!("{death} n{node}"), *at_ms);
                    keeps_its_promises(&text, seed);
                }
            }
        }
    }
}
