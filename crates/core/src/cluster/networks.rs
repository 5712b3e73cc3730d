//! What may use the networks: how this node comes to obey what the database says of them.
//!
//! `cluster.json` has them as they were when it was written. A network that shall carry cluster
//! traffic is used at once. One that shall carry none any more is left when this node has a lease,
//! which it has with the whole log only (R7): one that reads old entries, whose networks may have
//! changed since, never cuts itself off from those that could tell it more.

use stead_model::Time;

use super::Cluster;
use crate::effect::Effect;

impl Cluster {
    /// Obeys what the database says of the networks, if it says something new.
    pub(super) fn follow_networks(&mut self, now: Time) -> bool {
        let Some(own) = self.running() else { return false };
        let db = &own.replica.db;
        let changed = db.networks_changed();
        if changed == self.obeyed {
            return false;
        }
        let wanted = db.networks_of(&self.config.networks);
        let may_leave = self.asker.lease(now).is_some();
        let mut stays = false;
        let next: Vec<_> = (self.config.networks.iter().zip(wanted))
            .map(|(present, wanted)| {
                let leaves = present.role.carries_cluster() && !wanted.role.carries_cluster();
                stays |= leaves && !may_leave;
                if leaves && !may_leave { present.clone() } else { wanted }
            })
            .collect();
        if !stays {
            self.obeyed = changed;
        }
        if next == self.config.networks {
            return false;
        }
        self.config.networks = next;
        self.links.carry(&self.config);
        self.sights += 1;
        self.out.push(Effect::Networks(self.config.networks.clone()));
        true
    }
}
