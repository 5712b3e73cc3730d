//! What one life left behind its end, and the next one tore again: nothing of it ever joins.

use stead_journal::{Damage, OpenError, Resumed, Write};

use crate::disk::{Disk, SECTOR, small_area};
use crate::workload::Writer;

const SECTORS_IN_BLOCK: usize = 4096 / SECTOR;

/// A first life with one record, and the write that put it there.
fn write_one(disk: &mut Disk) -> Write {
    let mut writer = Writer::own(disk);
    assert!(writer.append(&[100]));
    let write = writer.flying[0].clone();
    writer.settle(disk);
    write
}

/// Appends one record of `size` bytes in a new life, of which only the sectors that `lands` names
/// reach the disk.
fn torn_append(disk: &mut Disk, size: usize, lands: impl Fn(usize) -> bool) {
    let Resumed { mut journal, writes, .. } =
        disk.open_own(small_area()).expect("only torn").resume();
    for write in writes {
        disk.write(&write);
        journal.written(write.id);
    }
    let record = vec![journal.life() as u8; size];
    let appended = journal.append(&[record]).expect("room");
    for write in &appended.writes {
        disk.tear(write, &lands);
    }
}

#[test]
fn an_append_torn_over_a_torn_append_is_no_damage() {
    for first_half_first in [true, false] {
        let mut disk = Disk::for_area(&small_area());
        write_one(&mut disk);
        torn_append(&mut disk, 9000, |sector| (sector < SECTORS_IN_BLOCK) == first_half_first);
        torn_append(&mut disk, 9000, |sector| (sector < SECTORS_IN_BLOCK) != first_half_first);
        let opened = disk.open_own(small_area()).expect("two power cuts, no damage");
        assert_eq!(opened.contents.next_seq(), 2, "{first_half_first}");
    }
}

#[test]
fn a_sector_of_a_later_life_does_not_mend_the_append_of_an_earlier_one() {
    for missing in 0..SECTORS_IN_BLOCK {
        let mut disk = Disk::for_area(&small_area());
        disk.0.fill(0xff);
        write_one(&mut disk);
        // All but the first and the last sector of so short a record are zero in every life.
        torn_append(&mut disk, 0, |sector| sector != missing);
        torn_append(&mut disk, 1, |sector| sector == missing);
        let opened = disk.open_own(small_area()).expect("two power cuts, no damage");
        assert_eq!(opened.contents.next_seq(), 2, "sector {missing}");
    }
}

#[test]
fn i_ack_a_last_record_that_is_gone_after_a_reopening_is_damage() {
    let mut disk = Disk::for_area(&small_area());
    let record = write_one(&mut disk);
    for write in disk.open_own(small_area()).expect("settled").resume().writes {
        disk.write(&write);
    }
    disk.0[record.offset as usize..][..record.data.len()].fill(0);
    let error = disk.open_own(small_area()).expect_err("the record was there when the life began");
    let OpenError::Damaged { offset, seq: 1, damage: Damage::Lost { later_offset } } = error else {
        panic!("{error}");
    };
    assert_eq!((offset, later_offset), (record.offset, small_area().base()));
}
