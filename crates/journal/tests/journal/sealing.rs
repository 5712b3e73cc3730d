//! Shared media: what does not belong here is refused, no nonce is used twice, nothing is legible.

use std::collections::BTreeSet;

use stead_journal::{
    ClusterKey, Contents, DiskId, Fresh, OpenError, Opening, Resumed, Sealed, StaleEpoch, Write,
};

use crate::disk::{Disk, sealed, small_area};
use crate::workload::{History, Writer};

fn epoch(life: u64) -> Fresh {
    Fresh { area: small_area(), seal: sealed(1).into(), life }
}

fn written(life: u64, disk: &mut Disk, appends: usize) -> Writer {
    let mut writer = Writer::create(epoch(life), &Contents::default(), History::default());
    writer.salt = life as u8;
    for _append in 0..appends {
        assert!(writer.append(&[200]));
    }
    writer.settle(disk);
    writer
}

#[test]
fn another_key_slot_or_disk_is_refused() {
    let mut disk = Disk::for_area(&small_area());
    written(5, &mut disk, 3);
    let open = |seal: Sealed| disk.open(Opening::quiet(small_area(), seal));
    assert_eq!(open(sealed(1)).unwrap().contents.next_seq(), 4);
    for other in [
        sealed(2),
        Sealed { key: ClusterKey::new([9; 32]), ..sealed(1) },
        Sealed { disk: DiskId([9; 16]), ..sealed(1) },
    ] {
        let error = open(other).unwrap_err();
        assert!(matches!(error, OpenError::NoSuperblock { .. }), "{error}");
        assert!(error.to_string().contains("of another disk, slot or key"), "{error}");
    }
}

#[test]
fn blocks_of_another_epoch_do_not_count() {
    let mut disk = Disk::for_area(&small_area());
    written(5, &mut disk, 6);
    let old = disk.clone();
    let new = written(9, &mut disk, 2);
    let opened = disk.open(Opening::quiet(small_area(), sealed(1))).unwrap();
    new.history.judge(&opened.contents).unwrap();
    assert_eq!((opened.life, opened.contents.next_seq()), (9, 3), "old blocks 3 to 6 are behind");
    // Even a genuine old block at its own place is not taken for a newer one.
    let second = (small_area().base() + 3 * 4096) as usize;
    disk.0[second..second + 4096].copy_from_slice(&old.0[second..second + 4096]);
    match disk.open(Opening::quiet(small_area(), sealed(1))) {
        Ok(opened) => assert_eq!(opened.contents.records.len(), 1, "the old block was accepted"),
        Err(error) => panic!("{error}"),
    }
}

#[test]
fn an_area_older_than_its_header_says_is_refused() {
    let mut disk = Disk::for_area(&small_area());
    written(5, &mut disk, 1);
    assert!(disk.open(Opening::live(small_area(), sealed(1), 5)).is_ok());
    let error = disk.open(Opening::live(small_area(), sealed(1), 6)).unwrap_err();
    assert_eq!(error, OpenError::Outdated { offset: 4096, active: 6, found: 5 });
}

#[test]
fn nothing_written_is_legible() {
    let secret = b"a property that holds a password";
    let mut writer = Writer::create(epoch(5), &Contents::default(), History::default());
    let mut writes = writer.flying.split_off(0);
    let superblock = writes[0].id;
    writes.extend(writer.journal.append(&[secret]).unwrap().writes);
    writes.extend(writer.journal.written(superblock).writes);
    writes.extend(writer.journal.snapshot(1, secret).unwrap());
    assert!(writes.len() >= 3);
    for write in &writes {
        assert!(!write.data.windows(8).any(|window| window == &secret[..8]), "{:?}", write.id);
    }
}

/// (life, counter) of everything encrypted in a write: blocks, superblocks and snapshot chunks.
fn nonces(write: &Write) -> Vec<(u64, u64)> {
    let field = |bytes: &[u8], at: usize| {
        u64::from_le_bytes(bytes[at..at + 8].try_into().expect("8 bytes"))
    };
    let heads = write.data.chunks(4096).filter(|block| matches!(&block[..4], b"stjb" | b"stjs"));
    heads.map(|head| (field(head, 8), field(head, 16))).collect()
}

#[test]
fn no_nonce_is_used_twice() {
    let mut disk = Disk::for_area(&small_area());
    let mut seen = BTreeSet::new();
    let mut writer = Writer::create(epoch(5), &Contents::default(), History::default());
    for life in [5, 6, 11] {
        for number in 0..40 {
            if !writer.append(&[100 + number * 150]) {
                assert!(writer.snapshot(writer.journal.last_seq()));
            }
            while !writer.flying.is_empty() {
                for nonce in nonces(&writer.flying[0]) {
                    assert!(seen.insert(nonce), "nonce {nonce:?} is used again");
                    assert_eq!(nonce.0, writer.journal.life());
                }
                writer.complete(0, &mut disk);
            }
        }
        assert_eq!(writer.journal.life(), life);
        let opened = disk.open(Opening::live(small_area(), sealed(1), life)).unwrap();
        writer.history.judge(&opened.contents).unwrap();
        let next = if life == 5 { 6 } else { 11 };
        if next > life {
            let Resumed { journal, writes, .. } = opened.resume_as(next).unwrap();
            writer = Writer { journal, flying: writes, ..writer };
        }
    }
    assert!(seen.len() > 150, "{}", seen.len());
}

#[test]
fn an_epoch_cannot_go_on_after_reopening() {
    let mut disk = Disk::for_area(&small_area());
    written(5, &mut disk, 1);
    let open = || disk.open(Opening::live(small_area(), sealed(1), 5)).unwrap();
    for stale in [4, 5] {
        let error = open().resume_as(stale).unwrap_err();
        assert_eq!(error, StaleEpoch { epoch: stale, last: 5 });
    }
    let resumed = open().resume_as(6).unwrap();
    assert_eq!(resumed.journal.life(), 6);
    assert_eq!(resumed.contents.next_seq(), 2, "nothing is copied, nothing is lost");
}
