//! H2: the old host goes on writing and compacting while its log is adopted.

use stead_journal::{Contents, Fresh, OpenError, Opened, Opening, Sealed, Step, Write};

use crate::disk::{Disk, SECTOR, sealed, small_area};
use crate::workload::{History, Writer};

/// The old host at the moment of the claim, and all it still does, write by write.
struct OldHost {
    disk: Disk,
    at_claim: History,
    later: Vec<Write>,
    finally: History,
}

/// Fills the ring, then switches to snapshots and writes over freed blocks, round and round.
fn old_host(before: usize, after: usize) -> OldHost {
    let fresh = Fresh { area: small_area(), seal: sealed(0).into(), life: 3 };
    let mut disk = Disk::for_area(&small_area());
    let mut writer = Writer::create(fresh, &Contents::default(), History::default());
    writer.settle(&mut disk);
    let turn = |writer: &mut Writer, number: usize| {
        if !writer.append(&[100 + number % 3 * 2500]) {
            assert!(writer.snapshot(writer.journal.last_seq()));
        }
    };
    for number in 0..before {
        turn(&mut writer, number);
        writer.settle(&mut disk);
    }
    let (at_claim, at_claim_disk) = (writer.history.clone(), disk.clone());
    let mut later = Vec::new();
    for number in 0..after {
        turn(&mut writer, number);
        while !writer.flying.is_empty() {
            later.push(writer.flying[0].clone());
            writer.complete(0, &mut disk);
        }
    }
    OldHost { disk: at_claim_disk, at_claim, later, finally: writer.history }
}

/// Which writes land when, counted in half writes and in blocks that the adopter has read.
#[derive(Clone, Copy, Debug)]
struct Schedule {
    first_at: usize,
    first_halves: usize,
    second_at: usize,
    second_halves: usize,
}

fn adopt(
    host: &OldHost,
    schedule: Schedule,
    mut opening: Opening<Sealed>,
) -> Result<Opened<Sealed>, OpenError> {
    let mut disk = host.disk.clone();
    let (mut landed, mut blocks_read) = (0, 0);
    loop {
        let (offset, len) = match opening.step() {
            Step::Read { offset, len } => (offset, len),
            Step::Done(opened) => return Ok(*opened),
            Step::Failed(error) => return Err(error),
        };
        let mut bytes = Vec::new();
        for block in (0..len).step_by(4096) {
            let mut due = 0;
            if blocks_read >= schedule.first_at {
                due += schedule.first_halves;
            }
            if blocks_read >= schedule.second_at {
                due += schedule.second_halves;
            }
            while landed < due.min(host.later.len() * 2) {
                land_half(&mut disk, &host.later[landed / 2], landed % 2);
                landed += 1;
            }
            bytes.extend_from_slice(disk.read(offset + block, 4096));
            blocks_read += 1;
        }
        opening.feed(&bytes);
    }
}

fn land_half(disk: &mut Disk, write: &Write, half: usize) {
    let middle = write.data.len() / SECTOR / 2;
    disk.tear(write, |sector| (sector >= middle) == (half == 1));
}

/// Adopts under many schedules; returns (adoptions, restarts, what went wrong).
fn adopt_all(host: &OldHost, open: impl Fn() -> Opening<Sealed>) -> (usize, u32, Vec<String>) {
    let (mut adoptions, mut restarts, mut wrong) = (0, 0, Vec::new());
    let history = History { acknowledged: host.at_claim.acknowledged, ..host.finally.clone() };
    let halves = host.later.len() * 2;
    for first_at in (0..14).step_by(2) {
        for second_at in (first_at..26).step_by(7) {
            for first_halves in (first_at % 3..=halves).step_by(2) {
                for second_halves in [0, 3, halves] {
                    let at = Schedule { first_at, first_halves, second_at, second_halves };
                    adoptions += 1;
                    match adopt(host, at, open()) {
                        Err(error) => wrong.push(format!("{at:?}: {error:?}")),
                        Ok(opened) => {
                            restarts += opened.restarts;
                            if let Err(what) = history.judge(&opened.contents) {
                                wrong.push(format!("{at:?}: {what}"));
                            }
                        }
                    }
                }
            }
        }
    }
    (adoptions, restarts, wrong)
}

pub(crate) fn adopt_from_compacting_hosts(
    open: impl Fn() -> Opening<Sealed>,
) -> (usize, u32, Vec<String>) {
    let mut sum = (0, 0, Vec::new());
    for before in [5, 8, 13] {
        let (adoptions, restarts, wrong) = adopt_all(&old_host(before, 6), &open);
        sum.0 += adoptions;
        sum.1 += restarts;
        sum.2.extend(wrong);
    }
    sum
}

#[test]
fn h2_everything_acknowledged_before_the_claim_is_adopted_during_compaction() {
    let live = || Opening::live(small_area(), sealed(0), 3);
    let (adoptions, restarts, wrong) = adopt_from_compacting_hosts(live);
    assert_eq!(wrong, Vec::<String>::new());
    assert!(adoptions > 1000, "{adoptions}");
    assert!(restarts > 200, "only {restarts} changes were met: the test does not reach H2");
}

#[test]
fn a_host_that_never_stops_ends_in_an_error() {
    let fresh = Fresh { area: small_area(), seal: sealed(0).into(), life: 3 };
    let mut disk = Disk::for_area(&small_area());
    let mut writer = Writer::create(fresh, &Contents::default(), History::default());
    writer.settle(&mut disk);
    let mut opening = Opening::live(small_area(), sealed(0), 3);
    for _read in 0..1000 {
        match opening.step() {
            Step::Read { offset, len } => opening.feed(disk.read(offset, len)),
            Step::Done(_) => panic!("adopted what was changing"),
            Step::Failed(error) => {
                assert!(matches!(error, OpenError::KeepsChanging { .. }), "{error}");
                return;
            }
        }
        writer.append(&[100]);
        writer.settle(&mut disk);
        writer.snapshot(writer.journal.last_seq());
        writer.settle(&mut disk);
    }
    panic!("the opening does not end");
}

#[test]
fn real_damage_is_an_error_after_a_second_look() {
    let host = old_host(5, 0);
    let mut disk = host.disk.clone();
    disk.0[small_area().base() as usize + 3 * 4096 + 900] ^= 1;
    let error = disk.open(Opening::live(small_area(), sealed(0), 3)).unwrap_err();
    assert!(matches!(error, OpenError::Damaged { .. }), "{error}");
}
