//! Judges what a type says of itself, and the properties of its resources.

use std::collections::{BTreeMap, BTreeSet};

use stead_model::external;
use stead_model::reason::{Code, Reason};
use stead_model::resource_type::{self, COMMON, LIMITS, PROBE};
use stead_resource_sdk::protocol::{Description, Form, PROTOCOL, Property};

/// Longest text in a description.
const TEXT_BYTES_MAX: usize = 400;
/// Most properties, and most control codes.
const ENTRIES_MAX: usize = 100;

/// Whether a description can be worked with.
///
/// # Errors
/// Says what is wrong with it.
pub(crate) fn check(description: &Description, name: &str) -> Result<(), String> {
    if description.protocol != PROTOCOL {
        let chosen = description.protocol;
        return Err(format!("it chose version {chosen} of the protocol, not {PROTOCOL}"));
    }
    if description.name != name {
        return Err(format!("it calls itself `{}`", super::sentence(&description.name)));
    }
    if description.version.is_empty() || description.about.is_empty() {
        return Err("it has no `version` or no `about`".to_owned());
    }
    let (properties, controls) = (&description.properties, &description.controls);
    let texts = [&description.version, &description.about].into_iter();
    let texts = texts.chain(properties.iter().map(|p| &p.about));
    if texts.chain(controls.iter().map(|c| &c.about)).any(|text| text.len() > TEXT_BYTES_MAX) {
        return Err(format!("one of its texts has more than {TEXT_BYTES_MAX} bytes"));
    }
    if properties.len() > ENTRIES_MAX || controls.len() > ENTRIES_MAX {
        return Err(format!("it has more than {ENTRIES_MAX} properties or control codes"));
    }
    let mut seen = BTreeSet::new();
    for property in properties {
        check_property(property)?;
        if !seen.insert(&property.name) {
            return Err(format!("it has property `{}` twice", property.name));
        }
    }
    let wrong = controls.iter().find(|control| !external::is_name(&control.code));
    if let Some(control) = wrong {
        return Err(format!("`{}` cannot be a control code", super::sentence(&control.code)));
    }
    let path = |name: &&String| {
        let found = properties.iter().find(|property| property.name == **name);
        found.is_none_or(|property| property.form != Form::Path)
    };
    if let Some(name) = description.data.iter().find(path) {
        return Err(format!("its data lies in `{name}`, which is no property of the form `path`"));
    }
    let known = |code: &str| controls.iter().any(|control| control.code == code);
    match &description.trial {
        Some(trial) if !known(&trial.write) || !known(&trial.read) => {
            Err("its `trial` names what is no control code of it".to_owned())
        }
        Some(_) | None => Ok(()),
    }
}

fn check_property(property: &Property) -> Result<(), String> {
    let name = &property.name;
    if !external::is_name(name) {
        return Err(format!("`{}` cannot be a property", super::sentence(name)));
    }
    let own = resource_type::builtin(&format!("ext:{name}")).map_or(&[][..], |t| t.properties);
    if COMMON.iter().chain(PROBE).chain(LIMITS).chain(own).any(|known| known.name == name) {
        return Err(format!("every resource has a property `{name}` already"));
    }
    match &property.default {
        Some(_) if property.required => {
            Err(format!("property `{name}` is required and has a default"))
        }
        Some(value) if !form(property.form).fits(value) => {
            Err(format!("the default of property `{name}` is not {}", form(property.form).words()))
        }
        Some(_) | None => Ok(()),
    }
}

/// The properties that a type's program is given: those of its description, with defaults.
///
/// # Errors
/// One is unknown, missing or does not fit its form.
pub(crate) fn settle(
    description: &Description,
    given: &BTreeMap<String, String>,
) -> Result<BTreeMap<String, String>, Reason> {
    let kind = format!("ext:{}", description.name);
    let stead = resource_type::builtin(&kind).map_or(&[][..], |t| t.properties);
    let stead: Vec<&str> =
        stead.iter().chain(COMMON).chain(PROBE).chain(LIMITS).map(|p| p.name).collect();
    let mut settled = BTreeMap::new();
    for (name, value) in given.iter().filter(|(name, _)| !stead.contains(&name.as_str())) {
        let Some(property) = description.properties.iter().find(|p| p.name == *name) else {
            let known: Vec<String> =
                description.properties.iter().map(|p| format!("`{}`", p.name)).collect();
            let text = format!("type `{kind}` has no property `{name}`");
            return Err(
                Reason::new(Code::NotFound, text).hint(format!("its own are {}", known.join(", ")))
            );
        };
        if !form(property.form).fits(value) {
            let text = format!("property `{name}` cannot be `{value}`");
            return Err(Reason::new(Code::Invalid, text)
                .because(format!("it must be {}", form(property.form).words())));
        }
        settled.insert(name.clone(), value.clone());
    }
    for Property { name, about, form: shape, required, default } in &description.properties {
        if settled.contains_key(name) {
            continue;
        }
        if let Some(default) = default {
            settled.insert(name.clone(), default.clone());
        } else if *required {
            let words = form(*shape).words();
            return Err(Reason::new(Code::Invalid, format!("property `{name}` is missing"))
                .because(format!("type `{kind}` requires it: {about}"))
                .hint(format!("give `{name}=` followed by {words}")));
        }
    }
    Ok(settled)
}

/// The same form in our own tables.
pub(crate) const fn form(form: Form) -> resource_type::Form {
    match form {
        Form::Text => resource_type::Form::Text,
        Form::Path => resource_type::Form::Path,
        Form::Number => resource_type::Form::Number,
        Form::Time => resource_type::Form::Time,
        Form::Flag => resource_type::Form::Flag,
        Form::Command => resource_type::Form::Command,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn description() -> Description {
        Description::new("counter", "1", "counts")
            .property(Property::required("port", Form::Number, "where"))
            .property(Property::optional("file", Form::Path, Some("/srv/count"), "what it keeps"))
            .control("count", "how many")
            .data_in("file")
            .trial("count", "count")
    }

    #[test]
    fn a_description_that_makes_no_sense_is_refused() {
        assert_eq!(check(&description(), "counter"), Ok(()));
        let wrong = |change: fn(&mut Description)| {
            let mut description = description();
            change(&mut description);
            check(&description, "counter").unwrap_err()
        };
        assert!(wrong(|d| d.protocol = 2).contains("version 2"));
        assert_eq!(wrong(|d| d.name = "other".into()), "it calls itself `other`");
        assert!(wrong(|d| d.about.clear()).contains("no `about`"));
        assert!(wrong(|d| d.about = "x".repeat(401)).contains("more than 400 bytes"));
        assert!(wrong(|d| d.properties.push(d.properties[0].clone())).contains("`port` twice"));
        assert!(wrong(|d| d.properties[0].name = "A b".into()).contains("cannot be a property"));
        assert!(wrong(|d| d.properties[0].name = "is-alive".into()).contains("every resource"));
        assert!(wrong(|d| d.properties[1].default = Some("x".into())).contains("absolute path"));
        assert!(wrong(|d| d.properties[1].required = true).contains("and has a default"));
        assert!(wrong(|d| d.data = vec!["port".into()]).contains("of the form `path`"));
        assert!(wrong(|d| d.controls.clear()).contains("no control code of it"));
    }

    #[test]
    fn wrong_properties_are_refused_with_cause_and_hint() {
        let settled = |given: &[(&str, &str)]| {
            let given = given.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect();
            settle(&description(), &given)
        };
        let fine = settled(&[("port", "80"), ("check-timeout", "5s"), ("probe", "tcp:80")]);
        let fine = fine.unwrap();
        assert_eq!(
            (fine["port"].as_str(), fine["file"].as_str(), fine.len()),
            ("80", "/srv/count", 2)
        );
        let missing = settled(&[]).unwrap_err();
        assert_eq!(
            missing.to_string(),
            "property `port` is missing: type `ext:counter` requires it: where"
        );
        assert_eq!(missing.hint.unwrap(), "give `port=` followed by a whole number");
        let told = |given: &[(&str, &str)]| settled(given).unwrap_err().to_string();
        assert!(
            told(&[("port", "x")]).contains("property `port` cannot be `x`: it must be a whole")
        );
        assert!(told(&[("prot", "80")]).contains("has no property `prot`"));
    }
}
