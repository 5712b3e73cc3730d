//! A slow cable: every frame takes a time of its own, so that frames overtake each other.
//!
//! It is a [`HeldCable`] whose frames are not kept until the end but carried on by a thread, each
//! when its time has come. `netem` does that in the kernel and is no part of many kernels.
//!
//! Not here: which cables are slow, and the places of ports and stand-ins (`switch`).

use std::collections::BTreeMap;
use std::io::{self, PipeReader, PipeWriter};
use std::os::fd::AsFd;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use super::held::{HeldCable, Way};
use crate::ready;
use crate::up::random;

/// A cable whose frames take their time.
#[derive(Debug)]
pub(super) struct SlowCable {
    /// As in [`HeldCable`].
    pub(super) port: String,
    /// As in [`HeldCable`].
    pub(super) stand_in: String,
    /// The longest time that a frame takes.
    pub(super) up_to: Duration,
    /// Its end tells the thread to end.
    running: PipeWriter,
    carrier: JoinHandle<HeldCable>,
}

impl SlowCable {
    /// Carries the frames of a cable from now on, each within `up_to`.
    pub(super) fn begin(cable: HeldCable, up_to: Duration) -> io::Result<Self> {
        let (port, stand_in) = (cable.port.clone(), cable.stand_in.clone());
        let (watched, running) = io::pipe()?;
        let carrier = thread::Builder::new().name(format!("slow {port}"));
        let carrier = carrier.spawn(move || carry(cable, up_to, &watched))?;
        Ok(Self { port, stand_in, up_to, running, carrier })
    }

    /// The cable again; frames that are under way are kept, in the order in which they would come.
    pub(super) fn end(self) -> HeldCable {
        drop(self.running);
        self.carrier.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    }
}

fn carry(mut cable: HeldCable, up_to: Duration, running: &PipeReader) -> HeldCable {
    let mut under_way = UnderWay::default();
    while goes_on(&cable, running, under_way.idle_for(Instant::now())) {
        for way in Way::BOTH {
            for _ in 0..FRAMES_AT_ONCE {
                let Some(frame) = cable.take(way) else { break };
                under_way.add(Instant::now() + chance(up_to), (way, frame));
            }
        }
        while let Some((way, frame)) = under_way.come(Instant::now()) {
            cable.put(way, &frame);
        }
    }
    for (way, frame) in under_way.rest() {
        cable.keep(way, frame);
    }
    cable
}

/// Waits for frames, or until one that is under way comes; `false` when it is to end.
fn goes_on(cable: &HeldCable, running: &PipeReader, limit: Duration) -> bool {
    let [to_machine, from_machine] = cable.watched();
    let ready = ready::any(&[running.as_fd(), to_machine, from_machine], limit);
    ready.is_ok_and(|ready| !ready[0])
}

/// Any time up to this one, each as likely.
fn chance(up_to: Duration) -> Duration {
    let share = u32::from_ne_bytes(random().unwrap_or_default());
    up_to.mul_f64(f64::from(share) / f64::from(u32::MAX))
}

/// What is under way, by when it comes.
#[derive(Debug)]
struct UnderWay<T> {
    things: BTreeMap<(Instant, u64), T>,
    /// Of those that come at one time, the first one first.
    added: u64,
}

impl<T> Default for UnderWay<T> {
    fn default() -> Self {
        Self { things: BTreeMap::new(), added: 0 }
    }
}

impl<T> UnderWay<T> {
    fn add(&mut self, comes: Instant, thing: T) {
        self.things.insert((comes, self.added), thing);
        self.added += 1;
    }

    /// How long until the next one comes.
    fn idle_for(&self, now: Instant) -> Duration {
        let next = self.things.first_key_value();
        next.map_or(IDLE_LIMIT, |((comes, _), _)| comes.saturating_duration_since(now))
    }

    /// One whose time has come.
    fn come(&mut self, now: Instant) -> Option<T> {
        let first = self.things.first_entry().filter(|first| first.key().0 <= now)?;
        Some(first.remove())
    }

    fn rest(self) -> impl Iterator<Item = T> {
        self.things.into_values()
    }
}

/// So many are taken from one end before the other end has its turn.
const FRAMES_AT_ONCE: usize = 256;
/// Nothing depends on it.
const IDLE_LIMIT: Duration = Duration::from_secs(3600);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn things_come_at_their_time_whatever_was_sent_first() {
        let now = Instant::now();
        let at = |ms| now + Duration::from_millis(ms);
        let mut under_way = UnderWay::default();
        assert_eq!(under_way.idle_for(now), IDLE_LIMIT);
        [(30, "late"), (10, "early"), (10, "next"), (40, "last")]
            .into_iter()
            .for_each(|(ms, thing)| under_way.add(at(ms), thing));
        assert_eq!(under_way.idle_for(now), Duration::from_millis(10));
        assert_eq!(under_way.come(at(9)), None);
        let came: Vec<_> = std::iter::from_fn(|| under_way.come(at(30))).collect();
        assert_eq!(came, ["early", "next", "late"]);
        assert_eq!(under_way.idle_for(at(50)), Duration::ZERO);
        assert_eq!(under_way.rest().collect::<Vec<_>>(), ["last"]);
    }

    #[test]
    fn times_are_by_chance_and_within_their_bound() {
        let up_to = Duration::from_millis(30);
        let times: Vec<Duration> = (0..1000).map(|_| chance(up_to)).collect();
        assert!(times.iter().all(|time| *time <= up_to), "{times:?}");
        let mean = times.iter().sum::<Duration>() / 1000;
        let half = Duration::from_millis(12)..Duration::from_millis(18);
        assert!(half.contains(&mean), "{mean:?}");
    }
}
