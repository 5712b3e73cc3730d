//! Reads and writes of the cores: submitted, cut short by crashes, ended, landing late.

use stead_core::{Device, Event, Io, IoOp, IoResult};
use stead_model::NodeId;

use crate::agenda::Happening;
use crate::clock::Instant;
use crate::disks::{Body, Fate, Flight, Path};
use crate::world::{Phase, World};

impl World {
    /// A core reads or writes.
    pub fn submit(&mut self, node: NodeId, io: Io, at: Instant) {
        let Some(service) = &self.node(node).service else { return };
        let (offset, body, then) = match io.op {
            IoOp::Read { offset, length } => (offset, Body::Read { length, early: None }, None),
            IoOp::Write { offset, data } => (offset, Body::Write { data }, None),
            IoOp::WriteThenRead { offset, data, read_offset, read_length } => {
                (offset, Body::Write { data }, Some((read_offset, read_length)))
            }
        };
        let flight = Flight {
            node,
            service: service.life,
            ticket: io.ticket,
            device: io.device,
            offset,
            body,
            fate: Fate::Done,
            then,
        };
        let locked = io.device == Device::QuorumDisk && self.old_flights(node, flight.service);
        if locked { self.held.push(flight) } else { self.launch(flight, at) }
    }

    /// Whether operations of an earlier service of the node are still under way: they hold the
    /// lock of the quorum disk (R3).
    fn old_flights(&self, node: NodeId, service: u64) -> bool {
        self.flights
            .values()
            .any(|f| f.node == node && f.service != service && f.device == Device::QuorumDisk)
    }

    fn launch(&mut self, mut flight: Flight, at: Instant) {
        let habits = &self.plan.disks;
        let usual = habits.slow[usize::from(flight.node.0) - 1];
        let slow = self.node(flight.node).disk_slow * usual;
        let latency = match slow {
            1 => self.rng.between(habits.latency_min_ns, habits.latency_max_ns),
            // A slow disk is not slow all the time: one operation overtakes another.
            times => {
                let (low, high) = (habits.latency_min_ns, habits.latency_max_ns * times);
                let often = self.rng.chance(500);
                if often { self.rng.between(low, high) } else { self.rng.wild(low, high) }
            }
        };
        let (fate, latency) = self.fate(&flight, latency);
        flight.fate = fate;
        self.flight_last += 1;
        let id = self.flight_last;
        let interleaved = self.plan.disks.interleaved;
        if flight.device == Device::QuorumDisk && self.rng.chance(interleaved) {
            let between = at + self.rng.below(latency + 1);
            self.agenda.put(between, Happening::Interleave { flight: id });
        }
        self.flights.insert(id, flight);
        let latency = latency + self.ambush_holds(id);
        self.agenda.put(at + latency, Happening::Ended { flight: id });
    }

    /// How an operation ends and how long it takes: now and then one fails, or takes so long that
    /// its core gives it up, and lands all the same (H16).
    fn fate(&mut self, flight: &Flight, latency: u64) -> (Fate, u64) {
        let node = self.node(flight.node);
        let (path, log_failing) = (node.path, node.log_failing);
        let habits = &self.plan.disks;
        // A disk that fails again and again is not held for as long as forcing waits.
        let failing = if self.phase == Phase::Disaster { 0 } else { habits.failing };
        match flight.device {
            Device::NodeLog if self.rng.chance(log_failing) => (Fate::Failed, latency),
            Device::NodeLog | Device::Aside(_) => (Fate::Done, latency),
            Device::QuorumDisk => match path {
                Path::Broken => (Fate::Failed, latency),
                Path::Up | Path::Hung if !self.rng.chance(failing) => (Fate::Done, latency),
                Path::Up | Path::Hung if self.rng.chance(habits.late) => {
                    let late = self.rng.wild(latency, self.timing.heartbeat.0 * 40);
                    self.tally.late_writes += 1;
                    (Fate::Done, late)
                }
                Path::Up | Path::Hung => (Fate::Failed, latency),
            },
        }
    }

    /// A read is sampled, or a write lands in part.
    pub fn flight_interleaves(&mut self, id: u64) {
        let Some(flight) = self.flights.get_mut(&id) else { return };
        if let Body::Read { length, early } = &mut flight.body {
            *early = Some(self.shared.read(flight.offset, *length));
        } else if flight.fate == Fate::Done {
            flight.land_some(&mut self.shared, &mut self.rng);
        }
    }

    /// A read or write ends and its core is told.
    pub fn flight_ends(&mut self, id: u64) {
        self.ambush_springs(id);
        let Some(flight) = self.flights.remove(&id) else { return };
        if flight.device == Device::QuorumDisk && self.node(flight.node).path == Path::Hung {
            let later = self.now + self.rng.wild(1_000, self.timing.heartbeat.0);
            self.agenda.put(later, Happening::Ended { flight: id });
            self.flights.insert(id, flight);
            return;
        }
        let index = usize::from(flight.node.0) - 1;
        let media = match flight.device {
            Device::NodeLog => &mut self.nodes[index].log,
            Device::QuorumDisk => &mut self.shared,
            Device::Aside(_) => &mut self.nodes[index].aside,
        };
        let result = match (&flight.body, flight.fate) {
            (Body::Read { .. }, Fate::Done) => IoResult::Read(flight.sample(media, &mut self.rng)),
            (Body::Write { .. }, Fate::Done) => {
                flight.land(media);
                IoResult::Written
            }
            (Body::Write { data }, Fate::Failed) => {
                media.tear(flight.offset, data, &mut self.rng);
                IoResult::Failed("simulated fault".into())
            }
            (Body::Read { .. }, Fate::Failed) => IoResult::Failed("simulated fault".into()),
        };
        if matches!(result, IoResult::Failed(_)) {
            self.tally.io_failed += 1;
            self.nodes[index].log_failed |= flight.device == Device::NodeLog;
        }
        if let (Device::Aside(_), Body::Write { data }) = (flight.device, &flight.body) {
            let kept = String::from_utf8_lossy(data).trim_end().replace('\n', " | ");
            self.trace.milestone(self.now, || format!("{} keeps: {kept}", flight.node));
        }
        self.ambush_ends(&flight);
        self.release_held(flight.node);
        let Flight { node, service, ticket, .. } = flight;
        if let (Some((offset, length)), IoResult::Written) = (flight.then, &result) {
            let body = Body::Read { length, early: None };
            let flight = Box::new(Flight { offset, body, then: None, ..flight });
            let later = self.now + self.rng.wild(1_000, self.timing.tick.0);
            self.agenda.put(later, Happening::ReadsOn { node, service, flight });
            return;
        }
        let event = Box::new(Event::Io { ticket, result });
        self.agenda.put(self.now, Happening::Local { node, service, event });
    }

    /// The second half of a write and read: between the two a process may be stopped, a path
    /// lost, the power cut.
    pub fn flight_goes_on(&mut self, flight: Flight) {
        if self.is_service(flight.node, flight.service) {
            self.launch(flight, self.now);
        }
    }

    fn release_held(&mut self, node: NodeId) {
        let Some(service) = self.node(node).service.as_ref().map(|s| s.life) else { return };
        if self.held.is_empty() || self.old_flights(node, service) {
            return;
        }
        let (free, held) = self.held.drain(..).partition(|flight| flight.node == node);
        self.held = held;
        let free: Vec<Flight> = free;
        for flight in free {
            if flight.service == service {
                self.launch(flight, self.now);
            }
        }
    }

    /// Power loss: what is under way is torn.
    pub fn tear_flights(&mut self, node: NodeId) {
        self.held.retain(|flight| flight.node != node);
        let ids: Vec<u64> =
            self.flights.iter().filter(|(_, f)| f.node == node).map(|(id, _)| *id).collect();
        for id in ids {
            let Some(flight) = self.flights.remove(&id) else { continue };
            let Body::Write { data } = &flight.body else { continue };
            let media = match flight.device {
                Device::NodeLog => &mut self.nodes[usize::from(node.0) - 1].log,
                Device::QuorumDisk => &mut self.shared,
                Device::Aside(_) => &mut self.nodes[usize::from(node.0) - 1].aside,
            };
            self.tally.torn_writes += u64::from(media.tear(flight.offset, data, &mut self.rng));
        }
    }

    /// A service died: what it had not submitted is gone, what is under way on the quorum disk
    /// goes on; the new service reads its log when the old writes are over.
    pub fn orphan_flights(&mut self, node: NodeId) {
        self.held.retain(|flight| flight.node != node);
        let ids: Vec<u64> =
            self.flights.iter().filter(|(_, f)| f.node == node).map(|(id, _)| *id).collect();
        for id in ids {
            let submitted = self.rng.chance(700);
            let quorum = self.flights[&id].device == Device::QuorumDisk;
            if quorum && submitted {
                continue;
            }
            let Some(flight) = self.flights.remove(&id) else { continue };
            if submitted {
                flight.land(&mut self.nodes[usize::from(node.0) - 1].log);
            }
        }
    }
}
