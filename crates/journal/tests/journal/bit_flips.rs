//! One bit changes somewhere: the same contents or an error, never less and never other content.

use stead_journal::{BLOCK_BYTES, Damage, OpenError, Opening};

use crate::disk::{Disk, sealed, small_area};
use crate::workload::{Writer, moments};

#[test]
fn a_flipped_bit_changes_nothing_or_is_an_error() {
    let area = small_area();
    let all = moments(3, 45);
    for moment in [&all[all.len() - 1], &all[all.len() / 2]] {
        let mut disk = moment.disk.clone();
        let before = disk.open_own(area).unwrap().contents;
        let (mut same, mut refused) = (0, 0);
        for byte in (area.base() as usize..area.end() as usize).step_by(5) {
            let bit = 1 << (byte % 8);
            disk.0[byte] ^= bit;
            match disk.open_own(area) {
                Ok(opened) => {
                    // With the older superblock in force more stands in records, less in the
                    // snapshot: it is the same history, as long.
                    let verdict = moment.history.judge(&opened.contents);
                    verdict.unwrap_or_else(|what| panic!("byte {byte}: {what}"));
                    assert_eq!(opened.contents.next_seq(), before.next_seq(), "byte {byte}");
                    same += 1;
                }
                Err(_clean) => refused += 1,
            }
            disk.0[byte] ^= bit;
        }
        assert!(same > 1000 && refused > 1000, "{same} harmless, {refused} refused");
    }
}

#[test]
fn every_flipped_byte_of_every_acknowledged_record_is_damage_with_its_place() {
    let mut disk = Disk::for_area(&small_area());
    let mut writer = Writer::own(&mut disk);
    for sizes in [&[300][..], &[5000], &[40, 50], &[200]] {
        assert!(writer.append(sizes));
    }
    writer.settle(&mut disk);
    let before = disk.open_own(small_area()).unwrap().contents;
    let ring = (small_area().base() + 2 * BLOCK_BYTES) as usize;
    // Five blocks, the last of which is the very last write.
    for byte in ring..ring + 5 * BLOCK_BYTES as usize {
        disk.0[byte] ^= 0x10;
        let block = byte as u64 / BLOCK_BYTES * BLOCK_BYTES;
        let is_stamp = byte % 512 >= 504;
        // Of the 16 bytes for the check a plain block uses 4.
        let is_spare = (488..504).contains(&(byte % 4096 - 3584 * usize::from(byte % 4096 > 3583)));
        match disk.open_own(small_area()) {
            Ok(opened) => {
                assert!(is_stamp || is_spare, "byte {byte} went unnoticed");
                assert_eq!(opened.contents, before);
            }
            Err(OpenError::Damaged { offset, damage, .. }) => {
                assert_eq!((offset, damage), (block, Damage::Changed), "byte {byte}");
            }
            Err(other) => panic!("byte {byte}: {other}"),
        }
        disk.0[byte] ^= 0x10;
    }
}

#[test]
fn a_lost_write_in_the_middle_is_damage() {
    let mut disk = Disk::for_area(&small_area());
    let mut writer = Writer::own(&mut disk);
    assert!(writer.append(&[100]));
    writer.settle(&mut disk);
    assert!(writer.append(&[100]));
    // The device says done and does nothing.
    let lost = writer.flying.remove(0);
    writer.completed(lost.id);
    assert!(writer.append(&[100]));
    writer.settle(&mut disk);
    let error = disk.open_own(small_area()).unwrap_err();
    let OpenError::Damaged { offset, seq: 2, damage: Damage::Lost { later_offset } } = error else {
        panic!("{error}");
    };
    assert_eq!((offset, later_offset), (lost.offset, lost.offset + BLOCK_BYTES));
    assert!(error.to_string().contains(&format!("damaged at byte {offset}")), "{error}");
}

#[test]
fn both_superblocks_bad_is_an_error() {
    let mut disk = Disk::for_area(&small_area());
    let mut writer = Writer::own(&mut disk);
    writer.append(&[100]);
    writer.snapshot(1);
    writer.settle(&mut disk);
    disk.0[4096 + 100] ^= 1;
    assert_eq!(disk.open_own(small_area()).unwrap().contents.next_seq(), 2, "the older one");
    disk.0[8192 + 100] ^= 1;
    let error = disk.open_own(small_area()).unwrap_err();
    assert!(matches!(error, OpenError::NoSuperblock { offset: 4096, .. }), "{error:?}");
    assert!(error.to_string().contains("add this voter anew"), "{error}");
}

#[test]
fn sealed_areas_notice_every_flipped_byte_too() {
    let area = small_area();
    let mut disk = Disk::for_area(&area);
    let fresh = stead_journal::Fresh { area, seal: sealed(1).into(), life: 5 };
    let contents = stead_journal::Contents::default();
    let mut writer = Writer::create(fresh, &contents, Default::default());
    for sizes in [&[300][..], &[5000], &[40, 50]] {
        assert!(writer.append(sizes));
    }
    writer.settle(&mut disk);
    writer.snapshot(1);
    writer.settle(&mut disk);
    let before = disk.open(Opening::quiet(area, sealed(1))).unwrap().contents;
    assert_eq!(before.next_seq(), 5);
    let mut refused = 0;
    for byte in (area.base() as usize..area.end() as usize).step_by(61) {
        disk.0[byte] ^= 4;
        match disk.open(Opening::quiet(area, sealed(1))) {
            Ok(opened) => {
                let verdict = writer.history.judge(&opened.contents);
                verdict.unwrap_or_else(|what| panic!("byte {byte}: {what}"));
                assert_eq!(opened.contents.next_seq(), before.next_seq(), "byte {byte}");
            }
            Err(_clean) => refused += 1,
        }
        disk.0[byte] ^= 4;
    }
    assert!(refused > 100, "{refused}");
}
