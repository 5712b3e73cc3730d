//! What the log asks of a node, state by state.

use super::*;
use stead_model::keys::Key;

const ME: NodeId = NodeId(1);
const OTHER: NodeId = NodeId(2);

fn print(set: u8) -> Print {
    Print([set; 32])
}

fn key(set: u8) -> Key {
    Key { print: print(set), bytes: [set; 32] }
}

fn has(own: u8, other: Other<u8>) -> Keys {
    Keys { own: key(own), other: other.map(key), new: None }
}

fn log(number: u64, phase: Phase, maker: NodeId, set: Option<u8>) -> (Option<Rotation>, u64) {
    (Some(Rotation { number, phase, maker, print: set.map(print) }), number)
}

/// Set 1 is the present one, set 2 follows it in rotation 7.
#[test]
fn what_the_log_asks_of_a_node_in_every_state() {
    use KeyOrder::{End, Forget, Make, Use};
    let order = Step::Order;
    let (known, used, ended) = (Phase::Known, Phase::Used, Phase::Ended);
    let nothing = || has(1, Other::None);
    let next = || has(1, Other::Next(7, 2));
    let former = || has(2, Other::Former(7, 1));
    let done = || has(2, Other::None);
    let table = [
        // Nothing is under way, or was abandoned.
        ((None, 0), nothing(), Step::Rest),
        ((None, 7), next(), order(Forget(7))),
        // The log is older than what this node has done.
        ((None, 6), next(), Step::Rest),
        ((None, 6), former(), Step::Rest),
        (log(6, known, ME, None), next(), Step::Rest),
        (log(6, known, OTHER, Some(5)), next(), Step::Rest),
        (log(6, ended, OTHER, Some(1)), next(), Step::Rest),
        (log(6, ended, OTHER, Some(1)), former(), Step::Rest),
        // The maker makes them once, the others wait for what they are named by.
        (log(7, known, ME, None), nothing(), order(Make(7))),
        (log(7, known, ME, None), next(), Step::Rest),
        (log(7, known, OTHER, None), nothing(), Step::Rest),
        (log(7, known, OTHER, None), next(), order(Forget(7))),
        (log(8, known, OTHER, None), next(), order(Forget(7))),
        (log(8, known, ME, Some(3)), next(), order(Forget(7))),
        // Known.
        (log(7, known, OTHER, Some(2)), nothing(), Step::Fetch(print(2))),
        (log(7, known, OTHER, Some(2)), next(), Step::Rest),
        (log(7, known, OTHER, Some(3)), next(), order(Forget(7))),
        (log(7, known, OTHER, Some(2)), former(), Step::Rest),
        // Used.
        (log(7, used, OTHER, Some(2)), nothing(), Step::Fetch(print(2))),
        (log(7, used, OTHER, Some(2)), next(), order(Use(print(2)))),
        (log(7, used, OTHER, Some(2)), former(), Step::Rest),
        (log(7, used, OTHER, Some(2)), done(), Step::Rest),
        // Ended.
        (log(7, ended, OTHER, Some(2)), next(), order(Use(print(2)))),
        (log(7, ended, OTHER, Some(2)), former(), order(End(print(2)))),
        (log(7, ended, OTHER, Some(2)), done(), Step::Rest),
    ];
    for (log, keys, wanted) in table {
        let found = step(ME, log, &keys);
        assert_eq!(found, wanted, "{log:?} with {keys:?}");
    }
}
