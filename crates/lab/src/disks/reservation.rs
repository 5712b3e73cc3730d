//! Who may write to a disk: registrations and one reservation, with the meaning of SCSI-3.
//!
//! The only type is Write Exclusive – Registrants Only: everybody may read; while a reservation is
//! held only registered paths may write. A nexus is one node's path to the disk. It stays the same
//! over the lives of the node, as a host keeps its port name over a power cut: what it registered
//! holds until it is cleared or preempted.
//!
//! | request | refused unless | does |
//! |---|---|---|
//! | register `key` | - | replaces the nexus' key, whatever it was |
//! | unregister | - | removes the key; the holder's goes with the reservation |
//! | reserve | registered with `key`; nobody else holds | the nexus holds |
//! | release | registered with `key` | the holder's reservation ends |
//! | preempt and abort `victim` | registered with `key`; `victim` is somebody's key | see below |
//! | clear | registered with `key` | removes all registrations and the reservation |
//!
//! Preempting removes every other registration with the victim's key. If one of those held, the
//! caller holds instead. The victims' queued requests are aborted before the answer.
//!
//! Not here: the media, and who carries out the aborts.

use std::collections::BTreeMap;

use stead_model::NodeId;
pub(super) use stead_model::reservation::{Answer, Key, Keys, Request};

/// Registrations and reservation of one disk.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Reservations {
    generation: u32,
    registered: BTreeMap<NodeId, Key>,
    holder: Option<NodeId>,
}

/// What a request came to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// Done; the paths of these nodes are to be aborted before it is said.
    Done {
        /// Whose registrations were removed.
        victims: Vec<NodeId>,
    },
    /// Nothing was changed.
    Conflict,
    /// What was asked for.
    Keys(Keys),
}

const DONE: Outcome = Outcome::Done { victims: Vec::new() };

impl Reservations {
    /// Whether a path may write now.
    pub(super) fn may_write(&self, node: NodeId) -> bool {
        self.holder.is_none() || self.registered.contains_key(&node)
    }

    /// Whether anybody ever registered.
    pub(super) const fn used(&self) -> bool {
        self.generation > 0
    }

    /// The nodes that are registered, and the one that holds.
    #[must_use]
    pub fn nodes(&self) -> (Vec<NodeId>, Option<NodeId>) {
        (self.registered.keys().copied().collect(), self.holder)
    }

    /// Who is registered and who holds.
    pub(super) fn keys(&self) -> Keys {
        Keys {
            generation: self.generation,
            keys: self.registered.values().copied().collect(),
            holder: self.holder.and_then(|node| self.registered.get(&node)).copied(),
        }
    }

    /// Carries out a request of a path.
    pub fn ask(&mut self, node: NodeId, request: Request) -> Outcome {
        match request {
            Request::Register { key: Key(0) } => Outcome::Conflict,
            Request::Register { key } => self.register(node, key),
            Request::Unregister => self.unregister(node),
            Request::ReadKeys => Outcome::Keys(self.keys()),
            Request::Reserve { key }
            | Request::Release { key }
            | Request::PreemptAndAbort { key, .. }
            | Request::Clear { key }
                if self.registered.get(&node) != Some(&key) =>
            {
                Outcome::Conflict
            }
            Request::Reserve { .. } => self.reserve(node),
            Request::Release { .. } => self.release(node),
            Request::PreemptAndAbort { victim, .. } => self.preempt(node, victim),
            Request::Clear { .. } => self.clear(),
        }
    }

    fn register(&mut self, node: NodeId, key: Key) -> Outcome {
        self.registered.insert(node, key);
        self.count()
    }

    fn unregister(&mut self, node: NodeId) -> Outcome {
        if self.registered.remove(&node).is_none() {
            return DONE;
        }
        if self.holder == Some(node) {
            self.holder = None;
        }
        self.count()
    }

    fn reserve(&mut self, node: NodeId) -> Outcome {
        if self.holder.is_some_and(|holder| holder != node) {
            return Outcome::Conflict;
        }
        self.holder = Some(node);
        DONE
    }

    fn release(&mut self, node: NodeId) -> Outcome {
        if self.holder == Some(node) {
            self.holder = None;
        }
        DONE
    }

    fn preempt(&mut self, node: NodeId, victim: Key) -> Outcome {
        let others = self.registered.iter().filter(|(other, _)| **other != node);
        let victims: Vec<NodeId> =
            others.filter(|(_, key)| **key == victim).map(|(other, _)| *other).collect();
        if victims.is_empty() && self.registered.get(&node) != Some(&victim) {
            return Outcome::Conflict;
        }
        for victim in &victims {
            self.registered.remove(victim);
        }
        if self.holder.is_some_and(|holder| victims.contains(&holder)) {
            self.holder = Some(node);
        }
        self.count();
        Outcome::Done { victims }
    }

    fn clear(&mut self) -> Outcome {
        self.registered.clear();
        self.holder = None;
        self.count()
    }

    fn count(&mut self) -> Outcome {
        self.generation = self.generation.wrapping_add(1);
        DONE
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: NodeId = NodeId(1);
    const B: NodeId = NodeId(2);
    const C: NodeId = NodeId(3);
    const KA: Key = Key(0xa);
    const KB: Key = Key(0xb);
    const NONE: Key = Key(0xf);

    /// What was done before; each named so in the table.
    fn given(name: &str) -> Reservations {
        let mut disk = Reservations::default();
        let steps: &[(NodeId, Request)] = match name {
            "nothing" => &[],
            "A" => &[(A, Request::Register { key: KA })],
            "A B" => &[(A, Request::Register { key: KA }), (B, Request::Register { key: KB })],
            "A holds, B" => &[
                (A, Request::Register { key: KA }),
                (B, Request::Register { key: KB }),
                (A, Request::Reserve { key: KA }),
            ],
            "A holds" => &[(A, Request::Register { key: KA }), (A, Request::Reserve { key: KA })],
            "A holds, C shares its key, B" => &[
                (A, Request::Register { key: KA }),
                (C, Request::Register { key: KA }),
                (B, Request::Register { key: KB }),
                (A, Request::Reserve { key: KA }),
            ],
            other => panic!("no such beginning: {other}"),
        };
        for (node, request) in steps {
            assert_eq!(disk.ask(*node, *request), DONE);
        }
        disk
    }

    /// Registered nodes, holder, and who of A, B, C may write.
    fn shown(disk: &Reservations) -> String {
        let name = |node: &NodeId| char::from(b'@' + u8::try_from(node.0).unwrap()).to_string();
        let registered: String = disk.registered.keys().map(name).collect();
        let holder = disk.holder.as_ref().map_or_else(|| "-".into(), name);
        let writers: String = [A, B, C].iter().filter(|n| disk.may_write(**n)).map(name).collect();
        format!("{registered}/{holder}/{writers}")
    }

    /// (before, who, asks, comes to, afterwards as registered/holder/writers)
    type Case = (&'static str, NodeId, Request, Said, &'static str);

    #[derive(Clone, Copy, PartialEq, Eq, Debug)]
    enum Said {
        Done,
        Aborts(&'static [NodeId]),
        Conflict,
    }
    use Said::{Aborts, Conflict, Done};

    const fn preempt(key: Key, victim: Key) -> Request {
        Request::PreemptAndAbort { key, victim }
    }

    const TABLE: &[Case] = &[
        ("nothing", A, Request::Register { key: KA }, Done, "A/-/ABC"),
        ("nothing", A, Request::Register { key: Key(0) }, Conflict, "/-/ABC"),
        ("nothing", A, Request::Unregister, Done, "/-/ABC"),
        ("nothing", A, Request::Reserve { key: KA }, Conflict, "/-/ABC"),
        ("nothing", A, Request::Release { key: KA }, Conflict, "/-/ABC"),
        ("nothing", A, Request::Clear { key: KA }, Conflict, "/-/ABC"),
        ("nothing", A, preempt(KA, KB), Conflict, "/-/ABC"),
        ("A", A, Request::Register { key: KB }, Done, "A/-/ABC"),
        ("A", A, Request::Unregister, Done, "/-/ABC"),
        ("A", A, Request::Reserve { key: KA }, Done, "A/A/A"),
        ("A", A, Request::Reserve { key: KB }, Conflict, "A/-/ABC"),
        ("A", B, Request::Reserve { key: KA }, Conflict, "A/-/ABC"),
        ("A", A, Request::Release { key: KA }, Done, "A/-/ABC"),
        ("A B", B, preempt(KB, KA), Aborts(&[A]), "B/-/ABC"),
        ("A B", B, preempt(KB, NONE), Conflict, "AB/-/ABC"),
        ("A B", B, preempt(KB, KB), Done, "AB/-/ABC"),
        ("A holds", B, Request::Register { key: KB }, Done, "AB/A/AB"),
        ("A holds", B, preempt(KB, KA), Conflict, "A/A/A"),
        ("A holds", B, Request::Clear { key: KA }, Conflict, "A/A/A"),
        ("A holds, B", A, Request::Reserve { key: KA }, Done, "AB/A/AB"),
        ("A holds, B", B, Request::Reserve { key: KB }, Conflict, "AB/A/AB"),
        ("A holds, B", A, Request::Register { key: NONE }, Done, "AB/A/AB"),
        ("A holds, B", A, Request::Unregister, Done, "B/-/ABC"),
        ("A holds, B", B, Request::Unregister, Done, "A/A/A"),
        ("A holds, B", A, Request::Release { key: KA }, Done, "AB/-/ABC"),
        ("A holds, B", B, Request::Release { key: KB }, Done, "AB/A/AB"),
        ("A holds, B", B, preempt(KB, KA), Aborts(&[A]), "B/B/B"),
        ("A holds, B", A, preempt(KA, KB), Aborts(&[B]), "A/A/A"),
        ("A holds, B", B, preempt(KA, KA), Conflict, "AB/A/AB"),
        ("A holds, B", C, preempt(KA, KB), Conflict, "AB/A/AB"),
        ("A holds, B", B, Request::Clear { key: KB }, Done, "/-/ABC"),
        ("A holds, C shares its key, B", B, preempt(KB, KA), Aborts(&[A, C]), "B/B/B"),
        ("A holds, C shares its key, B", A, preempt(KA, KA), Aborts(&[C]), "AB/A/AB"),
        ("A holds, C shares its key, B", C, preempt(KA, KA), Aborts(&[A]), "BC/C/BC"),
    ];

    #[test]
    fn every_request_in_every_state() {
        for (before, node, request, said, after) in TABLE {
            let mut disk = given(before);
            let line = format!("{before}: {node} {request:?}");
            let expected = match said {
                Done => DONE,
                Aborts(victims) => Outcome::Done { victims: victims.to_vec() },
                Conflict => Outcome::Conflict,
            };
            assert_eq!(disk.ask(*node, *request), expected, "{line}");
            assert_eq!(shown(&disk), *after, "{line}");
        }
    }

    #[test]
    fn a_conflict_changes_nothing_and_the_generation_counts_changes_of_keys() {
        let mut disk = given("A holds, B");
        let before = disk.clone();
        assert_eq!(disk.ask(B, Request::Reserve { key: KB }), Outcome::Conflict);
        assert_eq!(disk, before);
        assert_eq!(disk.keys(), Keys { generation: 2, keys: vec![KA, KB], holder: Some(KA) });
        disk.ask(B, preempt(KB, KA));
        assert_eq!(disk.keys(), Keys { generation: 3, keys: vec![KB], holder: Some(KB) });
    }

    #[test]
    fn requests_are_plain_json() {
        let text = r#"{"op":"preempt-and-abort","key":11,"victim":10}"#;
        assert_eq!(serde_json::from_str::<Request>(text).unwrap(), preempt(KB, KA));
        let answer = Answer::Keys(given("A").keys());
        let text = serde_json::to_string(&answer).unwrap();
        assert_eq!(text, r#"{"answer":"keys","generation":1,"keys":[10],"holder":null}"#);
    }
}
