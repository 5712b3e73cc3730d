//! Examples: groups described in a file that people can copy, and how a lab gets one.
//!
//! The files are in `examples/` of this project, and in the program. `[group]` and `[[resource]]`
//! are what `stead apply` reads, and come into the cluster the same way; the rest is what a lab
//! needs to show it. A file with a word that nothing reads is refused. Whether the properties make
//! sense says the cluster.

mod install;

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use serde::Deserialize;
use stead_api::file;
use stead_model::ResourceId;
use stead_model::declaration::{Declaration, DeclaredGroup, DeclaredResource};
use stead_model::group::Desired;
use stead_model::request::Request;
use stead_model::resource_type::split_words;

pub use install::{InstallError, install};

/// The examples in the program: name and file.
pub const BUILTIN: &[(&str, &str)] = &[
    ("nginx", include_str!("../../../../examples/nginx.toml")),
    ("postgresql", include_str!("../../../../examples/postgresql.toml")),
    ("redis", include_str!("../../../../examples/redis.toml")),
    ("virtual-server", include_str!("../../../../examples/virtual-server.toml")),
];

/// A group as a file describes it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Example {
    /// The group.
    pub group: DeclaredGroup,
    /// Its resources.
    pub resources: Vec<DeclaredResource>,
    /// Programs that are not part of it.
    pub needs: Vec<Need>,
    /// What its lab is made of.
    pub lab: ExampleLab,
    /// What is done once before it comes online for the first time.
    pub prepare: Vec<Preparation>,
    /// What a person may try then.
    pub next: Vec<Suggestion>,
}

/// The sections that only a lab reads.
#[derive(Deserialize)]
struct LabSections {
    #[serde(default)]
    needs: Vec<Need>,
    #[serde(default)]
    lab: ExampleLab,
    #[serde(default)]
    prepare: Vec<Preparation>,
    #[serde(default)]
    next: Vec<Suggestion>,
}

/// A program that an example runs.
#[derive(Clone, PartialEq, Eq, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Need {
    /// Where it is looked for.
    pub program: String,
    /// The Debian package that brings it.
    pub package: String,
}

/// What the lab of an example is made of.
#[derive(Clone, PartialEq, Eq, Default, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExampleLab {
    /// Its data disks.
    #[serde(default)]
    pub disks: Vec<String>,
}

/// A command for the node that has a resource online.
#[derive(Clone, PartialEq, Eq, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Preparation {
    /// The resource.
    pub after: String,
    /// The command; quotes as in a shell, nothing is expanded.
    pub run: String,
}

/// Something to try.
#[derive(Clone, PartialEq, Eq, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Suggestion {
    /// What it shows.
    pub about: String,
    /// The command line; `OWNER` is the node that runs the group.
    pub run: String,
}

/// An example cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ExampleError {
    /// There is none of that name.
    #[error("there is no example `{name}`; use {} or a path such as `./mine.toml`", names())]
    Unknown {
        /// The name.
        name: String,
    },
    /// The file cannot be read.
    #[error("cannot read example `{name}`")]
    Unreadable {
        /// The file.
        name: String,
        /// Why not.
        source: std::io::Error,
    },
    /// It is no example.
    #[error("example `{name}` makes no sense")]
    Senseless {
        /// Name or file.
        name: String,
        /// Place and reason.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A name or a command in it leads nowhere.
    #[error("example `{name}` makes no sense: {why}")]
    Loose {
        /// Name or file.
        name: String,
        /// Which.
        why: String,
    },
}

fn names() -> String {
    let names: Vec<String> = BUILTIN.iter().map(|(name, _)| format!("`{name}`")).collect();
    names.join(", ")
}

impl Example {
    /// Finds an example by its name, or by the path of its file: whatever has a slash in it.
    pub fn find(name: &str) -> Result<Self, ExampleError> {
        if name.contains('/') {
            let text = fs::read_to_string(Path::new(name));
            let unreadable = |source| ExampleError::Unreadable { name: name.to_owned(), source };
            return Self::parse(name, &text.map_err(unreadable)?);
        }
        let found = BUILTIN.iter().find(|(own, _)| *own == name);
        let (_, text) = found.ok_or_else(|| ExampleError::Unknown { name: name.to_owned() })?;
        Self::parse(name, text)
    }

    /// Reads an example and checks that the names in it lead somewhere.
    pub fn parse(name: &str, text: &str) -> Result<Self, ExampleError> {
        let senseless = |source| ExampleError::Senseless { name: name.to_owned(), source };
        let declared = file::read(text).map_err(|reason| senseless(Box::from(reason)))?;
        let sections = toml::from_str(text).map_err(|error| senseless(Box::from(error)))?;
        let LabSections { needs, lab, prepare, next } = sections;
        let loose = |why| ExampleError::Loose { name: name.to_owned(), why };
        let Declaration { groups, resources, .. } = declared;
        let [group] = <[DeclaredGroup; 1]>::try_from(groups)
            .map_err(|groups| loose(format!("a lab shows one group, not {}", groups.len())))?;
        let example = Self { group, resources, needs, lab, prepare, next };
        example.loose_end().map_or(Ok(example), |why| Err(loose(why)))
    }

    /// The same, with programs that tell a client of [`crate::ledger`] their epoch and node.
    #[must_use]
    pub fn telling(mut self) -> Self {
        for resource in &mut self.resources {
            if let Some(command) = resource.properties.get_mut("command") {
                *command = format!(
                    "/bin/sh -c 'exec {command} -c stead.epoch=$STEAD_EPOCH \
                     -c cluster_name=$(uname -n)'"
                );
            }
        }
        self
    }

    fn loose_end(&self) -> Option<String> {
        for Preparation { after, run } in &self.prepare {
            if !self.resources.iter().any(|r| r.resource.as_str() == after) {
                return Some(format!("there is no resource `{after}` to prepare after"));
            }
            if split_words(run).is_none_or(|words| words.is_empty()) {
                return Some(format!("`{run}` is no command with closed quotes"));
            }
        }
        None
    }

    /// The first program that this machine lacks.
    #[must_use]
    pub fn lacks(&self) -> Option<&Need> {
        self.needs.iter().find(|need| !Path::new(&need.program).is_file())
    }

    /// What makes the group with these of its resources, online.
    #[must_use]
    pub fn declared(&self, wanted: impl Fn(&ResourceId) -> bool) -> Request {
        let group = DeclaredGroup { desired: Some(Desired::Online), ..self.group.clone() };
        let resources = self.resources.iter().filter(|r| wanted(&r.resource)).cloned().collect();
        Request::Apply {
            wanted: Declaration { groups: vec![group], resources, ..Declaration::default() },
        }
    }

    /// What brings it online or offline.
    #[must_use]
    pub fn desire(&self, desired: Desired) -> Request {
        Request::SetGroupDesired { group: self.group.group.clone(), desired }
    }

    /// The resources that something is prepared after, and all that these need.
    fn prepared_first(&self) -> BTreeSet<&str> {
        let mut first: BTreeSet<&str> = self.prepare.iter().map(|p| p.after.as_str()).collect();
        loop {
            let known = first.len();
            let needing = self.resources.iter().filter(|r| first.contains(r.resource.as_str()));
            let needed: Vec<&str> =
                needing.flat_map(|r| r.depends_on.iter().map(ResourceId::as_str)).collect();
            first.extend(needed);
            if first.len() == known {
                return first;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use stead_model::resource_type::{COMMON, LIMITS, PROBE, builtin};

    use super::*;

    #[test]
    fn every_example_in_the_program_is_one() {
        for (name, text) in BUILTIN {
            let example = Example::parse(name, text).unwrap();
            assert!(!example.needs.is_empty() && !example.next.is_empty(), "{name}");
            for resource in &example.resources {
                let kind = builtin(&resource.kind).unwrap();
                let known = || kind.properties.iter().chain(COMMON).chain(PROBE).chain(LIMITS);
                for (property, value) in &resource.properties {
                    let found = known().find(|known| known.name == property);
                    let found = found.unwrap_or_else(|| panic!("{name}: {property}"));
                    found.check(value).unwrap();
                }
                let missing = kind.properties.iter().find(|property| {
                    property.required && !resource.properties.contains_key(property.name)
                });
                assert_eq!(missing, None, "{name}");
            }
        }
    }

    #[test]
    fn what_leads_nowhere_is_refused_with_its_name() {
        let refused = |text: &str| Example::parse("mine", text).unwrap_err().to_string();
        let group = "[group]\nname = 'g'\n";
        let resource = "[[resource]]\nname = 'a'\ntype = 'dummy'\n";
        let late = refused(&format!("{group}{resource}[[prepare]]\nafter='c'\nrun='true'\n"));
        assert!(late.ends_with("there is no resource `c` to prepare after"), "{late}");
        let open = refused(&format!("{group}{resource}[[prepare]]\nafter='a'\nrun=\"sh '\"\n"));
        assert!(open.ends_with("is no command with closed quotes"), "{open}");
        assert_eq!(refused("[group]\nnmae = 'g'\n"), "example `mine` makes no sense");
        let two = "[[group]]\nname = 'g'\n[[group]]\nname = 'h'\n";
        assert!(refused(two).ends_with("a lab shows one group, not 2"));
        let unknown = Example::find("mysql").unwrap_err().to_string();
        assert!(unknown.contains("`postgresql`"), "{unknown}");
    }

    #[test]
    fn what_is_prepared_comes_first_with_all_it_needs() {
        let text = "[group]\nname = 'g'\n\
            [[resource]]\nname = 'a'\ntype = 'dummy'\n\
            [[resource]]\nname = 'b'\ntype = 'dummy'\ndepends-on = ['a']\n\
            [[resource]]\nname = 'c'\ntype = 'dummy'\n\
            [[prepare]]\nafter = 'b'\nrun = 'true'\n";
        let example = Example::parse("mine", text).unwrap();
        assert_eq!(example.prepared_first(), BTreeSet::from(["a", "b"]));
    }
}
