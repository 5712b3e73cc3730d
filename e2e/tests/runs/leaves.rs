//! One of two nodes is shut down in order, in every quorum mode: the other one goes on.

use e2e::{ONE, Site, TWO, World, Writer, other, rounds, tell, wait, witness};
use stead_lab::boot_ns;
use stead_lab::prober::{Outcome, Prober};
use stead_model::NodeId;
use stead_model::config::QuorumMode;
use stead_model::view::NodeState;

struct Pair {
    prober: Prober,
    writer: Writer,
    site: Site,
    world: World,
}

impl Pair {
    fn set(name: &str, mode: QuorumMode) -> Self {
        let world = World::with(name, |options| options.quorum = Some(mode));
        let site = Site::new("web", 100);
        let writer = Writer::start(&world);
        complete(&world);
        site.create(&world, ONE);
        let prober = site.probe(&world);
        Self { prober, writer, site, world }
    }

    /// A node that has the group and, if it can be had, leadership leaves and comes back.
    fn leave(&self, goes: NodeId) {
        let (world, stays) = (&self.world, other(goes));
        self.world.place(&self.site.group, goes);
        complete(world);
        let from_ns = boot_ns();
        world.lab().stop(goes).unwrap();
        let off_ns = boot_ns();
        world.taken_over(&self.site.group, stays);
        self.writer.wait_more(50);
        world.assert_unharmed(&[stays], from_ns, &[]);
        let status = world.stead(&["--node", &stays.to_string(), "status"]);
        assert!(status.out.contains("has left and is down"), "{}", status.out);
        let missed = self.prober.attempts();
        let missed = missed.iter().filter(|a| a.sent_ns >= from_ns && a.result != Outcome::Good);
        tell(&format!(
            "{goes} off after {} ms, {} questions missed",
            (off_ns - from_ns) / 1_000_000,
            missed.count()
        ));
        world.start(goes);
        complete(world);
    }
}

/// Waits until both nodes are there, have quorum, and none has left.
fn complete(world: &World) {
    wait("both nodes are back", || {
        for node in [ONE, TWO] {
            let view = world.cluster().view(node).map_err(|error| error.to_string())?;
            if !view.quorum.has_quorum {
                return Err(format!("{node} has no quorum"));
            }
            let disk_only = view.quorum.mode == Some(QuorumMode::DiskOnly);
            let away = view.nodes.iter().find(|seen| {
                let votes = seen.votes || disk_only;
                seen.state != NodeState::Up || seen.left || !votes
            });
            if let Some(away) = away {
                return Err(format!("{node} sees {away:?}"));
            }
        }
        Ok(())
    });
}

fn each_leaves(name: &str, mode: QuorumMode) {
    let pair = Pair::set(name, mode);
    for round in 0..rounds().div_ceil(3).max(2) {
        pair.leave(if round % 2 == 0 { ONE } else { TWO });
    }
    witness::one_at_a_time(&pair.world, &pair.site, 0);
}

#[test]
fn leaves_with_a_quorum_disk() {
    each_leaves("leaves-disk", QuorumMode::NodeAndDiskMajority);
}

#[test]
fn leaves_with_nodes_alone() {
    each_leaves("leaves-nodes", QuorumMode::NodeMajority);
}

#[test]
fn leaves_with_the_disk_alone() {
    each_leaves("leaves-disk-only", QuorumMode::DiskOnly);
}
