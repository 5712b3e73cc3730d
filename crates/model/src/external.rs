//! Resource types that are programs of others: `ext:NAME`, one type per program.
//!
//! What properties such a type has only its program knows, on the nodes where it is installed. The
//! prefix keeps its name apart from the built-in types of this and of later versions.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::resource_type::Form;

/// Name of the type in the table, which stands for all of them.
pub const TABLE: &str = "ext:NAME";

/// A type that is installed on a node and no part of stead: an external one, or an OCF agent.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct Installed {
    /// Name of the type, as in `ext:counter` or `ocf:heartbeat:nginx`.
    pub name: String,
    /// One sentence with its version; or why it cannot be used.
    pub about: String,
    /// Its properties.
    pub properties: Vec<OwnProperty>,
    /// Its control codes, with what they do.
    pub controls: Vec<(String, String)>,
    /// Of an agent: its actions.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub actions: Vec<OwnAction>,
}

/// An action that an agent says it has.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct OwnAction {
    /// Its name, as in `monitor`.
    pub name: String,
    /// How long the agent wants for it at least, milliseconds.
    pub timeout_ms: Option<u64>,
    /// Of a `monitor`, how deep it looks: a value for `check-level`.
    pub level: Option<u32>,
}

/// A property that a type says it has.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct OwnProperty {
    /// Its name.
    pub name: String,
    /// What it means.
    pub about: String,
    /// Its form.
    pub form: Form,
    /// Whether it must be given.
    pub required: bool,
    /// The default, if it need not be given.
    pub default: Option<String>,
}

/// The name of the program that a type names, if it is an external one.
#[must_use]
pub fn program(kind: &str) -> Option<&str> {
    kind.strip_prefix("ext:").filter(|name| is_name(name))
}

/// Whether a property of such a type, a control code, or the type itself may have this name.
#[must_use]
pub fn is_name(name: &str) -> bool {
    let fine = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    (1..=63).contains(&name.len()) && !name.starts_with('-') && name.chars().all(fine)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_no_path() {
        assert_eq!(program("ext:tcp-counter2"), Some("tcp-counter2"));
        let long = format!("ext:{}", "x".repeat(64));
        for bad in ["counter", "ext:", "ext:../x", "ext:.x", "ext:a/b", "ext:-x", "ext:A", &long] {
            assert_eq!(program(bad), None, "{bad}");
        }
    }
}
