//! Explanations.

use stead_api::contract::{Explanation, Placement, Timeouts};

use super::{Table, events, facts, groups};

/// Why a group is where it is.
pub(crate) fn explanation(told: &Explanation) -> String {
    let owner = told.owner.map_or_else(|| "nobody".to_owned(), |node| node.to_string());
    let mut lines = vec![
        ("group", told.group.to_string()),
        ("state", told.state.word().into()),
        ("owner", format!("{owner}, epoch {}", told.epoch)),
        ("why", told.why.clone()),
    ];
    lines.extend(groups::servers(&told.servers));
    lines.push(("safety", format!("{:?}, {}", told.safety, told.safety_why)));
    let mut text = facts(&lines);
    text.push_str(&placement(told));
    text.push_str("\nwhat led to it, as the nodes recorded it:\n\n");
    text.push_str(&events(&told.chain, &told.nodes));
    text
}

/// Why not elsewhere, and what happens next.
fn placement(told: &Explanation) -> String {
    let Placement { decides, next, places } = &told.placement;
    let mut text = String::new();
    for sentence in next {
        text.push_str(&format!("\nnext: {sentence}\n"));
    }
    if places.is_empty() {
        return text;
    }
    text.push_str(match decides {
        true => "\nwhere it may run, as the leader decides it, the best first:\n\n",
        false => {
            "\nwhere it may run, as this node sees it (the leader decides), the best first:\n\n"
        }
    });
    let mut table = Table::new(&["NODE", "PLACE", "WHY"]);
    for place in places {
        let owns = told.owner == Some(place.node);
        let fit = if owns { "owner".to_owned() } else { place.fit.word().to_owned() };
        table.row(vec![place.node.to_string(), fit, place.why.clone()]);
    }
    text.push_str(&table.text());
    text
}

/// All timeouts.
pub(crate) fn timeouts(told: &Timeouts) -> String {
    let mut text = facts(&[("profile", told.profile.clone()), ("priority", told.priority.clone())]);
    let mut table = Table::new(&["TIMEOUT", "MS", "FROM", "MEANING"]);
    for timeout in &told.timeouts {
        let (name, from) = (timeout.name.clone(), timeout.from.clone());
        table.row(vec![name, format!("{:.3}", timeout.ms), from, timeout.meaning.clone()]);
    }
    text.push('\n');
    text.push_str(&table.text());
    text
}
