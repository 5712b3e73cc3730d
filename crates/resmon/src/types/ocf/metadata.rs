//! What agents say of themselves: `meta-data`, run once per version of the agent's file.
//!
//! The action needs no resource, starts nothing and belongs to no ownership, so it runs beside the
//! guard's places, killed at [`LIMIT`] and by the kernel when the monitor dies. Whatever an agent
//! prints that cannot be read leaves it without a table, with the reason; it runs all the same.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use roxmltree::{Document, Node, ParsingOptions};
use stead_model::ocf::Agent;

use super::ROOT;
use super::table::{AgentAction, AgentForm, AgentParameter, AgentTable, time_ms};
use crate::host::check::{self, CheckSpec};
use crate::types::program::PATH;

/// Agents are shell scripts that read others; some ask the tools of what they run.
const LIMIT: Duration = Duration::from_secs(5);
/// The largest table of Debian's agents has 40 KiB.
const BYTES_MAX: usize = 512 << 10;
/// Elements of a document at most.
const NODES_MAX: u32 = 20_000;
/// Tables that are kept at most.
const KEPT_MAX: usize = 64;

/// The tables that were read, by path, with the time of the file.
static KEPT: Mutex<BTreeMap<String, (SystemTime, Arc<AgentTable>)>> = Mutex::new(BTreeMap::new());

/// The table of an agent.
///
/// # Errors
/// It is not installed, does not end in time, or prints what cannot be read: one sentence.
pub(super) fn of(agent: Agent<'_>) -> Result<Arc<AgentTable>, String> {
    let path = Path::new(ROOT).join("resource.d").join(agent.provider).join(agent.name);
    let shown = path.display().to_string();
    let found = fs::metadata(&path).and_then(|m| m.modified());
    let changed = found.map_err(|why| format!("there is no agent {shown} ({why})"))?;
    if let Some((of, table)) = kept().get(&shown)
        && *of == changed
    {
        return Ok(Arc::clone(table));
    }
    let text = ask(agent, &shown)?;
    let unread = |why| format!("what the agent says of itself cannot be read: {why}");
    let table = Arc::new(read(&text).map_err(unread)?);
    let mut kept = kept();
    if kept.len() >= KEPT_MAX {
        kept.pop_first();
    }
    kept.insert(shown, (changed, Arc::clone(&table)));
    Ok(table)
}

fn kept() -> MutexGuard<'static, BTreeMap<String, (SystemTime, Arc<AgentTable>)>> {
    KEPT.lock().unwrap_or_else(PoisonError::into_inner)
}

fn ask(agent: Agent<'_>, path: &str) -> Result<String, String> {
    let env = [
        PATH.to_owned(),
        "LC_ALL=C".to_owned(),
        format!("OCF_ROOT={ROOT}"),
        "OCF_RA_VERSION_MAJOR=1".to_owned(),
        "OCF_RA_VERSION_MINOR=1".to_owned(),
        "OCF_RESOURCE_INSTANCE=meta-data".to_owned(),
        format!("OCF_RESOURCE_PROVIDER={}", agent.provider),
        format!("OCF_RESOURCE_TYPE={}", agent.name),
    ];
    let argv = [path.to_owned(), "meta-data".to_owned()];
    let spec = CheckSpec { argv: &argv, env: &env, cwd: "/", user: None };
    let said = check::output(&spec, LIMIT, BYTES_MAX);
    said.map_err(|why| format!("the agent's `meta-data` {why}"))
}

/// Reads a document of `ra-api-1.dtd` and its successors, as agents print them.
///
/// # Errors
/// One sentence.
fn read(text: &str) -> Result<AgentTable, String> {
    let options = ParsingOptions { allow_dtd: true, nodes_limit: NODES_MAX, ..Default::default() };
    let document = Document::parse_with_options(text.trim_start(), options);
    let document = document.map_err(|why| why.to_string())?;
    let root = document.root_element();
    if root.tag_name().name() != "resource-agent" {
        return Err(format!("it is a `{}`", root.tag_name().name()));
    }
    let elements = |name: &'static str| {
        let of_root = root.children().filter(move |n| n.has_tag_name(format!("{name}s").as_str()));
        of_root.flat_map(move |n| n.children().filter(move |n| n.has_tag_name(name)))
    };
    Ok(AgentTable {
        about: line(&told(root, "shortdesc")),
        parameters: elements("parameter").filter_map(parameter).collect(),
        actions: elements("action").filter_map(action).collect(),
    })
}

fn parameter(element: Node<'_, '_>) -> Option<AgentParameter> {
    let content = element.children().find(|n| n.has_tag_name("content"));
    let default = content.and_then(|c| c.attribute("default")).filter(|d| !d.is_empty());
    Some(AgentParameter {
        name: element.attribute("name")?.to_owned(),
        about: line(&told(element, "shortdesc")),
        form: content.map_or(AgentForm::Text, form),
        required: matches!(element.attribute("required"), Some("1" | "true" | "yes")),
        default: default.map(str::to_owned),
    })
}

fn form(content: Node<'_, '_>) -> AgentForm {
    match content.attribute("type") {
        Some("integer") => AgentForm::Integer,
        Some("boolean") => AgentForm::Boolean,
        Some("time" | "duration" | "timeout") => AgentForm::Time,
        Some("select") => {
            let options = content.children().filter(|n| n.has_tag_name("option"));
            let values = options.filter_map(|n| n.attribute("value").map(str::to_owned));
            AgentForm::Choice(values.collect())
        }
        Some(_) | None => AgentForm::Text,
    }
}

fn action(element: Node<'_, '_>) -> Option<AgentAction> {
    Some(AgentAction {
        name: element.attribute("name")?.to_owned(),
        timeout_ms: element.attribute("timeout").and_then(time_ms),
        depth: element.attribute("depth").and_then(|depth| depth.trim().parse().ok()),
    })
}

/// The text of a child, in English if there are several.
fn told(element: Node<'_, '_>, name: &str) -> String {
    let mut all: Vec<Node<'_, '_>> = element.children().filter(|n| n.has_tag_name(name)).collect();
    all.sort_by_key(|n| !n.attribute("lang").unwrap_or("en").starts_with("en"));
    all.first().and_then(Node::text).unwrap_or_default().trim().to_owned()
}

/// A text as one line.
fn line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &str = r#"
<?xml version="1.0"?>
<!DOCTYPE resource-agent SYSTEM "ra-api-1.dtd">
<resource-agent name="Demo" version="1.0">
<longdesc lang="de">Ein Beispiel.</longdesc>
<longdesc lang="en">An example.
With two lines.</longdesc>
<shortdesc lang="en">Example
agent</shortdesc>
<parameters>
<parameter name="ip" unique="1" required="1">
<shortdesc lang="en">Address</shortdesc>
<content type="string" default="" />
</parameter>
<parameter name="wait"><content type="integer" default="10" /></parameter>
<parameter name="fast"><content type="boolean" default="true" /></parameter>
<parameter name="mode"><content type="select"><option value="a"/><option value="b"/></content>
</parameter>
<parameter><content type="string" /></parameter>
</parameters>
<actions>
<action name="start" timeout="20s" />
<action name="monitor" depth="10" timeout="30" interval="10s" />
</actions>
</resource-agent>"#;

    #[test]
    fn a_table_is_read_as_agents_print_it() {
        let table = read(TABLE).unwrap();
        assert_eq!(table.about, "Example agent");
        let forms: Vec<_> = table.parameters.iter().map(|p| (p.name.as_str(), &p.form)).collect();
        let choice = AgentForm::Choice(vec!["a".into(), "b".into()]);
        let wanted = [
            ("ip", &AgentForm::Text),
            ("wait", &AgentForm::Integer),
            ("fast", &AgentForm::Boolean),
            ("mode", &choice),
        ];
        assert_eq!(forms, wanted);
        let ip = &table.parameters[0];
        assert_eq!(
            (ip.required, ip.about.as_str(), ip.default.as_deref()),
            (true, "Address", None)
        );
        assert_eq!(table.parameters[1].default.as_deref(), Some("10"));
        let monitor = &table.actions[1];
        assert_eq!((monitor.timeout_ms, monitor.depth), (Some(30_000), Some(10)));
    }

    #[test]
    fn what_is_no_table_is_refused_with_its_reason() {
        assert!(read("").is_err() && read("<resource-agent>").is_err());
        assert_eq!(read("<html/>").unwrap_err(), "it is a `html`");
        let many = format!("<resource-agent>{}</resource-agent>", "<a/>".repeat(30_000));
        assert!(read(&many).is_err(), "it is bounded");
        let bomb = r#"<!DOCTYPE x [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;">
            <!ENTITY c "&b;&b;&b;&b;&b;&b;"><!ENTITY d "&c;&c;&c;&c;&c;&c;">
            <!ENTITY e "&d;&d;&d;&d;&d;&d;"><!ENTITY f "&e;&e;&e;&e;&e;&e;">]>
            <resource-agent><parameters><parameter name="a"><shortdesc>&f;&f;&f;</shortdesc>
            </parameter></parameters></resource-agent>"#;
        if let Ok(table) = read(bomb) {
            let about = table.parameters.first().map_or(0, |p| p.about.len());
            assert!(about < 1 << 20, "an entity grew to {about}");
        }
    }
}
