//! The header table: what all slots say, read at once (R1).

use stead_journal::{ClusterKey, DiskId, Geometry, Header};

/// The headers of all slots as one read returned them.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Table {
    headers: Vec<Header>,
}

/// What identifies and protects the quorum disk.
#[derive(Clone, Debug)]
pub(crate) struct Medium {
    pub(crate) disk: DiskId,
    pub(crate) key: ClusterKey,
    pub(crate) geometry: Geometry,
}

impl Table {
    /// Decodes a read of the whole table; one unreadable header makes D dead (R2), unless
    /// `skip_bad` (a planted fault) takes it for an empty one.
    pub(crate) fn decode(bytes: &[u8], medium: &Medium, skip_bad: bool) -> Result<Self, String> {
        let (_, length) = medium.geometry.header_table();
        if bytes.len() as u64 != length {
            return Err(format!("read {} of {length} bytes of the slot headers", bytes.len()));
        }
        let block = (length / u64::from(medium.geometry.slots())) as usize;
        let decode = |(slot, bytes): (u32, &[u8])| {
            let place = medium.geometry.header_place(medium.disk, slot);
            match Header::decode(bytes, &place, &medium.key) {
                Err(_) if skip_bad => Ok(Header::default()),
                header => header.map_err(|e| e.to_string()),
            }
        };
        let headers = (0..).zip(bytes.chunks(block)).map(decode).collect::<Result<_, _>>()?;
        Ok(Self { headers })
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
        Table { headers: headers.iter().map(header).collect() }
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
