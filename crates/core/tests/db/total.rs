//! Whatever is in the log: nothing panics, replicas stay equal, the rules hold.

use std::collections::BTreeMap;

use stead_core::db::{Db, size, tree};
use stead_model::change::{Change, Entry};
use stead_model::group::Desired;
use stead_model::profile::LeaseLength;
use stead_model::program::Levels;
use stead_model::{Epoch, LogIndex, NodeId, RequestId, UtcMillis};

use crate::fixture::{add, create, depend, disown, grant, release, resource};

/// A seeded source of choices (xorshift).
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % sides
    }

    fn pick(&mut self, from: &[&'static str]) -> &'static str {
        from[self.roll(from.len() as u64) as usize]
    }
}

fn length(number: u64) -> LeaseLength {
    [LeaseLength::Short, LeaseLength::Longer, LeaseLength::Absence][number as usize % 3]
}

fn change(dice: &mut Dice) -> Change {
    let group = dice.pick(&["g", "h"]);
    let name = dice.pick(&["a", "b", "c", "d"]);
    let desired = if dice.roll(2) == 0 { Desired::Online } else { Desired::Offline };
    let (node, epoch) = (dice.roll(3) as u16 + 1, dice.roll(12));
    match dice.roll(17) {
        0 => create(group),
        1 => Change::DeleteGroup { group: group.into() },
        2 => Change::SetGroupDesired { group: group.into(), desired },
        3..=5 => add(group, name),
        6 => Change::DeleteResource { resource: name.into() },
        7 => Change::SetResourceDesired { resource: name.into(), desired },
        8 => {
            let (properties, policy) = (BTreeMap::new(), resource("x").policy);
            let possible_owners = Some([NodeId(node)].into());
            Change::SetResource { resource: name.into(), properties, policy, possible_owners }
        }
        9 => depend(name, &[dice.pick(&["a", "b", "c", "d"])]),
        10 | 11 => grant(group, node, epoch),
        12 => release(group, epoch),
        13 => disown(group, epoch),
        14 => Change::CountFailover { group: group.into() },
        15 => Change::LeaseLength { node: NodeId(node), length: length(epoch) },
        _ => {
            let value = (epoch > 3).then(|| "v".repeat(epoch as usize));
            Change::SetKey { key: name.into(), value }
        }
    }
}

fn check(db: &Db, epochs: &mut BTreeMap<String, Epoch>) {
    for group in db.groups().values() {
        assert!(!tree::has_cycle(&group.resources), "{group:?}");
        let last = epochs.entry(group.id.to_string()).or_default();
        assert!(group.epoch_last >= *last, "the epoch of {} went back", group.id);
        *last = group.epoch_last;
        for id in group.resources.keys() {
            assert_eq!(db.resource(id).unwrap().0.id, group.id);
        }
    }
    let groups: u64 = db.groups().values().map(size::of_group).sum();
    let keys: u64 = db.keys().iter().map(|(k, v)| size::of_key(k, v)).sum();
    assert_eq!(db.size_bytes(), groups + keys);
}

#[test]
fn any_log_is_applied_alike_everywhere() {
    for seed in 1..400u64 {
        let mut dice = Dice(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
        let (mut one, mut two) = (Db::default(), Db::default());
        let mut epochs = BTreeMap::new();
        for index in 1..=120 {
            let changes = (0..1 + dice.roll(3)).map(|_| change(&mut dice)).collect();
            let request =
                (dice.roll(3) == 0).then(|| RequestId { client: 1, number: dice.roll(60) });
            let entry =
                Entry { at: UtcMillis(dice.roll(9_999)), request, why: "x".into(), changes };
            let outcomes = one.apply(LogIndex(index), &entry);
            assert_eq!(outcomes.len(), entry.changes.len());
            assert_eq!(two.apply(LogIndex(index), &entry), outcomes);
            if dice.roll(10) == 0 {
                two = Db::restore(&two.snapshot(), Levels::OWN).unwrap();
            }
            check(&one, &mut epochs);
        }
        assert_eq!((one.digest(), &one), (two.digest(), &two), "seed {seed}");
    }
}

#[test]
fn the_size_is_an_estimate_from_above() {
    let mut dice = Dice(77);
    let mut db = Db::default();
    for index in 1..=3_000 {
        let entry = Entry {
            at: UtcMillis(0),
            request: None,
            why: String::new(),
            changes: vec![change(&mut dice)],
        };
        db.apply(LogIndex(index), &entry);
        let fixed = 512;
        assert!(db.snapshot().len() as u64 <= db.size_bytes() + fixed, "entry {index}");
    }
}
