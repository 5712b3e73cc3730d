//! What acts, in true time: the only evidence the safety checkers judge by.
//!
//! *Acts* = an instruction of it runs, or something of it can reach a client. The book is kept by
//! the world, never by what a node says of itself. What stands on a frozen node is dormant.

use stead_model::wire::guard::{Claim, InstanceId, ThingKind};
use stead_model::{Epoch, GroupId, NodeId, ResourceId};

use crate::clock::Instant;

/// Something that acts on a node.
#[derive(Clone, Debug)]
pub struct Act {
    /// Where.
    pub node: NodeId,
    /// Number the guard gave it.
    pub instance: InstanceId,
    /// Kind of thing.
    pub kind: ThingKind,
    /// Its group.
    pub group: GroupId,
    /// Its resource.
    pub resource: ResourceId,
    /// The epoch it was admitted for.
    pub epoch: Epoch,
    /// Since when.
    pub since: Instant,
    /// Whether an instruction of it can run now.
    pub standing: Standing,
}

/// Whether something can run an instruction.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Standing {
    /// It runs.
    Runs,
    /// Its node is frozen or paused: nothing of it runs.
    Dormant,
    /// Its node woke after the end of its lease: a stated hole until the guard has killed it.
    Woke,
    /// Its node's clock stood still and shows a lease that is over: the hole H14.
    ClockStopped,
}

impl Standing {
    /// Whether an instruction of it can run.
    #[must_use]
    pub const fn acts(self) -> bool {
        match self {
            Self::Runs | Self::Woke | Self::ClockStopped => true,
            Self::Dormant => false,
        }
    }

    /// Whether overlaps with it are one of the stated holes at safety levels B and C.
    #[must_use]
    pub const fn is_hole(self) -> bool {
        matches!(self, Self::Woke | Self::ClockStopped)
    }
}

/// The book of everything that acts.
#[derive(Clone, Default, Debug)]
pub struct Acts {
    acts: Vec<Act>,
}

impl Acts {
    /// Everything in the book.
    pub fn iter(&self) -> impl Iterator<Item = &Act> {
        self.acts.iter()
    }

    /// What is in the book of one node.
    pub fn of(&self, node: NodeId) -> impl Iterator<Item = &Act> {
        self.acts.iter().filter(move |act| act.node == node)
    }

    /// The entry of an instance.
    #[must_use]
    pub fn find(&self, node: NodeId, instance: InstanceId) -> Option<&Act> {
        self.of(node).find(|act| act.instance == instance)
    }

    /// Whether the resource acts on the node.
    #[must_use]
    pub fn resource(&self, node: NodeId, resource: &ResourceId) -> Option<&Act> {
        self.of(node).find(|act| act.resource == *resource)
    }

    /// Something begins to act.
    pub fn begin(&mut self, node: NodeId, thing: (InstanceId, ThingKind), c: &Claim, now: Instant) {
        self.acts.push(Act {
            node,
            instance: thing.0,
            kind: thing.1,
            group: c.group.clone(),
            resource: c.resource.clone(),
            epoch: c.epoch,
            since: now,
            standing: Standing::Runs,
        });
    }

    /// Nothing of it is left.
    pub fn end(&mut self, node: NodeId, instance: InstanceId) -> Option<Act> {
        let at = self.acts.iter().position(|a| a.node == node && a.instance == instance)?;
        Some(self.acts.remove(at))
    }

    /// Nothing of the node is left.
    pub fn end_node(&mut self, node: NodeId) -> Vec<Act> {
        let (gone, left) = self.acts.drain(..).partition(|act| act.node == node);
        self.acts = left;
        gone
    }

    /// Everything of a node changes its standing.
    pub fn set_standing(&mut self, node: NodeId, standing: Standing) {
        self.acts.iter_mut().filter(|a| a.node == node).for_each(|a| a.standing = standing);
    }
}
