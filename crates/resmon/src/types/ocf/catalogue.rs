//! Which agents are installed on this node, and what one of them says of itself.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use stead_model::external::{Installed, OwnAction, OwnProperty};
use stead_model::ocf::{self, Agent};
use stead_model::resource_type::Form;

use super::table::{AgentAction, AgentForm, AgentParameter};
use super::{ROOT, metadata};

/// The agents that are installed, by name. None is run: there may be hundreds.
pub(crate) fn installed() -> Vec<Installed> {
    below(&Path::new(ROOT).join("resource.d"))
}

fn below(folder: &Path) -> Vec<Installed> {
    let mut kinds: Vec<String> = Vec::new();
    for provider in names(folder) {
        for name in names(&folder.join(&provider)) {
            let kind = format!("ocf:{provider}:{name}");
            let file = fs::metadata(folder.join(&provider).join(&name));
            let runs = file.is_ok_and(|m| m.is_file() && m.permissions().mode() & 0o111 != 0);
            if runs && ocf::agent(&kind).is_some() {
                kinds.push(kind);
            }
        }
    }
    kinds.sort();
    let about = "an OCF agent; `resource-type show` asks it";
    let entry = |name| Installed {
        name,
        about: about.into(),
        properties: Vec::new(),
        controls: Vec::new(),
        actions: Vec::new(),
    };
    kinds.into_iter().map(entry).collect()
}

fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().into_string().ok()).collect()
}

/// What an agent says of itself.
///
/// # Errors
/// It is not installed, or what it says cannot be read: one sentence.
pub(crate) fn described(kind: &str) -> Result<Installed, String> {
    let agent = ocf::agent(kind).ok_or_else(|| format!("`{}` is no agent", kind.escape_debug()))?;
    let table = metadata::of(agent)?;
    Ok(Installed {
        name: kind.to_owned(),
        about: about(agent, &table.about),
        properties: table.parameters.iter().map(property).collect(),
        controls: Vec::new(),
        actions: table.actions.iter().map(action).collect(),
    })
}

fn about(agent: Agent<'_>, told: &str) -> String {
    if told.is_empty() { format!("the OCF agent `{}`", agent.name) } else { told.to_owned() }
}

/// A parameter in the words of our own tables; what those cannot say stands in the sentence.
fn property(parameter: &AgentParameter) -> OwnProperty {
    let form = match &parameter.form {
        AgentForm::Integer => Form::Number,
        AgentForm::Boolean => Form::Flag,
        AgentForm::Text | AgentForm::Time | AgentForm::Choice(_) => Form::Text,
    };
    let about = match &parameter.form {
        AgentForm::Time | AgentForm::Choice(_) => {
            let parts = [parameter.about.clone(), parameter.form.words()];
            parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(": ")
        }
        AgentForm::Integer | AgentForm::Boolean | AgentForm::Text => parameter.about.clone(),
    };
    OwnProperty {
        name: parameter.name.clone(),
        about,
        form,
        required: parameter.required && parameter.default.is_none(),
        default: parameter.default.clone(),
    }
}

fn action(action: &AgentAction) -> OwnAction {
    OwnAction { name: action.name.clone(), timeout_ms: action.timeout_ms, level: action.depth }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn agents_are_the_programs_of_the_providers() {
        let folder = tempfile::tempdir().unwrap();
        let agent = |path: &str, mode: u32| {
            let path = folder.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(&path, "").unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        };
        agent("heartbeat/nginx", 0o755);
        agent("heartbeat/.ocf-shellfuncs", 0o755);
        agent("heartbeat/README", 0o644);
        agent("heartbeat/of more words", 0o755);
        agent("acme/Door", 0o755);
        agent("stray", 0o755);
        fs::create_dir(folder.path().join("heartbeat/folder")).unwrap();
        let found: Vec<String> = below(folder.path()).into_iter().map(|a| a.name).collect();
        assert_eq!(found, ["ocf:acme:Door", "ocf:heartbeat:nginx"]);
        assert_eq!(below(&folder.path().join("none")), []);
    }

    #[test]
    fn what_our_forms_cannot_say_stands_in_the_sentence() {
        let parameter = |form, required, default: Option<&str>| AgentParameter {
            name: "mode".into(),
            about: "How".into(),
            form,
            required,
            default: default.map(str::to_owned),
        };
        let choice = property(&parameter(AgentForm::Choice(vec!["a".into()]), true, Some("a")));
        assert_eq!((choice.form, choice.about.as_str()), (Form::Text, "How: one of `a`"));
        assert!(!choice.required, "it has a default");
        let number = property(&parameter(AgentForm::Integer, true, None));
        assert_eq!((number.form, number.about.as_str()), (Form::Number, "How"));
        assert!(number.required);
    }
}
