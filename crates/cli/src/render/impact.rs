//! What goes offline with a resource, and how available groups are.

use stead_api::availability::Statement;
use stead_api::tree::Impact;

use super::Table;

/// What goes offline if a resource goes, in order; what stays; what follows if it fails.
pub(crate) fn impact(impact: &Impact) -> String {
    let Impact { resource, group, offline, stays, failure } = impact;
    let all = offline.len() + stays.len();
    let mut text = format!(
        "if `{resource}` goes offline, {} of the {all} resources of group `{group}` go, in this \
         order:\n",
        offline.len(),
    );
    offline.iter().for_each(|id| text.push_str(&format!("  {id}\n")));
    if stays.is_empty() {
        text.push_str("nothing else of the group is left\n");
    } else {
        let stays: Vec<&str> = stays.iter().map(|id| id.as_str()).collect();
        text.push_str(&format!("not touched: {}\n", stays.join(", ")));
    }
    text.push_str(&format!("if it fails, {failure}\n"));
    text
}

/// How available each group is.
pub(crate) fn availability(statements: &[Statement]) -> String {
    let mut table = Table::new(&["GROUP", "AVAILABILITY", "TAKEN OVER BY", "WHY"]);
    for Statement { group, availability, spares, why } in statements {
        let spares: Vec<String> = spares.iter().map(ToString::to_string).collect();
        let spares = if spares.is_empty() { "-".to_owned() } else { spares.join(", ") };
        table.row(vec![group.to_string(), availability.words().into(), spares, why.clone()]);
    }
    table.text_or("no groups")
}
