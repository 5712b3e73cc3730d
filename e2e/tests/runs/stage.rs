//! The stage of most runs: a lab, a client that writes, one virtual server and who asks it.

use e2e::{Roles, Site, World, Writer, other, wait};
use stead_lab::prober::{Attempt, Outcome, Prober};
use stead_lab::{Station, boot_ns};
use stead_model::NodeId;

/// Everything of a run. Fields end in this order: who asks and writes before the lab.
pub(crate) struct Stage {
    pub(crate) prober: Prober,
    pub(crate) writer: Writer,
    pub(crate) site: Site,
    pub(crate) world: World,
}

impl Stage {
    pub(crate) fn set(name: &str) -> Self {
        Self::on(World::up(name))
    }

    /// The same in a world of one's own.
    pub(crate) fn on(world: World) -> Self {
        let site = Site::new("web", 100);
        let writer = Writer::start(&world);
        let leads = Roles::settled(&world).leads;
        site.create(&world, leads);
        let prober = site.probe(&world);
        Self { prober, writer, site, world }
    }

    /// Waits until all is well and the server is where it shall be, seen from the leader.
    pub(crate) fn arrange(&self, place: Place) -> Roles {
        let end = std::time::Instant::now() + e2e::PATIENCE;
        loop {
            let roles = Roles::settled(&self.world);
            let owner = place.of(roles);
            self.world.place(&self.site.group, owner);
            if Roles::settled(&self.world) == roles {
                self.answers(owner, boot_ns());
                return roles;
            }
            assert!(std::time::Instant::now() < end, "roles do not stay: {roles:?}");
        }
    }

    /// Waits until the client has an answer of this node to a question asked after a moment.
    pub(crate) fn answers(&self, node: NodeId, after_ns: u64) -> Attempt {
        wait(&format!("an answer of {node}"), || {
            let by = Some(Station::Node(node));
            let good = self.prober.wait_good(after_ns, by, std::time::Duration::ZERO);
            good.ok_or_else(|| "the client has none".into())
        })
    }

    /// Waits until every resource is online and was checked since its monitor or the node service
    /// was started, in the eyes of its owner.
    pub(crate) fn adopted(&self, owner: NodeId) {
        wait("all resources adopted and checked", || {
            let view = self.world.cluster().view(owner).map_err(|error| error.to_string())?;
            let mut groups = view.groups.into_iter();
            let group = groups.find(|g| g.group.as_str() == self.site.group);
            let group = group.ok_or("the group is unknown")?;
            let bad = group.resources.iter().find(|resource| {
                let unchecked = resource.health != stead_model::resource::Health::Good;
                unchecked || resource.state != stead_model::resource::ResourceState::Online
            });
            bad.map_or(Ok(()), |r| Err(format!("{} {:?} {:?}", r.resource, r.state, r.health)))
        });
    }

    pub(crate) fn epoch(&self, node: NodeId) -> u64 {
        self.world.group(node, &self.site.group).epoch.0
    }
}

/// Where a group shall be.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Place {
    /// On the node that leads and hosts the quorum disk.
    Leader,
    /// On the other.
    Follower,
}

impl Place {
    pub(crate) fn of(self, roles: Roles) -> NodeId {
        match self {
            Self::Leader => roles.leads,
            Self::Follower => other(roles.leads),
        }
    }
}

/// Questions asked from a moment on that got no good answer.
pub(crate) fn failed(attempts: &[Attempt], from_ns: u64) -> Vec<Attempt> {
    let later = attempts.iter().filter(|attempt| attempt.sent_ns >= from_ns);
    later.filter(|attempt| attempt.result != Outcome::Good).copied().collect()
}

/// Good answers of a node to questions asked in a span of time.
pub(crate) fn good_of(
    attempts: &[Attempt],
    node: NodeId,
    from_ns: u64,
    to_ns: u64,
) -> Vec<Attempt> {
    let by = Some(Station::Node(node));
    let asked = attempts.iter().filter(|a| a.sent_ns >= from_ns && a.done_ns < to_ns);
    asked.filter(|a| a.result == Outcome::Good && a.from == by).copied().collect()
}
