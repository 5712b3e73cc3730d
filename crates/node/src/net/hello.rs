//! How a stream begins: the caller says who it is, the other side takes it or says why not.

use serde::{Deserialize, Serialize};
use stead_model::program::{Speaker, talk};
use stead_model::{Incarnation, NodeId};

use super::{Peers, interfaces};

/// Version of what nodes say to each other, a node that joins included.
pub(crate) const PROTOCOL: u16 = 3;
/// A hello or its answer is never longer.
pub(super) const HELLO_BYTES_MAX: usize = 2048;

/// The longest stretch: bytes that follow a hello and mean nothing. They are two packets of the
/// largest size that the caller's network takes, and where such packets vanish there is no welcome.
const STRETCH_BYTES_MAX: usize = 256 << 10;
/// How long a stretch is, before it.
pub(super) const LENGTH_BYTES: usize = 4;

/// First frame of a stream.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(super) struct Hello {
    pub(super) cluster_id: u64,
    pub(super) cluster: String,
    pub(super) from: NodeId,
    pub(super) to: NodeId,
    pub(super) incarnation: Incarnation,
    pub(super) protocol: u16,
    pub(super) version: String,
    /// MAC addresses of the caller's interfaces.
    pub(super) macs: Vec<[u8; 6]>,
}

/// What a caller sends behind its hello, with segments of so many bytes.
pub(super) fn stretch(segment_bytes: usize) -> Vec<u8> {
    let length = (2 * segment_bytes).min(STRETCH_BYTES_MAX);
    let mut bytes = (length as u32).to_le_bytes().to_vec();
    bytes.resize(LENGTH_BYTES + length, 0);
    bytes
}

/// How many bytes of a stretch there are, its length included; `None`: too many.
pub(super) fn stretch_bytes(length: [u8; LENGTH_BYTES]) -> Option<usize> {
    let length = usize::try_from(u32::from_le_bytes(length)).ok()?;
    (length <= STRETCH_BYTES_MAX).then_some(LENGTH_BYTES + length)
}

/// The answer.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(super) enum Greeting {
    /// Frames may follow.
    Welcome {
        /// Life of the node service that answers.
        incarnation: Incarnation,
    },
    /// One sentence for people; the stream ends.
    Refused(String),
}

impl Hello {
    pub(super) fn new(peers: &Peers, to: NodeId) -> Self {
        Self {
            cluster_id: peers.cluster_id,
            cluster: peers.cluster.clone(),
            from: peers.node,
            to,
            incarnation: peers.incarnation,
            protocol: PROTOCOL,
            version: env!("CARGO_PKG_VERSION").into(),
            macs: interfaces::macs(),
        }
    }

    /// Whether the stream is for us; the refusal names both sides.
    pub(super) fn check(&self, peers: &Peers, address_of: NodeId) -> Result<(), String> {
        let (ours, own) = (&peers.cluster, peers.node);
        let name: String = self.cluster.chars().take(64).collect();
        let theirs = name.escape_debug();
        if self.cluster_id != peers.cluster_id {
            return Err(format!(
                "{} belongs to cluster `{theirs}` ({:x}), {own} to cluster `{ours}` ({:x})",
                self.from, self.cluster_id, peers.cluster_id
            ));
        }
        let (from, here) = (self.from.to_string(), own.to_string());
        let caller = Speaker { who: &from, version: &self.version, protocol: self.protocol };
        talk(caller, spoken(&here))?;
        if self.to != own {
            return Err(format!("{} calls {}, this is {own}", self.from, self.to));
        }
        if self.from != address_of {
            return Err(format!(
                "{} calls {own} from an address that the configuration gives to {address_of}",
                self.from
            ));
        }
        Ok(())
    }
}

/// This program, as `who`.
pub(crate) const fn spoken(who: &str) -> Speaker<'_> {
    Speaker { who, version: env!("CARGO_PKG_VERSION"), protocol: PROTOCOL }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::peers::tests::config;

    #[test]
    fn refusals_name_both_sides() {
        let one = Peers::new(&config(1, 1), Incarnation(1));
        let two = Peers::new(&config(2, 1), Incarnation(1));
        let good = Hello::new(&one, NodeId(2));
        assert_eq!(good.check(&two, NodeId(1)), Ok(()));
        let refused = |change: &dyn Fn(&mut Hello)| {
            let mut hello = good.clone();
            change(&mut hello);
            hello.check(&two, NodeId(1)).unwrap_err()
        };
        let why = refused(&|h| h.cluster_id = 5);
        assert_eq!(why, "n1 belongs to cluster `test` (5), n2 to cluster `test` (63)");
        let why = refused(&|h| (h.protocol, h.version) = (9, "9.0".into()));
        let own = env!("CARGO_PKG_VERSION");
        let wanted = "n1 runs stead 9.0 (protocol 9), n2 runs stead";
        assert_eq!(why, format!("{wanted} {own} (protocol {PROTOCOL}): upgrade n2"));
        assert!(refused(&|h| h.to = NodeId(3)).contains("n1 calls n3, this is n2"));
        assert!(refused(&|h| h.from = NodeId(3)).contains("gives to n1"));
    }
}
