//! Takes away what a resource left elsewhere, after it went for good: its name in DNS, for one.
//!
//! The resource is not open, so no seat is touched and the guard is not asked. It is tried again
//! for a while, in a thread of its own, and what stays then is told with how it is removed by hand.

use std::time::Duration;

use stead_model::order::{Action, Outcome, ResourceOrder, ResourceReport};
use stead_model::wire::guard::Claim;
use stead_model::wire::monitor::MonitorToNode;

use super::node_port::NodeLink;
use super::seat::{Desk, in_thread};
use crate::bell::Cancel;
use crate::resource_type::Leaving;
use crate::types;

/// Pauses between the tries: about ten minutes in all.
const PAUSES_S: [u64; 14] = [1, 2, 4, 8, 15, 30, 60, 60, 60, 60, 60, 60, 60, 120];

/// Begins, and answers the order when it is done or given up.
pub(super) fn begin(desk: &Desk, order: ResourceOrder, link: NodeLink) {
    let ResourceOrder { order, group, resource, epoch, lease, action } = order;
    let Action::Forget(spec) = action else { return };
    let context = desk.apart(&spec);
    let claim = Claim { group: group.clone(), resource: resource.clone(), epoch, lease };
    // Here and not in the thread: an order to start it that follows has the last word.
    let leaving = types::open(&spec, context).ok().and_then(|kind| kind.leaves(&claim));
    let tell = move |outcome| {
        let (group, resource) = (group.clone(), resource.clone());
        let report = ResourceReport { order, group, resource, epoch, outcome };
        link.send(MonitorToNode::Report(report));
    };
    let cancel = Cancel::new(desk.guard.bell(&claim.resource));
    match leaving {
        None => tell(Outcome::Forgotten(String::new())),
        Some(leaving) => in_thread(move || remove(leaving, &cancel), tell),
    }
}

fn remove(mut leaving: Leaving, cancel: &Cancel) -> Outcome {
    let mut last = leaving();
    for pause in PAUSES_S {
        if last.is_ok() {
            break;
        }
        let _ = cancel.sleep(Duration::from_secs(pause));
        last = leaving();
    }
    last.map_or_else(Outcome::Remains, Outcome::Forgotten)
}
