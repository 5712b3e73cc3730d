//! An agent's table: its parameters, and how long its actions should be given.
//!
//! It is what the agent says of itself (`metadata`); the tables of our own types are in
//! `stead_model::resource_type`.

/// An agent's table.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub(super) struct AgentTable {
    /// What it is for, one line.
    pub(super) about: String,
    /// Its parameters, in its own order.
    pub(super) parameters: Vec<AgentParameter>,
    /// Its actions, in its own order.
    pub(super) actions: Vec<AgentAction>,
}

/// One parameter of an agent.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct AgentParameter {
    /// Its name.
    pub(super) name: String,
    /// One line.
    pub(super) about: String,
    /// The form of its value.
    pub(super) form: AgentForm,
    /// Whether it must be given.
    pub(super) required: bool,
    /// What it is when it is not given, as far as the agent says.
    pub(super) default: Option<String>,
}

/// The form of an agent's value. Agents say little: most are texts.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum AgentForm {
    /// Any text.
    Text,
    /// A whole number.
    Integer,
    /// `true`, `yes`, `on`, `1`, or `false`, `no`, `off`, `0`.
    Boolean,
    /// A length of time, by default in seconds, as in `30`, `30s` or `2min`.
    Time,
    /// One of these.
    Choice(Vec<String>),
}

/// One action of an agent.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct AgentAction {
    /// Its name, as in `monitor`.
    pub(super) name: String,
    /// How long it should be given at least, milliseconds.
    pub(super) timeout_ms: Option<u64>,
    /// Of a `monitor`, how deep it looks: the value of `check-level`.
    pub(super) depth: Option<u32>,
}

impl AgentForm {
    /// Whether a value has this form.
    pub(super) fn fits(&self, value: &str) -> bool {
        match self {
            Self::Text => true,
            Self::Integer => value.trim().parse::<i64>().is_ok(),
            Self::Boolean => {
                let value = value.trim().to_ascii_lowercase();
                BOOLEANS.contains(&value.as_str())
            }
            Self::Time => time_ms(value).is_some(),
            Self::Choice(all) => all.iter().any(|one| one == value),
        }
    }

    /// What a value of this form looks like.
    pub(super) fn words(&self) -> String {
        match self {
            Self::Text => "a text".into(),
            Self::Integer => "a whole number".into(),
            Self::Boolean => "`true` or `false`".into(),
            Self::Time => "a time in seconds or with a unit, as in `30s` or `2min`".into(),
            Self::Choice(all) => format!("one of `{}`", all.join("`, `")),
        }
    }
}

/// What `ocf_is_true` of agents takes, and the contrary.
const BOOLEANS: &[&str] =
    &["true", "yes", "on", "ja", "y", "1", "false", "no", "off", "nein", "n", "0"];

/// A time as agents write it, in milliseconds: `20`, `20s`, `500ms`, `2min`, `2m`, `1h`.
pub(super) fn time_ms(text: &str) -> Option<u64> {
    let text = text.trim();
    let digits = text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let (number, unit) = text.split_at(digits);
    let factor: u64 = match unit.trim() {
        "" | "s" | "sec" => 1_000,
        "ms" | "msec" => 1,
        "m" | "min" => 60_000,
        "h" | "hr" => 3_600_000,
        _ => return None,
    };
    number.parse::<u64>().ok()?.checked_mul(factor)
}

impl AgentTable {
    /// How long an action should be given at least; of several, the longest.
    pub(super) fn advised_ms(&self, action: &str) -> Option<u64> {
        self.actions.iter().filter(|a| a.name == action).filter_map(|a| a.timeout_ms).max()
    }

    /// The levels at which its `monitor` may be called; empty: it does not say.
    pub(super) fn levels(&self) -> Vec<u32> {
        let monitors = self.actions.iter().filter(|a| a.name == "monitor");
        let mut levels: Vec<u32> = monitors.map(|a| a.depth.unwrap_or(0)).collect();
        levels.sort_unstable();
        levels.dedup();
        levels
    }

    /// The parameter whose name is nearest to a name that there is not.
    pub(super) fn nearest(&self, name: &str) -> Option<&str> {
        let all = self.parameters.iter().map(|p| (distance(&p.name, name), p.name.as_str()));
        let (distance, nearest) = all.min()?;
        (distance <= name.len().max(3) / 2).then_some(nearest)
    }
}

/// How many letters must be changed, added or taken away.
fn distance(a: &str, b: &str) -> usize {
    let lower = |text: &str| text.to_ascii_lowercase().into_bytes();
    let (a, b) = (lower(a), lower(b));
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.iter().enumerate() {
        let mut before = row[0];
        row[0] = i + 1;
        for (j, y) in b.iter().enumerate() {
            let change = before + usize::from(x != y);
            before = row[j + 1];
            row[j + 1] = change.min(row[j] + 1).min(before + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(parameters: &[&str]) -> AgentTable {
        let parameters = parameters.iter().map(|name| AgentParameter {
            name: (*name).into(),
            about: String::new(),
            form: AgentForm::Text,
            required: false,
            default: None,
        });
        AgentTable { parameters: parameters.collect(), ..AgentTable::default() }
    }

    #[test]
    fn values_are_judged_as_agents_read_them() {
        assert!(AgentForm::Integer.fits("-5") && !AgentForm::Integer.fits("5s"));
        assert!(AgentForm::Boolean.fits("Yes") && !AgentForm::Boolean.fits("maybe"));
        assert!(AgentForm::Time.fits("20") && !AgentForm::Time.fits("soon"));
        let choice = AgentForm::Choice(vec!["a".into(), "b".into()]);
        assert!(choice.fits("b") && !choice.fits("c"));
        assert_eq!(choice.words(), "one of `a`, `b`");
        assert_eq!(
            [time_ms("20"), time_ms("500ms"), time_ms("2m")].map(Option::unwrap),
            [20_000, 500, 120_000]
        );
        assert_eq!([time_ms(""), time_ms("20 days"), time_ms("-1")], [None; 3]);
    }

    #[test]
    fn the_nearest_name_is_offered_if_it_is_near() {
        let table = table(&["cidr_netmask", "ip", "nic"]);
        assert_eq!(table.nearest("cidr_netmsk"), Some("cidr_netmask"));
        assert_eq!(table.nearest("NIC"), Some("nic"));
        assert_eq!(table.nearest("broadcast_address"), None);
    }

    #[test]
    fn levels_are_those_of_its_monitors() {
        let action =
            |name: &str, depth| AgentAction { name: name.into(), timeout_ms: Some(20_000), depth };
        let actions =
            vec![action("monitor", Some(20)), action("monitor", None), action("start", Some(7))];
        let table = AgentTable { actions, ..AgentTable::default() };
        assert_eq!((table.levels(), table.advised_ms("start")), (vec![0, 20], Some(20_000)));
    }
}
