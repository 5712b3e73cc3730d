//! Power fails at every write, torn at every sector; nothing acknowledged may be missing (I-ACK).

use stead_journal::{Contents, Fresh, Journal, OpenError, Recovered, Resumed, Write};

use crate::disk::{Disk, SECTOR, sealed, small_area};
use crate::workload::{History, Moment, Writer, moments};

/// Every disk that a power cut at `moment` can leave behind: one of the writes in flight is torn
/// at each sector boundary, from either end, with the others absent or complete.
pub(crate) fn torn_disks(moment: &Moment) -> Vec<Disk> {
    let mut disks = vec![moment.disk.clone()];
    for (index, write) in moment.flying.iter().enumerate() {
        let mut with_others = moment.disk.clone();
        for (other, write) in moment.flying.iter().enumerate() {
            if other != index {
                with_others.write(write);
            }
        }
        for base in [&moment.disk, &with_others] {
            disks.extend(tears(base, write));
        }
    }
    disks
}

fn tears(base: &Disk, write: &Write) -> Vec<Disk> {
    let sectors = write.data.len() / SECTOR;
    let torn = |lands: &dyn Fn(usize) -> bool| {
        let mut disk = base.clone();
        disk.tear(write, lands);
        disk
    };
    let mut disks = Vec::new();
    for cut in 0..=sectors {
        disks.push(torn(&|sector| sector < cut));
        disks.push(torn(&|sector| sector >= cut));
    }
    disks.push(torn(&|sector| sector % 2 == 0));
    disks
}

#[test]
fn i_ack_every_acknowledged_record_survives_a_cut_at_every_write() {
    let (mut opened_count, mut torn_tails, mut torn_superblocks) = (0, 0, 0);
    for (number, moment) in moments(1, 70).iter().enumerate() {
        for (variant, disk) in torn_disks(moment).iter().enumerate() {
            let opened = disk.open_own(small_area());
            let opened = opened.unwrap_or_else(|e| panic!("moment {number}.{variant}: {e:?}"));
            let verdict = moment.history.judge(&opened.contents);
            verdict.unwrap_or_else(|what| panic!("moment {number}.{variant}: {what}"));
            opened_count += 1;
            for recovered in &opened.recovered {
                match recovered {
                    Recovered::TornTail { .. } => torn_tails += 1,
                    Recovered::BadSuperblock { .. } => torn_superblocks += 1,
                }
            }
        }
    }
    assert!(opened_count > 5000, "only {opened_count} cuts were tried");
    assert!(torn_tails > 1000, "only {torn_tails} torn tails were met");
    assert!(torn_superblocks > 100, "only {torn_superblocks} torn superblocks were met");
}

#[test]
fn a_recovered_log_goes_on_and_survives_the_next_cut() {
    for (number, moment) in moments(2, 60).iter().enumerate().step_by(3) {
        for disk in torn_disks(moment).iter().skip(number % 5).step_by(5) {
            go_on(disk.clone(), moment.history.clone(), number);
        }
    }
}

/// Opens, appends different content over the torn tail, and cuts power at each write of that.
fn go_on(mut disk: Disk, mut history: History, number: usize) {
    let opened = disk.open_own(small_area()).expect("only torn");
    history.judge(&opened.contents).expect("as promised");
    let Resumed { contents, journal, writes } = opened.resume();
    history.forget_after(&contents);
    let salt = 0x80 | number as u8;
    let mut writer = Writer { journal, flying: writes, history, salt };
    let mut appends = [&[300][..], &[5000], &[40, 40]].into_iter();
    loop {
        let moment = Moment {
            disk: disk.clone(),
            flying: writer.flying.clone(),
            history: writer.history.clone(),
        };
        for (variant, cut) in torn_disks(&moment).iter().enumerate().step_by(7) {
            let again = cut.open_own(small_area()).expect("only torn");
            let verdict = moment.history.judge(&again.contents);
            verdict.unwrap_or_else(|what| panic!("moment {number}, variant {variant}: {what}"));
        }
        if !writer.flying.is_empty() {
            writer.complete(0, &mut disk);
        } else if !appends.next().is_some_and(|sizes| writer.append(sizes)) {
            return;
        }
    }
}

#[test]
fn appends_made_before_a_reopened_log_is_ready_wait_for_its_superblock() {
    let mut disk = Disk::for_area(&small_area());
    Writer::own(&mut disk);
    let Resumed { mut journal, writes, .. } = disk.open_own(small_area()).unwrap().resume();
    let appended = journal.append(&[b"early"]).unwrap();
    assert_eq!(appended.writes, vec![], "held back");
    assert_eq!(journal.durable_seq(), 0);
    let released = journal.written(writes[0].id);
    assert_eq!(released.writes.len(), 1);
    assert_eq!(released.durable_seq, 0, "the superblock alone makes no record durable");
    assert_eq!(journal.written(released.writes[0].id).durable_seq, 1);
}

#[test]
fn ring_space_is_free_only_after_the_superblock() {
    let mut disk = Disk::for_area(&small_area());
    let mut writer = Writer::own(&mut disk);
    for _append in 0..8 {
        assert!(writer.append(&[100]));
    }
    writer.settle(&mut disk);
    assert!(!writer.append(&[1]), "full");
    assert!(writer.journal.needs_snapshot());
    assert!(writer.snapshot(8));
    assert!(!writer.journal.needs_snapshot(), "one is under way");
    assert!(!writer.snapshot(8), "one at a time");
    assert_eq!(writer.journal.bytes_free(), 0);
    writer.complete(0, &mut disk);
    assert_eq!(writer.journal.bytes_free(), 0, "chunks are durable, the superblock is not");
    assert_eq!(writer.flying.len(), 1);
    writer.complete(0, &mut disk);
    assert_eq!(writer.journal.bytes_free(), small_area().batch_limit_bytes());
    assert_eq!(writer.journal.snapshot_covers(), 8);
}

#[test]
fn a_snapshot_of_records_in_flight_does_not_free_their_place() {
    let mut disk = Disk::for_area(&small_area());
    let mut writer = Writer::own(&mut disk);
    assert!(writer.append(&[100]));
    let late = writer.flying.remove(0);
    assert!(writer.snapshot(1));
    writer.settle(&mut disk);
    assert_eq!(writer.journal.snapshot_covers(), 1);
    assert!(writer.journal.bytes_free() < small_area().batch_limit_bytes());
    // Power fails now; the record is in the snapshot although its block never landed.
    let opened = disk.open_own(small_area()).unwrap();
    assert_eq!((opened.contents.next_seq(), opened.contents.records.len()), (2, 0));
    let mut resumed = opened.resume();
    let next = resumed.journal.append(&[b"next"]).unwrap();
    assert_eq!(next.last_seq, 2);
    for write in resumed.writes {
        disk.write(&write);
        for write in resumed.journal.written(write.id).writes {
            disk.write(&write);
        }
    }
    let again = disk.open_own(small_area()).unwrap();
    assert_eq!(again.contents.records, vec![(2, b"next".to_vec())]);
    drop(late);
}

#[test]
fn a_cut_while_a_copy_is_written_leaves_no_journal_or_all_of_it() {
    let mut source = Disk::for_area(&small_area());
    let mut writer = Writer::own(&mut source);
    for sizes in [&[300][..], &[9000], &[40, 50]] {
        writer.append(sizes);
    }
    writer.snapshot(1);
    writer.settle(&mut source);
    let contents = source.open_own(small_area()).unwrap().contents;
    let fresh = || Fresh { area: small_area(), seal: sealed(3).into(), life: 7 };
    let mut disk = Disk::for_area(&small_area());
    let (mut journal, mut flying) = Journal::create(fresh(), &contents).unwrap();
    while !flying.is_empty() {
        let moment =
            Moment { disk: disk.clone(), flying: flying.clone(), history: writer.history.clone() };
        for cut in torn_disks(&moment) {
            match cut.open(stead_journal::Opening::quiet(small_area(), sealed(3))) {
                Ok(opened) => assert_eq!(opened.contents, contents),
                Err(OpenError::Blank { .. } | OpenError::NoSuperblock { .. }) => {
                    assert!(!journal.is_ready());
                }
                Err(other) => panic!("{other}"),
            }
        }
        let write = flying.remove(0);
        disk.write(&write);
        flying.extend(journal.written(write.id).writes);
    }
    assert!(journal.is_ready());
    assert_eq!(journal.durable_seq(), contents.next_seq() - 1);
    assert_ne!(contents, Contents::default());
}
