//! Leaving in order, and coming back.
//!
//! When the guard is told to end, the node asks for what an administrator would: that it is given
//! no groups and its own go elsewhere. The leader then moves them, takes over what this node led,
//! and takes its vote where it would be missed (`leading/leaving`); D is let go here. When
//! nothing is left the service ends, and the guard after it. A node that was away in order asks to
//! be taken back as soon as it has a lease.

use stead_model::request::{Envelope, Request};
use stead_model::{Incarnation, LogIndex, NodeId, RequestId, Span, Time, VoterId};

use super::Cluster;
use crate::effect::Effect;
use crate::leading::leaving::lends_vote;

/// Whether this node stays in the cluster.
#[derive(Debug)]
pub(super) struct Stay {
    /// Since when it leaves.
    leaves_since: Option<Time>,
    /// Its own request under way, and when the next one may be made.
    wish: Option<RequestId>,
    next_at: Time,
    client: u64,
    wishes: u64,
    /// How far the quorum disk's log was, in which this node is no member.
    pub(super) evicted_at: Option<LogIndex>,
}

impl Stay {
    pub(super) const fn new(service: Incarnation) -> Self {
        Self {
            leaves_since: None,
            wish: None,
            next_at: Time(0),
            client: service.0,
            wishes: 0,
            evicted_at: None,
        }
    }
}

impl Cluster {
    pub(super) fn told_to_leave(&mut self, now: Time) {
        self.stay.leaves_since.get_or_insert(now);
    }

    /// Whether it leaves and owns nothing any more, so that D and leadership may go, too.
    pub(super) fn is_leaving(&self) -> bool {
        let db = self.running().map(|own| &own.replica.db);
        let free = db.is_some_and(|db| db.left().contains(&self.node) && !db.owns_any(self.node));
        let goes = db.is_some_and(|db| db.going().contains(&self.node));
        (goes || self.stay.leaves_since.is_some()) && free && self.has_heir()
    }

    /// Takes leaving, or coming back, as far as it can go.
    pub(super) fn stay_or_leave(&mut self, now: Time) -> bool {
        let has_lease = self.asker.lease(now).is_some();
        let left = self.running().is_some_and(|o| o.replica.db.left().contains(&self.node));
        let goes = self.running().is_some_and(|o| o.replica.db.going().contains(&self.node));
        let node = self.node;
        match self.stay.leaves_since {
            None if left && !goes && has_lease => self.wish(now, Request::Return { node }),
            None => false,
            Some(since) => {
                let late = now.since(since) >= PATIENCE;
                if !has_lease || late || (left && self.has_nothing(now, since)) {
                    self.halted = true;
                    self.out.push(Effect::Left);
                    return false;
                }
                !left && self.wish(now, Request::Leave { node })
            }
        }
    }

    /// Asks the leader, unless it is asked already or was a moment ago.
    fn wish(&mut self, now: Time, request: Request) -> bool {
        let open = self.stay.wish.is_some_and(|id| self.requests.contains_key(&id));
        if open || now < self.stay.next_at {
            return false;
        }
        self.stay.next_at = now + self.timing.heartbeat * BETWEEN_WISHES_BEATS;
        self.stay.wishes += 1;
        let id = RequestId { client: self.stay.client, number: self.stay.wishes };
        self.stay.wish = Some(id);
        let who = format!("{} itself", self.node);
        self.requested(now, Envelope { id, who, request });
        true
    }

    /// Whether nothing of the cluster depends on this node any more.
    fn has_nothing(&self, now: Time, since: Time) -> bool {
        let Some(own) = self.running() else { return true };
        if own.replica.db.owns_any(self.node) {
            return false;
        }
        if !self.has_heir() {
            return true;
        }
        let leads = own.leading.is_some() || own.replica.is_leader();
        let hosts = self.hosts_disk();
        !leads && !hosts && (self.is_replaced(now) || now.since(since) >= HEIR_PATIENCE)
    }

    /// Whether another node leads and hosts D, and the vote of this one is not counted on.
    fn is_replaced(&self, now: Time) -> bool {
        let Some(own) = self.running() else { return true };
        let led = self.leader_node(now).is_some_and(|node| node != self.node);
        let fresh = super::startup::silence_max(&self.timing);
        let hosted = self.seat.is_none() || self.links.disk_host(now, fresh).is_some();
        led && hosted && !lends_vote(&own.replica, &self.others_heard(), self.node)
    }

    /// Whether another node is there that stays.
    fn has_heir(&self) -> bool {
        let Some(own) = self.running() else { return false };
        let stays = |node: &NodeId| !own.replica.db.left().contains(node);
        self.others_heard().iter().any(|node| {
            let member = own.replica.is_member(VoterId::from(*node));
            member && stays(node)
        })
    }

    fn others_heard(&self) -> Vec<NodeId> {
        let nodes = self.config.nodes.iter().map(|entry| entry.id);
        nodes.filter(|node| *node != self.node && self.links.is_heard(*node)).collect()
    }
}

/// After this a node goes however far it is. The guard waits a little longer.
const PATIENCE: Span = Span::from_secs(8);
/// For so long a node waits until others have what was its own: the disk may be dead, the leader
/// may see less of the others.
const HEIR_PATIENCE: Span = Span::from_secs(4);
/// Heartbeats between two requests.
const BETWEEN_WISHES_BEATS: u64 = 5;
