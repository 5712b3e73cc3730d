//! Whether the properties of a resource are what its agent takes, by the agent's own table.

use std::collections::BTreeMap;

use stead_model::ocf::{CHECK_TIMEOUT, PENDING_TIMEOUT};
use stead_model::order::Advice;

use super::table::AgentTable;

/// What the agent would not take: a sentence for each, with the property.
pub(super) fn misfits(
    table: &AgentTable,
    parameters: &BTreeMap<String, String>,
    check_level: &str,
) -> Vec<String> {
    let mut found = Vec::new();
    for (name, value) in parameters {
        let Some(parameter) = table.parameters.iter().find(|p| p.name == *name) else {
            let near = table.nearest(name).map(|near| format!("; did you mean `{near}`?"));
            found.push(format!(
                "`{name}`: the agent has no such parameter{}",
                near.unwrap_or_default()
            ));
            continue;
        };
        if !value.is_empty() && !parameter.form.fits(value) {
            let words = parameter.form.words();
            found.push(format!("`{name}`: it must be {words}, not `{value}`"));
        }
    }
    let given = |name: &str| parameters.get(name).is_some_and(|value| !value.is_empty());
    for parameter in table.parameters.iter().filter(|p| p.required && p.default.is_none()) {
        if !given(&parameter.name) {
            let about = &parameter.about;
            found.push(format!("`{}` is missing, the agent requires it: {about}", parameter.name));
        }
    }
    let levels = table.levels();
    let level = check_level.parse::<u32>().unwrap_or(0);
    if level != 0 && !levels.is_empty() && !levels.contains(&level) {
        let levels: Vec<String> = levels.iter().map(ToString::to_string).collect();
        found.push(format!("`check-level`: the agent checks at {}", levels.join(", ")));
    }
    found
}

/// Where it wants more time than is given; for each property the longest.
pub(super) fn advice(table: &AgentTable, pending_ms: u64, check_ms: u64) -> Vec<Advice> {
    let wants = |property: &str, action: &str, given_ms: u64| {
        let wanted_ms = table.advised_ms(action).filter(|advised| *advised > given_ms)?;
        let (property, action) = (property.to_owned(), action.to_owned());
        Some(Advice { property, action, given_ms, wanted_ms })
    };
    // Of two that are as long the last one is found.
    let pending = ["stop", "start"].map(|action| wants(PENDING_TIMEOUT, action, pending_ms));
    let pending = pending.into_iter().flatten().max_by_key(|advice| advice.wanted_ms);
    pending.into_iter().chain(wants(CHECK_TIMEOUT, "monitor", check_ms)).collect()
}

#[cfg(test)]
mod tests {
    use super::super::table::{AgentAction, AgentForm, AgentParameter};
    use super::*;

    fn table() -> AgentTable {
        let parameter = |name: &str, form, required| AgentParameter {
            name: name.into(),
            about: format!("the {name}"),
            form,
            required,
            default: None,
        };
        let action = |name: &str, seconds: u64, depth| AgentAction {
            name: name.into(),
            timeout_ms: Some(seconds * 1_000),
            depth,
        };
        AgentTable {
            about: String::new(),
            parameters: vec![
                parameter("ip", AgentForm::Text, true),
                parameter("count", AgentForm::Integer, false),
            ],
            actions: vec![action("start", 240, None), action("monitor", 20, Some(10))],
        }
    }

    fn judged(given: &[(&str, &str)], level: &str) -> Vec<String> {
        let given = given.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect();
        misfits(&table(), &given, level)
    }

    #[test]
    fn what_the_agent_does_not_take_is_named() {
        assert_eq!(judged(&[("ip", "10.0.0.1"), ("count", "3")], "0"), [""; 0]);
        assert_eq!(judged(&[("ip", "10.0.0.1")], "10"), [""; 0]);
        assert_eq!(
            judged(&[("count", "many"), ("ipp", "10.0.0.1")], "5"),
            [
                "`count`: it must be a whole number, not `many`",
                "`ipp`: the agent has no such parameter; did you mean `ip`?",
                "`ip` is missing, the agent requires it: the ip",
                "`check-level`: the agent checks at 10",
            ]
        );
    }

    #[test]
    fn limits_below_what_the_agent_advises_are_told() {
        let start = Advice {
            property: PENDING_TIMEOUT.into(),
            action: "start".into(),
            given_ms: 180_000,
            wanted_ms: 240_000,
        };
        assert_eq!(advice(&table(), 180_000, 60_000), [start]);
        assert_eq!(advice(&table(), 240_000, 10_000)[0].property, CHECK_TIMEOUT);
        assert_eq!(advice(&table(), 240_000, 20_000), []);
    }
}
