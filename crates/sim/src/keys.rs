//! The keys of the machines: what an executor does about them, as numbers instead of certificates.
//!
//! Set `n` is that of rotation `n`; the first one has number 0. What was done is durable at once,
//! whether the service hears of it or not. A datagram is taken by a node that believes what it was
//! sealed with.

use stead_core::Event;
use stead_model::NodeId;
use stead_model::keys::{Key, KeyOrder, KeyReport, Keys, NewKeys, Other, Print};

use crate::rng::mix;
use crate::world::World;

/// What a set is named by.
pub(crate) const fn print(number: u64) -> Print {
    let mut print = [0; 32];
    print[0] = number as u8;
    print[31] = 1;
    Print(print)
}

/// What a cluster is formed with.
pub(crate) const fn first(bytes: [u8; 32]) -> Keys {
    Keys::only(Key { print: print(0), bytes })
}

/// Whether a node believes what was sealed with a set.
pub(crate) fn believes(keys: &Keys, print: Print) -> bool {
    keys.own.print == print || keys.other.as_ref().set().is_some_and(|key| key.print == print)
}

/// What becomes of the keys of a node; an error if the order does not fit.
fn carry_out(keys: &Keys, order: KeyOrder, fresh: [u8; 32]) -> Result<Keys, String> {
    match (order, &keys.other) {
        (KeyOrder::Make(number), Other::None) => {
            let (authority, authority_key) = (String::new(), String::new());
            let (print, key) = (print(number), fresh);
            let new = NewKeys { number, print, key, authority, authority_key };
            Ok(next(keys, new))
        }
        (KeyOrder::Keep(new), Other::None) => Ok(next(keys, *new)),
        (KeyOrder::Use(print), Other::Next(number, key)) if key.print == print => {
            let (own, other) = (*key, Other::Former(*number, keys.own));
            Ok(Keys { own, other, new: keys.new.clone() })
        }
        (KeyOrder::End(print), Other::Former(..)) if keys.own.print == print => {
            Ok(Keys::only(keys.own))
        }
        (KeyOrder::Forget(number), Other::Next(of, _)) if *of == number => Ok(Keys::only(keys.own)),
        (order, other) => Err(format!("cannot {order}: it has {} and {other:?}", keys.own.print)),
    }
}

fn next(keys: &Keys, new: NewKeys) -> Keys {
    let key = Key { print: new.print, bytes: new.key };
    Keys { own: keys.own, other: Other::Next(new.number, key), new: Some(new) }
}

impl World {
    /// An executor does something with the keys of a node.
    pub(crate) fn order_keys(&mut self, node: NodeId, order: KeyOrder) {
        let seed = u64::from_le_bytes(*self.key.first_chunk().unwrap_or(&[0; 8]));
        let mut fresh = [0; 32];
        for (index, byte) in fresh.iter_mut().enumerate() {
            *byte = mix(seed ^ self.now ^ index as u64) as u8;
        }
        let machine = self.node_mut(node);
        let report = match carry_out(&machine.keys, order, fresh) {
            Ok(keys) => {
                machine.keys = keys.clone();
                KeyReport::Has(Box::new(keys))
            }
            Err(why) => KeyReport::Failed(why),
        };
        if let KeyReport::Has(keys) = &report {
            let (own, other) = (keys.own.print.0[0], keys.other.map(|key| key.print.0[0]));
            self.trace.milestone(self.now, || format!("{node} seals with set {own}, {other:?}"));
        }
        self.tell(node, Event::Keys(report));
    }
}
