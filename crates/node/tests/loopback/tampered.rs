//! Somebody who can write to the quorum disk and has no key: nothing changes hands, leases hold,
//! and it is told (issue 5; I-ACK, R2).

use std::os::unix::fs::FileExt;

use stead_journal::{Area, DiskId};
use stead_model::NodeId;
use stead_model::config::QuorumMode;

use crate::attacks::{Peace, told};
use crate::world::{World, alone, geometry};

/// Bytes of a block on the disk.
const BLOCK: usize = 4096;

/// What somebody does who can write to the quorum disk and has no key.
struct Tamperer(std::fs::File);

impl Tamperer {
    fn at(world: &World) -> Self {
        let disk = std::fs::File::options().read(true).write(true).open(world.disk());
        Self(disk.unwrap())
    }

    /// Flips one bit of this block.
    fn flip(&self, offset: u64) {
        let mut byte = [0];
        self.0.read_exact_at(&mut byte, offset + 100).unwrap();
        byte[0] ^= 1;
        self.0.write_all_at(&byte, offset + 100).unwrap();
        self.0.sync_all().unwrap();
    }

    /// The blocks of a log that were ever written: at its beginning, that is enough here.
    fn written(&self, area: Area) -> Vec<u64> {
        let (mut block, mut found) = (vec![0; BLOCK], Vec::new());
        for offset in (area.base()..).step_by(BLOCK).take(64) {
            self.0.read_exact_at(&mut block, offset).unwrap();
            if block.iter().any(|byte| *byte != 0) {
                found.push(offset);
            }
        }
        found
    }
}

/// One bit of a slot that nobody uses: with a table that lies, no log on the disk can be known to
/// be the newest (R2). The nodes go on without it, and use it again when it is what it was.
#[test]
fn a_tampered_header_of_the_quorum_disk_changes_nothing_and_is_told() {
    let _alone = alone();
    let mut world = World::new(2, QuorumMode::NodeAndDiskMajority, 17_611);
    world.until("a host of the disk", |views| views.iter().all(|v| v.quorum.disk_host.is_some()));
    let peace = Peace::of(&world);
    let place = geometry().header_place(DiskId([9; 16]), 7).offset;
    let disk = Tamperer::at(&world);
    disk.flip(place);
    for index in 0..2 {
        let why = told(&world, index, "disk-dead");
        assert!(why.contains("damaged"), "{why}");
        peace.holds(&world, "a flipped bit among the headers");
    }
    world.until("no host of the disk", |views| views.iter().all(|v| v.quorum.disk_host.is_none()));
    disk.flip(place);
    for index in 0..2 {
        world.nodes[index].stop();
        world.nodes[index].start();
        world.one_leader();
    }
    world.until("a host of the disk", |views| views.iter().all(|v| v.quorum.disk_host.is_some()));
}

/// One bit of the log on the disk: its host never reads it, so nothing changes. Who would have to
/// go on with it alone does not (I-ACK), says why, and goes on when the other node is back.
#[test]
fn a_tampered_log_of_the_quorum_disk_is_never_gone_on_with() {
    let _alone = alone();
    let mut world = World::new(2, QuorumMode::NodeAndDiskMajority, 17_612);
    let views = world
        .until("a host of the disk", |views| views.iter().all(|v| v.quorum.disk_host.is_some()));
    let host = views[0].quorum.disk_host.unwrap();
    let index = world.set(0, "kept");
    world.applied_everywhere(index);
    let peace = Peace::of(&world);
    let disk = Tamperer::at(&world);
    // The first two are superblocks: of those there are always two, to have one.
    let in_slot = |slot| disk.written(geometry().area(slot)).into_iter().skip(2);
    let records = || (0..8).flat_map(in_slot).collect::<Vec<u64>>();
    // Two nodes are a majority: the disk gets the change when it is renewed next.
    world.until("the change on the disk", |_| !records().is_empty());
    records().iter().for_each(|offset| disk.flip(*offset));
    peace.holds(&world, "flipped bits in the log of the disk");

    let (gone, stays) = if host == NodeId(1) { (0, 1) } else { (1, 0) };
    world.nodes[gone].stop();
    let why = told(&world, stays, "disk-dead");
    assert!(why.contains("damaged"), "{why}");
    world.until("no quorum", |views| views.iter().all(|v| !v.quorum.has_quorum));
    world.nodes[gone].start();
    world.one_leader();
    let index = world.set(stays, "after");
    world.applied_everywhere(index);
}
