//! Declarations as files: `[group]`, `[[resource]]`, with the words and values that are typed.
//!
//! ```toml
//! [group]                      # or [[group]], once for each of several
//! name = "web"
//!
//! [[resource]]
//! name = "web-address"
//! type = "ip-address"
//! address = "10.0.0.5/24"
//! ```
//!
//! With several groups each resource says `group = "…"`. What nothing reads is refused with its
//! line; whether names and values make sense says the cluster, with the line that is sent along.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use stead_model::declaration::{Declaration, DeclaredAlert, DeclaredGroup, DeclaredResource};
use stead_model::group::Desired;
use stead_model::reason::{Code, Reason};
use stead_model::{AlertId, GroupId, ResourceId};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// Sections of an example that only a lab reads.
pub const LAB_SECTIONS: [&str; 4] = ["needs", "lab", "prepare", "next"];

/// Reads a declaration.
///
/// # Errors
/// What makes no sense, and in which line.
pub fn read(text: &str) -> Result<Declaration, Reason> {
    let root = DeTable::parse(text).map_err(|error| {
        let at = error.span().map_or(0, |span| span.start);
        refused(text, at, "this is no TOML").because(error.message().trim())
    })?;
    let reading = Reading { text };
    let mut declaration = Declaration::default();
    for (name, section) in root.get_ref() {
        match name.get_ref().as_ref() {
            "group" => {
                for table in reading.tables(section)? {
                    declaration.groups.push(reading.group(table)?);
                }
            }
            "resource" => {}
            "alert" => {
                for table in reading.tables(section)? {
                    declaration.alerts.push(reading.alert(table)?);
                }
            }
            known if LAB_SECTIONS.contains(&known) => {}
            other => {
                let what = format!("there is no section `{}`", other.escape_debug());
                return Err(refused(text, name.span().start, what)
                    .hint("a file has `[group]`, `[[resource]]` and `[[alert]]`"));
            }
        }
    }
    let only = match declaration.groups.as_slice() {
        [only] => Some(only.group.clone()),
        [] if declaration.alerts.is_empty() => {
            return Err(refused(text, 0, "it declares no group").hint("begin with `[group]`"));
        }
        _ => None,
    };
    if let Some(section) = root.get_ref().get("resource") {
        for table in reading.tables(section)? {
            declaration.resources.push(reading.resource(table, only.as_ref())?);
        }
    }
    Ok(declaration)
}

struct Reading<'a> {
    text: &'a str,
}

type Table<'a, 'i> = &'a Spanned<DeValue<'i>>;

impl Reading<'_> {
    /// One table, or all of an array of tables.
    fn tables<'a, 'i>(&self, section: Table<'a, 'i>) -> Result<Vec<Table<'a, 'i>>, Reason> {
        match section.get_ref() {
            DeValue::Table(_) => Ok(vec![section]),
            DeValue::Array(all) => Ok(all.iter().collect()),
            DeValue::String(_)
            | DeValue::Integer(_)
            | DeValue::Float(_)
            | DeValue::Boolean(_)
            | DeValue::Datetime(_) => {
                Err(refused(self.text, section.span().start, "a section is needed here"))
            }
        }
    }

    fn group(&self, table: Table<'_, '_>) -> Result<DeclaredGroup, Reason> {
        let mut words = self.words(table, "group")?;
        let name = words.needed("name")?;
        Ok(DeclaredGroup {
            group: GroupId::from(name.as_str()),
            desired: words.desired()?,
            line: words.line,
            properties: words.rest()?,
        })
    }

    fn alert(&self, table: Table<'_, '_>) -> Result<DeclaredAlert, Reason> {
        let mut words = self.words(table, "alert")?;
        let name = words.needed("name")?;
        let alert = AlertId::from(name.as_str());
        Ok(DeclaredAlert { alert, line: words.line, properties: words.rest()? })
    }

    fn resource(
        &self,
        table: Table<'_, '_>,
        only: Option<&GroupId>,
    ) -> Result<DeclaredResource, Reason> {
        let mut words = self.words(table, "resource")?;
        let name = words.needed("name")?;
        let group = match (words.taken("group")?, only) {
            (Some(group), _) => GroupId::from(group.as_str()),
            (None, Some(only)) => only.clone(),
            (None, None) => return Err(words.missing("group")),
        };
        Ok(DeclaredResource {
            group,
            resource: ResourceId::from(name.as_str()),
            kind: words.needed("type")?,
            depends_on: words.listed("depends-on")?,
            desired: words.desired()?,
            line: words.line,
            properties: words.rest()?,
        })
    }

    fn words<'a, 'i>(
        &self,
        table: Table<'a, 'i>,
        noun: &'static str,
    ) -> Result<Words<'_, 'a, 'i>, Reason> {
        let at = table.span().start;
        let Some(all) = table.get_ref().as_table() else {
            return Err(refused(self.text, at, format!("`{noun}` must be a section")));
        };
        let left = all.iter().map(|(key, value)| (key.get_ref().as_ref(), value)).collect();
        Ok(Words { text: self.text, noun, line: line(self.text, at), at, left })
    }
}

/// The words of one section that are not read yet.
struct Words<'t, 'a, 'i> {
    text: &'t str,
    noun: &'static str,
    line: u32,
    at: usize,
    left: BTreeMap<&'a str, Table<'a, 'i>>,
}

impl Words<'_, '_, '_> {
    fn taken(&mut self, name: &str) -> Result<Option<String>, Reason> {
        self.left.remove(name).map(|value| plain(self.text, name, value)).transpose()
    }

    fn needed(&mut self, name: &str) -> Result<String, Reason> {
        self.taken(name)?.ok_or_else(|| self.missing(name))
    }

    fn missing(&self, name: &str) -> Reason {
        refused(self.text, self.at, format!("this {} has no `{name}`", self.noun))
            .hint(format!("write `{name} = \"…\"`"))
    }

    fn listed(&mut self, name: &str) -> Result<BTreeSet<ResourceId>, Reason> {
        let text = self.taken(name)?.unwrap_or_default();
        let names = text.split(',').map(str::trim).filter(|name| !name.is_empty());
        Ok(names.map(ResourceId::from).collect())
    }

    fn desired(&mut self) -> Result<Option<Desired>, Reason> {
        let at = self.left.get("desired").map_or(self.at, |value| value.span().start);
        match self.taken("desired")?.as_deref() {
            None => Ok(None),
            Some("online") => Ok(Some(Desired::Online)),
            Some("offline") => Ok(Some(Desired::Offline)),
            Some(other) => {
                let what = format!("`desired` cannot be `{}`", other.escape_debug());
                Err(refused(self.text, at, what).hint("it is `online` or `offline`"))
            }
        }
    }

    /// All that is left are properties.
    fn rest(&mut self) -> Result<BTreeMap<String, String>, Reason> {
        let left = std::mem::take(&mut self.left);
        let text = |(name, value): (&str, Table<'_, '_>)| {
            plain(self.text, name, value).map(|text| (name.to_owned(), text))
        };
        left.into_iter().map(text).collect()
    }
}

/// A value as it is typed: a text, a number, a flag, or a list of texts.
fn plain(text: &str, name: &str, value: Table<'_, '_>) -> Result<String, Reason> {
    let no = || {
        refused(text, value.span().start, format!("`{name}` cannot have such a value"))
            .because("a value is a text, a whole number, `true` or `false`, or a list of texts")
    };
    match value.get_ref() {
        DeValue::String(text) => Ok(text.clone().into_owned()),
        DeValue::Integer(number) if number.radix() == 10 => Ok(number.as_str().to_owned()),
        DeValue::Boolean(is) => Ok(is.to_string()),
        DeValue::Array(items) => {
            let texts = items.iter().map(|item| item.get_ref().as_str().ok_or_else(no));
            Ok(texts.collect::<Result<Vec<_>, _>>()?.join(","))
        }
        DeValue::Integer(_) | DeValue::Float(_) | DeValue::Datetime(_) | DeValue::Table(_) => {
            Err(no())
        }
    }
}

/// A refusal with its line first.
fn refused(text: &str, at: usize, what: impl std::fmt::Display) -> Reason {
    Reason::new(Code::Invalid, format!("line {}: {what}", line(text, at)))
}

fn line(text: &str, at: usize) -> u32 {
    let before = text.as_bytes().iter().take(at);
    u32::try_from(before.filter(|byte| **byte == b'\n').count() + 1).unwrap_or(u32::MAX)
}

/// Writes a declaration; [`read`] reads it again.
#[must_use]
pub fn write(declaration: &Declaration) -> String {
    let mut text = String::new();
    for alert in &declaration.alerts {
        let gap = if text.is_empty() { "" } else { "\n" };
        let _ = writeln!(text, "{gap}[[alert]]");
        entry(&mut text, "name", alert.alert.as_str());
        alert.properties.iter().for_each(|(name, value)| entry(&mut text, name, value));
    }
    for group in &declaration.groups {
        let gap = if text.is_empty() { "" } else { "\n" };
        let _ = writeln!(text, "{gap}[[group]]");
        entry(&mut text, "name", group.group.as_str());
        desired(&mut text, group.desired);
        group.properties.iter().for_each(|(name, value)| entry(&mut text, name, value));
        for resource in declaration.resources.iter().filter(|r| r.group == group.group) {
            self::resource(&mut text, resource);
        }
    }
    text
}

fn resource(text: &mut String, resource: &DeclaredResource) {
    text.push_str("\n[[resource]]\n");
    entry(text, "name", resource.resource.as_str());
    entry(text, "group", resource.group.as_str());
    entry(text, "type", &resource.kind);
    if !resource.depends_on.is_empty() {
        let names: Vec<String> = resource.depends_on.iter().map(|d| quoted(d.as_str())).collect();
        let _ = writeln!(text, "depends-on = [{}]", names.join(", "));
    }
    desired(text, resource.desired);
    resource.properties.iter().for_each(|(name, value)| entry(text, name, value));
}

fn desired(text: &mut String, desired: Option<Desired>) {
    match desired {
        Some(Desired::Online) => entry(text, "desired", "online"),
        Some(Desired::Offline) => entry(text, "desired", "offline"),
        None => {}
    }
}

fn entry(text: &mut String, name: &str, value: &str) {
    let bare = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    let plain = !name.is_empty() && name.chars().all(bare);
    let name = if plain { name.to_owned() } else { quoted(name) };
    let _ = writeln!(text, "{name} = {}", quoted(value));
}

/// A basic string of TOML.
fn quoted(value: &str) -> String {
    let mut text = String::with_capacity(value.len() + 2);
    text.push('"');
    for c in value.chars() {
        match c {
            '"' | '\\' => text.extend(['\\', c]),
            '\n' => text.push_str("\\n"),
            '\t' => text.push_str("\\t"),
            c if c.is_control() => {
                let _ = write!(text, "\\u{:04X}", u32::from(c));
            }
            c => text.push(c),
        }
    }
    text.push('"');
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    const GROUP: &str = "[group]\nname = 'g'\n";
    const RESOURCE: &str = "[[resource]]\nname = 'a'\ntype = 'dummy'\n";

    #[test]
    fn what_is_written_is_read_again() {
        let text = format!(
            "{GROUP}failover-threshold = 3\ndesired = 'offline'\n{RESOURCE}\
             depends-on = ['b', 'c']\n\
             command = \"a \\\"b\\\" \\\\ \\t \\u007F ü\"\n[[resource]]\nname = 'b'\ntype = 'x'\n\
             possible-owners = ['n1', 'n2']\ntickle = false\ndesired = 'online'\n\
             [[alert]]\nname = 'ops'\nwebhook = 'http://a/'\ncodes = ['group-*', 'lease-lost']\n"
        );
        let read_first = read(&text).unwrap();
        assert_eq!(read_first.groups[0].properties["failover-threshold"], "3");
        assert_eq!(read_first.resources[1].properties["possible-owners"], "n1,n2");
        assert_eq!((read_first.resources[0].line, read_first.resources[1].line), (5, 10));
        assert_eq!(read_first.alerts[0].properties["codes"], "group-*,lease-lost");
        let without_lines = |mut d: Declaration| {
            d.groups.iter_mut().for_each(|g| g.line = 0);
            d.resources.iter_mut().for_each(|r| r.line = 0);
            d.alerts.iter_mut().for_each(|a| a.line = 0);
            d
        };
        let again = read(&write(&read_first)).unwrap();
        assert_eq!(without_lines(again), without_lines(read_first));
    }

    #[test]
    fn what_makes_no_sense_is_refused_with_its_line() {
        let refused = |text: &str| read(text).unwrap_err().text;
        assert_eq!(refused(""), "line 1: it declares no group");
        assert_eq!(refused("[group]\nname = "), "line 2: this is no TOML");
        assert_eq!(refused("[group]\nnmae = 'g'\n"), "line 1: this group has no `name`");
        assert_eq!(
            refused(&format!("{GROUP}[resuorce]")),
            "line 3: there is no section `resuorce`"
        );
        let untyped = format!("{GROUP}[[resource]]\nname = 'a'\n");
        assert_eq!(refused(&untyped), "line 3: this resource has no `type`");
        let deep = format!("{GROUP}{RESOURCE}\nenv = {{ A = 'b' }}\n");
        assert_eq!(refused(&deep), "line 7: `env` cannot have such a value");
        let state = format!("{GROUP}{RESOURCE}desired = 'on'\n");
        assert_eq!(refused(&state), "line 6: `desired` cannot be `on`");
        let two = format!("[[group]]\nname='g'\n[[group]]\nname='h'\n{RESOURCE}");
        assert_eq!(refused(&two), "line 5: this resource has no `group`");
        assert!(read("[[alert]]\nname = 'a'\ncommand = '/x'\n").is_ok());
        assert_eq!(refused("[[alert]]\ncommand = '/x'\n"), "line 1: this alert has no `name`");
        assert!(read(&format!("{two}group = 'h'\n[[next]]\nrun = 'x'\n")).is_ok());
    }
}
