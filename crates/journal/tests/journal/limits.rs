//! Refusals at the edges, and what is read of an area.

use stead_journal::{
    AppendError, Area, BLOCK_BYTES, Contents, DiskId, Fresh, Journal, OpenError, Opening, Plain,
    RING_BYTES, SnapshotError, Step,
};

use crate::disk::{Disk, own_seal, small_area};
use crate::workload::Writer;

#[test]
fn appends_that_do_not_fit_are_refused_and_change_nothing() {
    let mut disk = Disk::for_area(&small_area());
    let mut writer = Writer::own(&mut disk);
    let limit_bytes = small_area().batch_limit_bytes();
    let bytes = limit_bytes + 1;
    assert_eq!(
        writer.journal.append(&[vec![0; bytes as usize - 4]]),
        Err(AppendError::TooLarge { bytes, limit_bytes })
    );
    assert!(writer.append(&[limit_bytes as usize - 4]), "the whole ring is one batch");
    let full = writer.journal.append(&[b"x"]).unwrap_err();
    assert_eq!(full, AppendError::Full { bytes: 5, free_bytes: 0 });
    assert!(full.to_string().contains("write a snapshot and wait for it"));
    assert_eq!(writer.journal.last_seq(), 1);
    writer.settle(&mut disk);
    writer.history.judge(&disk.open_own(small_area()).unwrap().contents).unwrap();
    assert_eq!(writer.journal.append::<Vec<u8>>(&[]).unwrap().writes, vec![]);
}

#[test]
fn snapshots_that_cannot_be_are_refused() {
    let mut disk = Disk::for_area(&small_area());
    let mut writer = Writer::own(&mut disk);
    assert!(writer.append(&[10, 10]));
    writer.settle(&mut disk);
    let journal = &mut writer.journal;
    assert_eq!(
        journal.snapshot(3, b""),
        Err(SnapshotError::Uncovered { covers: 3, first: 0, last: 2 })
    );
    assert_eq!(
        journal.snapshot(2, &[0; 8129]),
        Err(SnapshotError::TooLarge { bytes: 8129, limit_bytes: 8128 })
    );
    assert!(writer.snapshot(2));
    writer.settle(&mut disk);
    assert_eq!(
        writer.journal.snapshot(1, b""),
        Err(SnapshotError::Uncovered { covers: 1, first: 2, last: 2 })
    );
}

#[test]
fn foreign_blank_and_short_devices_are_told_apart() {
    let area = small_area();
    let open = |bytes: Vec<u8>| Disk(bytes).open_own(area).unwrap_err();
    let blank = open(vec![0; area.end() as usize]);
    assert_eq!(blank, OpenError::Blank { offset: 4096 });
    assert!(blank.to_string().contains("create it first"));
    let foreign = open(vec![0xc3; area.end() as usize]);
    assert!(matches!(foreign, OpenError::NoSuperblock { .. }), "{foreign:?}");

    let mut opening = Opening::quiet(area, own_seal());
    let Step::Read { offset, len } = opening.step() else { panic!("wants to read") };
    opening.feed(&vec![0; len as usize - 512]);
    let Step::Failed(short) = opening.step() else { panic!("must fail") };
    assert_eq!(short, OpenError::ShortRead { offset, wanted: len, got: len - 512 });
    assert!(matches!(opening.step(), Step::Failed(OpenError::Ended)));
}

#[test]
fn other_sizes_than_it_was_made_with_are_named() {
    let mut disk = Disk::for_area(&small_area());
    Writer::own(&mut disk);
    let other = Area::new(4096, 4 * BLOCK_BYTES, 4 * BLOCK_BYTES).unwrap();
    let error = disk.open_own(other).unwrap_err();
    let (offset, ring_bytes, snapshot_bytes) = (4096, 8 * BLOCK_BYTES, 2 * BLOCK_BYTES);
    assert_eq!(error, OpenError::OtherSizes { offset, ring_bytes, snapshot_bytes });
}

#[test]
fn random_bytes_never_open_and_never_panic() {
    let mut dice = crate::disk::Dice(9);
    let mut disk = Disk::for_area(&small_area());
    let mut writer = Writer::own(&mut disk);
    writer.append(&[5000]);
    writer.settle(&mut disk);
    for _round in 0..300 {
        let mut bad = disk.clone();
        for _byte in 0..dice.roll(4000) {
            // Heads are the interesting place.
            let block = dice.roll(bad.0.len() as u64 / 4096) as usize * 4096;
            bad.0[block + dice.roll(64) as usize] = dice.roll(256) as u8;
        }
        if let Ok(opened) = bad.open_own(small_area()) {
            writer.history.judge(&opened.contents).unwrap();
        }
    }
}

#[test]
fn a_large_area_is_read_in_few_steps_and_only_where_needed() {
    let area = Area::new(4096, RING_BYTES, 64 << 20).unwrap();
    let seal = Plain { disk: DiskId([1; 16]) };
    let contents = Contents {
        snapshot: Some(stead_journal::Snapshot { covers: 9, bytes: vec![1; 300_000] }),
        records: vec![(10, vec![2; 400])],
    };
    let fresh = Fresh { area, seal: seal.into(), life: 1 };
    let (mut journal, mut flying) = Journal::create(fresh, &contents).unwrap();
    let mut blocks = std::collections::BTreeMap::new();
    let mut bytes_written = 0;
    while let Some(write) = flying.pop() {
        bytes_written += write.data.len();
        for (index, block) in (0..).zip(write.data.chunks(4096)) {
            blocks.insert(write.offset + index * 4096, block.to_vec());
        }
        flying.extend(journal.written(write.id).writes);
    }
    assert!(bytes_written < 320_000, "{bytes_written}");
    let mut opening = Opening::quiet(area, seal);
    let (mut reads, mut bytes_read) = (0, 0);
    loop {
        match opening.step() {
            Step::Read { offset, len } => {
                reads += 1;
                bytes_read += len;
                let blank = vec![0; 4096];
                let block = |at: u64| blocks.get(&at).unwrap_or(&blank).clone();
                let data: Vec<u8> =
                    (0..len / 4096).flat_map(|i| block(offset + i * 4096)).collect();
                opening.feed(&data);
            }
            Step::Done(opened) => {
                assert_eq!(opened.contents, contents);
                break;
            }
            Step::Failed(error) => panic!("{error}"),
        }
    }
    assert!(reads < 20 && bytes_read < RING_BYTES + (1 << 20), "{reads} reads, {bytes_read} bytes");
}
