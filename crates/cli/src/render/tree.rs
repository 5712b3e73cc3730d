//! What depends on what, as a tree: at the top what nothing depends on, below it what it needs.

use std::collections::{BTreeMap, BTreeSet};

use stead_model::ResourceId;
use stead_model::view::{GroupView, ResourceView};

/// The dependencies of a group. What several resources need stands below each of them, and in
/// full only where it comes first.
pub(crate) fn tree(group: &GroupView) -> String {
    let state = group.state.word();
    let owner = group.owner.map_or_else(|| "nobody".to_owned(), |node| node.to_string());
    let mut drawing = Drawing {
        text: format!("{}  {state}, owned by {owner}\n", group.group),
        all: group.resources.iter().map(|r| (&r.resource, r)).collect(),
        drawn: BTreeSet::new(),
    };
    let needed: BTreeSet<&ResourceId> =
        group.resources.iter().flat_map(|r| &r.depends_on).collect();
    let tops = group.resources.iter().map(|r| &r.resource).filter(|id| !needed.contains(id));
    drawing.below("", &tops.collect::<Vec<_>>());
    drawing.text
}

/// The same as a graph for Graphviz: an arrow leads to what is needed.
pub(crate) fn dot(group: &GroupView) -> String {
    let mut text = format!("digraph \"{}\" {{\n  node [shape=box];\n", group.group);
    for resource in &group.resources {
        let (id, kind, state) = (&resource.resource, &resource.kind, resource.state.word());
        text.push_str(&format!("  \"{id}\" [label=\"{id}\\n{kind}, {state}\"];\n"));
    }
    for resource in &group.resources {
        let edge = |on: &ResourceId| format!("  \"{}\" -> \"{on}\";\n", resource.resource);
        text.extend(resource.depends_on.iter().map(edge));
    }
    text.push_str("}\n");
    text
}

struct Drawing<'a> {
    text: String,
    all: BTreeMap<&'a ResourceId, &'a ResourceView>,
    drawn: BTreeSet<&'a ResourceId>,
}

impl<'a> Drawing<'a> {
    fn below(&mut self, indent: &str, ids: &[&'a ResourceId]) {
        for (at, id) in ids.iter().enumerate() {
            let last = at + 1 == ids.len();
            let (branch, space) = if last { ("└─ ", "   ") } else { ("├─ ", "│  ") };
            let Some(resource) = self.all.get(id).copied() else { continue };
            let first = self.drawn.insert(id);
            let more = !first && !resource.depends_on.is_empty();
            let (kind, state) = (&resource.kind, resource.state.word());
            let above = if more { " (see above)" } else { "" };
            self.text.push_str(&format!("{indent}{branch}{id}  {kind}, {state}{above}\n"));
            if first {
                let needs: Vec<&ResourceId> = resource.depends_on.iter().collect();
                self.below(&format!("{indent}{space}"), &needs);
            }
        }
    }
}
