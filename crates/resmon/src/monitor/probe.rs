//! A look before a planned move: does a stranger have what a resource would need here?
//!
//! The resource runs elsewhere and is not started by this, so no seat is touched and the guard is
//! not asked. Whatever keeps a type from looking is no reason to hold the move up.

use stead_model::order::{Action, OnlineSpec, Outcome, ResourceOrder, ResourceReport};
use stead_model::wire::monitor::MonitorToNode;

use super::node_port::NodeLink;
use super::seat::{Desk, Troubled, in_thread};
use crate::resource_type::Context;
use crate::types;

/// Looks in a thread of its own and answers the order.
pub(super) fn begin(desk: &Desk, order: ResourceOrder, link: NodeLink) {
    let ResourceOrder { order, group, resource, epoch, action, .. } = order;
    let Action::Probe(spec) = action else { return };
    let context = desk.apart(&spec);
    let tell = move |outcome| {
        let (group, resource) = (group.clone(), resource.clone());
        let report = ResourceReport { order, group, resource, epoch, outcome };
        link.send(MonitorToNode::Report(report));
    };
    in_thread(move || look(&spec, context), tell);
}

fn look(spec: &OnlineSpec, context: Context) -> Outcome {
    let opened = types::open(spec, context).ok();
    opened.and_then(|kind| kind.probe()).map_or(Outcome::Free, Outcome::Taken)
}

impl Troubled for Outcome {
    fn trouble(_: String) -> Self {
        Self::Free
    }
}
