//! What a host that joins and a member say to each other inside TLS: one line of JSON each, so
//! that versions that cannot do more can still tell each other so.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use stead_model::config::{NodeAddress, NodeConfig};
use stead_model::program::{Levels, Mark, Program, Speaker, fits, talk};
use stead_model::reason::{Code, Reason};
use stead_model::token::Applicant;
use stead_model::{GroupId, NetworkId, NodeId, UtcMillis};

use crate::net::{PROTOCOL, spoken};

/// A host asks no more than this in one line.
pub(crate) const ASK_BYTES_MAX: u64 = 4096;
/// A member answers no more than this in one line.
pub(crate) const ANSWER_BYTES_MAX: u64 = 256 << 10;
/// With this a member looks whether datagrams reach a host, which sends them back.
pub(crate) const ECHO: &[u8] = b"stead: does this come back? ";

/// What every version says first, and understands.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) struct Version {
    /// What its nodes speak.
    pub(crate) protocol: u16,
    /// What people know it by.
    pub(crate) version: String,
    /// The levels of clusters that it knows; who does not say so knows the first one.
    #[serde(default)]
    pub(crate) levels: Levels,
}

impl Version {
    /// This one.
    pub(crate) fn own() -> Self {
        let (version, levels) = (env!("CARGO_PKG_VERSION").into(), Levels::OWN);
        Self { protocol: PROTOCOL, version, levels }
    }

    /// Whether a host of another version can be a node beside this member; says both where not.
    pub(crate) fn check(&self, member: NodeId) -> Result<(), Reason> {
        let host = Speaker { who: HOST, version: &self.version, protocol: self.protocol };
        talk(host, spoken(&member.to_string())).map_err(cannot_join)
    }

    /// Whether it knows the level of the cluster; says both where not.
    pub(crate) fn fits(&self, mark: Mark) -> Result<(), Reason> {
        let version = self.version.parse().unwrap_or_default();
        fits(HOST, Program { version, levels: self.levels }, mark).map_err(cannot_join)
    }
}

/// Who is refused, in words for both sides.
const HOST: &str = "the host";

fn cannot_join(cause: String) -> Reason {
    Reason::new(Code::Conflict, "the host cannot join")
        .because(cause)
        .hint("install the same version of stead on both")
}

/// A host shows a token. Its [`Version`] is in the same line.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Call {
    #[serde(flatten)]
    pub(crate) version: Version,
    pub(crate) secret: [u8; 16],
    pub(crate) by: Applicant,
}

/// What it asks afterwards.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) enum Ask {
    /// To be reached at these addresses on the port of the cluster.
    Reach(Vec<NodeAddress>),
    /// To become a node.
    Admit {
        /// Its host name.
        name: String,
        /// Its address on each network.
        addresses: Vec<NodeAddress>,
    },
}

/// What a member says.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Answer {
    /// The token is good.
    Welcome(Box<Outline>),
    /// How each address was reached.
    Reached(Vec<Reached>),
    /// It is a node; with all that one has.
    Admitted(Box<Admitted>),
    /// It is not.
    Refused(Reason),
}

/// The cluster as a host sees it before it joins: no secret.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) struct Outline {
    pub(crate) version: Version,
    /// The member's clock.
    pub(crate) at: UtcMillis,
    /// The member's configuration, with all nodes.
    pub(crate) config: NodeConfig,
    /// The node that the host is already: it was interrupted after it was let in.
    pub(crate) known_as: Option<NodeId>,
    /// The disks of the groups that the host may own once it is a node; a member whose program
    /// does not know of this says nothing.
    #[serde(default)]
    pub(crate) disks: Vec<GroupDisk>,
}

/// A disk without which a group does not run.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) struct GroupDisk {
    /// The group.
    pub(crate) group: GroupId,
    /// The disk, by its path on every node.
    pub(crate) path: PathBuf,
}

/// How an address was reached; `None`: it was.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) struct Reached {
    pub(crate) network: NetworkId,
    pub(crate) tcp: Option<String>,
    pub(crate) udp: Option<String>,
}

/// All that a node has. No `Debug`: secrets.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Admitted {
    /// Its configuration.
    pub(crate) config: NodeConfig,
    /// The cluster key.
    pub(crate) key: [u8; 32],
    /// Certificate and key of the authority, in PEM: it signs its own certificate.
    pub(crate) authority: (String, String),
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::peers_config;
    use stead_model::program::ClusterLevel;

    #[test]
    fn a_member_that_does_not_tell_of_disks_is_understood() {
        let disk = GroupDisk { group: "web".into(), path: "/dev/disk/by-id/1".into() };
        let told = Outline {
            version: Version::own(),
            at: UtcMillis(7),
            config: peers_config(1, 1),
            known_as: None,
            disks: vec![disk],
        };
        let mut text = serde_json::to_value(&told).unwrap();
        assert_eq!(serde_json::from_value::<Outline>(text.clone()).unwrap(), told);
        assert!(text.as_object_mut().unwrap().remove("disks").is_some());
        let former: Outline = serde_json::from_value(text).unwrap();
        assert_eq!(former, Outline { disks: Vec::new(), ..told });
    }

    #[test]
    fn another_protocol_is_refused_with_both_versions_whatever_else_the_line_says() {
        let line = r#"{"protocol": 9, "version": "9.1", "oath": [1]}"#;
        let told: Version = serde_json::from_str(line).unwrap();
        let why = told.check(NodeId(3)).unwrap_err().to_string();
        let own = env!("CARGO_PKG_VERSION");
        assert!(why.contains("the host runs stead 9.1 (protocol 9)"), "{why}");
        assert!(why.contains(&format!("n3 runs stead {own} (protocol {PROTOCOL})")), "{why}");
        assert!(why.contains(": upgrade n3"), "{why}");
        let call = Call { version: Version::own(), secret: [1; 16], by: Applicant(1 << 60) };
        let line = serde_json::to_string(&call).unwrap();
        assert_eq!(serde_json::from_str::<Version>(&line).unwrap().check(NodeId(1)), Ok(()));
        assert!(serde_json::from_str::<Call>(&line).unwrap() == call);
    }

    #[test]
    fn a_host_that_does_not_know_the_level_is_refused_with_both_versions() {
        let line = format!(r#"{{"protocol": {PROTOCOL}, "version": "0.0.9"}}"#);
        let told: Version = serde_json::from_str(&line).unwrap();
        assert_eq!(told.fits(Mark::default()), Ok(()));
        let later = Mark { level: ClusterLevel(7), by: "0.7.0".parse().unwrap() };
        let why = told.fits(later).unwrap_err().to_string();
        assert!(
            why.contains(
                "the host runs stead 0.0.9 (level 1), the cluster is at level 7 of stead 0.7.0: \
                 upgrade the host to 0.7.0 or later"
            ),
            "{why}"
        );
    }
}
