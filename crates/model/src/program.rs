//! Programs of different versions in one cluster: what each can speak, and the *level* that all of
//! them speak.
//!
//! A cluster begins at the first level. A change of the database is used only from the level on
//! that brought it ([`Change::since`](crate::change::Change::since)), so a program that knows the
//! level reads everything in the log. An administrator raises it when every node's program knows
//! the next one (decision 0035).

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::ids::NodeId;
use crate::reason::{Code, Reason};

/// What the log and what is said about it may contain: grows by one, never falls.
#[derive(
    Clone,
    Copy,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Debug,
    Serialize,
    Deserialize,
    utoipa::ToSchema,
)]
#[serde(transparent)]
pub struct ClusterLevel(pub u16);

impl ClusterLevel {
    /// Where every cluster begins.
    pub const FIRST: Self = Self(1);
    /// The database has what each node runs; names and addresses of nodes change.
    pub const PROGRAMS: Self = Self(2);

    /// The one after this.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}

impl Default for ClusterLevel {
    fn default() -> Self {
        Self::FIRST
    }
}

impl fmt::Display for ClusterLevel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "level {}", self.0)
    }
}

/// The levels that a program can speak, all between these two.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Levels {
    /// The lowest one.
    pub lowest: ClusterLevel,
    /// The highest one.
    pub highest: ClusterLevel,
}

impl Levels {
    /// Those of this program.
    pub const OWN: Self = Self { lowest: ClusterLevel::FIRST, highest: ClusterLevel::PROGRAMS };

    /// Whether a program that can speak these can be part of a cluster at that level.
    #[must_use]
    pub fn contain(self, level: ClusterLevel) -> bool {
        (self.lowest..=self.highest).contains(&level)
    }
}

impl fmt::Display for Levels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.lowest == self.highest {
            true => write!(f, "{}", self.highest),
            false => write!(f, "levels {} to {}", self.lowest.0, self.highest.0),
        }
    }
}

/// A version of stead: three numbers, `1.2.3`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Debug)]
pub struct Version(pub [u16; 3]);

impl FromStr for Version {
    type Err = NoVersion;

    fn from_str(text: &str) -> Result<Self, NoVersion> {
        let numbers = text.split(['-', '+']).next().unwrap_or_default();
        let mut parts = numbers.split('.').map(|part| part.parse().map_err(|_| NoVersion));
        let mut next = || parts.next().unwrap_or(Err(NoVersion));
        let version = Self([next()?, next()?, next()?]);
        if parts.next().is_some() { Err(NoVersion) } else { Ok(version) }
    }
}

/// A text is no version.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("a version is three numbers: `1.2.3`")]
pub struct NoVersion;

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self([major, minor, patch]) = self;
        write!(f, "{major}.{minor}.{patch}")
    }
}

impl Serialize for Version {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match serializer.is_human_readable() {
            true => serializer.collect_str(self),
            false => self.0.serialize(serializer),
        }
    }
}

impl<'a> Deserialize<'a> for Version {
    fn deserialize<D: Deserializer<'a>>(deserializer: D) -> Result<Self, D::Error> {
        match deserializer.is_human_readable() {
            true => String::deserialize(deserializer)?.parse().map_err(de::Error::custom),
            false => Deserialize::deserialize(deserializer).map(Self),
        }
    }
}

/// What a node runs.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Program {
    /// Its version.
    #[schema(value_type = String)]
    pub version: Version,
    /// What it can speak.
    pub levels: Levels,
}

impl Program {
    /// This one.
    ///
    /// # Panics
    /// Never: cargo gives a package three numbers.
    #[must_use]
    pub fn own() -> Self {
        let version = env!("CARGO_PKG_VERSION").parse().expect("a package has a version");
        Self { version, levels: Levels::OWN }
    }
}

impl fmt::Display for Program {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "stead {} ({})", self.version, self.levels)
    }
}

/// The level of a cluster, and with which version it was raised to that: what a program needs that
/// does not know it. It stands in front of every snapshot, in a form that never changes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Mark {
    /// The level.
    pub level: ClusterLevel,
    /// The version of whoever raised it.
    pub by: Version,
}

impl Default for Mark {
    fn default() -> Self {
        Self { level: ClusterLevel::FIRST, by: Version([0, 1, 0]) }
    }
}

impl fmt::Display for Mark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of stead {}", self.level, self.by)
    }
}

/// Whether `who`, who runs that program, can be part of a cluster with that mark.
///
/// # Errors
/// It cannot: one sentence that names both versions and what to do.
pub fn fits(who: &str, program: Program, mark: Mark) -> Result<(), String> {
    let (levels, level) = (program.levels, mark.level);
    if levels.contain(level) {
        return Ok(());
    }
    let hint = if levels.highest < level && program.version < mark.by {
        format!("upgrade {who} to {} or later", mark.by)
    } else if levels.highest < level {
        format!("{who} needs the program of the other nodes")
    } else {
        format!("raise the level of the cluster to {} first", levels.lowest.0)
    };
    Err(format!("{who} runs {program}, the cluster is at {mark}: {hint}"))
}

/// Whether two can talk that speak these protocols.
///
/// # Errors
/// They cannot: one sentence that names both versions and what to do, the same on both sides.
pub fn talk(one: Speaker<'_>, other: Speaker<'_>) -> Result<(), String> {
    if one.protocol == other.protocol {
        return Ok(());
    }
    let older = if one.protocol < other.protocol { one.who } else { other.who };
    Err(format!("{one}, {other}: upgrade {older}"))
}

/// Somebody with a program.
#[derive(Clone, Copy, Debug)]
pub struct Speaker<'a> {
    /// Who.
    pub who: &'a str,
    /// The version of its program, as it told it.
    pub version: &'a str,
    /// What it speaks.
    pub protocol: u16,
}

impl fmt::Display for Speaker<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let version: String = self.version.chars().take(32).collect();
        let version = version.escape_debug();
        write!(f, "{} runs stead {version} (protocol {})", self.who, self.protocol)
    }
}

/// A node whose program has to know a level before it is raised.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Asked {
    /// The node.
    pub node: NodeId,
    /// Whether it answers.
    pub heard: bool,
    /// What it told last.
    pub program: Option<Program>,
}

impl Asked {
    /// Why this node keeps the cluster from that level, if it does.
    #[must_use]
    pub fn lacks(&self, level: ClusterLevel) -> Option<String> {
        let Self { node, heard, program } = self;
        match program {
            Some(program) if !program.levels.contain(level) => {
                Some(format!("{node} runs {program}"))
            }
            Some(program) if !heard => Some(format!("{node} is silent, it ran {program}")),
            None => Some(format!("{node} was not heard")),
            Some(_) => None,
        }
    }
}

/// Whether a cluster can be raised from this level to the next one.
///
/// # Errors
/// Names the nodes that keep it from that, and their versions.
pub fn raise(
    from: ClusterLevel,
    to: ClusterLevel,
    nodes: impl IntoIterator<Item = Asked>,
) -> Result<(), Reason> {
    let refused = || {
        let text = format!("cannot raise the cluster to {to}");
        Reason::new(Code::Conflict, text)
    };
    if to <= from {
        return Err(refused().because(format!("it is at {from} already")));
    }
    if to != from.next() {
        return Err(refused()
            .because(format!("it is at {from}, and levels are raised one by one"))
            .hint(format!("raise it to {} first", from.next().0)));
    }
    let lack: Vec<String> = nodes.into_iter().filter_map(|node| node.lacks(to)).collect();
    if lack.is_empty() {
        return Ok(());
    }
    Err(refused().because(lack.join(", ")).hint(
        "upgrade stead on these nodes, and bring back or evict those that do not answer: `stead \
         cluster level` shows what each knows",
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde::de::value::StrDeserializer;

    fn program(version: &str, lowest: u16, highest: u16) -> Program {
        let levels = Levels { lowest: ClusterLevel(lowest), highest: ClusterLevel(highest) };
        Program { version: version.parse().unwrap(), levels }
    }

    #[test]
    fn versions_are_three_numbers_text_for_people_and_six_bytes_at_most_elsewhere() {
        let version: Version = "1.20.3-rc.1+x".parse().unwrap();
        assert_eq!(version, Version([1, 20, 3]));
        for bad in ["", "1", "1.2", "1.2.3.4", "1.2.x", "70000.1.1"] {
            assert_eq!(bad.parse::<Version>(), Err(NoVersion), "{bad}");
        }
        let text = StrDeserializer::<de::value::Error>::new("1.20.3");
        assert_eq!(Version::deserialize(text), Ok(version));
        let bytes = postcard::to_allocvec(&version).unwrap();
        assert_eq!(bytes, [1, 20, 3]);
        assert_eq!(postcard::from_bytes::<Version>(&bytes).unwrap(), version);
        assert!(Program::own().levels.contain(Levels::OWN.highest));
    }

    #[test]
    fn whoever_does_not_know_the_level_is_told_both_versions_and_what_to_do() {
        let mark = Mark { level: ClusterLevel(2), by: Version([0, 2, 0]) };
        assert_eq!(fits("n3", program("0.2.0", 1, 2), mark), Ok(()));
        assert_eq!(
            fits("n3", program("0.1.0", 1, 1), mark).unwrap_err(),
            "n3 runs stead 0.1.0 (level 1), the cluster is at level 2 of stead 0.2.0: upgrade n3 \
             to 0.2.0 or later"
        );
        let same = fits("n3", program("0.2.0", 1, 1), mark).unwrap_err();
        assert!(same.ends_with("n3 needs the program of the other nodes"), "{same}");
        assert_eq!(
            fits("n3", program("0.4.0", 3, 4), mark).unwrap_err(),
            "n3 runs stead 0.4.0 (levels 3 to 4), the cluster is at level 2 of stead 0.2.0: raise \
             the level of the cluster to 3 first"
        );
    }

    #[test]
    fn two_protocols_are_told_alike_by_both_sides() {
        let one = Speaker { who: "n1", version: "0.1.0", protocol: 2 };
        let two = Speaker { who: "n2", version: "0.2\n", protocol: 3 };
        assert_eq!(talk(one, one), Ok(()));
        let why = talk(one, two).unwrap_err();
        assert_eq!(
            why,
            "n1 runs stead 0.1.0 (protocol 2), n2 runs stead 0.2\\n (protocol 3): upgrade n1"
        );
        assert!(talk(two, one).unwrap_err().ends_with("upgrade n1"));
    }

    #[test]
    fn a_raise_is_one_level_and_names_who_lacks_it() {
        let (one, two) = (ClusterLevel(1), ClusterLevel(2));
        let node = |node, heard, program| Asked { node: NodeId(node), heard, program };
        let old = Some(program("0.1.0", 1, 1));
        let new = Some(program("0.2.0", 1, 2));
        assert_eq!(raise(one, two, [node(1, true, new), node(2, true, new)]), Ok(()));
        let all =
            [node(1, true, new), node(2, true, old), node(3, false, new), node(4, true, None)];
        let why = raise(one, two, all).unwrap_err().to_string();
        assert!(
            why.contains(
                "n2 runs stead 0.1.0 (level 1), n3 is silent, it ran stead 0.2.0 (levels 1 to 2), \
                 n4 was not heard"
            ),
            "{why}"
        );
        assert!(raise(two, two, []).unwrap_err().to_string().contains("it is at level 2 already"));
        let why = raise(one, ClusterLevel(3), []).unwrap_err().to_string();
        assert!(why.contains("levels are raised one by one"), "{why}");
    }
}
