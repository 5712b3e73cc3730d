//! Taking a disk over: from nobody, from a dead owner, against strangers and by a former owner.

use std::sync::{Arc, Mutex};

use stead_model::reservation::{Key, Keys, Owner};
use stead_model::{Epoch, NodeId};

use super::{ReservationError, Reservations, TakeError, give_back, still_held, take};

/// A disk with the meaning of SCSI-3, and what each of its paths may do.
#[derive(Clone, Debug, Default)]
struct Disk(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    registered: Vec<(u16, Key)>,
    holder: Option<u16>,
}

#[derive(Debug)]
struct Path {
    disk: Disk,
    node: u16,
}

impl Disk {
    fn path(&self, node: u16) -> Path {
        Path { disk: self.clone(), node }
    }

    /// Nodes that may write.
    fn writers(&self) -> Vec<u16> {
        let state = self.0.lock().unwrap();
        state.holder.expect("it is reserved");
        state.registered.iter().map(|(node, _)| *node).collect()
    }
}

impl Path {
    fn with<T>(
        &self,
        key: Key,
        act: impl FnOnce(&mut State) -> Result<T, ReservationError>,
    ) -> Result<T, ReservationError> {
        let mut state = self.disk.0.lock().unwrap();
        if state.registered.contains(&(self.node, key)) {
            act(&mut state)
        } else {
            Err(ReservationError::Conflict)
        }
    }
}

impl Reservations for Path {
    fn register(&self, key: Key) -> Result<(), ReservationError> {
        let mut state = self.disk.0.lock().unwrap();
        state.registered.retain(|(node, _)| *node != self.node);
        state.registered.push((self.node, key));
        Ok(())
    }

    fn unregister(&self) -> Result<(), ReservationError> {
        let mut state = self.disk.0.lock().unwrap();
        state.registered.retain(|(node, _)| *node != self.node);
        state.holder = state.holder.filter(|holder| *holder != self.node);
        Ok(())
    }

    fn reserve(&self, key: Key) -> Result<(), ReservationError> {
        self.with(key, |state| match state.holder {
            Some(holder) if holder != self.node => Err(ReservationError::Conflict),
            Some(_) | None => {
                state.holder = Some(self.node);
                Ok(())
            }
        })
    }

    fn release(&self, key: Key) -> Result<(), ReservationError> {
        self.with(key, |state| {
            state.holder = state.holder.filter(|holder| *holder != self.node);
            Ok(())
        })
    }

    fn preempt_and_abort(&self, key: Key, victim: Key) -> Result<(), ReservationError> {
        self.with(key, |state| {
            let is_victim = |entry: &&(u16, Key)| entry.1 == victim && entry.0 != self.node;
            let victims: Vec<u16> =
                state.registered.iter().filter(is_victim).map(|(node, _)| *node).collect();
            if victims.is_empty() {
                return Err(ReservationError::Conflict);
            }
            state.registered.retain(|(node, _)| !victims.contains(node));
            if state.holder.is_some_and(|holder| victims.contains(&holder)) {
                state.holder = Some(self.node);
            }
            Ok(())
        })
    }

    fn keys(&self) -> Result<Keys, ReservationError> {
        let state = self.disk.0.lock().unwrap();
        let key_of = |node: u16| state.registered.iter().find(|(n, _)| *n == node).map(|(_, k)| *k);
        Ok(Keys {
            generation: 0,
            keys: state.registered.iter().map(|(_, key)| *key).collect(),
            holder: state.holder.and_then(key_of),
        })
    }
}

fn owner(node: u16, epoch: u64) -> Owner {
    Owner::new(7, NodeId(node), &"db".into(), Epoch(epoch))
}

#[test]
fn a_disk_goes_from_owner_to_owner_and_one_alone_may_write() {
    let disk = Disk::default();
    let (one, two) = (disk.path(1), disk.path(2));
    take(&one, owner(1, 4)).unwrap();
    assert_eq!(disk.writers(), [1]);
    // A restart in place, and a new epoch of the same node.
    take(&one, owner(1, 4)).unwrap();
    take(&one, owner(1, 5)).unwrap();
    assert_eq!(disk.writers(), [1]);
    take(&two, owner(2, 6)).unwrap();
    assert_eq!(disk.writers(), [2]);
    assert_eq!(still_held(&two, owner(2, 6)).unwrap(), Ok(()));
    let lost = still_held(&one, owner(1, 5)).unwrap().unwrap_err();
    assert_eq!(lost, "its reservation was taken by n2 in e6");
    give_back(&two, owner(2, 6)).unwrap();
    assert_eq!(disk.path(3).keys().unwrap(), Keys::default());
}

#[test]
fn a_former_owner_that_wakes_takes_nothing_back() {
    let disk = Disk::default();
    let (one, two) = (disk.path(1), disk.path(2));
    take(&two, owner(2, 6)).unwrap();
    let refused = take(&one, owner(1, 5)).unwrap_err();
    assert_eq!(refused.to_string(), "n2 in e6 has it: the order to n1 in e5 is a former one");
    assert_eq!(disk.writers(), [2]);
    // It slept between its look and its registration: the owner's next check removes it.
    one.register(owner(1, 5).key()).unwrap();
    assert_eq!(disk.writers(), [2, 1]);
    assert_eq!(still_held(&two, owner(2, 6)).unwrap(), Ok(()));
    assert_eq!(disk.writers(), [2]);
    // A give-back of what was taken away does no harm.
    give_back(&one, owner(1, 5)).unwrap();
    assert_eq!(disk.writers(), [2]);
}

#[test]
fn a_stranger_is_named_and_left_alone() {
    let disk = Disk::default();
    let stranger = Key(0xbad);
    disk.path(9).register(stranger).unwrap();
    let refused = take(&disk.path(1), owner(1, 4)).unwrap_err();
    assert_eq!(refused, TakeError::Stranger { key: stranger });
    assert!(refused.to_string().starts_with("key 0x0000000000000bad is registered on it"));
    assert_eq!(disk.path(1).keys().unwrap().keys, [stranger]);
}
