//! I-AGREE: all nodes apply the same changes in the same order.
//!
//! Every core keeps a digest chained over what it applied; equal index must mean equal digest.

use std::collections::BTreeMap;

use stead_model::{LogIndex, NodeId};

use super::{Promise, Verdict, Violation};

/// The checker.
#[derive(Default, Debug)]
pub struct Agree {
    digests: BTreeMap<(u64, LogIndex), (u64, NodeId)>,
}

impl Agree {
    /// A node has applied everything up to `index` of a history.
    pub fn applied(
        &mut self,
        node: NodeId,
        (history, index): (u64, LogIndex),
        digest: u64,
    ) -> Verdict {
        let (first, by) = *self.digests.entry((history, index)).or_insert((digest, node));
        if first == digest {
            return Ok(());
        }
        let text = format!("{node} and {by} applied different changes up to {index}");
        Err(Violation::new(Promise::Agree, text))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn i_agree_sees_another_history() {
        let mut agree = Agree::default();
        assert_eq!(agree.applied(NodeId(1), (0, LogIndex(7)), 1), Ok(()));
        assert_eq!(agree.applied(NodeId(2), (0, LogIndex(7)), 1), Ok(()));
        assert_eq!(agree.applied(NodeId(2), (0, LogIndex(8)), 5), Ok(()));
        assert_eq!(agree.applied(NodeId(3), (9, LogIndex(8)), 6), Ok(()));
        assert!(agree.applied(NodeId(1), (0, LogIndex(8)), 6).is_err());
    }
}
