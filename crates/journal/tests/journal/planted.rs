//! The checks can fail: with a fault planted, the same tests find it.

use stead_journal::{Opening, Planted};

use crate::adoption::adopt_from_compacting_hosts;
use crate::disk::{own_seal, sealed, small_area};
use crate::power_cut::torn_disks;
use crate::workload::moments;

/// What the power cut test finds wrong: (errors where there is no damage, lost or altered content).
fn power_cut_findings(planted: Planted) -> (usize, usize) {
    let (mut errors, mut wrong) = (0, 0);
    for moment in moments(1, 70) {
        for disk in torn_disks(&moment) {
            match disk.open(Opening::quiet(small_area(), own_seal()).with_planted(planted)) {
                Ok(opened) => wrong += usize::from(moment.history.judge(&opened.contents).is_err()),
                Err(_error) => errors += 1,
            }
        }
    }
    (errors, wrong)
}

#[test]
fn a_torn_superblock_that_is_accepted_is_found() {
    assert_eq!(power_cut_findings(Planted::default()), (0, 0));
    let planted = Planted { accept_torn_superblock: true, ..Planted::default() };
    let (errors, wrong) = power_cut_findings(planted);
    assert!(wrong > 0, "acknowledged records are lost silently");
    assert!(errors > 0, "and good disks are refused");
}

#[test]
fn h2_a_superblock_that_is_not_read_again_is_found() {
    let planted = Planted { skip_reread: true, ..Planted::default() };
    let live = || Opening::live(small_area(), sealed(0), 3).with_planted(planted);
    let (_adoptions, restarts, wrong) = adopt_from_compacting_hosts(live);
    assert_eq!(restarts, 0);
    let lost = wrong.iter().filter(|what| what.contains("was acknowledged")).count();
    assert!(lost > 0, "{wrong:?}");
}
