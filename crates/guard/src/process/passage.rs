//! Cluster addresses pass only while the lease runs: the guard keeps the kernel's element alive.
//!
//! The kernel lets the element run out by itself, so the addresses of a frozen owner fall silent at
//! the end of its lease though nobody acts ([`stead_netlink::Passage`]). It is refreshed with each
//! lease, and only while this node has cluster addresses.
//!
//! The element counts jiffies, the lease CLOCK_BOOTTIME. They part in two ways, and both are looked
//! at: jiffies stand still in suspend, so the element is set anew when the machine resumes; and
//! between the reading of the clock and the kernel's work the guard may be held up, so the time is
//! looked at again afterwards.
//!
//! *Fallback, visible*: where the kernel refuses, addresses are served without, and a notice says
//! so. Safety stays at level C either way; see docs/internals/lease.md.

use std::collections::BTreeMap;
use std::error::Error;
use std::net::IpAddr;
use std::time::Duration;

use stead_model::wire::guard::{AddressUndo, InstanceId};
use stead_model::{Span, Time};
use stead_netlink::{Passage, PassageError, Route, RouteError};

use super::clock::{boot_time, suspended};
use super::{GuardProcess, Notice};
use crate::admission::Guard;

/// Code of the notice that the kernel refuses.
const NOT_TIED: &str = "addresses-not-tied";

/// What the guard makes of cluster addresses.
#[derive(Debug)]
pub(super) struct Addresses {
    /// `None`: this kernel cannot, or the guard may not.
    passage: Option<Passage>,
    passing: Passing,
    held: BTreeMap<InstanceId, IpAddr>,
}

/// Until when the element shall live.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Passing {
    lease_until: Option<Time>,
    /// The end of the element, where there is one.
    open_until: Option<Time>,
    /// Time the machine has spent suspended, when that was last looked at.
    suspended: Span,
}

/// What is to be done about the element.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Step {
    Nothing,
    Open { until: Time },
    Close,
}

impl Passing {
    const fn new(suspended: Span) -> Self {
        Self { lease_until: None, open_until: None, suspended }
    }

    /// A lease is in force.
    fn leased(&mut self, until: Time, has_addresses: bool) -> Step {
        self.lease_until = Some(until);
        if has_addresses { self.open() } else { Step::Nothing }
    }

    /// An address came.
    fn came(&mut self) -> Step {
        if self.open_until == self.lease_until { Step::Nothing } else { self.open() }
    }

    /// The last address went.
    fn emptied(&mut self) -> Step {
        self.open_until.take().map_or(Step::Nothing, |_| Step::Close)
    }

    /// A hard stop begins. An element whose time is over is not touched: it is gone, and whoever
    /// else works on nf_tables must not hold up what follows.
    fn dark(&mut self, now: Time) -> Step {
        self.lease_until = None;
        match self.open_until.take() {
            Some(until) if now < until => Step::Close,
            Some(_) | None => Step::Nothing,
        }
    }

    /// Looks at the time spent in suspend: the element is now longer than the lease by that.
    fn looked(&mut self, now: Time, suspended: Span) -> Step {
        /// What two clocks that are read one after the other may differ by.
        const READING: Span = Span::from_millis(1);
        if suspended.0 <= self.suspended.0 + READING.0 {
            return Step::Nothing;
        }
        self.suspended = suspended;
        match (self.open_until.take(), self.lease_until) {
            (Some(_), Some(until)) if now < until => self.open(),
            (Some(_), Some(_) | None) => Step::Close,
            (None, _) => Step::Nothing,
        }
    }

    fn open(&mut self) -> Step {
        self.open_until = self.lease_until;
        self.open_until.map_or(Step::Nothing, |until| Step::Open { until })
    }
}

impl Addresses {
    /// Takes away what an earlier guard left, and builds the tables; says what the kernel refuses.
    pub(super) fn start(notices: &mut Vec<Notice>) -> Self {
        let passing = Passing::new(suspended());
        let (passage, left) = match begin() {
            Ok((passage, left)) => (Some(passage), left),
            Err(why) => {
                notices.push(refused(&why));
                (None, Vec::new())
            }
        };
        notices.extend(left);
        Self { passage, passing, held: BTreeMap::new() }
    }

    /// Goes on for a guard whose place this one takes: builds the tables anew as they shall be.
    pub(super) fn take_over(
        guard: &Guard,
        held: &BTreeMap<InstanceId, AddressUndo>,
        notices: &mut Vec<Notice>,
    ) -> Self {
        notices.retain(|notice| notice.code != NOT_TIED);
        let held: BTreeMap<InstanceId, IpAddr> =
            held.iter().map(|(instance, undo)| (*instance, undo.address)).collect();
        let mut passing = Passing::new(suspended());
        if let Some((_, until)) = guard.status().lease {
            passing.leased(until, !held.is_empty());
        }
        let mut addresses = Self { passage: None, passing, held };
        let rebuilt = Passage::open().and_then(|passage| {
            addresses.passage = Some(passage);
            addresses.rebuild()
        });
        if let Err(why) = rebuilt {
            notices.push(refused(&why));
            addresses.passage = None;
        }
        addresses
    }

    /// Removes the tables: the guard ends, and nothing of it runs.
    pub(super) fn end(&self) {
        if let Some(passage) = &self.passage {
            // Left behind they are harmless: closed.
            drop(passage.clear());
        }
    }

    fn carry_out(&mut self, step: Step) -> Result<(), PassageError> {
        let Some(passage) = &mut self.passage else { return Ok(()) };
        match step {
            Step::Nothing => Ok(()),
            Step::Close => passage.close(),
            Step::Open { until } => open(passage, until),
        }
    }

    /// Builds all anew as it shall be.
    fn rebuild(&mut self) -> Result<(), PassageError> {
        let Some(passage) = &mut self.passage else { return Ok(()) };
        let until = self.passing.open_until;
        let rest = until.map(|until| Duration::from_nanos(until.since(boot_time()).0));
        passage.build(self.held.values().copied(), rest)?;
        until.map_or(Ok(()), |until| open(passage, until))
    }
}

/// Opens the passage until that time, and looks at the clock again afterwards: a guard that was
/// held up in between would have opened it for too long. The next attempt leaves room for that: it
/// ends earlier by what it may be held up.
fn open(passage: &mut Passage, until: Time) -> Result<(), PassageError> {
    const PROMPT: Span = Span::from_millis(2);
    const ROOM: [Span; 3] = [Span::ZERO, Span::from_millis(10), Span::from_millis(40)];
    for room in ROOM {
        let begun = boot_time();
        passage.open_for(Duration::from_nanos(until.since(begun + room).0))?;
        if boot_time().since(begun) <= PROMPT + room {
            return Ok(());
        }
    }
    passage.close()
}

fn begin() -> Result<(Passage, Vec<Notice>), PassageError> {
    let passage = Passage::open()?;
    let left = passage.addresses()?;
    // Nothing of the earlier guard runs; what its addresses answer would be this guard's.
    let removed = left.iter().map(|address| (*address, remove(*address)));
    let stay: Vec<(IpAddr, RouteError)> =
        removed.filter_map(|(address, result)| Some((address, result.err()?))).collect();
    passage.build(stay.iter().map(|(address, _)| *address), None)?;
    let notices = stay.into_iter().map(|(address, why)| {
        let why = with_causes(&why);
        let text = format!("address {address} of an earlier guard could not be removed: {why}");
        Notice::warning("address-not-removed", text)
    });
    Ok((passage, notices.collect()))
}

fn remove(address: IpAddr) -> Result<(), RouteError> {
    let route = Route::open()?;
    for entry in route.addresses()?.iter().filter(|entry| entry.address == address) {
        match route.remove_address(entry) {
            Err(error) if !error.not_found() => return Err(error),
            Ok(()) | Err(_) => {}
        }
    }
    Ok(())
}

fn refused(why: &PassageError) -> Notice {
    let text = format!(
        "addresses do not fall silent by themselves at the end of a lease ({}): a frozen owner's \
         kernel keeps answering",
        with_causes(why)
    );
    Notice::warning(NOT_TIED, text)
}

fn with_causes(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(&format!(": {error}"));
        cause = error.source();
    }
    text
}

impl GuardProcess {
    /// A lease is in force: addresses pass until its end.
    pub(super) fn addresses_pass(&mut self, until: Time) {
        let has_addresses = !self.passage.held.is_empty();
        let step = self.passage.passing.leased(until, has_addresses);
        self.take_step(step);
    }

    /// A hard stop begins: addresses are silent.
    pub(super) fn addresses_dark(&mut self) {
        let step = self.passage.passing.dark(boot_time());
        self.take_step(step);
    }

    /// An address was admitted; it is not on an interface yet.
    pub(super) fn address_came(&mut self, instance: InstanceId, address: IpAddr) {
        self.passage.held.insert(instance, address);
        let added = self.passage.passage.as_ref().map_or(Ok(()), |passage| passage.add(address));
        let step = self.passage.passing.came();
        match added {
            Ok(()) => self.take_step(step),
            Err(why) => self.mend(&why),
        }
    }

    /// An address is on no interface any more.
    pub(super) fn address_went(&mut self, instance: InstanceId) {
        let Some(address) = self.passage.held.remove(&instance) else { return };
        let is_held = self.passage.held.values().any(|held| *held == address);
        let step = if self.passage.held.is_empty() {
            self.passage.passing.emptied()
        } else {
            Step::Nothing
        };
        self.take_step(step);
        if let (Some(passage), false) = (&self.passage.passage, is_held)
            && let Err(why) = passage.remove(address)
        {
            self.mend(&why);
        }
    }

    /// Looks whether the machine was suspended; before anything else when the guard wakes.
    pub(super) fn look_for_suspend(&mut self) {
        let step = self.passage.passing.looked(boot_time(), suspended());
        self.take_step(step);
    }

    fn take_step(&mut self, step: Step) {
        if let Err(why) = self.passage.carry_out(step) {
            self.mend(&why);
        }
    }

    /// What does not work is built anew; `nft flush ruleset` takes our tables along.
    fn mend(&mut self, why: &PassageError) {
        match self.passage.rebuild() {
            Ok(()) => {
                let text = "somebody removed the guard's tables from nf_tables: built again";
                self.notice_now(&Notice::warning("addresses-tied-again", text));
            }
            Err(_) => self.notice(refused(why)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const END: Time = Time(1_000_000_000);
    const NOW: Time = Time(900_000_000);

    /// Open until [`END`], after a minute of suspend some time ago.
    fn open() -> Passing {
        let mut passing = Passing::new(Span::from_secs(60));
        assert_eq!(passing.leased(END, true), Step::Open { until: END });
        passing
    }

    #[test]
    fn it_is_open_only_under_a_lease_and_with_addresses() {
        let mut passing = Passing::new(Span::ZERO);
        assert_eq!(passing.came(), Step::Nothing, "no lease");
        assert_eq!(passing.leased(END, false), Step::Nothing, "no address");
        assert_eq!(passing.came(), Step::Open { until: END });
        assert_eq!(passing.came(), Step::Nothing, "open already");
        assert_eq!(passing.leased(NOW, true), Step::Open { until: NOW }, "also a shorter one");
        assert_eq!(passing.emptied(), Step::Close);
        assert_eq!(passing.emptied(), Step::Nothing);
    }

    #[test]
    fn a_hard_stop_closes_what_the_kernel_has_not_closed() {
        assert_eq!(open().dark(NOW), Step::Close);
        assert_eq!(open().dark(END), Step::Nothing);
        let mut passing = open();
        passing.dark(NOW);
        assert_eq!(passing.dark(NOW), Step::Nothing);
        assert_eq!(passing.came(), Step::Nothing, "no lease any more");
    }

    #[test]
    fn a_resume_sets_the_element_anew() {
        let slept = Span::from_secs(60) + Span::from_millis(50);
        let mut passing = open();
        assert_eq!(passing.looked(NOW, Span::from_secs(60)), Step::Nothing);
        assert_eq!(passing.looked(NOW, slept), Step::Open { until: END });
        assert_eq!(passing.looked(NOW, slept), Step::Nothing, "once");
        assert_eq!(open().looked(END, slept), Step::Close, "the lease is over");
        assert_eq!(Passing::new(Span::ZERO).looked(NOW, slept), Step::Nothing);
    }
}
