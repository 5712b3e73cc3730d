//! Who may write to a shared disk: reservations of one path to it, and how an owner takes a disk
//! over with them.
//!
//! The only type is Write Exclusive – Registrants Only, with the owner's path registered alone
//! (with everyone registered nobody would be fenced). Back-ends: the disks of a lab ([`lab`]).
//!
//! *Invariant.* I-OWN at level A: when [`take`] has returned, the device refuses the writes of
//! every other path, and what those had queued is aborted. A former owner that wakes up in the
//! middle of a start does not take the disk back: it sees the later epoch and steps back.

pub(crate) mod lab;

use std::fmt::Debug;

use stead_model::reservation::{Key, Keys, Owner};

/// Why a request to a disk came to nothing.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub(crate) enum ReservationError {
    /// RESERVATION CONFLICT: nothing was changed.
    #[error("reservation conflict")]
    Conflict,
    /// The path does not carry it; whether it was carried out is not known.
    #[error("its path does not answer: {0}")]
    Path(String),
}

/// One path to a disk that obeys reservations. Every call may wait for the device.
pub(crate) trait Reservations: Send + Sync + Debug {
    /// Registers the path, or changes its key.
    fn register(&self, key: Key) -> Result<(), ReservationError>;
    /// Removes the path's registration.
    fn unregister(&self) -> Result<(), ReservationError>;
    /// Takes the reservation; refused while another path holds it.
    fn reserve(&self, key: Key) -> Result<(), ReservationError>;
    /// Gives the reservation back.
    fn release(&self, key: Key) -> Result<(), ReservationError>;
    /// Removes the registrations with the victim's key, aborts what their paths have queued, and
    /// takes the reservation if one of them held it.
    fn preempt_and_abort(&self, key: Key, victim: Key) -> Result<(), ReservationError>;
    /// Who is registered and who holds.
    fn keys(&self) -> Result<Keys, ReservationError>;
}

/// Why an owner does not get a disk.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub(crate) enum TakeError {
    /// Somebody outside the cluster has a key on it.
    #[error(
        "key {key} is registered on it, which is none of this cluster: another cluster or a \
         program outside it uses the disk; end that and clear its registration first"
    )]
    Stranger {
        /// The key.
        key: Key,
    },
    /// The group is owned elsewhere in a later epoch.
    #[error("{later} has it: the order to {own} is a former one")]
    Later {
        /// Who asked.
        own: Owner,
        /// Who has it.
        later: Owner,
    },
    /// Others change the registrations again and again.
    #[error("its registrations do not come to rest: {0:?}")]
    Restless(Keys),
    /// The device.
    #[error("{0}")]
    Device(#[from] ReservationError),
}

/// Rounds until the registrations must have come to rest: one for each other node and more.
const ROUNDS_MAX: u32 = 100;

/// Makes the path of this node the only one that may write. Afterwards it is known to be that.
pub(crate) fn take(disk: &dyn Reservations, own: Owner) -> Result<(), TakeError> {
    let key = own.key();
    // Before anything is changed: who registers may write.
    check(&disk.keys()?, own)?;
    disk.register(key)?;
    let mut seen = Keys::default();
    for _ in 0..ROUNDS_MAX {
        seen = disk.keys()?;
        if let Err(refused) = check(&seen, own) {
            disk.unregister()?;
            return Err(refused);
        }
        let step = match other_than(&seen, key) {
            Some(victim) => disk.preempt_and_abort(key, victim),
            None if seen.holder == Some(key) => return Ok(()),
            None => disk.reserve(key),
        };
        match step {
            // Somebody was faster: what it did shows in the next round.
            Ok(()) | Err(ReservationError::Conflict) => {}
            Err(why) => return Err(why.into()),
        }
        if !seen.keys.contains(&key) {
            disk.register(key)?;
        }
    }
    Err(TakeError::Restless(seen))
}

/// Gives the disk back.
pub(crate) fn give_back(disk: &dyn Reservations, own: Owner) -> Result<(), ReservationError> {
    match disk.release(own.key()) {
        // It was taken away: there is nothing to give back.
        Ok(()) | Err(ReservationError::Conflict) => disk.unregister(),
        Err(why) => Err(why),
    }
}

/// Whether the disk is still this owner's; else who took it, in words. Registrations that a
/// former owner made since are removed.
pub(crate) fn still_held(
    disk: &dyn Reservations,
    own: Owner,
) -> Result<Result<(), String>, ReservationError> {
    let keys = disk.keys()?;
    let key = own.key();
    if keys.holder == Some(key) {
        return Ok(match other_than(&keys, key) {
            Some(_) => take(disk, own).map_err(|why| why.to_string()),
            None => Ok(()),
        });
    }
    let holder = keys.holder.map(|holder| match own.of(holder) {
        Some(owner) => owner.to_string(),
        None => format!("key {holder} of no node of this cluster"),
    });
    Ok(Err(format!("its reservation was taken by {}", holder.as_deref().unwrap_or("nobody"))))
}

fn other_than(keys: &Keys, own: Key) -> Option<Key> {
    keys.holder.iter().chain(&keys.keys).copied().find(|key| *key != own)
}

/// Refuses what belongs to strangers or to a later owner.
fn check(keys: &Keys, own: Owner) -> Result<(), TakeError> {
    for key in keys.keys.iter().chain(&keys.holder) {
        match own.of(*key) {
            None => return Err(TakeError::Stranger { key: *key }),
            Some(later) if own.is_older_than(later) => return Err(TakeError::Later { own, later }),
            Some(_) => {}
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
