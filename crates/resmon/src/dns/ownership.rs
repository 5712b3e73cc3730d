//! Whose a name is, written in DNS itself: a text beside it, under the label `_stead`.
//!
//! ```text
//! web.example.org         A    10.0.0.25
//! _stead.web.example.org  TXT  "stead cluster=… group=web resource=web-name epoch=7"
//! ```
//!
//! Like the fencing token that it contains it makes late messages harmless: every update needs the
//! text that its sender saw (RFC 2136 prerequisite), so what a former owner sends after the present
//! one has published does nothing, in whatever order it comes. A name with addresses and without
//! such a text is somebody else's, and is left alone.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use stead_model::{Epoch, GroupId, ResourceId};

/// Who published a name.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Marker {
    /// Number of the cluster.
    pub(crate) cluster: u64,
    /// The group.
    pub(crate) group: GroupId,
    /// The network name.
    pub(crate) resource: ResourceId,
    /// The epoch of the ownership.
    pub(crate) epoch: Epoch,
}

/// Whose a name is, from the point of view of somebody who wants to publish or remove it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Standing {
    /// Nobody's.
    Free,
    /// Ours, as this text says.
    Own(String),
    /// Ours, in a later epoch.
    Later(Marker),
    /// Somebody else's: what is known of them.
    Foreign(String),
}

impl Marker {
    /// Judges what is there: the texts beside the name, its addresses, whether it is an alias.
    pub(super) fn judge(&self, texts: &[&str], addresses: &[IpAddr], is_alias: bool) -> Standing {
        let shown: Vec<String> = addresses.iter().map(ToString::to_string).collect();
        match texts {
            _ if is_alias => Standing::Foreign("it is an alias (CNAME)".to_owned()),
            [] if addresses.is_empty() => Standing::Free,
            [] => Standing::Foreign(format!("somebody else gave it {}", shown.join(", "))),
            [text] => match text.parse::<Self>() {
                Ok(other) if !self.is_of(&other) => Standing::Foreign(format!("{other} has it")),
                Ok(other) if self.is_before(&other) => Standing::Later(other),
                Ok(_) => Standing::Own((*text).to_owned()),
                Err(()) => Standing::Foreign(format!("it is marked `{}`", text.escape_debug())),
            },
            [_, ..] => Standing::Foreign("it is marked more than once".to_owned()),
        }
    }

    /// Whether both are the same resource. Its group may be another one by now.
    fn is_of(&self, other: &Self) -> bool {
        (self.cluster, &self.resource) == (other.cluster, &other.resource)
    }

    /// Whether the other is later; epochs of different groups cannot be compared.
    fn is_before(&self, other: &Self) -> bool {
        self.group == other.group && self.epoch < other.epoch
    }
}

impl fmt::Display for Marker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { cluster, group, resource, epoch } = self;
        write!(
            f,
            "stead cluster={cluster:016x} group={group} resource={resource} epoch={}",
            epoch.0
        )
    }
}

impl FromStr for Marker {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let mut words = text.strip_prefix("stead ").ok_or(())?.split(' ');
        let mut value = |name: &str| {
            let word = words.next().and_then(|word| word.strip_prefix(name)?.strip_prefix('='));
            word.filter(|value| !value.is_empty()).ok_or(())
        };
        let marker = Self {
            cluster: u64::from_str_radix(value("cluster")?, 16).map_err(drop)?,
            group: value("group")?.into(),
            resource: value("resource")?.into(),
            epoch: Epoch(value("epoch")?.parse().map_err(drop)?),
        };
        // An update needs the text as it is: one that is written otherwise is not ours.
        if marker.to_string() == text { Ok(marker) } else { Err(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn marker(group: &str, epoch: u64) -> Marker {
        Marker { cluster: 0xabc, group: group.into(), resource: "name".into(), epoch: Epoch(epoch) }
    }

    #[test]
    fn a_marker_is_read_as_it_is_written() {
        let text = "stead cluster=0000000000000abc group=web resource=name epoch=7";
        assert_eq!(marker("web", 7).to_string(), text);
        assert_eq!(text.parse(), Ok(marker("web", 7)));
        for bad in ["", "stead", "stead cluster=abc group=web resource=name epoch=7"] {
            assert_eq!(bad.parse::<Marker>(), Err(()), "{bad}");
        }
        assert_eq!(format!("{text} more").parse::<Marker>(), Err(()));
    }

    #[test]
    fn what_is_ours_is_told_from_what_is_not() {
        let own = marker("web", 7);
        let address: IpAddr = "10.0.0.25".parse().unwrap();
        let judge = |text: &str| own.judge(&[text], &[address], false);
        assert_eq!(own.judge(&[], &[], false), Standing::Free);
        for other in [marker("web", 3), marker("web", 7), marker("former", 99)] {
            assert_eq!(judge(&other.to_string()), Standing::Own(other.to_string()));
        }
        assert_eq!(judge(&marker("web", 8).to_string()), Standing::Later(marker("web", 8)));
        let stranger = Marker { cluster: 1, ..own.clone() };
        assert!(matches!(judge(&stranger.to_string()), Standing::Foreign(_)));
        assert!(matches!(judge("something"), Standing::Foreign(_)));
        assert!(matches!(own.judge(&[], &[], true), Standing::Foreign(_)));
        let by_hand = Standing::Foreign("somebody else gave it 10.0.0.25".into());
        assert_eq!(own.judge(&[], &[address], false), by_hand);
    }
}
