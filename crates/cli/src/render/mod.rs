//! Values as people read them: plain text, understandable without colour.

mod admins;
mod alerts;
mod attention;
mod audited;
mod cluster;
mod explained;
mod foreseen;
mod groups;
mod impact;
mod kinds;
mod labs;
mod moment;
mod networks;
mod nodes;
mod records;
mod table;
mod tree;

pub(crate) use admins::admins;
pub(crate) use alerts::{alert, alerts};
pub(crate) use attention::attention;
pub(crate) use audited::{audited, audited_line};
pub(crate) use cluster::{cluster_ip, status};
pub(crate) use explained::{explanation, timeouts};
pub(crate) use foreseen::foreseen;
pub(crate) use groups::{group, groups, resource, resources};
pub(crate) use impact::{availability, impact};
pub(crate) use kinds::{TypeEntry, group_properties, resource_type, resource_types, tested};
pub(crate) use labs::{demo, lab, labs};
pub(crate) use networks::{links, network, networks};
pub(crate) use nodes::{forced_loss, node, nodes, quorum};
pub(crate) use records::{events, record_line, records};
pub(crate) use table::Table;
pub(crate) use tree::{dot, tree};

/// `yes` or `no`.
const fn yes_no(is: bool) -> &'static str {
    if is { "yes" } else { "no" }
}

/// A name and a value per line, values below each other.
fn facts(facts: &[(&str, String)]) -> String {
    let width = facts.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
    facts.iter().map(|(name, value)| format!("{name:width$}  {value}\n")).collect()
}
