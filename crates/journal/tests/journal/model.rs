//! Random histories with crashes, compared with a plain list (I-ACK, R10).

use proptest::prelude::*;
use stead_journal::Resumed;

use crate::disk::{Dice, Disk, small_area};
use crate::workload::Writer;

#[derive(Clone, Debug)]
enum Op {
    Append(Vec<usize>),
    Snapshot {
        behind: u64,
    },
    Complete {
        which: usize,
    },
    /// Power fails: each sector of each write in flight lands or not, as the dice fall.
    Crash {
        seed: u64,
        chance: u64,
    },
}

fn op() -> impl Strategy<Value = Op> {
    let size = prop_oneof![4 => 0..600usize, 1 => 3900..4000usize, 1 => 0..12_000usize];
    prop_oneof![
        6 => prop::collection::vec(size, 1..4).prop_map(Op::Append),
        2 => (0..4u64).prop_map(|behind| Op::Snapshot { behind }),
        10 => (0..8usize).prop_map(|which| Op::Complete { which }),
        1 => (any::<u64>(), 0..=4u64).prop_map(|(seed, chance)| Op::Crash { seed, chance }),
    ]
}

fn crash(writer: Writer, disk: &mut Disk, seed: u64, chance: u64) -> Writer {
    let mut dice = Dice(seed);
    for write in &writer.flying {
        let lands: Vec<bool> =
            write.data.chunks(512).map(|_sector| dice.roll(4) < chance).collect();
        disk.tear(write, |sector| lands[sector]);
    }
    let opened = disk.open_own(small_area()).expect("no damage, only a power cut");
    writer.history.judge(&opened.contents).expect("as promised");
    let Resumed { contents, journal, writes } = opened.resume();
    let mut history = writer.history;
    history.forget_after(&contents);
    Writer { journal, flying: writes, history, salt: writer.salt.wrapping_add(17) }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn a_journal_is_a_list_that_survives_crashes(ops in prop::collection::vec(op(), 1..120)) {
        let mut disk = Disk::for_area(&small_area());
        let mut writer = Writer::own(&mut disk);
        for op in ops {
            match op {
                Op::Append(sizes) => {
                    writer.append(&sizes);
                }
                Op::Snapshot { behind } => {
                    writer.snapshot(writer.journal.last_seq().saturating_sub(behind));
                }
                Op::Complete { which } => {
                    if !writer.flying.is_empty() {
                        writer.complete(which % writer.flying.len(), &mut disk);
                    }
                }
                Op::Crash { seed, chance } => writer = crash(writer, &mut disk, seed, chance),
            }
        }
        writer.settle(&mut disk);
        let opened = disk.open_own(small_area()).expect("a settled journal opens");
        prop_assert_eq!(opened.contents.next_seq() - 1, writer.journal.last_seq());
        prop_assert_eq!(writer.history.judge(&opened.contents), Ok(()));
    }
}
