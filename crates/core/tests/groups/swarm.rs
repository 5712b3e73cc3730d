//! Many random stories: crashes, lost leases, restarted services, dying resources, moves, late
//! entries, late reports, in any order. I-OWN and I-DEP are checked after every step; at the end
//! everything heals and every group that may run is online (I-CONVERGE).

use stead_core::planted::Planted;
use stead_model::group::Desired;
use stead_model::request::Request;
use stead_model::resource::ResourceState;
use stead_model::{NodeId, Span};

use crate::world::{World, n};

const GROUPS: [&str; 2] = ["web", "mail"];
const STORIES: u64 = 1_000;
const RESOURCES: [&str; 5] = ["ip", "httpd", "logger", "spool", "smtp"];

/// A seeded source of choices (xorshift).
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) as usize % sides
    }

    fn pick<'a>(&mut self, from: &[&'a str]) -> &'a str {
        from[self.roll(from.len())]
    }
}

fn start(planted: Planted) -> World {
    let mut world = World::new(3, planted);
    world.group("web", &[("ip", &[]), ("httpd", &["ip"]), ("logger", &["ip"])]);
    world.group("mail", &[("spool", &[]), ("smtp", &["spool"])]);
    world
}

fn story(seed: u64, planted: Planted) -> World {
    let mut dice = Dice(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
    let mut world = start(planted);
    // Each story has its own pace: what is slow in one is fast in another.
    let pace: Vec<usize> = (0..10).map(|_| 1 << dice.roll(6)).collect();
    for _ in 0..300 {
        step(&mut world, &mut dice, &pace);
        world.check_own();
    }
    world
}

fn step(world: &mut World, dice: &mut Dice, pace: &[usize]) {
    let id = n(dice.roll(3) as u16 + 1);
    let mut left = dice.roll(pace.iter().sum());
    let past = |weight: &usize| {
        let here = left < *weight;
        left = left.saturating_sub(*weight);
        here
    };
    match pace.iter().position(past).unwrap() {
        0 => drop(world.plan()),
        1 => drop(world.apply_one(id)),
        2 => carry_out(world, dice, id),
        3 => world.hear(id),
        4 => (0..=dice.roll(3)).for_each(|_| world.deliver_report(id)),
        5 if dice.roll(8) == 0 => world.pass_time(Span::from_millis(1 << dice.roll(18))),
        6 => die(world, dice, id),
        7 => administer(world, dice, id),
        8 => _ = world.catch_up(id),
        9 if dice.roll(4) == 0 => disturb(world, dice, id),
        _ => {}
    }
}

fn carry_out(world: &mut World, dice: &mut Dice, id: NodeId) {
    let waiting = world.nodes[&id].orders.len();
    if waiting > 0 {
        world.carry_out(id, dice.roll(waiting));
    }
}

fn die(world: &mut World, dice: &mut Dice, id: NodeId) {
    let resource = dice.pick(&RESOURCES);
    if world.running(resource).contains(&id) {
        world.die(id, resource);
    }
}

fn disturb(world: &mut World, dice: &mut Dice, id: NodeId) {
    let node = &world.nodes[&id];
    let (up, leased, guarded) =
        (node.holdings.is_some(), node.lease.is_some(), node.guard.lease.is_some());
    match dice.roll(12) {
        0 | 1 if !guarded => world.declare_stopped(id),
        2 if up => world.start_service(id, dice.roll(4) as u64),
        _ if !up => world.boot(id),
        _ if !leased => world.lease(id),
        0..=3 => world.start_service(id, dice.roll(4) as u64),
        4 => world.crash(id),
        5 => world.expire(id),
        6 => world.monitor_dies(id),
        7 => drop(world.node(id).broken.insert(dice.pick(&RESOURCES).into())),
        8 => world.node(id).broken.clear(),
        _ => world.node(id).eligible ^= true,
    }
}

fn administer(world: &mut World, dice: &mut Dice, id: NodeId) {
    let group = dice.pick(&GROUPS).into();
    let resource = dice.pick(&RESOURCES).into();
    let desired = if dice.roll(4) > 0 { Desired::Online } else { Desired::Offline };
    let asked = match dice.roll(10) {
        0..7 => Request::MoveGroup { group, to: Some(id) },
        7 => Request::SetGroupDesired { group, desired },
        8 => Request::SetResourceDesired { resource, desired },
        _ => Request::FailResource { resource },
    };
    // Refusals are fine: most of these make no sense at this moment.
    drop(world.try_ask(asked));
}

/// The last fault is over: everybody is up, has a lease and can start everything.
fn heal(world: &mut World) {
    for id in world.ids() {
        world.node(id).broken.clear();
        if world.nodes[&id].holdings.is_none() {
            world.boot(id);
        }
        if world.nodes[&id].lease.is_none() || !world.nodes[&id].eligible {
            world.lease(id);
        }
    }
    world.run();
    for group in GROUPS {
        world.ask(Request::SetGroupDesired { group: group.into(), desired: Desired::Online });
    }
    for resource in RESOURCES {
        world.ask(Request::SetResourceDesired {
            resource: resource.into(),
            desired: Desired::Online,
        });
    }
    world.run();
}

#[test]
fn random_stories_keep_one_owner_and_converge() {
    let mut epochs = 0;
    for seed in 1..=STORIES {
        let mut world = story(seed, Planted::NONE);
        heal(&mut world);
        for group in GROUPS {
            let owner = world.owner(group).unwrap();
            epochs += world.group_of(group).epoch_last.0;
            for resource in world.group_of(group).resources.keys() {
                assert_eq!(
                    world.running(resource.as_str()),
                    [owner],
                    "seed {seed} {resource}\n{}",
                    world.trace()
                );
                let state = world.nodes[&owner].state(group, resource.as_str());
                assert_eq!(state, ResourceState::Online, "seed {seed} {resource}");
            }
        }
        assert!(world.plan().is_empty(), "seed {seed}: it moves no more");
        let digests: Vec<u64> = world.nodes.values().map(|node| node.db.digest()).collect();
        assert_eq!(digests, [world.leader.digest(); 3], "seed {seed}: I-AGREE");
    }
    assert!(epochs > 2 * 2 * STORIES, "the stories must move groups about, {epochs} epochs");
}

/// The checks can fail: each planted fault is found by ordinary stories.
#[cfg(feature = "planted")]
#[test]
fn planted_faults_are_found() {
    use stead_core::planted::Fault;
    for fault in [Fault::StartBeforeStop, Fault::OfflineWithoutEpoch, Fault::RestartStartsOldEpoch]
    {
        let finds = |seed: &u64| {
            let story = || drop(story(*seed, Planted::only(fault)));
            std::panic::catch_unwind(story).is_err()
        };
        let found = (1..=3_000).find(finds);
        assert!(found.is_some(), "{fault:?} was not found");
    }
}

/// H11 step by step: the service says "stopped", forgets it, and starts.
#[cfg(feature = "planted")]
#[test]
#[should_panic(expected = "I-OWN: ip runs on n1 and n2")]
fn a_service_that_starts_on_an_old_epoch_breaks_i_own() {
    use stead_core::planted::Fault;
    let mut world = start(Planted::only(Fault::RestartStartsOldEpoch));
    world.run();
    let owner = world.owner("web").unwrap();
    let other = world.ids().into_iter().find(|id| *id != owner).unwrap();
    world.crash(owner);
    world.boot(owner);
    world.lease(owner);
    world.catch_up(owner);
    world.deliver_report(owner);
    world.ask(Request::MoveGroup { group: "web".into(), to: Some(other) });
    world.plan();
    world.catch_up(other);
    panic!("nothing was found\n{}", world.trace());
}
