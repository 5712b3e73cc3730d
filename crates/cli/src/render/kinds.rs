//! Resource types and their properties.

use serde::{Deserialize, Serialize};
use stead_model::external::OwnAction;
use stead_model::group_policy::written_time;
use stead_model::resource_type::{BUILTIN, COMMON, GROUP, LIMITS, PROBE, Property};

use stead_resmon::kit::{Check, Report, Verdict};

use super::{Table, facts};

/// A resource type as a node tells it: it may know more types than this program.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct TypeEntry {
    pub(crate) name: String,
    pub(crate) about: String,
    pub(crate) properties: Vec<PropertyEntry>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) controls: Vec<(String, String)>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) actions: Vec<OwnAction>,
}

/// One of its properties.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct PropertyEntry {
    pub(crate) name: String,
    pub(crate) about: String,
    pub(crate) form: String,
    pub(crate) required: bool,
    pub(crate) default: Option<String>,
}

/// All types.
pub(crate) fn resource_types(types: &[TypeEntry]) -> String {
    let mut table = Table::new(&["TYPE", "ABOUT", "NEEDS"]);
    for entry in types {
        let needed = entry.properties.iter().filter(|property| property.required);
        let needed: Vec<_> = needed.map(|property| property.name.as_str()).collect();
        table.row(vec![entry.name.clone(), entry.about.clone(), needed.join(", ")]);
    }
    table.text_or("no resource types")
}

/// What a value of this form looks like; a form this program does not know keeps its name.
fn words(form: &str) -> String {
    let known = BUILTIN.iter().flat_map(|kind| kind.properties);
    let mut forms = known.map(|property| property.form);
    let found = forms.find(|known| format!("{known:?}").to_lowercase() == form);
    found.map_or_else(|| form.to_owned(), |known| known.words().to_owned())
}

/// One type; the properties every resource has are shown below its own.
pub(crate) fn resource_type(entry: &TypeEntry) -> String {
    let mut text = facts(&[("type", entry.name.clone()), ("about", entry.about.clone())]);
    let mut table = Table::new(&["PROPERTY", "DEFAULT", "FORM", "MEANING"]);
    for property in &entry.properties {
        let default = match (&property.default, property.required) {
            (Some(default), _) => default.clone(),
            (None, true) => "(required)".into(),
            (None, false) => "-".into(),
        };
        let (name, form) = (property.name.clone(), words(&property.form));
        table.row(vec![name, default, form, property.about.clone()]);
    }
    rows(&mut table, COMMON);
    rows(&mut table, PROBE);
    rows(&mut table, LIMITS);
    text.push('\n');
    text.push_str(&table.text());
    if !entry.controls.is_empty() {
        let mut table = Table::new(&["CONTROL", "MEANING"]);
        for (code, about) in &entry.controls {
            table.row(vec![code.clone(), about.clone()]);
        }
        text.push('\n');
        text.push_str(&table.text());
    }
    if !entry.actions.is_empty() {
        text.push('\n');
        text.push_str(&actions(&entry.actions));
    }
    text
}

/// The actions of an agent, and how long it wants for each.
fn actions(all: &[OwnAction]) -> String {
    let mut table = Table::new(&["ACTION", "LEVEL", "WANTS"]);
    for OwnAction { name, timeout_ms, level } in all {
        let level = level.map_or_else(|| "-".to_owned(), |level| level.to_string());
        let wants = match timeout_ms {
            None => "-".to_owned(),
            Some(ms) if ms.is_multiple_of(1_000) => written_time(ms / 1_000),
            Some(ms) => format!("{ms}ms"),
        };
        table.row(vec![name.clone(), level, wants]);
    }
    table.text()
}

/// The properties that groups have.
pub(crate) fn group_properties() -> String {
    let mut table = Table::new(&["PROPERTY", "DEFAULT", "FORM", "MEANING"]);
    rows(&mut table, GROUP);
    table.text()
}

fn rows(table: &mut Table, properties: &[Property]) {
    for property in properties {
        let (form, default) = (property.form.words(), property.default.unwrap_or("-"));
        table.row(vec![property.name.into(), default.into(), form.into(), property.about.into()]);
    }
}

/// What a test of an external type came to.
pub(crate) fn tested(report: &Report) -> String {
    let mut text = facts(&[
        ("type", format!("ext:{} {}", report.name, report.version)),
        ("program", report.program.display().to_string()),
    ]);
    for (title, checks) in [("CHECK", &report.checks), ("CRITERION", &report.criteria)] {
        if !checks.is_empty() {
            text.push('\n');
            text.push_str(&results(title, checks));
        }
    }
    let bad = report.checks.iter().chain(&report.criteria);
    let bad = bad.filter(|check| check.result == Verdict::Failed).count();
    let verdict = match bad {
        0 => "nothing failed".to_owned(),
        count => format!("{count} failed"),
    };
    format!("{text}\n{verdict}\n")
}

fn results(title: &'static str, checks: &[Check]) -> String {
    let mut table = Table::new(&[title, "RESULT", "DETAIL"]);
    for check in checks {
        let result = match check.result {
            Verdict::Passed => "passed",
            Verdict::Failed => "FAILED",
            Verdict::NotShown => "not shown",
        };
        table.row(vec![check.name.into(), result.into(), check.detail.clone()]);
    }
    table.text()
}
