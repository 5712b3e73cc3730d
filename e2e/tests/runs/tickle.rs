//! A client waits in a read when its server's node loses power: it is told by the successor.

use std::time::Duration;

use e2e::{other, rounds, tell};
use stead_lab::boot_ns;
use stead_lab::client::{Reader, Waited};

use crate::stage::{Place, Stage};

/// From the first good answer of the successor on; the kernel of a client answers twice a second.
const NOTICES_NS: u64 = 1_000_000_000;
/// The owner tells its connections once a second.
const NOTE: Duration = Duration::from_secs(3);

#[test]
fn tickle_ends_the_wait_of_a_client() {
    let stage = Stage::set("tickle");
    for round in 0..rounds().div_ceil(2) {
        let place = if round % 2 == 0 { Place::Follower } else { Place::Leader };
        let owner = place.of(stage.arrange(place));
        let readers: Vec<Reader> = (0..3).map(|_| waiting(&stage)).collect();
        // Nobody but the two monitors knows when the note has arrived.
        std::thread::sleep(NOTE);
        for reader in &readers {
            assert_eq!(reader.so_far(), [], "it waits for nothing");
        }
        let crashed_ns = stage.world.crash(owner);
        let heir = other(owner);
        stage.world.taken_over(&stage.site.group, heir);
        let first = stage.answers(heir, crashed_ns).done_ns;
        let mut latest = 0;
        for reader in &readers {
            let Some(Waited::Reset { at_ns }) = reader.next(e2e::PATIENCE) else {
                panic!("a client of {owner} was not told")
            };
            latest = latest.max(at_ns.saturating_sub(first));
        }
        assert!(latest < NOTICES_NS, "told {latest} ns after the takeover");
        let after_ms = latest as f64 / 1e6;
        tell(&format!("clients of {owner} were told {after_ms:.0} ms after the takeover"));
        stage.world.start(owner);
        let _ = e2e::Roles::settled(&stage.world);
        stage.answers(heir, boot_ns());
    }
}

fn waiting(stage: &Stage) -> Reader {
    let reader = Reader::connect(stage.world.lab(), stage.site.target()).unwrap();
    let connected = reader.next(e2e::PATIENCE);
    assert!(matches!(connected, Some(Waited::Connected { .. })), "{connected:?}");
    reader
}
