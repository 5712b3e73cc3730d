//! Which crate may depend on which: one table, compared with what the manifests declare.
//!
//! The arrows of ARCHITECTURE.md. A new edge, or a new crate, needs a decision record and a line
//! here; that is the point of the table.

use std::collections::BTreeSet;

use super::Finding;
use crate::metadata::{Declared, Kind, Metadata, Package};

/// A crate and what of this workspace it may be built from.
const EDGES: &[(&str, &[&str])] = &[
    ("stead-model", &[]),
    ("stead-journal", &["stead-model"]),
    ("stead-core", &["stead-model", "stead-journal"]),
    ("stead-advise", &["stead-model", "stead-core"]),
    ("stead-guard", &["stead-model", "stead-netlink"]),
    ("stead-netlink", &["stead-model"]),
    ("stead-resmon", &["stead-model", "stead-netlink", "stead-resource-sdk"]),
    ("stead-resource-sdk", &[]),
    ("stead-trust", &["stead-model"]),
    ("stead-api", &["stead-model"]),
    (
        "stead-node",
        &[
            "stead-model",
            "stead-core",
            "stead-journal",
            "stead-api",
            "stead-guard",
            "stead-netlink",
            "stead-advise",
            "stead-trust",
        ],
    ),
    (
        "stead-lab",
        &[
            "stead-model",
            "stead-journal",
            "stead-core",
            "stead-netlink",
            "stead-api",
            "stead-trust",
        ],
    ),
    (
        "stead-cli",
        &[
            "stead-model",
            "stead-api",
            "stead-guard",
            "stead-node",
            "stead-resmon",
            "stead-lab",
            "stead-advise",
            "stead-trust",
        ],
    ),
    ("stead-sim", &["stead-model", "stead-journal", "stead-core", "stead-guard"]),
    ("e2e", &["stead-model", "stead-api", "stead-lab", "stead-sim", "stead-trust"]),
    ("bench", &["stead-model", "stead-core", "stead-api", "stead-lab"]),
    ("raft-proto", &["protobuf"]),
    ("protobuf", &[]),
    ("fxhash", &[]),
    ("xtask", &[]),
];

/// What only tests of a crate may use on top.
const TEST_EDGES: &[(&str, &[&str])] = &[("stead-resmon", &["stead-guard"])];

/// Every declared edge between members that the table does not have, and members without a row.
pub(crate) fn check(metadata: &Metadata) -> Vec<Finding> {
    let members: BTreeSet<&str> = metadata.members().map(|member| member.name.as_str()).collect();
    metadata.members().flat_map(|member| of_member(member, &members)).collect()
}

fn of_member(member: &Package, members: &BTreeSet<&str>) -> Vec<Finding> {
    let Some(allowed) = row(EDGES, &member.name) else {
        let text = "a crate without a row in the table of edges: it needs a decision record";
        return vec![Finding::at(member.name.clone(), text)];
    };
    let inner = member.declared.iter().filter(|declared| members.contains(declared.name.as_str()));
    inner
        .filter(|declared| !is_allowed(&member.name, declared, allowed))
        .map(|declared| {
            let text = format!("may not depend on `{}`: see the table of edges", declared.name);
            Finding::at(member.name.clone(), text)
        })
        .collect()
}

fn is_allowed(member: &str, declared: &Declared, built: &[&str]) -> bool {
    let name = declared.name.as_str();
    let for_tests = || row(TEST_EDGES, member).is_some_and(|row| row.contains(&name));
    match declared.kind {
        Kind::Built => built.contains(&name),
        Kind::Test => built.contains(&name) || for_tests(),
    }
}

fn row<'a>(table: &[(&str, &'a [&'a str])], name: &str) -> Option<&'a [&'a str]> {
    table.iter().find(|(member, _)| *member == name).map(|(_, row)| *row)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metadata::tests::{package, workspace};

    #[test]
    fn the_simulator_may_not_see_the_node_service() {
        let metadata = workspace(vec![
            package("stead-sim", None, &[("stead-core", "normal"), ("stead-node", "normal")]),
            package("stead-core", None, &[]),
            package("stead-node", None, &[]),
        ]);
        let text = "may not depend on `stead-node`: see the table of edges";
        assert_eq!(check(&metadata), [Finding::at("stead-sim", text)]);
    }

    #[test]
    fn tests_are_held_to_the_table_too() {
        let metadata = workspace(vec![
            package("stead-model", None, &[("stead-core", "dev")]),
            package("stead-core", None, &[]),
        ]);
        assert_eq!(check(&metadata).len(), 1);
    }

    #[test]
    fn a_crate_without_a_row_is_found_and_packages_from_outside_are_not_ours() {
        let metadata = workspace(vec![
            package("stead-new", None, &[("serde", "normal")]),
            package("serde", Some("registry"), &[]),
        ]);
        let found = check(&metadata);
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].place, "stead-new");
    }

    #[test]
    fn the_table_has_no_cycle() {
        // Each row names only crates whose own rows come to an end within the table's length.
        fn depth(name: &str, left: usize) -> usize {
            assert!(left > 0, "a cycle through {name}");
            let row = row(EDGES, name).unwrap();
            row.iter().map(|next| depth(next, left - 1) + 1).max().unwrap_or(0)
        }
        for (name, _) in EDGES {
            depth(name, EDGES.len());
        }
    }
}
