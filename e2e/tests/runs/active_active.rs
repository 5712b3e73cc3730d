//! Two nodes serve a group each. What happens to one node is none of the other group's business.

use std::time::Duration;

use e2e::{Roles, Site, World, Writer, other, processes, rounds, wait, witness};
use rustix::process::Signal;
use stead_lab::prober::Prober;
use stead_lab::{Station, boot_ns};
use stead_model::NodeId;

use crate::stage::failed;

struct Pair {
    probers: [Prober; 2],
    writer: Writer,
    sites: [Site; 2],
    world: World,
}

impl Pair {
    fn set(name: &str) -> Self {
        let world = World::up(name);
        let writer = Writer::start(&world);
        let leads = Roles::settled(&world).leads;
        let sites = [Site::new("left", 101), Site::new("right", 102)];
        sites[0].create(&world, leads);
        sites[1].create(&world, other(leads));
        let probers = sites.each_ref().map(|site| site.probe(&world));
        Self { probers, writer, sites, world }
    }

    /// `left` on the node that leads, `right` on the other; both answer.
    fn arrange(&self) -> Roles {
        wait("both groups in their places", || {
            let roles = Roles::settled(&self.world);
            let places = [roles.leads, other(roles.leads)];
            for (site, place) in self.sites.iter().zip(places) {
                self.world.place(&site.group, place);
            }
            if Roles::settled(&self.world) != roles {
                return Err("the roles changed".into());
            }
            let now = boot_ns();
            for (prober, place) in self.probers.iter().zip(places) {
                let good = prober.wait_good(now, Some(Station::Node(place)), e2e::PATIENCE);
                good.ok_or_else(|| format!("{place} does not answer"))?;
            }
            Ok(roles)
        })
    }

    fn epochs(&self, node: NodeId) -> [u64; 2] {
        self.sites.each_ref().map(|site| self.world.group(node, &site.group).epoch.0)
    }

    fn not_one_missed(&self, which: usize, from_ns: u64) {
        let attempts = self.probers[which].attempts();
        let asked = attempts.iter().filter(|a| a.sent_ns >= from_ns).count();
        let missed = failed(&attempts, from_ns);
        let group = &self.sites[which].group;
        let ms: Vec<u64> = missed.iter().map(|a| (a.sent_ns - from_ns) / 1_000_000).collect();
        // Whether the server's neighbour stood still as well tells whose fault it is.
        let stood = self
            .sites
            .each_ref()
            .map(|site| Duration::from_nanos(witness::longest_gap_ns(&self.world, site, from_ns)));
        let why = format!(
            "{} of {asked} missed, {ms:?} ms after it; witnesses stood still for {stood:?}: \
             {missed:?}",
            ms.len()
        );
        assert!(missed.is_empty(), "{group}: {why}");
        assert!(asked > 0, "nobody asked {group}");
    }
}

#[test]
fn active_active_leader_that_hosts_the_disk_loses_power() {
    let pair = Pair::set("pair-crash");
    for _ in 0..rounds() {
        let roles = pair.arrange();
        let survivor = other(roles.leads);
        let epochs = pair.epochs(survivor);
        let cut_ns = pair.world.crash(roles.leads);
        pair.world.taken_over("left", survivor);
        pair.writer.served_by(&pair.world, survivor);
        pair.world.start(roles.leads);
        pair.not_one_missed(1, cut_ns);
        assert_eq!(pair.epochs(survivor)[1], epochs[1], "right moved");
    }
    pair.sites.iter().for_each(|site| drop(witness::one_at_a_time(&pair.world, site, 0)));
}

#[test]
fn active_active_node_service_of_the_leader_is_killed() {
    let pair = Pair::set("pair-kill");
    for _ in 0..rounds() {
        let roles = pair.arrange();
        let epochs = pair.epochs(other(roles.leads));
        let service = processes::find(&pair.world, roles.leads, processes::Role::Service);
        let from_ns = boot_ns();
        processes::signal(service, Signal::KILL);
        e2e::until("another node service", || {
            let found = processes::all(&pair.world, roles.leads, processes::Role::Service);
            found.first().is_some_and(|pid| *pid != service)
        });
        pair.writer.wait_more(50);
        let after = Roles::settled(&pair.world);
        pair.writer.served_by(&pair.world, after.leads);
        assert_eq!(pair.epochs(roles.leads), epochs, "a group moved");
        pair.not_one_missed(0, from_ns);
        pair.not_one_missed(1, from_ns);
    }
    for site in &pair.sites {
        witness::one_at_a_time(&pair.world, site, 0);
    }
}
