//! I-AGREE: all nodes apply the same changes in the same order.
//!
//! Every core keeps a digest chained over what it applied; equal index must mean equal digest.

use std::collections::BTreeMap;

use stead_model::{LogIndex, NodeId};

use super::{Promise, Verdict, Violation};

/// The checker.
#[derive(Default, Debug)]
pub struct Agree {
    digests: BTreeMap<LogIndex, (u64, NodeId)>,
}

impl Agree {
    /// A node has applied everything up to `index`.
    pub fn applied(&mut self, node: NodeId, index: LogIndex, digest: u64) -> Verdict {
        let (first, by) = *self.digests.entry(index).or_insert((digest, node));
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
        assert_eq!(agree.applied(NodeId(1), LogIndex(7), 1), Ok(()));
        assert_eq!(agree.applied(NodeId(2), LogIndex(7), 1), Ok(()));
        assert_eq!(agree.applied(NodeId(2), LogIndex(8), 5), Ok(()));
        assert!(agree.applied(NodeId(1), LogIndex(8), 6).is_err());
    }
}
