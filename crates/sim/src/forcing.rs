//! Worlds in which the faults end with a disaster, and an administrator forces quorum, truthfully.
//!
//! Every node but one is off, or cut off from all others, and nothing of what is left is a majority
//! without D. The one that is left is forced as soon as it lets itself be: leases of the others may
//! still run then (R13). Where it has claimed D, others may find each other again: they are no
//! majority without D, and shall get none. When it has quorum everything is healed, and all must be
//! in its history. Where one of them took D from it in that moment they were not lost, and nothing
//! is forced.

use stead_model::NodeId;

use crate::agenda::{Happening, Outside};
use crate::disks::Path;
use crate::faults::Kind;
use crate::world::{Phase, World};

/// How quorum is forced in a world.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Forces {
    /// Whether the quorum disk is lost, too.
    pub disk_too: bool,
    /// Whether others find each other again, as far as that is no majority.
    pub regroup: bool,
    /// Nodes that lose power, per mille; the others are cut off.
    pub dead: u64,
    /// Whether a process of the forced node dies on the way, per mille of looks.
    pub trouble: u64,
}

/// A disaster under way.
#[derive(Clone, Copy, Debug)]
pub struct Disaster {
    /// The node that is forced.
    pub node: NodeId,
    /// Looks at it so far.
    looks: u64,
    /// Whether others have found each other again.
    regrouped: bool,
    /// Whether it had trouble.
    troubled: bool,
}

/// Looks, two heartbeats apart, until something is wrong.
const LOOKS_MAX: u64 = 10_000;

impl World {
    /// The faults end; all but one node are lost.
    pub fn disaster(&mut self) {
        let Some(forces) = self.plan.forces else { return };
        self.trace.milestone(self.now, || "disaster".into());
        self.phase = Phase::Disaster;
        self.ambush = None;
        for recovery in std::mem::take(&mut self.recoveries) {
            self.recover(recovery);
        }
        let node = NodeId(self.rng.between(1, self.plan.nodes.into()) as u16);
        for other in self.node_ids() {
            self.cut(Kind::Isolate, other);
            if forces.disk_too {
                self.set_path(other, Path::Broken);
            }
            if other != node && self.rng.chance(forces.dead) {
                self.power_off(other);
            }
        }
        let disaster = Disaster { node, looks: 0, regrouped: false, troubled: false };
        self.disaster = Some(disaster);
        self.look_later();
    }

    fn look_later(&mut self) {
        let at = self.now + self.timing.heartbeat.0 * 2;
        self.agenda.put(at, Happening::World(Outside::Force));
    }

    /// The administrator looks at the node: has it quorum, is it on the way, must it be asked?
    pub fn force_goes_on(&mut self) {
        let (Some(forces), Some(mut disaster)) = (self.plan.forces, self.disaster) else { return };
        let node = disaster.node;
        disaster.looks += 1;
        self.disaster = Some(disaster);
        if disaster.looks > LOOKS_MAX {
            let text = format!("{node} was asked to force quorum and did not");
            return self.broken(crate::checkers::Promise::Converge, text);
        }
        self.look_later();
        let local = self.local(node);
        let others = self.node_ids().filter(|other| *other != node).any(|o| self.has_lease(o));
        let Some(service) = self.node(node).service.as_ref() else { return };
        let forced = service.cluster.history().generation > 0;
        // One of them may have been about to take D when they found each other.
        let not_lost = disaster.regrouped && others && disaster.looks > LOOKS_MAX / 10;
        if forced && service.cluster.lease_end(local).is_some() || not_lost {
            self.disaster = None;
            let later = self.now + self.rng.below(self.timing.lease.0 * 3);
            self.agenda.put(later, Happening::World(Outside::Heal));
            return;
        }
        let holds = service.seen.hosts;
        if service.cluster.view_without_groups(local).quorum.forcing.is_none() {
            return self.force_quorum(node, forces.disk_too);
        }
        if forces.regroup && holds && !disaster.regrouped && self.rng.chance(50) {
            self.disaster = Some(Disaster { regrouped: true, ..disaster });
            return self.regroup(node);
        }
        if !disaster.troubled && self.rng.chance(forces.trouble) {
            self.disaster = Some(Disaster { troubled: true, ..disaster });
            if self.rng.chance(500) {
                self.service_dies(node);
            } else {
                self.power_off(node);
                self.power_on(node);
            }
        }
    }

    fn has_lease(&self, node: NodeId) -> bool {
        let service = self.node(node).service.as_ref();
        service.is_some_and(|s| s.cluster.lease_end(self.local(node)).is_some())
    }

    /// Others hear each other again: as many as are no majority without D.
    fn regroup(&mut self, node: NodeId) {
        let voters = usize::from(self.plan.nodes) + 1;
        let others: Vec<NodeId> = self.node_ids().filter(|n| *n != node).take(voters / 2).collect();
        self.trace.milestone(self.now, || format!("{} hear each other again", others.len()));
        for network in 0..self.net.networks() {
            for (a, b) in others.iter().flat_map(|a| others.iter().map(move |b| (*a, *b))) {
                self.net.set_cut(network, (a, b), false);
            }
        }
        others.into_iter().for_each(|other| self.power_on(other));
    }
}
