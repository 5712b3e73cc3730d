//! The passage of cluster addresses: their traffic, ARP and neighbour discovery pass only while an
//! element of nf_tables exists, whose time the kernel lets run out by itself.
//!
//! A node that is frozen stops nothing, but its kernel goes on answering ARP, pings and TCP. With
//! the passage tied to the rest of the lease it falls silent at the lease's end without anybody
//! acting. Two tables of ours, both called `stead`, in the current net namespace:
//!
//! ```text
//! table inet                              table arp
//!   set address4, address6                  set address4
//!   set lease { 1 timeout REST }            set lease { 1 timeout REST }
//!   prerouting:  to an address ──┐          input:  asks for an address ──┐
//!                ND for one ─────┤          output: says to be one ───────┤
//!   postrouting: from one ───────┤                                        │
//!                ND as one ──────┴─► passage: lease has 1? accept : drop ◄┘
//! ```
//!
//! Prerouting before connection tracking and postrouting after translation: also what the node
//! forwards or translates for a cluster address is seen with that address. Nothing else is touched.
//! Raw frames (announcements) pass by nf_tables; who sends them asks [`addresses_pass`] first.
//!
//! The element counts jiffies, rounded down: it ends at most two of them early and never late, but
//! stands still in suspend. A refresh is one batch that empties the set and adds the element, for
//! older kernels neither change a timeout in place nor delete an element that has expired.
//!
//! Not here: until when a lease runs, and which addresses (the guard).

use std::io;
use std::net::IpAddr;
use std::time::Duration;

use netlink_sys::protocols::NETLINK_NETFILTER;

use crate::channel::{self, Channel, ExchangeError};
use crate::nftables::{
    Elements, Family, Field, Header, Hook, Meta, Rule, Set, Table, Verdict, batch, commit,
    listed_keys,
};
use crate::route::ANSWER_LIMIT;

/// The tables of the net namespace the calling thread was in when it was opened.
#[derive(Debug)]
pub struct Passage {
    channel: Channel,
    refresh: Refresh,
}

/// The passage could not be changed; the cause is the `source`.
#[derive(Debug, thiserror::Error)]
#[error("cannot {operation} in nf_tables")]
pub struct PassageError {
    operation: &'static str,
    #[source]
    cause: ExchangeError,
}

impl PassageError {
    /// Why: the kernel's answer, or that none came.
    #[must_use]
    pub fn cause(&self) -> &ExchangeError {
        &self.cause
    }

    /// The tables (or a part of them) are not there: never built, or removed by somebody.
    #[must_use]
    pub fn not_built(&self) -> bool {
        self.cause.errno() == Some(libc::ENOENT)
    }
}

impl Passage {
    /// Opens a socket; nothing is changed yet.
    ///
    /// # Errors
    /// The kernel has no netfilter.
    pub fn open() -> Result<Self, PassageError> {
        let channel = Channel::open(NETLINK_NETFILTER, ANSWER_LIMIT)
            .map_err(|cause| PassageError { operation: "open a socket", cause })?;
        Ok(Self { channel, refresh: Refresh::new() })
    }

    /// The addresses in the tables: those that an earlier guard left behind.
    ///
    /// # Errors
    /// The kernel has no nf_tables, or it may not be used here. No tables: no addresses.
    pub fn addresses(&self) -> Result<Vec<IpAddr>, PassageError> {
        let mut found = Vec::new();
        for set in [ADDRESS4, ADDRESS6] {
            let listed = match self.channel.listed(&INET.asked_all(set.name)) {
                Err(cause) if cause.errno() == Some(libc::ENOENT) => continue,
                other => other.map_err(|cause| PassageError { operation: "list addresses", cause }),
            };
            for message in listed? {
                found.extend(listed_keys(&message.payload).filter_map(crate::attribute::address));
            }
        }
        Ok(found)
    }

    /// Builds the tables anew for these addresses, all at once: there is no moment without them.
    /// With `open_for` the passage is open for that time, else closed.
    ///
    /// # Errors
    /// The kernel lacks something for it, or it may not be used here; nothing was changed.
    pub fn build(
        &self,
        addresses: impl IntoIterator<Item = IpAddr>,
        open_for: Option<Duration>,
    ) -> Result<(), PassageError> {
        let mut changes = INET.emptied();
        changes.extend(ARP.emptied());
        changes.extend(tables());
        changes.extend(addresses.into_iter().flat_map(address_added));
        if let Some(ms) = open_for.and_then(timeout_ms) {
            changes.extend(TABLES.map(|table| table.element(LEASE.name, &KEY, Some(ms))));
        }
        self.commit("build the passage of cluster addresses", changes)
    }

    /// From now on the address passes only while the passage is open.
    ///
    /// # Errors
    /// [`PassageError::not_built`] or what the kernel says.
    pub fn add(&self, address: IpAddr) -> Result<(), PassageError> {
        self.commit("add a cluster address", address_added(address))
    }

    /// From now on the address is an ordinary one; also right when it was one before.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn remove(&self, address: IpAddr) -> Result<(), PassageError> {
        match self.commit("remove a cluster address", address_removed(address)) {
            Err(error) if error.not_built() => Ok(()),
            other => other,
        }
    }

    /// The passage is open for this time from now on, however long it was before; shorter than a
    /// millisecond is closed. Two system calls, nothing is allocated.
    ///
    /// # Errors
    /// [`PassageError::not_built`] or what the kernel says.
    pub fn open_for(&mut self, time: Duration) -> Result<(), PassageError> {
        let Some(ms) = timeout_ms(time) else { return self.close() };
        let bytes = self.refresh.opening(ms);
        self.channel
            .committed(bytes, REFRESH_SEQUENCE)
            .map_err(|cause| PassageError { operation: "open the passage", cause })
    }

    /// Nothing passes from now on.
    ///
    /// # Errors
    /// What the kernel says. No tables: nothing to close.
    pub fn close(&mut self) -> Result<(), PassageError> {
        let bytes = &self.refresh.closing;
        match self.channel.committed(bytes, REFRESH_SEQUENCE) {
            Err(cause) if cause.errno() == Some(libc::ENOENT) => Ok(()),
            other => other.map_err(|cause| PassageError { operation: "close the passage", cause }),
        }
    }

    /// Removes the tables: all addresses are ordinary ones.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn clear(&self) -> Result<(), PassageError> {
        let mut changes = INET.emptied();
        changes.extend(ARP.emptied());
        self.commit("remove the passage of cluster addresses", changes)
    }

    fn commit(&self, operation: &'static str, changes: Vec<Vec<u8>>) -> Result<(), PassageError> {
        commit(&self.channel, changes).map_err(|cause| PassageError { operation, cause })
    }
}

/// Whether cluster addresses pass now in the net namespace of the calling thread; also where no
/// guard built a passage, and where that cannot be found out.
#[must_use]
pub fn addresses_pass() -> bool {
    let Ok(channel) = Channel::open(NETLINK_NETFILTER, ANSWER_LIMIT) else { return true };
    let has = |request| match channel.answered(request) {
        Ok(_) => Ok(true),
        Err(cause) if cause.errno() == Some(libc::ENOENT) => Ok(false),
        Err(cause) => Err(cause),
    };
    match has(INET.asked(LEASE.name, &KEY)) {
        Ok(true) | Err(_) => true,
        // No element, or no table.
        Ok(false) => !has(INET.asked_set(LEASE.name)).unwrap_or(false),
    }
}

/// The batches of the hot path, prepared.
#[derive(Debug)]
struct Refresh {
    opening: Vec<u8>,
    /// Where in `opening` the timeouts stand.
    timeouts: [usize; 2],
    closing: Vec<u8>,
}

impl Refresh {
    fn new() -> Self {
        let emptied = |table: Table| table.without_elements(LEASE.name);
        let added = |table: Table| table.element(LEASE.name, &KEY, Some(TIMEOUT_MARK));
        let closing = datagram(TABLES.map(emptied).to_vec());
        let changes = TABLES.into_iter().flat_map(|table| [emptied(table), added(table)]);
        let opening = datagram(changes.collect());
        let mark = TIMEOUT_MARK.to_be_bytes();
        let places = opening.windows(mark.len()).enumerate();
        let mut places = places.filter(|(_, bytes)| *bytes == mark).map(|(at, _)| at);
        let mut next = || places.next().expect("each table's element has the mark as its timeout");
        let timeouts = [next(), next()];
        Self { opening, timeouts, closing }
    }

    fn opening(&mut self, ms: u64) -> &[u8] {
        for at in self.timeouts {
            self.opening[at..at + size_of::<u64>()].copy_from_slice(&ms.to_be_bytes());
        }
        &self.opening
    }
}

/// One batch as one datagram, no acknowledgement asked for: only a refusal is answered.
fn datagram(changes: Vec<Vec<u8>>) -> Vec<u8> {
    let mut bytes = Vec::new();
    for mut message in batch(changes) {
        channel::seal(&mut message, 0, REFRESH_SEQUENCE);
        bytes.append(&mut message);
    }
    bytes
}

/// Whole milliseconds, rounded down; `None` when that is nothing, which nf_tables would take for
/// "no timeout".
fn timeout_ms(time: Duration) -> Option<u64> {
    let ms = u64::try_from(time.as_millis()).unwrap_or(TIMEOUT_MAX_MS);
    (ms > 0).then_some(ms.min(TIMEOUT_MAX_MS))
}

fn tables() -> Vec<Vec<u8>> {
    let mut changes = Vec::new();
    for table in TABLES {
        changes.extend([table.added(), table.set(ADDRESS4), table.set(LEASE)]);
        changes.push(table.chain(PASSAGE));
        changes.push(table.rule(PASSAGE, |rule| {
            rule.constant_in_set(&KEY, LEASE.name);
            rule.then(Verdict::Accept);
        }));
        changes.push(table.rule(PASSAGE, |rule| rule.then(Verdict::Drop)));
    }
    changes.push(INET.set(ADDRESS6));
    changes.extend(inet_chain(&BEFORE));
    changes.extend(inet_chain(&AFTER));
    changes.extend(arp_chain("input", ARP_IN, ARP_TARGET));
    changes.extend(arp_chain("output", ARP_OUT, ARP_SENDER));
    changes
}

/// One side of the inet table: which address of a packet is looked at.
#[derive(Debug)]
struct Side {
    chain: &'static str,
    hook: Hook,
    address4: Field,
    address6: Field,
    /// The neighbour discovery message that is about an address without bearing it.
    discovery: u8,
}

fn inet_chain(side: &Side) -> Vec<Vec<u8>> {
    let Side { chain, hook, address4, address6, discovery } = *side;
    let passes = |rule: &mut Rule<'_>, field, set: Set| {
        rule.in_set(field, set.name);
        rule.then(Verdict::Jump(PASSAGE));
    };
    vec![
        INET.base_chain(chain, hook),
        INET.rule(chain, |rule| {
            rule.is(Meta::Family, &[libc::NFPROTO_IPV4 as u8]);
            passes(rule, address4, ADDRESS4);
        }),
        INET.rule(chain, |rule| {
            rule.is(Meta::Family, &[libc::NFPROTO_IPV6 as u8]);
            passes(rule, address6, ADDRESS6);
        }),
        INET.rule(chain, |rule| {
            rule.is(Meta::Family, &[libc::NFPROTO_IPV6 as u8]);
            rule.is(Meta::Transport, &[libc::IPPROTO_ICMPV6 as u8]);
            rule.has(ICMP_TYPE, &[discovery]);
            passes(rule, DISCOVERY_TARGET, ADDRESS6);
        }),
    ]
}

fn arp_chain(chain: &'static str, hook: u32, address: Field) -> Vec<Vec<u8>> {
    vec![
        ARP.base_chain(chain, Hook { number: hook, priority: 0 }),
        ARP.rule(chain, |rule| {
            rule.has(ARP_KIND, &ARP_IPV4_ON_ETHERNET);
            rule.in_set(address, ADDRESS4.name);
            rule.then(Verdict::Jump(PASSAGE));
        }),
    ]
}

fn address_added(address: IpAddr) -> Vec<Vec<u8>> {
    of_address(address, |table, set, key| table.element(set, key, None))
}

fn address_removed(address: IpAddr) -> Vec<Vec<u8>> {
    of_address(address, |table, set, key| table.without_element(set, key))
}

fn of_address(
    address: IpAddr,
    change: impl Fn(Table, &'static str, &[u8]) -> Vec<u8>,
) -> Vec<Vec<u8>> {
    match address {
        IpAddr::V4(ip) => TABLES.map(|table| change(table, ADDRESS4.name, &ip.octets())).to_vec(),
        IpAddr::V6(ip) => vec![change(INET, ADDRESS6.name, &ip.octets())],
    }
}

const INET: Table = Table { family: Family::Inet, name: "stead" };
const ARP: Table = Table { family: Family::Arp, name: "stead" };
const TABLES: [Table; 2] = [INET, ARP];
const PASSAGE: &str = "passage";
const ADDRESS4: Set = Set { name: "address4", key_bytes: 4, key_type: 7, elements: Elements::Stay };
const ADDRESS6: Set =
    Set { name: "address6", key_bytes: 16, key_type: 8, elements: Elements::Stay };
/// Keys are shown as marks: a plain number of 32 bits.
const LEASE: Set = Set { name: "lease", key_bytes: 4, key_type: 19, elements: Elements::Expire };
/// The one element of the set `lease`.
const KEY: [u8; 4] = 1_u32.to_ne_bytes();

const fn network(offset: u32, bytes: u32) -> Field {
    Field { header: Header::Network, offset, bytes }
}

/// Before connection tracking (-200): destinations are as they came.
const BEFORE: Side = Side {
    chain: "prerouting",
    hook: Hook { number: libc::NF_INET_PRE_ROUTING as u32, priority: -300 },
    address4: network(16, 4),
    address6: network(24, 16),
    discovery: NEIGHBOUR_SOLICITATION,
};
/// After translation of sources (100): sources are as they leave.
const AFTER: Side = Side {
    chain: "postrouting",
    hook: Hook { number: libc::NF_INET_POST_ROUTING as u32, priority: 300 },
    address4: network(12, 4),
    address6: network(8, 16),
    discovery: NEIGHBOUR_ADVERTISEMENT,
};
const NEIGHBOUR_SOLICITATION: u8 = 135;
const NEIGHBOUR_ADVERTISEMENT: u8 = 136;
const ICMP_TYPE: Field = Field { header: Header::Transport, offset: 0, bytes: 1 };
const DISCOVERY_TARGET: Field = Field { header: Header::Transport, offset: 8, bytes: 16 };
const ARP_IN: u32 = 0;
const ARP_OUT: u32 = 1;
/// Protocol and the lengths of both kinds of addresses, of which the next two depend.
const ARP_KIND: Field = network(2, 4);
const ARP_IPV4_ON_ETHERNET: [u8; 4] = [0x08, 0x00, 6, 4];
const ARP_SENDER: Field = network(14, 4);
const ARP_TARGET: Field = network(24, 4);

/// Stands where the timeout goes; no other eight bytes of the batch look like that.
const TIMEOUT_MARK: u64 = 0x1234_5678_9abc_def0;
/// A year; longer ones overflow in the kernel.
const TIMEOUT_MAX_MS: u64 = 365 * 24 * 3_600_000;
/// The channel counts up from 1 and does not get here.
const REFRESH_SEQUENCE: u32 = u32::MAX;

impl From<PassageError> for io::Error {
    fn from(error: PassageError) -> Self {
        Self::other(error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refresh_carries_its_time_once_for_each_table() {
        let mut refresh = Refresh::new();
        let length = refresh.opening.len();
        let bytes = refresh.opening(0x0102_0304).to_vec();
        assert_eq!(bytes.len(), length);
        let time = 0x0102_0304_u64.to_be_bytes();
        assert_eq!(bytes.windows(8).filter(|window| *window == time).count(), 2);
        assert_eq!(refresh.opening(0x0102_0304), bytes);
    }

    #[test]
    fn times_are_rounded_down_and_nothing_is_not_for_ever() {
        let ms = |micros| timeout_ms(Duration::from_micros(micros));
        assert_eq!([ms(0), ms(999), ms(1_000), ms(1_999)], [None, None, Some(1), Some(1)]);
        assert_eq!(timeout_ms(Duration::MAX), Some(TIMEOUT_MAX_MS));
    }
}
