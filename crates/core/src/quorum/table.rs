//! The header table: what all slots say, read at once (R1).

use std::collections::BTreeSet;

use stead_journal::{ClusterKey, DiskId, Geometry, Header, Identity, PlateError};
use stead_model::keys::{Other, Print};

/// The headers of all slots as one read returned them.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Table {
    headers: Vec<Header>,
    /// Slots whose header is under the other key.
    others: BTreeSet<u32>,
    /// Whether the identity block is; `None`: it was not read along.
    identity_other: Option<bool>,
}

/// What the quorum disk is sealed with, and what opens it besides.
#[derive(Clone, Debug)]
pub(crate) struct SeatKeys {
    pub(crate) print: Print,
    pub(crate) seal: ClusterKey,
    pub(crate) other: Other<(Print, ClusterKey)>,
}

impl SeatKeys {
    /// Whether what is not under the own key is to be sealed anew.
    pub(crate) const fn follow_others(&self) -> bool {
        matches!(self.other, Other::Former(..))
    }

    /// The key that opens besides.
    pub(crate) fn other(&self) -> Option<&ClusterKey> {
        self.other.as_ref().set().map(|(_, key)| key)
    }

    /// Opens with the own key or with the other one; says whether it was that.
    pub(crate) fn open<T>(
        &self,
        decode: impl Fn(&ClusterKey) -> Result<T, PlateError>,
    ) -> Result<(T, bool), PlateError> {
        match (decode(&self.seal), self.other()) {
            (Err(PlateError::WrongKey { .. }), Some(other)) => decode(other).map(|it| (it, true)),
            (own, _) => own.map(|it| (it, false)),
        }
    }
}

/// What identifies and protects the quorum disk.
#[derive(Clone, Debug)]
pub(crate) struct Medium {
    pub(crate) disk: DiskId,
    pub(crate) keys: SeatKeys,
    pub(crate) geometry: Geometry,
}

impl Medium {
    /// What one look reads: the header table, with the identity block before it while two keys are
    /// believed.
    pub(crate) fn look(&self) -> (u64, u64) {
        let (offset, length) = self.geometry.header_table();
        match self.keys.other {
            Other::None => (offset, length),
            Other::Next(..) | Other::Former(..) => {
                (Identity::OFFSET, offset + length - Identity::OFFSET)
            }
        }
    }
}

/// Why a look at the table shows nothing.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Unreadable {
    pub(crate) why: String,
    /// Slots with a header under neither key, if nothing else is wrong.
    pub(crate) strange: BTreeSet<u32>,
    /// The highest claim of the other ones.
    pub(crate) highest_claim: u64,
}

impl From<String> for Unreadable {
    fn from(why: String) -> Self {
        Self { why, strange: BTreeSet::new(), highest_claim: 0 }
    }
}

impl Table {
    /// Decodes a read of the whole table; one unreadable header makes D dead (R2), unless
    /// `skip_bad` (a planted fault) takes it for an empty one.
    pub(crate) fn decode(
        bytes: &[u8],
        medium: &Medium,
        skip_bad: bool,
    ) -> Result<Self, Unreadable> {
        let (offset, length) = medium.geometry.header_table();
        let before = (offset - Identity::OFFSET) as usize;
        let (identity, bytes) = match bytes.len() as u64 == length {
            true => (None, bytes),
            false => bytes.split_at_checked(before).map_or((None, bytes), |(i, t)| (Some(i), t)),
        };
        let identity_other = match identity {
            None => None,
            Some(block) => {
                let opened = medium.keys.open(|key| Identity::decode(block, Some(key)));
                Some(opened.map_err(|e| Unreadable::from(e.to_string()))?.1)
            }
        };
        if bytes.len() as u64 != length {
            let why = format!("read {} of {length} bytes of the slot headers", bytes.len());
            return Err(why.into());
        }
        let block = (length / u64::from(medium.geometry.slots())) as usize;
        let mut read = Vec::with_capacity(medium.geometry.slots() as usize);
        let mut strange: Option<Unreadable> = None;
        for (slot, bytes) in (0..).zip(bytes.chunks(block)) {
            let place = medium.geometry.header_place(medium.disk, slot);
            match medium.keys.open(|key| Header::decode(bytes, &place, key)) {
                Ok(header) => read.push(header),
                Err(_) if skip_bad => read.push((Header::default(), false)),
                Err(why @ PlateError::WrongKey { .. }) => {
                    let first = || Unreadable::from(why.to_string());
                    strange.get_or_insert_with(first).strange.insert(slot);
                    read.push((Header::default(), false));
                }
                Err(why) => return Err(why.to_string().into()),
            }
        }
        if let Some(strange) = strange {
            let claims = read.iter().map(|(header, _)| header.claim);
            return Err(Unreadable { highest_claim: claims.max().unwrap_or_default(), ..strange });
        }
        let others = (0..).zip(&read).filter(|(_, (_, other))| *other).map(|(slot, _)| slot);
        let others = others.collect();
        let headers = read.into_iter().map(|(header, _)| header).collect();
        Ok(Self { headers, others, identity_other })
    }

    /// Whether everything that was read is under the own key, the identity block included.
    pub(crate) fn is_sealed(&self) -> bool {
        self.identity_other == Some(false) && self.others.is_empty()
    }

    /// Whether the header of a slot is under the other key.
    pub(crate) fn is_other(&self, slot: u32) -> bool {
        self.others.contains(&slot)
    }

    /// Whether the identity block is under the other key.
    pub(crate) fn identity_is_other(&self) -> bool {
        self.identity_other == Some(true)
    }

    /// The headers that are, with their slots.
    pub(crate) fn others(&self) -> impl Iterator<Item = (u32, Header)> {
        self.others.iter().map(|slot| (*slot, self.header(*slot)))
    }

    pub(crate) fn header(&self, slot: u32) -> Header {
        self.headers.get(slot as usize).copied().unwrap_or_default()
    }

    /// The slot with the newest log and its header.
    pub(crate) fn newest(&self) -> (u32, Header) {
        let slots = (0..).zip(self.headers.iter().copied());
        slots.max_by_key(|(slot, h)| (h.active, std::cmp::Reverse(*slot))).unwrap_or_default()
    }

    pub(crate) fn highest_claim(&self) -> u64 {
        self.headers.iter().map(|h| h.claim).max().unwrap_or_default()
    }

    /// The smallest epoch of `slot` above every claim and active.
    pub(crate) fn next_epoch(&self, slot: u32) -> u64 {
        let top = self.headers.iter().map(|h| h.claim.max(h.active)).max().unwrap_or_default();
        let slots = self.headers.len() as u64;
        let mut epoch = top + 1;
        epoch += (u64::from(slot) + slots - epoch % slots) % slots;
        epoch
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(headers: &[(u64, u64)]) -> Table {
        let header = |&(claim, active)| Header { claim, active, ..Header::default() };
        let headers = headers.iter().map(header).collect();
        Table { headers, others: BTreeSet::new(), identity_other: None }
    }

    #[test]
    fn epochs_belong_to_their_slot_and_grow() {
        let table = table(&[(8, 4), (5, 5), (0, 0), (7, 3)]);
        for slot in 0..4 {
            let epoch = table.next_epoch(slot);
            assert!(epoch > 8 && epoch <= 12 && epoch % 4 == u64::from(slot), "{slot}: {epoch}");
        }
    }

    #[test]
    fn the_newest_log_is_the_highest_active_not_the_highest_claim() {
        let table = table(&[(8, 4), (5, 5), (0, 0), (0, 0)]);
        assert_eq!(table.newest().0, 1);
        assert_eq!(table.highest_claim(), 8);
    }
}
