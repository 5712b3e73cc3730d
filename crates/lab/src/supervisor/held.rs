//! The frames of a hung machine: kept while it hangs, delivered when it goes on.
//!
//! The machine's port leaves the bridge and a stand-in takes its place, so that the switch goes on
//! delivering to it. What arrives there is kept, and so is what the machine's kernel still says.
//!
//! ```text
//!   bridge ── stand-in ══ tap: to the machine        tap: from the machine ── port ══ machine
//! ```
//!
//! Of each direction at most [`HELD_BYTES_MAX`] are kept; the oldest frames go first.

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};

use stead_netlink::{Frame, IfIndex, Tap};

/// Bytes kept of one direction of one cable.
pub(super) const HELD_BYTES_MAX: usize = 8 << 20;

/// A cable whose machine hangs.
#[derive(Debug)]
pub(super) struct HeldCable {
    /// The machine's port, out of the bridge.
    pub(super) port: String,
    /// What is plugged in instead, and its other end.
    pub(super) stand_in: String,
    to_machine: Held,
    from_machine: Held,
}

/// A direction of a cable.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Way {
    ToMachine,
    FromMachine,
}

/// One direction: where frames come from, and those that came.
#[derive(Debug)]
struct Held {
    tap: Tap,
    frames: Kept<Frame>,
}

/// The newest things up to a number of bytes.
#[derive(Debug)]
struct Kept<T> {
    things: VecDeque<(usize, T)>,
    bytes: usize,
    bytes_max: usize,
}

impl HeldCable {
    /// Begins to keep: `machine` is the machine's port, `switch` the stand-in's other end.
    /// Called in the net namespace of the switch.
    pub(super) fn begin(
        (port, machine): (String, IfIndex),
        (stand_in, switch): (String, IfIndex),
    ) -> io::Result<Self> {
        let held =
            |ifindex| Ok(Held { tap: Tap::open(ifindex)?, frames: Kept::new(HELD_BYTES_MAX) });
        let (to_machine, from_machine): (_, io::Result<_>) = (held(switch)?, held(machine));
        Ok(Self { port, stand_in, to_machine, from_machine: from_machine? })
    }

    /// Readable when there is something to collect.
    pub(super) fn watched(&self) -> [BorrowedFd<'_>; 2] {
        [self.to_machine.tap.as_fd(), self.from_machine.tap.as_fd()]
    }

    /// Takes in what came. A tap whose interface is gone brings no more.
    pub(super) fn collect(&mut self) {
        self.to_machine.collect();
        self.from_machine.collect();
    }

    /// The next frame that came and is not kept yet. One whose interface is gone brings none.
    pub(super) fn take(&mut self, way: Way) -> Option<Frame> {
        self.held(way).tap.take().ok().flatten()
    }

    /// Carries a frame on its way to the end. One that is not taken is lost, as on any wire.
    pub(super) fn put(&self, way: Way, frame: &Frame) {
        let out = match way {
            Way::ToMachine => &self.from_machine.tap,
            Way::FromMachine => &self.to_machine.tap,
        };
        let _ = out.put(frame);
    }

    /// Keeps a frame after those that are kept already.
    pub(super) fn keep(&mut self, way: Way, frame: Frame) {
        self.held(way).frames.push(frame.bytes(), frame);
    }

    /// Lets the network hear what the machine's kernel said.
    pub(super) fn speak(&mut self) {
        self.collect();
        self.from_machine.frames.drain(|frame| self.to_machine.tap.put(&frame));
    }

    /// Delivers to the machine what was meant for it.
    pub(super) fn deliver(&mut self) {
        self.to_machine.collect();
        self.to_machine.frames.drain(|frame| self.from_machine.tap.put(&frame));
    }

    const fn held(&mut self, way: Way) -> &mut Held {
        match way {
            Way::ToMachine => &mut self.to_machine,
            Way::FromMachine => &mut self.from_machine,
        }
    }
}

impl Way {
    pub(super) const BOTH: [Self; 2] = [Self::ToMachine, Self::FromMachine];
}

impl Held {
    fn collect(&mut self) {
        while let Ok(Some(frame)) = self.tap.take() {
            self.frames.push(frame.bytes(), frame);
        }
    }
}

impl<T> Kept<T> {
    const fn new(bytes_max: usize) -> Self {
        Self { things: VecDeque::new(), bytes: 0, bytes_max }
    }

    /// Keeps one more; the oldest make room.
    fn push(&mut self, bytes: usize, thing: T) {
        self.things.push_back((bytes, thing));
        self.bytes += bytes;
        while self.bytes > self.bytes_max
            && let Some((gone, _)) = self.things.pop_front()
        {
            self.bytes -= gone;
        }
    }

    /// Puts all out in their order. One that is not taken is lost, as on any wire.
    fn drain(&mut self, mut put: impl FnMut(T) -> io::Result<()>) {
        self.bytes = 0;
        for (_, thing) in self.things.drain(..) {
            let _ = put(thing);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_make_room_for_the_newest() {
        let mut kept = Kept::new(10);
        for number in 1..=5 {
            kept.push(4, number);
        }
        let mut out = Vec::new();
        kept.drain(|number| {
            out.push(number);
            Ok(())
        });
        assert_eq!(out, [4, 5]);
        kept.push(11, 6);
        assert_eq!((kept.things.len(), kept.bytes), (0, 0), "it has no room at all");
    }

    #[test]
    fn one_that_is_not_taken_does_not_hold_the_others_up() {
        let mut kept = Kept::new(100);
        (1..=3).for_each(|number| kept.push(1, number));
        let mut out = Vec::new();
        kept.drain(|number| {
            out.push(number);
            if number == 2 { Err(io::ErrorKind::WouldBlock.into()) } else { Ok(()) }
        });
        assert_eq!(out, [1, 2, 3]);
    }
}
