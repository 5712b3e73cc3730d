//! The policy of a group, and its properties as people write them.
//!
//! One mapping between the table [`GROUP`] and the typed policy, for the leader that judges a
//! change, for the command line and for what shows a policy. Here a value is checked by itself;
//! whether a node is in the cluster or a time zone exists, the leader knows.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::ids::NodeId;
use crate::reason::{Code, Reason};
use crate::resource_type::{GROUP, Property, parse_time_ms};
use crate::rules::Rules;

/// Most failovers that can be counted for a threshold.
pub const FAILOVERS_MAX: u32 = 1_000;
/// Longest period accepted, in seconds: a year.
pub const PERIOD_S_MAX: u64 = 365 * 24 * 3_600;

/// Policy of a group.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, utoipa::ToSchema)]
pub struct GroupPolicy {
    /// Owners in order of preference; the rest of the nodes follow.
    pub preferred_owners: Vec<NodeId>,
    /// After this many failovers within the period the group is left failed; with the preset
    /// `wsfc` it is one less than there are nodes. Preset `course`: 6.
    pub failover_threshold: u32,
    /// The sliding window of the threshold, in seconds. Preset `course`: 10 hours.
    pub failover_period_s: u64,
    /// Where threshold and period come from.
    #[serde(default)]
    pub failover_preset: FailoverPreset,
    /// Whether and when the group goes back to a preferred owner.
    #[serde(default)]
    pub failback: Failback,
    /// A group that was left failed is tried again after this time, in seconds; 0: never.
    /// Default 3600 (B2).
    #[serde(default)]
    pub retry_after_s: u64,
    /// Where it is placed among other groups, when it starts, what it needs.
    #[serde(default)]
    pub rules: Box<Rules>,
}

/// Named values of failover threshold and period (A-142, A16).
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum FailoverPreset {
    /// 6 failovers in 10 hours.
    #[default]
    Course,
    /// 10 failovers in 6 hours, as in MSCS.
    Mscs,
    /// One failover less than there are nodes in 6 hours, as in WSFC.
    Wsfc,
    /// Threshold or period were set.
    Custom,
}

/// Whether and when a group goes back to a preferred owner that is available again.
#[derive(Clone, PartialEq, Eq, Default, Debug, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Failback {
    /// It stays where it is.
    #[default]
    Prevent,
    /// As soon as such a node is available.
    Immediate,
    /// Only within these hours of a day.
    Window(FailbackWindow),
}

/// Hours of a day in a named time zone, over midnight if the end is not after the start.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, utoipa::ToSchema)]
pub struct FailbackWindow {
    /// The hour at which it opens, 0 to 23.
    pub from_hour: u8,
    /// The hour at which it closes, 0 to 23.
    pub until_hour: u8,
    /// IANA name of the zone, as in `Europe/Berlin`.
    pub zone: String,
}

impl FailoverPreset {
    /// The word people read and write.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Course => "course",
            Self::Mscs => "mscs",
            Self::Wsfc => "wsfc",
            Self::Custom => "custom",
        }
    }

    /// Threshold and period in seconds, where they are fixed.
    const fn numbers(self) -> Option<(u32, u64)> {
        match self {
            Self::Course => Some((6, 36_000)),
            Self::Mscs => Some((10, 21_600)),
            Self::Wsfc | Self::Custom => None,
        }
    }

    /// The preset of that name; `custom` cannot be asked for.
    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        [Self::Course, Self::Mscs, Self::Wsfc].into_iter().find(|p| p.word() == word)
    }
}

impl Failback {
    /// Parses `prevent`, `immediate` or a window such as `22-4@Europe/Berlin`.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        match text {
            "prevent" => return Some(Self::Prevent),
            "immediate" => return Some(Self::Immediate),
            _ => {}
        }
        let (hours, zone) = text.split_once('@')?;
        let (from, until) = hours.split_once('-')?;
        let hour = |text: &str| text.parse().ok().filter(|hour: &u8| *hour < 24);
        let (from_hour, until_hour) = (hour(from)?, hour(until)?);
        let plain = |c: char| c.is_ascii_alphanumeric() || "/_+-".contains(c);
        let fine = from_hour != until_hour && !zone.is_empty() && zone.chars().all(plain);
        fine.then(|| Self::Window(FailbackWindow { from_hour, until_hour, zone: zone.to_owned() }))
    }

    /// As it is written.
    #[must_use]
    pub fn text(&self) -> String {
        match self {
            Self::Prevent => "prevent".to_owned(),
            Self::Immediate => "immediate".to_owned(),
            Self::Window(FailbackWindow { from_hour, until_hour, zone }) => {
                format!("{from_hour}-{until_hour}@{zone}")
            }
        }
    }
}

impl Default for GroupPolicy {
    fn default() -> Self {
        Self {
            preferred_owners: Vec::new(),
            failover_threshold: 6,
            failover_period_s: 36_000,
            failover_preset: FailoverPreset::Course,
            failback: Failback::Prevent,
            retry_after_s: 3_600,
            rules: Box::default(),
        }
    }
}

impl GroupPolicy {
    /// Failovers within the period after which the group is left failed, in a cluster of so many
    /// nodes.
    #[must_use]
    pub fn limit(&self, nodes: usize) -> u32 {
        match self.failover_preset {
            FailoverPreset::Wsfc => u32::try_from(nodes.saturating_sub(1)).unwrap_or(FAILOVERS_MAX),
            FailoverPreset::Course | FailoverPreset::Mscs | FailoverPreset::Custom => {
                self.failover_threshold
            }
        }
    }

    /// All properties with their values as they are written; what is empty is absent.
    #[must_use]
    pub fn properties(&self) -> BTreeMap<&'static str, String> {
        let mut all = BTreeMap::from([
            ("failover-preset", self.failover_preset.word().to_owned()),
            ("failover-period", written_time(self.failover_period_s)),
            ("failback", self.failback.text()),
            ("retry-after", written_time(self.retry_after_s)),
        ]);
        if self.failover_preset != FailoverPreset::Wsfc {
            all.insert("failover-threshold", self.failover_threshold.to_string());
        }
        let owners: Vec<String> = self.preferred_owners.iter().map(ToString::to_string).collect();
        if !owners.is_empty() {
            all.insert("preferred-owners", owners.join(","));
        }
        all.extend(self.rules.properties());
        all
    }

    /// The properties that make this policy of the default one.
    #[must_use]
    pub fn settings(&self) -> BTreeMap<String, String> {
        let default = Self::default().properties();
        let named = match self.failover_preset {
            FailoverPreset::Custom => ["failover-preset", ""],
            FailoverPreset::Course | FailoverPreset::Mscs | FailoverPreset::Wsfc => {
                ["failover-threshold", "failover-period"]
            }
        };
        let all = self.properties().into_iter();
        all.filter(|(name, value)| default.get(name) != Some(value) && !named.contains(name))
            .map(|(name, value)| (name.to_owned(), value))
            .collect()
    }

    /// Applies settings: new values by property name, `None` for the default.
    ///
    /// # Errors
    /// Names the property that is unknown or malformed, or two that contradict each other.
    pub fn set_all(&mut self, settings: &BTreeMap<String, Option<String>>) -> Result<(), Reason> {
        let numbers = ["failover-threshold", "failover-period"];
        let preset = settings.get("failover-preset").is_some_and(Option::is_some);
        let number = numbers.into_iter().find(|n| settings.get(*n).is_some_and(Option::is_some));
        if let Some(number) = number.filter(|_| preset) {
            let text = format!("properties `failover-preset` and `{number}` contradict each other");
            return Err(Reason::new(Code::Invalid, text)
                .because("a preset is a threshold and a period")
                .hint("give the preset, or threshold and period"));
        }
        // A preset is both numbers: whichever of them is given beside its reset comes after it.
        let (preset, others): (Vec<_>, Vec<_>) =
            settings.iter().partition(|(name, _)| *name == "failover-preset");
        for (name, value) in preset.into_iter().chain(others) {
            let property = GROUP.iter().find(|p| p.name == name).ok_or_else(|| unknown(name))?;
            let value = value.as_deref().or(property.default);
            if let Some(value) = value {
                property.check(value)?;
            }
            self.set(property, value)?;
        }
        self.rules.check()
    }

    fn set(&mut self, property: &Property, value: Option<&str>) -> Result<(), Reason> {
        let default = Self::default();
        let text = value.unwrap_or_default();
        match property.name {
            "preferred-owners" => self.preferred_owners = nodes(property.name, value)?,
            "failover-preset" => {
                self.failover_preset = FailoverPreset::parse(text).unwrap_or_default();
                let numbers = self.failover_preset.numbers().unwrap_or((0, 21_600));
                (self.failover_threshold, self.failover_period_s) = numbers;
            }
            "failover-threshold" => {
                self.failover_threshold = text.parse().unwrap_or(default.failover_threshold);
                self.recognize();
            }
            "failover-period" => {
                self.failover_period_s = whole_seconds(property.name, text)?;
                self.recognize();
            }
            "failback" => self.failback = Failback::parse(text).unwrap_or_default(),
            "retry-after" => self.retry_after_s = whole_seconds(property.name, text)?,
            rule if self.rules.set(rule, value)? => {}
            other => {
                let text = format!("property `{other}` is in the table and not in the policy");
                return Err(Reason::new(Code::Bug, text));
            }
        }
        Ok(())
    }

    /// The preset whose numbers these are.
    fn recognize(&mut self) {
        let numbers = Some((self.failover_threshold, self.failover_period_s));
        let presets = [FailoverPreset::Course, FailoverPreset::Mscs];
        let found = presets.into_iter().find(|p| p.numbers() == numbers);
        self.failover_preset = found.unwrap_or(FailoverPreset::Custom);
    }
}

/// Parses `n1,n2`; the numbers alone are understood too.
///
/// # Errors
/// Names the word that is no node.
pub fn nodes(property: &str, value: Option<&str>) -> Result<Vec<NodeId>, Reason> {
    let number = |word: &str| {
        let word = word.trim();
        word.strip_prefix('n').unwrap_or(word).parse().map(NodeId).map_err(|_| {
            let value = value.unwrap_or_default();
            Reason::new(Code::Invalid, format!("property `{property}` cannot be `{value}`"))
                .because(format!("`{word}` is no node"))
                .hint("name nodes as in `n1,n2`")
        })
    };
    value.map_or_else(|| Ok(Vec::new()), |value| value.split(',').map(number).collect())
}

fn whole_seconds(property: &str, text: &str) -> Result<u64, Reason> {
    let ms = parse_time_ms(text)?;
    if ms.is_multiple_of(1_000) {
        return Ok(ms / 1_000);
    }
    Err(Reason::new(Code::Invalid, format!("property `{property}` cannot be `{text}`"))
        .because("it must be whole seconds"))
}

/// A length of time in its largest whole unit, as in `10h`.
#[must_use]
pub fn written_time(seconds: u64) -> String {
    match seconds {
        0 => "0s".to_owned(),
        s if s % 3_600 == 0 => format!("{}h", s / 3_600),
        s if s % 60 == 0 => format!("{}min", s / 60),
        s => format!("{s}s"),
    }
}

fn unknown(name: &str) -> Reason {
    let known: Vec<String> = GROUP.iter().map(|p| format!("`{}`", p.name)).collect();
    Reason::new(Code::NotFound, format!("groups have no property `{name}`"))
        .hint(format!("known are {}", known.join(", ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(pairs: &[(&str, Option<&str>)]) -> Result<GroupPolicy, Reason> {
        let mut policy = GroupPolicy::default();
        let pairs = pairs.iter().map(|(k, v)| ((*k).to_owned(), v.map(str::to_owned)));
        policy.set_all(&pairs.collect()).map(|()| policy)
    }

    #[test]
    fn presets_are_threshold_and_period() {
        let limit = |preset: &str, nodes: usize| {
            let policy = set(&[("failover-preset", Some(preset))]).unwrap();
            (policy.limit(nodes), policy.failover_period_s / 3_600)
        };
        assert_eq!(limit("course", 4), (6, 10));
        assert_eq!(limit("mscs", 4), (10, 6));
        assert_eq!(limit("wsfc", 4), (3, 6));
        assert_eq!(limit("wsfc", 1), (0, 6));
        let own = set(&[("failover-threshold", Some("2"))]).unwrap();
        assert_eq!(own.failover_preset, FailoverPreset::Custom);
        let both = [("failover-threshold", Some("10")), ("failover-period", Some("6h"))];
        assert_eq!(set(&both).unwrap().failover_preset, FailoverPreset::Mscs);
        let mixed = [("failover-preset", Some("mscs")), ("failover-period", Some("1h"))];
        assert!(set(&mixed).unwrap_err().text.contains("contradict"));
    }

    #[test]
    fn what_is_shown_can_be_set_again() {
        let changes: &[&[(&str, Option<&str>)]] = &[
            &[],
            &[("failover-preset", Some("wsfc")), ("failback", Some("22-4@Europe/Berlin"))],
            &[("failover-threshold", Some("2")), ("preferred-owners", Some("n2,1"))],
            &[("failover-period", Some("90s")), ("retry-after", Some("0s"))],
            &[("failback", Some("immediate")), ("failover-preset", Some("mscs"))],
            &[("priority", Some("high")), ("demand", Some("cpu=0.5,memory=3G"))],
            &[("affinity", Some("a,b")), ("anti-affinity-required", Some("c"))],
            &[("start-after", Some("a")), ("start-after-required", Some("b"))],
            &[("demand-required", Some("card=1")), ("affinity-required", Some("d"))],
        ];
        for change in changes {
            let policy = set(change).unwrap();
            let settings = policy.settings().into_iter().map(|(k, v)| (k, Some(v)));
            let mut again = GroupPolicy::default();
            again.set_all(&settings.collect()).unwrap();
            assert_eq!(again, policy, "{change:?}");
            let resets = policy.properties().into_keys().map(|k| (k.to_owned(), None));
            again.set_all(&resets.collect()).unwrap();
            assert_eq!(again, GroupPolicy::default(), "{change:?}");
        }
    }

    #[test]
    fn a_window_has_two_hours_and_a_zone() {
        let window = Failback::parse("22-4@Europe/Berlin").unwrap();
        assert_eq!(window.text(), "22-4@Europe/Berlin");
        for bad in ["", "22-4", "22@UTC", "24-4@UTC", "4-4@UTC", "1-2@", "1-2@a b", "now"] {
            assert_eq!(Failback::parse(bad), None, "{bad}");
        }
    }
}
