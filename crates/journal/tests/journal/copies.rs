//! Fresh copies, as adoption makes them, and copies of copies.

use stead_journal::{Area, BLOCK_BYTES, Contents, CreateError, Fresh, Journal, Opening, Snapshot};

use crate::disk::{Disk, sealed, small_area};
use crate::workload::{History, Writer};

fn fresh(slot: u32, life: u64) -> Fresh {
    Fresh { area: small_area(), seal: sealed(slot).into(), life }
}

#[test]
fn contents_and_numbers_survive_any_number_of_adoptions() {
    let mut disks: Vec<Disk> = (0..3).map(|_slot| Disk::for_area(&small_area())).collect();
    let mut contents = Contents::default();
    let mut history = History::default();
    for life in 1..30u64 {
        let slot = (life % 3) as u32;
        let disk = &mut disks[slot as usize];
        let mut writer = Writer::create(fresh(slot, life), &contents, history);
        writer.salt = life as u8;
        writer.settle(disk);
        assert!(writer.journal.is_ready());
        for number in 0..life as usize % 5 {
            if !writer.append(&[80, number * 1100]) {
                assert!(writer.snapshot(writer.journal.last_seq() - 1));
            }
            writer.settle(disk);
        }
        let opened = disk.open(Opening::live(small_area(), sealed(slot), life)).unwrap();
        writer.history.judge(&opened.contents).unwrap();
        assert_eq!(opened.contents.next_seq() - 1, writer.journal.last_seq());
        assert_eq!(opened.restarts, 0);
        contents = opened.contents;
        history = writer.history;
    }
    assert!(contents.next_seq() > 40);
}

#[test]
fn a_full_ring_of_any_shape_can_be_copied() {
    let area = Area::new(4096, 40 * BLOCK_BYTES, BLOCK_BYTES).unwrap();
    let exact: Vec<(u64, Vec<u8>)> = (1..=40).map(|seq| (seq, vec![7; 3948])).collect();
    // In batches of 16 blocks these would need 41 blocks.
    let odd: Vec<(u64, Vec<u8>)> = (1..=31).map(|seq| (seq, vec![7; 5000])).collect();
    for (records, batches) in [(exact, 3), (odd, 1)] {
        let contents = Contents { snapshot: None, records };
        let mut disk = Disk::for_area(&area);
        let fresh = Fresh { area, seal: sealed(0).into(), life: 1 };
        let mut writer = Writer::create(fresh, &contents, History::default());
        assert_eq!(writer.flying.len(), batches);
        writer.settle(&mut disk);
        assert_eq!(writer.journal.bytes_free(), 0);
        let opened = disk.open(Opening::quiet(area, sealed(0))).unwrap();
        assert!(opened.contents == contents);
    }
}

#[test]
fn what_does_not_fit_is_refused_before_anything_is_written() {
    let create = |contents: Contents| Journal::create(fresh(0, 1), &contents).unwrap_err();
    let records = vec![(1, vec![0; 40_000])];
    let too_long = create(Contents { snapshot: None, records });
    assert_eq!(too_long, CreateError::RecordsTooLarge { bytes: 40_004, limit_bytes: 8 * 3952 });
    let snapshot = Some(Snapshot { covers: 1, bytes: vec![0; 8129] });
    let too_large = create(Contents { snapshot, records: vec![] });
    assert_eq!(too_large, CreateError::SnapshotTooLarge { bytes: 8129, limit_bytes: 8128 });
    let gap = create(Contents { snapshot: None, records: vec![(1, vec![]), (3, vec![])] });
    assert_eq!(gap, CreateError::Gap { seq: 3 });
    let snapshot = Some(Snapshot { covers: 4, bytes: vec![] });
    let behind = create(Contents { snapshot, records: vec![(6, vec![])] });
    assert_eq!(behind, CreateError::Gap { seq: 6 });
}
