//! The messages between stead and the program of a resource type, version 1.
//!
//! Each is one line of JSON in UTF-8, at most [`FRAME_BYTES_MAX`] bytes with its line break.
//! Fields that a side does not know are ignored, and so are lines that a program cannot read: a
//! monitor that took over may have left half of one. `describe` comes first and keeps its form
//! in all versions: it names the versions that stead speaks, the answer chooses one.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// The version of this file.
pub const PROTOCOL: u32 = 1;

/// Longest message, with its line break.
pub const FRAME_BYTES_MAX: usize = 64 << 10;

/// What stead says.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Order {
    /// Number of the call, never used twice; that of the call to cancel in [`Ask::Cancel`].
    pub id: u64,
    /// What is asked.
    #[serde(flatten)]
    pub ask: Ask,
}

/// What is asked of a program. One call at a time, except that [`Self::Terminate`] and
/// [`Self::Cancel`] come at any time.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(tag = "call", rename_all = "kebab-case")]
pub enum Ask {
    /// What it is; answered with a [`Description`].
    Describe {
        /// Versions that stead speaks.
        protocols: Vec<u32>,
    },
    /// Read the properties, refuse wrong ones, touch nothing.
    Open(Opening),
    /// Start it; done when it serves.
    Online,
    /// Stop it gracefully; done when nothing of it acts.
    Offline,
    /// End all of it at once, also what an earlier life of the program left.
    Terminate,
    /// The light check; answered with a [`Checked`].
    LooksAlive,
    /// The thorough check; answered with a [`Checked`].
    IsAlive,
    /// Something of the type's own; answered with a [`Told`].
    Control {
        /// One of the codes of its description.
        code: String,
        /// What goes with it.
        #[serde(default)]
        text: String,
    },
    /// The program is not needed any more: it ends after its answer.
    Close,
    /// Return early from the call of that number. It has no answer of its own.
    Cancel,
}

/// The resource that a program shall be.
#[derive(Clone, PartialEq, Eq, Default, Debug, Serialize, Deserialize)]
pub struct Opening {
    /// Its name.
    pub resource: String,
    /// Name of its group.
    pub group: String,
    /// The epoch of the ownership, which only grows: a fencing token to hand on.
    pub epoch: u64,
    /// Its properties, with the defaults of the description.
    pub properties: BTreeMap<String, String>,
}

/// What a program says.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(tag = "say", rename_all = "kebab-case")]
pub enum Said {
    /// A call worked.
    Done {
        /// Which.
        id: u64,
        /// Its result, where it has one.
        #[serde(default, skip_serializing_if = "Value::is_null")]
        result: Value,
    },
    /// A call did not work.
    Failed {
        /// Which.
        id: u64,
        /// One sentence.
        text: String,
    },
    /// A call goes on.
    Progress {
        /// Which.
        id: u64,
        /// What it does or waits for.
        text: String,
    },
    /// The resource failed by itself.
    Broke {
        /// One sentence.
        text: String,
    },
    /// Somebody should know.
    Notice {
        /// One sentence.
        text: String,
    },
}

/// What a type is.
#[derive(Clone, PartialEq, Eq, Default, Debug, Serialize, Deserialize)]
pub struct Description {
    /// The version of the protocol that is spoken from now on.
    pub protocol: u32,
    /// Its name: that of its file.
    pub name: String,
    /// Version of the type.
    pub version: String,
    /// One sentence.
    pub about: String,
    /// Properties of its resources.
    #[serde(default)]
    pub properties: Vec<Property>,
    /// What [`Ask::Control`] can ask.
    #[serde(default)]
    pub controls: Vec<Control>,
    /// Whether it changes something besides starting processes (addresses, mounts, kernel
    /// settings), which only `terminate` takes away. stead kills the processes itself.
    #[serde(default)]
    pub beyond: bool,
    /// Names of path properties that say where its data lies; empty if it keeps none.
    #[serde(default)]
    pub data: Vec<String>,
    /// How the conformance test writes and reads data.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trial: Option<Trial>,
}

/// One property of a type.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Property {
    /// Its name: small letters, digits and hyphens.
    pub name: String,
    /// What it means.
    pub about: String,
    /// Its form.
    pub form: Form,
    /// Whether it must be given.
    #[serde(default)]
    pub required: bool,
    /// Its default, if it need not be given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub default: Option<String>,
}

/// The form of a property's value.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Form {
    /// Any text without control characters.
    Text,
    /// An absolute path.
    Path,
    /// A whole number.
    Number,
    /// A length of time: a number with `ms`, `s`, `min` or `h`.
    Time,
    /// `true` or `false`.
    Flag,
    /// A command with arguments.
    Command,
}

/// One control code.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Control {
    /// The code.
    pub code: String,
    /// What it does.
    pub about: String,
}

/// Two control codes by which the conformance test tries whether data is kept.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Trial {
    /// Keeps its text; done when that is durable.
    pub write: String,
    /// Gives the text that was written last.
    pub read: String,
}

/// What a check found.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Checked {
    /// Whether it works.
    pub health: Health,
    /// A detail for people.
    #[serde(default)]
    pub text: String,
}

/// Whether a resource works.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Health {
    /// It does.
    Good,
    /// It does not.
    Bad,
    /// It could not be found out, which is no failure.
    Unknown,
}

/// What a control code answers.
#[derive(Clone, PartialEq, Eq, Default, Debug, Serialize, Deserialize)]
pub struct Told {
    /// The text.
    #[serde(default)]
    pub text: String,
}

impl Description {
    /// A type without properties.
    #[must_use]
    pub fn new(name: &str, version: &str, about: &str) -> Self {
        let (name, version, about) = (name.to_owned(), version.to_owned(), about.to_owned());
        Self { protocol: PROTOCOL, name, version, about, ..Self::default() }
    }

    /// With one more property.
    #[must_use]
    pub fn property(mut self, property: Property) -> Self {
        self.properties.push(property);
        self
    }

    /// With one more control code.
    #[must_use]
    pub fn control(mut self, code: &str, about: &str) -> Self {
        self.controls.push(Control { code: code.to_owned(), about: about.to_owned() });
        self
    }

    /// Its data lies where this property says.
    #[must_use]
    pub fn data_in(mut self, property: &str) -> Self {
        self.data.push(property.to_owned());
        self
    }

    /// The conformance test writes and reads by these control codes.
    #[must_use]
    pub fn trial(mut self, write: &str, read: &str) -> Self {
        self.trial = Some(Trial { write: write.to_owned(), read: read.to_owned() });
        self
    }

    /// It changes more than processes.
    #[must_use]
    pub const fn beyond_processes(mut self) -> Self {
        self.beyond = true;
        self
    }
}

impl Property {
    /// A property that must be given.
    #[must_use]
    pub fn required(name: &str, form: Form, about: &str) -> Self {
        let (name, about) = (name.to_owned(), about.to_owned());
        Self { name, about, form, required: true, default: None }
    }

    /// A property that may be given.
    #[must_use]
    pub fn optional(name: &str, form: Form, default: Option<&str>, about: &str) -> Self {
        let default = default.map(str::to_owned);
        Self { required: false, default, ..Self::required(name, form, about) }
    }
}

impl Checked {
    /// It works.
    #[must_use]
    pub const fn good() -> Self {
        Self { health: Health::Good, text: String::new() }
    }

    /// It does not, because of that.
    #[must_use]
    pub fn bad(text: impl Into<String>) -> Self {
        Self { health: Health::Bad, text: text.into() }
    }

    /// That could not be found out, because of that.
    #[must_use]
    pub fn unknown(text: impl Into<String>) -> Self {
        Self { health: Health::Unknown, text: text.into() }
    }
}

/// A message as a line.
///
/// # Panics
/// Never: own messages have text keys only.
#[must_use]
pub fn line<M: Serialize>(message: &M) -> Vec<u8> {
    let mut line = serde_json::to_vec(message).expect("own messages have text keys only");
    line.push(b'\n');
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lines_are_those_of_the_reference() {
        let page = include_str!("../../../docs/reference/external-types.md");
        let mut opening =
            Opening { resource: "c1".into(), group: "g".into(), ..Opening::default() };
        opening.epoch = 7;
        opening.properties.insert("port".into(), "8080".into());
        let orders = [
            Order { id: 1, ask: Ask::Describe { protocols: vec![1] } },
            Order { id: 2, ask: Ask::Open(opening) },
            Order { id: 3, ask: Ask::Online },
            Order { id: 4, ask: Ask::LooksAlive },
            Order { id: 5, ask: Ask::Control { code: "count".into(), text: String::new() } },
            Order { id: 3, ask: Ask::Cancel },
        ];
        let said = [
            Said::Done { id: 3, result: Value::Null },
            Said::Done { id: 4, result: serde_json::to_value(Checked::good()).unwrap() },
            Said::Failed { id: 3, text: "port 8080 is taken".into() },
            Said::Progress { id: 3, text: "reading the log".into() },
            Said::Broke { text: "the listener died".into() },
            Said::Notice { text: "the disk is slow".into() },
        ];
        let lines = orders.iter().map(line).chain(said.iter().map(line));
        for line in lines {
            let line = String::from_utf8(line).unwrap();
            assert!(page.contains(line.trim_end()), "the page lacks {line}");
        }
    }

    #[test]
    fn what_a_later_version_adds_is_ignored() {
        let text = r#"{"say":"done","id":3,"result":{"health":"bad","text":"x","more":1},"new":2}"#;
        let Said::Done { id: 3, result } = serde_json::from_str(text).unwrap() else {
            panic!("not done")
        };
        let checked: Checked = serde_json::from_value(result).unwrap();
        assert_eq!(checked, Checked::bad("x"));
    }
}
