//! What this node knows of a peer's lives, and so which of its datagrams are fresh.
//!
//! ```text
//!   unknown ── a datagram that opens and is meant for this life ──► known (key, windows)
//!      │                                                              │ another life, likewise
//!      └─ it opens and is meant for another life: greet                └─► known; the former life
//!         (the peer then knows this one, and says so)                      never comes back
//! ```
//!
//! Every life is a random number that its node service drew, so naming the addressee's life is the
//! answer to a challenge: nobody who only recorded datagrams can give it. Greetings are never
//! answered by greetings. What is seen already is known per network, because the same datagram
//! arrives once on each.

use std::collections::VecDeque;

use ring::aead::LessSafeKey;
use stead_model::{Incarnation, NodeId, Span, Time};

use crate::datagram::Header;
use crate::{Addressee, Keyring};

/// Former lives that are remembered; they cost 8 bytes each and only where there were any.
const FORMER_MAX: usize = 1024;
/// A peer is greeted at most this often.
const GREETING_PAUSE: Span = Span::from_millis(20);

/// Why a datagram is not taken.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Refusal {
    /// No sealed datagram: cut, oversized, in clear, or noise.
    Malformed,
    /// It names another sender than its address belongs to, or another addressee.
    Foreign,
    /// Sealed with a key that this node does not have.
    OtherKey,
    /// It was not sealed by the node that it names.
    Forged,
    /// It was there already.
    Replayed,
    /// It comes from a life of the peer that is over: late, or replayed.
    Former,
}

/// A datagram that opened.
#[derive(Debug)]
pub enum Opened<'a> {
    /// A message.
    Message {
        /// Life of the sender.
        incarnation: Incarnation,
        /// Its number.
        sequence: u64,
        /// The message.
        bytes: &'a [u8],
    },
    /// The peer said who it is.
    Greeted,
    /// The peer does not know this life yet; it should be greeted.
    Greet(Addressee),
    /// As above, but it was greeted a moment ago.
    Wait,
}

/// One peer.
#[derive(Debug)]
pub struct Acquaintance {
    peer: NodeId,
    known: Option<Known>,
    former: VecDeque<Incarnation>,
    greeted_at: Option<Time>,
}

#[derive(Debug)]
struct Known {
    incarnation: Incarnation,
    key: LessSafeKey,
    key_id: u16,
    /// By network.
    windows: Vec<Window>,
}

/// This node, where a datagram arrives.
#[derive(Clone, Copy, Debug)]
pub struct Here<'a> {
    /// The keys of the cluster.
    pub keys: &'a Keyring,
    /// This node and its life.
    pub own: Addressee,
    /// Index of the network.
    pub network: usize,
    /// The time.
    pub now: Time,
}

impl Acquaintance {
    /// Of a peer that was not heard yet.
    #[must_use]
    pub const fn new(peer: NodeId) -> Self {
        Self { peer, known: None, former: VecDeque::new(), greeted_at: None }
    }

    /// Whom datagrams to the peer are meant for.
    #[must_use]
    pub fn addressee(&self) -> Addressee {
        let incarnation = self.known.as_ref().map_or(Incarnation(0), |known| known.incarnation);
        Addressee { node: self.peer, incarnation }
    }

    /// Opens a datagram that came from the peer's address, in place.
    ///
    /// # Errors
    /// It is not to be believed; nothing was changed.
    pub fn open<'a>(&mut self, here: Here<'_>, bytes: &'a mut [u8]) -> Result<Opened<'a>, Refusal> {
        let header = Header::read(bytes).ok_or(Refusal::Malformed)?;
        if header.from != self.peer || header.to != here.own.node {
            return Err(Refusal::Foreign);
        }
        if self.former.contains(&header.incarnation) {
            return Err(Refusal::Former);
        }
        let life = self.known.as_ref().filter(|known| known.incarnation == header.incarnation);
        if life.is_some_and(|life| life.has_seen(&header, here.network)) {
            return Err(Refusal::Replayed);
        }
        let known = life.filter(|life| life.key_id == header.key && here.keys.has(header.key));
        let derived = match known {
            Some(_) => None,
            None => {
                let key = here.keys.key(header.key, header.from, header.incarnation);
                Some(key.ok_or(Refusal::OtherKey)?)
            }
        };
        let key = derived.as_ref().or_else(|| known.map(|known| &known.key));
        let opened = key.and_then(|key| header.open(key, bytes)).ok_or(Refusal::Forged)?;
        if header.meant_for != here.own.incarnation {
            return Ok(self.unknown_to(&header, here.now));
        }
        if let Some(key) = derived {
            self.meet(&header, key);
        }
        let Some(sequence) = header.sequence() else { return Ok(Opened::Greeted) };
        if let Some(known) = &mut self.known {
            known.mark(sequence, here.network);
        }
        Ok(Opened::Message { incarnation: header.incarnation, sequence, bytes: opened })
    }

    fn unknown_to<'a>(&mut self, header: &Header, now: Time) -> Opened<'a> {
        let lately = self.greeted_at.is_some_and(|at| now.since(at) < GREETING_PAUSE);
        if header.sequence().is_none() || lately {
            return Opened::Wait;
        }
        self.greeted_at = Some(now);
        Opened::Greet(Addressee { node: self.peer, incarnation: header.incarnation })
    }

    /// The peer is in this life now. Under another key of the cluster it is still the same life,
    /// and what it said stays said.
    fn meet(&mut self, header: &Header, key: LessSafeKey) {
        let (incarnation, key_id) = (header.incarnation, header.key);
        let earlier = self.known.take();
        let windows = match earlier {
            Some(earlier) if earlier.incarnation == incarnation => earlier.windows,
            Some(earlier) => {
                if self.former.len() == FORMER_MAX {
                    self.former.pop_front();
                }
                self.former.push_back(earlier.incarnation);
                Vec::new()
            }
            None => Vec::new(),
        };
        self.known = Some(Known { incarnation, key, key_id, windows });
    }
}

impl Known {
    fn has_seen(&self, header: &Header, network: usize) -> bool {
        let window = self.windows.get(network);
        let seen = |sequence| window.is_some_and(|window| window.has_seen(sequence));
        header.sequence().is_some_and(seen)
    }

    fn mark(&mut self, sequence: u64, network: usize) {
        if self.windows.len() <= network {
            self.windows.resize_with(network + 1, Window::default);
        }
        self.windows[network].mark(sequence);
    }
}

/// The last 128 numbers; lower ones count as seen.
#[derive(Default, Debug)]
struct Window {
    highest: u64,
    /// Bit `n` stands for `highest - n`.
    seen: u128,
}

impl Window {
    fn has_seen(&self, sequence: u64) -> bool {
        match self.highest.checked_sub(sequence) {
            None => false,
            Some(behind) => behind >= 128 || self.seen & (1 << behind) != 0,
        }
    }

    fn mark(&mut self, sequence: u64) {
        let ahead = sequence.saturating_sub(self.highest);
        if ahead > 0 {
            self.seen = if ahead < 128 { self.seen << ahead } else { 0 };
            self.highest = sequence;
        }
        let behind = self.highest - sequence;
        if behind < 128 {
            self.seen |= 1 << behind;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{SEALED_HEADER_BYTES, Sealer};

    const CLUSTER: u64 = 99;

    fn keys(key: u8) -> Keyring {
        Keyring::new(CLUSTER, &[[key; 32]])
    }

    /// A node, and what it knows of the other one.
    struct End {
        keys: Keyring,
        own: Addressee,
        sealer: Sealer,
        other: Acquaintance,
        sent: u64,
    }

    fn end(node: u16, life: u64, peer: u16) -> End {
        let own = Addressee { node: NodeId(node), incarnation: Incarnation(life) };
        let sealer = Sealer::new(&keys(1), own.node, own.incarnation);
        End { keys: keys(1), own, sealer, other: Acquaintance::new(NodeId(peer)), sent: 0 }
    }

    impl End {
        fn say(&mut self, text: &[u8]) -> Vec<u8> {
            self.sent += 1;
            let mut bytes = [&[0; SEALED_HEADER_BYTES], text].concat();
            self.sealer.seal(self.other.addressee(), self.sent, &mut bytes);
            bytes
        }

        /// The message, or what became of it.
        fn hear(&mut self, bytes: &[u8]) -> Result<String, Refusal> {
            self.hear_on(0, bytes)
        }

        fn hear_on(&mut self, network: usize, bytes: &[u8]) -> Result<String, Refusal> {
            let now = Time(self.sent * Span::from_secs(1).0 + bytes.len() as u64);
            let here = Here { keys: &self.keys, own: self.own, network, now };
            let mut bytes = bytes.to_vec();
            Ok(match self.other.open(here, &mut bytes)? {
                Opened::Message { bytes, .. } => String::from_utf8(bytes.to_vec()).unwrap(),
                Opened::Greeted => "greeted".into(),
                Opened::Greet(to) => format!("greet {}", to.incarnation.0),
                Opened::Wait => "wait".into(),
            })
        }

        fn greet(&mut self, life: u64) -> Vec<u8> {
            let node = self.other.addressee().node;
            self.sealer.greeting(Addressee { node, incarnation: Incarnation(life) })
        }
    }

    /// Two nodes that know each other.
    fn pair() -> (End, End) {
        let (mut one, mut two) = (end(1, 11, 2), end(2, 22, 1));
        let first = one.say(b"first");
        assert_eq!(two.hear(&first).unwrap(), "greet 11", "it does not know our life yet");
        let greeting = two.greet(11);
        assert_eq!(one.hear(&greeting).unwrap(), "greeted");
        let second = one.say(b"second");
        assert_eq!(two.hear(&second).unwrap(), "second");
        let answer = two.say(b"answer");
        assert_eq!(one.hear(&answer).unwrap(), "answer");
        (one, two)
    }

    #[test]
    fn every_byte_counts_and_every_cut_is_refused() {
        let (mut one, mut two) = pair();
        let good = one.say(b"hello");
        for at in 0..good.len() {
            let mut bad = good.clone();
            bad[at] ^= 1;
            assert!(two.hear(&bad).is_err(), "byte {at} went unnoticed");
            assert!(two.hear(&good[..at]).is_err(), "a cut at {at} went unnoticed");
        }
        assert_eq!(two.hear(&good).unwrap(), "hello", "what was refused changed nothing");
    }

    #[test]
    fn a_datagram_is_heard_once_on_each_network() {
        let (mut one, mut two) = pair();
        let said: Vec<_> = (0..200).map(|_| one.say(b"x")).collect();
        for at in [0, 5, 4, 199, 198, 72] {
            assert_eq!(two.hear(&said[at]).unwrap(), "x", "{at} is new");
            assert_eq!(two.hear(&said[at]), Err(Refusal::Replayed), "{at} was there");
        }
        assert_eq!(two.hear(&said[71]), Err(Refusal::Replayed), "too old to tell");
        assert_eq!(two.hear_on(1, &said[71]).unwrap(), "x", "another network");
    }

    #[test]
    fn what_was_recorded_in_an_earlier_life_of_the_receiver_is_not_believed() {
        let (mut one, _) = pair();
        let recorded = one.say(b"I am here");
        let mut again = end(2, 23, 1);
        // It opens, and the node that is greeted for it does not know what to do with it.
        assert_eq!(again.hear(&recorded).unwrap(), "greet 11");
        assert_eq!(again.other.addressee().incarnation, Incarnation(0));
        assert_eq!(again.hear(&recorded).unwrap(), "wait", "a flood is not answered by one");
    }

    #[test]
    fn what_was_recorded_in_an_earlier_life_of_the_sender_is_not_believed() {
        let (mut one, mut two) = pair();
        let recorded = one.say(b"I am here");
        let mut again = end(1, 12, 2);
        assert_eq!(two.hear(&again.say(b"back")).unwrap(), "greet 12");
        // While only the new life is unproven the old one goes on.
        assert_eq!(two.hear(&one.say(b"still")).unwrap(), "still");
        let greeting = two.greet(12);
        again.hear(&greeting).unwrap();
        assert_eq!(two.hear(&again.say(b"back")).unwrap(), "back");
        assert_eq!(two.hear(&recorded), Err(Refusal::Former));
        assert_eq!(two.hear(&one.say(b"later")), Err(Refusal::Former));
        assert_eq!(two.other.addressee().incarnation, Incarnation(12));
    }

    #[test]
    fn greetings_are_not_answered_by_greetings() {
        let (mut one, _) = pair();
        let mut two = end(2, 23, 1);
        let greeting = one.greet(22);
        assert_eq!(two.hear(&greeting).unwrap(), "wait");
    }

    #[test]
    fn other_nodes_clusters_and_keys_are_refused() {
        let (one, mut two) = pair();
        let mut sealed = |keys: &Keyring, from: u16, to: u16| {
            let sealer = Sealer::new(keys, NodeId(from), one.own.incarnation);
            let mut bytes = vec![0; SEALED_HEADER_BYTES];
            bytes.extend(b"x");
            let to = Addressee { node: NodeId(to), incarnation: Incarnation(22) };
            sealer.seal(to, 77, &mut bytes);
            two.hear(&bytes)
        };
        assert_eq!(sealed(&keys(1), 3, 2), Err(Refusal::Foreign));
        assert_eq!(sealed(&keys(1), 1, 3), Err(Refusal::Foreign));
        assert_eq!(sealed(&keys(2), 1, 2), Err(Refusal::OtherKey));
        assert_eq!(sealed(&Keyring::new(98, &[[1; 32]]), 1, 2), Err(Refusal::Forged));
        assert_eq!(sealed(&keys(1), 1, 2).unwrap(), "x");
    }

    #[test]
    fn while_one_key_follows_another_both_open_and_the_life_goes_on() {
        let (mut one, mut two) = pair();
        let old = one.say(b"old key");
        assert_eq!(two.hear(&old).unwrap(), "old key");
        two.keys = Keyring::new(CLUSTER, &[[1; 32], [2; 32]]);
        assert_eq!(two.hear(&one.say(b"old key")).unwrap(), "old key");
        one.sealer = Sealer::new(&keys(2), one.own.node, one.own.incarnation);
        assert_eq!(two.hear(&one.say(b"new key")).unwrap(), "new key");
        assert_eq!(two.hear(&old), Err(Refusal::Replayed));
        // The key that went before has ended: what it was known by counts no more either.
        one.sealer = Sealer::new(&keys(1), one.own.node, one.own.incarnation);
        assert_eq!(two.hear(&one.say(b"old key")).unwrap(), "old key");
        two.keys = keys(2);
        assert_eq!(two.hear(&one.say(b"ended")), Err(Refusal::OtherKey));
        two.keys = Keyring::new(CLUSTER, &[[1; 32], [2; 32]]);
        let secrets = format!("{:?} {:?}", two.keys, one.sealer);
        assert!(!secrets.contains("[1, 1") && secrets.contains("2 keys"), "{secrets}");
    }

    #[test]
    fn a_life_that_dies_again_and_again_costs_little() {
        let mut two = end(2, 22, 1);
        for life in 1..=2 * FORMER_MAX as u64 {
            let mut one = end(1, life, 2);
            let greeting = one.greet(22);
            two.hear(&greeting).unwrap();
        }
        assert!(two.other.former.len() <= FORMER_MAX);
    }
}
